"""First fit, best fit, FIFO to the fastest, shortest first: what each promises."""

from __future__ import annotations

import pytest
from builders import TableCosts, a_job, an_estimate, nx, orin
from wish_worlds import a_scheduler, finish, starts

from jetsched.records import Device, DeviceClass, Needs, Verdict
from jetsched.scheduler.table import VerdictTable

NAMES = (
    "first_fit",
    "best_fit",
    "fifo_fastest",
    "shortest_first",
    "earliest_deadline",
    "lowest_energy",
    "energy_delay",
    "fair_share",
)


# ------------------------------------------------------------------- first come, first served


def test_first_fit_takes_the_first_idle_device_that_fits_not_the_fastest() -> None:
    """In the order of the fleet: orin-nano before xavier-nx, then by id."""
    scheduler = a_scheduler("first_fit", None, nx(1), nx(2), orin())
    jobs = [a_job(str(i), "tiny-gpt2") for i in range(3)]
    assert starts(scheduler, 0, *jobs) == {"0": "orin-1", "1": "nx-1", "2": "nx-2"}


def test_first_fit_asks_for_no_run_times() -> None:
    """The first device in the order of the fleet is taken though it is a hundred times slower."""
    costs = TableCosts({("distilgpt2", "xavier-nx"): 1.0, ("distilgpt2", "orin-nano"): 100.0})
    assert starts(a_scheduler("first_fit", costs), 0, a_job()) == {"1": "orin-1"}


def test_fifo_fastest_gives_the_head_of_the_queue_the_fastest_idle_device() -> None:
    costs = TableCosts({("distilgpt2", "xavier-nx"): 1.0, ("distilgpt2", "orin-nano"): 100.0})
    scheduler = a_scheduler("fifo_fastest", costs)
    jobs = [a_job("1", amount=9), a_job("2")]
    assert starts(scheduler, 0, *jobs) == {"1": "nx-1", "2": "orin-1"}


@pytest.mark.parametrize("name", ["first_fit", "best_fit", "fifo_fastest"])
def test_what_no_idle_device_can_run_is_passed_by_those_behind_it(name: str) -> None:
    """gpt2 waits for the Orin; the NX takes the next job meanwhile, and the Orin then gpt2."""
    scheduler = a_scheduler(name)
    assert starts(scheduler, 0, a_job("1", "gpt2")) == {"1": "orin-1"}
    assert starts(scheduler, 1, a_job("2", "gpt2"), a_job("3")) == {"3": "nx-1"}
    assert finish(scheduler, 200, "1") == {"2": "orin-1"}


@pytest.mark.parametrize("name", ["first_fit", "best_fit", "fifo_fastest"])
def test_the_queue_is_served_in_order_priority_first(name: str) -> None:
    scheduler = a_scheduler(name, None, orin())
    jobs = [a_job("1"), a_job("2", amount=0.1), a_job("3", priority=90)]
    assert starts(scheduler, 0, *jobs) == {"3": "orin-1"}
    assert finish(scheduler, 100, "3") == {"1": "orin-1"}


# ------------------------------------------------------------------------------------- best fit

SMALL = Device("small-1", DeviceClass("small", memory_mib=2000.0))
MIDDLE = Device("middle-1", DeviceClass("middle", memory_mib=4000.0))
LARGE = Device("large-1", DeviceClass("large", memory_mib=8000.0))
BOARDS = (SMALL, MIDDLE, LARGE)


def memory_costs(admitted_mib: float, *, fit_on: str = "small middle large") -> dict[str, Verdict]:
    """Runs on these boards, the faster the larger they are."""
    seconds = {"small": 30.0, "middle": 20.0, "large": 10.0}
    return {
        model: an_estimate(seconds[model], admitted_mib=admitted_mib) for model in fit_on.split()
    }


def test_best_fit_leaves_the_large_board_to_the_job_that_needs_it() -> None:
    costs = VerdictTable(
        {
            "little": memory_costs(1500),
            "medium": memory_costs(3000, fit_on="middle large"),
            "big": memory_costs(7000, fit_on="large"),
        }
    )
    jobs = [a_job(name) for name in ("little", "medium", "big")]
    placed = starts(a_scheduler("best_fit", costs, *BOARDS), 0, *jobs)
    assert placed == {"little": "small-1", "medium": "middle-1", "big": "large-1"}


def test_best_fit_prefers_the_faster_of_boards_that_fit_alike() -> None:
    slow, fast = (Device(f"{m}-1", DeviceClass(m, memory_mib=4000.0)) for m in ("a", "b"))
    costs = VerdictTable({"1": {"a": an_estimate(20.0), "b": an_estimate(10.0)}})
    assert starts(a_scheduler("best_fit", costs, slow, fast), 0, a_job()) == {"1": "b-1"}


def test_best_fit_puts_what_is_tight_everywhere_where_it_exceeds_least() -> None:
    rows = {m: an_estimate(10.0, admitted_mib=9000.0, fit="tight") for m in ("middle", "large")}
    scheduler = a_scheduler("best_fit", VerdictTable({"1": rows}), MIDDLE, LARGE)
    assert starts(scheduler, 0, a_job()) == {"1": "large-1"}


# -------------------------------------------------------------------------------- shortest first


def test_shortest_first_starts_the_shortest_job_on_the_fastest_idle_device() -> None:
    """Long, short, middle: the Orin is the faster one, so it takes the short one."""
    scheduler = a_scheduler("shortest_first")
    jobs = [a_job("long", amount=3), a_job("short"), a_job("middle", amount=2)]
    assert starts(scheduler, 0, *jobs) == {"short": "orin-1", "middle": "nx-1"}


def test_shortest_first_measures_a_job_by_its_best_device() -> None:
    """gpt2 takes 200 s; distilgpt2 100 s at best, so it is first on the NX too, at 250 s."""
    scheduler = a_scheduler("shortest_first", None, nx(), orin())
    starts(scheduler, 0, a_job("0", amount=0.1), a_job("1", amount=0.1))
    assert starts(scheduler, 1, a_job("2", "gpt2"), a_job("3")) == {}
    assert finish(scheduler, 10, "0") == {"3": "orin-1"}


@pytest.mark.parametrize("name", NAMES)
def test_a_job_that_names_its_device_waits_for_it(name: str) -> None:
    scheduler = a_scheduler(name, None, nx(1), nx(2))
    wish = Needs(device=("nx-2",))
    assert starts(scheduler, 0, a_job("1", needs=wish), a_job("2", needs=wish)) == {"1": "nx-2"}
    assert finish(scheduler, 250, "1") == {"2": "nx-2"}
