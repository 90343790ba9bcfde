"""What the policies for mean completion of arriving jobs promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched import policies
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.errors import InputError
from jetsched.policies.auto import Auto
from jetsched.policies.contract import PolicyContract
from jetsched.policies.matching import Line, Row, first_places
from jetsched.policies.pooled import _Factors
from jetsched.records import Device, DeviceClass, Job, Needs, Retry, Verdict, Workload
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined, DeviceLost, Finished, Start, Submitted
from jetsched.scheduler.table import VerdictTable, known_run
from jetsched.scheduler.view import Policy

#: The last two as they decide on large fleets.
NAMES = (
    "comparative_advantage",
    "response_ratio",
    "matching",
    "auto",
    "matching:most_devices=0",
    "auto:few_devices=0",
)


@pytest.mark.parametrize("name", NAMES)
class TestContract(PolicyContract):
    """Each of them keeps the contract."""

    @pytest.fixture(autouse=True)
    def _name(self, name: str) -> None:
        self.name = name

    def make(self, seed: int) -> Policy:
        return policies.load(self.name, seed=seed)


# --------------------------------------------------------------------------------- small worlds

NO_NEEDS = Needs()
FAST, SLOW = DeviceClass("fast", "", "", 4000.0), DeviceClass("slow", "", "", 4000.0)


def a_world(policy: str, fast: int, slow: int, *times_s: tuple[float, float]) -> Scheduler:
    """Jobs "0", "1", ... with their run times on a fast and on a slow device."""
    rows = {
        str(n): {"fast": known_run(one), "slow": known_run(other)}
        for n, (one, other) in enumerate(times_s)
    }
    scheduler = Scheduler(policies.load(policy), VerdictTable(rows))
    for kind, count in ((FAST, fast), (SLOW, slow)):
        for number in range(count):
            scheduler.handle(DeviceJoined(0, Device(f"{kind.model}-{number}", kind)))
    return scheduler


def a_job(number: int, at_s: float = 0.0) -> Job:
    return Job(str(number), Workload("command", ""), submitted_s=at_s)


def starts(scheduler: Scheduler, at_s: float, *numbers: int) -> dict[str, str]:
    """Where the jobs went that started because these came: job id -> device model."""
    actions = scheduler.handle(Submitted(at_s, tuple(a_job(n, at_s) for n in numbers)))
    return {a.placement.job.id: a.placement.device.model for a in actions if isinstance(a, Start)}


@pytest.mark.parametrize("policy", ["comparative_advantage", "response_ratio"])
def test_a_slow_device_takes_the_job_that_it_is_relatively_good_at(policy: str) -> None:
    """Both jobs run best on the fast one; the second loses least on the slow one."""
    scheduler = a_world(policy, 1, 1, (100, 900), (100, 120))
    assert starts(scheduler, 0, 0, 1) == {"0": "fast", "1": "slow"}


@pytest.mark.parametrize("policy", ["matching", "auto", "auto:few_devices=0"])
def test_a_job_waits_for_a_device_that_is_much_faster(policy: str) -> None:
    """The fast device is free again in 10 s; the slow one would take 1,000 s instead of 10 s."""
    scheduler = a_world(policy, 1, 1, (10, 1000), (10, 1000))
    assert starts(scheduler, 0, 0) == {"0": "fast"}
    assert starts(scheduler, 0, 1) == {}


@pytest.mark.parametrize("policy", ["matching", "auto", "auto:few_devices=0"])
def test_a_job_does_not_wait_where_the_slow_device_is_soon_done(policy: str) -> None:
    scheduler = a_world(policy, 1, 1, (100, 1000), (10, 20))
    assert starts(scheduler, 0, 0) == {"0": "fast"}
    assert starts(scheduler, 0, 1) == {"1": "slow"}


@pytest.mark.parametrize("policy", ["auto", "auto:few_devices=0"])
def test_auto_gives_the_first_in_the_queue_its_turn_as_it_promises(policy: str) -> None:
    """One device, short jobs come as fast as they are done: the long one starts all the same.

    It has waited 20 times its 100 s by 2,000 s, and by then more than 16 times 100 s of other work
    was started: its turn is at the first end of a job after that.
    """
    short_s = 10.0
    count = 400
    scheduler = a_world(policy, 1, 0, (50, 50), (100, 100), *[(short_s, short_s)] * count)
    scheduler.handle(Submitted(0.0, (a_job(0), a_job(1))))
    running, at_s, number = "0", 50.0, 2
    started_s: float | None = None
    while started_s is None and number < 2 + count - 1:
        scheduler.handle(Submitted(at_s, (a_job(number, at_s), a_job(number + 1, at_s))))
        number += 2
        actions = scheduler.handle(Finished(at_s, running, 1, "done"))
        (start,) = [action for action in actions if isinstance(action, Start)]
        running = start.placement.job.id
        started_s = at_s if running == "1" else None
        at_s += short_s
    assert started_s is not None
    assert 2000.0 <= started_s <= 2000.0 + 2 * short_s


def until_long_starts(scheduler: Scheduler, device: str, needs: Needs = NO_NEEDS) -> float | None:
    """Two short jobs come whenever one ends on the device: when job "long" starts there, if ever.

    Jobs "0", "1", ... of 10 s are the short ones; some of them must wait already.
    """
    number = 1000
    while number < 3000:
        (record,) = [r for r in scheduler.jobs.values() if r.current and r.current.device == device]
        at_s = record.attempts[-1].start_s
        if record.job.id == "long":
            return at_s
        short = [
            Job(str(n), Workload("command", ""), submitted_s=at_s + 9.0, needs=needs)
            for n in (number, number + 1)
        ]
        number += 2
        scheduler.handle(Submitted(at_s + 9.0, tuple(short)))
        scheduler.handle(Finished(at_s + 10.0, record.job.id, 1, "done"))
    return None


def a_stream(policy: str, ahead: Sequence[Job], needs: Needs = NO_NEEDS) -> Scheduler:
    """Two fast devices; some jobs that stand ahead, short ones, and one of 200 s."""
    short = [Job(str(n), Workload("command", ""), needs=needs) for n in range(5)]
    long = Job("long", Workload("command", ""), needs=needs)
    costs = {job.id: {"fast": known_run(1e6 if job.id == "endless" else 10.0)} for job in ahead}
    costs |= {str(n): {"fast": known_run(10.0)} for n in range(3000)}
    costs["long"] = {"fast": known_run(200.0)}
    scheduler = Scheduler(policies.load(policy), VerdictTable(costs))
    for number in range(2):
        scheduler.handle(DeviceJoined(0, Device(f"fast-{number}", FAST)))
    scheduler.handle(Submitted(0.0, tuple(ahead[:1])))
    scheduler.handle(Submitted(0.0, tuple(ahead[1:])))
    scheduler.handle(Submitted(0.0, (*short, long)))
    return scheduler


@pytest.mark.parametrize("policy", ["auto", "auto:few_devices=0"])
def test_any_number_of_jobs_that_can_go_nowhere_takes_nobodys_turn(policy: str) -> None:
    """200 jobs name a board that is not there; one keeps a board of the kind for ever."""
    endless = Job("endless", Workload("command", ""), needs=Needs(device=("fast-0",)))
    needs = Needs(device=("fast-9",))
    ghosts = [Job(f"g{n}", Workload("command", ""), needs=needs) for n in range(200)]
    scheduler = a_stream(policy, [endless, *ghosts])
    started_s = until_long_starts(scheduler, "fast-1")
    assert started_s is not None
    assert started_s <= 4000.0 + 64 * 10.0  # its turn, and until the search reaches so far


@pytest.mark.parametrize("policy", ["auto", "auto:few_devices=0"])
def test_jobs_that_name_a_busy_board_take_nobodys_turn_on_another_of_its_kind(policy: str) -> None:
    needs = Needs(device=("fast-0",))
    endless = Job("endless", Workload("command", ""), needs=needs)
    heads = [Job(f"h{n}", Workload("command", ""), needs=needs) for n in range(3)]
    scheduler = a_stream(policy, [endless, *heads], Needs(device=("fast-1",)))
    started_s = until_long_starts(scheduler, "fast-1", Needs(device=("fast-1",)))
    assert started_s is not None
    assert 4000.0 <= started_s <= 4000.0 + 20.0


@pytest.mark.parametrize("again", ["a board goes and comes back", "jobs are tried again"])
def test_the_load_counts_every_job_once(again: str) -> None:
    """A job each 10 s, of 10 s on its best kind: half of what two devices can do."""

    def load(*, disturbed: bool) -> float:
        scheduler = a_world("auto:few_devices=0", 1, 1, *[(10.0, 10.0)] * 100)
        for number in range(100):
            at_s = 10.0 * number
            actions = scheduler.handle(Submitted(at_s, (a_retried_job(number, at_s),)))
            (start,) = [action for action in actions if isinstance(action, Start)]
            device = start.placement.device
            if disturbed and number % 20 == 10:
                if again == "jobs are tried again":
                    scheduler.handle(Finished(at_s + 1, str(number), 1, "failed"))
                    scheduler.handle(Finished(at_s + 2, str(number), 2, "done"))
                    continue
                scheduler.handle(DeviceLost(at_s + 1, device.id))
                scheduler.handle(DeviceJoined(at_s + 2, device))
                current = scheduler.jobs[str(number)].attempts[-1].number
                scheduler.handle(Finished(at_s + 9, str(number), current, "done"))
                continue
            scheduler.handle(Finished(at_s + 9, str(number), 1, "done"))
        assert not scheduler.policy_errors
        policy = scheduler.policy
        assert isinstance(policy, Auto)
        return policy._prices.load.on(2)

    assert load(disturbed=False) == pytest.approx(0.5, abs=0.02)
    assert load(disturbed=True) == pytest.approx(0.5, abs=0.02)


def a_retried_job(number: int, at_s: float) -> Job:
    retry = Retry(times=5, on=("failed", "lost"))
    return Job(str(number), Workload("command", ""), submitted_s=at_s, retry=retry)


def test_the_matching_is_the_best_of_all_plans() -> None:
    """Beside every order of every assignment of four jobs to two devices, one of them busy."""
    times = [(3.0, 9.0), (5.0, 6.0), (4.0, 20.0), (8.0, 7.0)]
    waits_s = (0.0, 2.5)
    plans = []
    for order in permutations(range(4)):
        for where in product((0, 1), repeat=4):
            ends_s, total_s = list(waits_s), 0.0
            first: dict[int, int] = {}
            for job in order:
                device = where[job]
                first.setdefault(device, job)
                ends_s[device] += times[job][device]
                total_s += ends_s[device]
            plans.append((total_s, first.get(0)))
    best_s = min(total_s for total_s, _ in plans)
    best_first = {first for total_s, first in plans if total_s <= best_s + 1e-9}
    found = first_places([Row(row) for row in times], [Line([waits_s[0]]), Line([waits_s[1]])])
    assert {job for job, position in found if position == 0} <= best_first
    assert found and all(position == 0 for _, position in found)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)), min_size=1, max_size=60),
    st.integers(0, 3),
    st.sampled_from(["response_ratio", "matching", "auto", "matching:most_devices=0"]),
)
def test_every_job_is_placed_when_the_whole_future_is_asked_for(
    times_s: list[tuple[float, float]], slow: int, policy: str
) -> None:
    scheduler = a_world(policy, 2, slow, *times_s)
    scheduler.handle(Submitted(0.0, tuple(a_job(n) for n in range(len(times_s)))))
    waiting = {record.job.id for record in scheduler.queue}
    assert set(scheduler.foresee(0.0)) == waiting


def test_pooled_times_change_nothing_where_estimates_agree() -> None:
    """Jobs of a workload that differ by a factor alone say the same of kinds of devices."""
    factors = _Factors(2)
    for size in (1.0, 7.0, 300.0):
        factors.add((size, 2.5 * size))
    assert factors.steady
    assert factors.applied((4.0, 10.0)) == pytest.approx((4.0, 10.0))


def test_pooled_times_take_out_what_a_single_estimate_has_wrong() -> None:
    """A slow device is twice as slow for all jobs of the workload; one estimate says otherwise."""
    factors = _Factors(2)
    for wrong in (0.5, 0.8, 1.25, 2.0):
        factors.add((10.0, 20.0 * wrong))
    assert not factors.steady
    fast_s, slow_s = factors.applied((10.0, 5.0))
    assert fast_s is not None and slow_s is not None
    assert slow_s / fast_s == pytest.approx(2.0)
    assert fast_s * slow_s == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("auto:objective=speed", "objective"),
        ("auto:few_devices=-1", "few_devices"),
        ("matching:window=0", "window"),
        ("response_ratio:bias=-1", "bias"),
    ],
)
def test_an_option_out_of_range_is_told_by_name(spec: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        policies.load(spec)


@pytest.mark.parametrize("objective", ["mean", "makespan", "deadline", "energy"])
def test_auto_has_a_rule_for_each_objective(objective: str) -> None:
    scheduler = a_world(f"auto:objective={objective}", 1, 1, (10, 20), (30, 40))
    assert starts(scheduler, 0, 0, 1)
    assert not scheduler.policy_errors


def _alike(size_s: Callable[[Random], float], slower: float, boards: int, seed: int) -> Scenario:
    """Jobs that all gain the same on the fast kind, at load 0.9."""
    random = Random(seed)
    fast, slow = DeviceClass("fast"), DeviceClass("slow")
    devices = [Device(f"{c.model}-{n}", c) for c in (fast, slow) for n in range(boards)]
    at_s, jobs, verdicts = 0.0, list[Job](), dict[str, dict[str, Verdict]]()
    for number in range(300):
        at_s += random.expovariate(0.9 * boards * (1 + 1 / slower) / 600)
        time_s = size_s(random)
        jobs.append(a_job(number, at_s))
        verdicts[str(number)] = {"fast": known_run(time_s), "slow": known_run(slower * time_s)}
    table = VerdictTable(verdicts)
    return Scenario(jobs, devices, CostsAsTruth(table), lambda: VerdictTable(verdicts))


@pytest.mark.parametrize("boards", [2, 10])
@pytest.mark.parametrize("size_s", [lambda r: 600.0, lambda r: r.uniform(300, 900)])
def test_auto_leaves_no_slow_board_idle_where_all_jobs_are_alike(
    size_s: Callable[[Random], float], boards: int
) -> None:
    """Waiting for the fast boards pays for each job, and makes all who come later wait longer."""
    worlds = [_alike(size_s, 4.0, boards, seed) for seed in range(3)]
    auto, fifo = (
        sum(simulate(p, world).metrics.mean_completion_s or 0.0 for world in worlds)
        for p in ("auto", "fifo_fastest")
    )
    assert auto <= 1.05 * fifo


def test_jobs_that_are_alike_start_in_the_order_in_which_they_came() -> None:
    jobs = [a_job(number) for number in range(12)]
    verdicts: dict[str, dict[str, Verdict]] = {j.id: {"fast": known_run(10.0)} for j in jobs}
    devices = [Device(f"fast-{n}", DeviceClass("fast")) for n in (1, 2)]
    table = VerdictTable(verdicts)
    world = Scenario(jobs, devices, CostsAsTruth(table), lambda: VerdictTable(verdicts))
    for policy in ("auto", "matching"):
        records = simulate(policy, world).scheduler.jobs.values()
        starts = [record.attempts[0].start_s for record in records]
        assert starts == sorted(starts), policy
