"""What can be asked of the queue: filters, orders and pages, at the desk and through the API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast, get_args

import httpx
import pytest
from api_world import LIKE, TOKEN, Served
from builders import TableCosts, a_job, nx, orin
from hypothesis import given, settings
from hypothesis import strategies as st
from live_world import LiveWorld
from local_agents import LocalAgents

from jetsched.cluster.desk_pages import KEYS, Order, Page
from jetsched.cluster.desk_wanted import STATES, Wanted
from jetsched.errors import InputError
from jetsched.policies import load
from jetsched.records import Job
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import CancelAsked, DeviceJoined, Finished, Submitted
from jetsched.scheduler.state import JobRecord

COSTS = {("distilgpt2", "xavier-nx"): 100.0, ("distilgpt2", "orin-nano"): 50.0}
ORDERS: tuple[Order, ...] = get_args(Order)


def a_book(jobs: list[Job]) -> Scheduler:
    """One NX and one Orin run two of the jobs, the others wait; those of `gpt2` fit nowhere."""
    scheduler = Scheduler(load("earliest_finish"), TableCosts(COSTS))
    for device in (nx(), orin()):
        scheduler.handle(DeviceJoined(0.0, device))
    scheduler.handle(Submitted(0.0, tuple(jobs)))
    return scheduler


def named(number: int, name: str = "", **changes: Any) -> Job:
    model = changes.pop("model", "distilgpt2")
    return replace(a_job(str(number), model), name=name or f"job-{number}", **changes)


def ids(scheduler: Scheduler, **page: Any) -> list[str]:
    return [record.job.id for record in Page(**page).of(scheduler, scheduler.jobs.__getitem__)]


# ------------------------------------------------------------------------------------------ filters


@pytest.fixture
def book() -> Scheduler:
    jobs = [
        named(1, "squad-a", user="ada", priority=90),
        named(2, "squad-b", user="bob", priority=80),
        named(3, "Night", user="ada"),
        named(4, "night two", user="bob", priority=10, labels=(("project", "qa"),)),
        named(5, "big", user="ada", model="gpt2"),
    ]
    scheduler = a_book(jobs)
    assert [scheduler.jobs[i].state for i in "12345"] == [
        "starting", "starting", "waiting", "waiting", "held",
    ]  # fmt: skip
    return scheduler


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "12345"),
        ({"state": "open"}, "12345"),
        ({"state": "waiting,held"}, "345"),
        ({"text": "night"}, "34"),
        ({"text": "NIGHT two"}, "4"),
        ({"text": "two night"}, "4"),
        ({"text": "gpt2"}, "12345"),  # of the work, `distilgpt2` as well
        ({"text": "ada squad"}, "1"),
        ({"text": "project=qa"}, "4"),
        ({"text": "orin"}, "1"),  # the device that it is on
        ({"user": "bob"}, "24"),
        ({"user": "bo"}, ""),
        ({"device": "nx-1"}, "2"),
        ({"priority": "80"}, "2"),
        ({"priority": "50-85"}, "235"),
        ({"priority": "50 - 85", "user": "ada", "state": "held"}, "5"),
        ({"text": "nothing like it"}, ""),
    ],
)
def test_a_filter_lets_through_what_is_asked_for(
    book: Scheduler, asked: dict[str, str], found: str
) -> None:
    wanted = Wanted.of(**asked)
    assert ids(book, wanted=wanted) == list(found)
    assert Page(wanted).count(book) == len(found)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"state": "wating"}, "no state 'wating'"),
        ({"priority": "high"}, "'high' is no priority"),
        ({"priority": "5-"}, "no priority"),
        ({"priority": "-5"}, "no priority"),
        ({"priority": "٣"}, "no priority"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused_with_a_hint(
    asked: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Wanted.of(**asked)
    assert caught.value.hint


# ------------------------------------------------------------------------------------------- orders


def test_every_column_can_be_sorted_by_in_both_directions() -> None:
    columns = {order for order in ORDERS if order not in ("submitted", "newest", "queue")}
    assert columns == {*KEYS, *(f"-{name}" for name in KEYS)}


def test_a_column_is_sorted_by_and_what_is_alike_stays_as_submitted(book: Scheduler) -> None:
    assert ids(book, order="priority") == ["4", "3", "5", "2", "1"]
    assert ids(book, order="-priority") == ["1", "2", "5", "3", "4"]
    assert ids(book, order="name") == ["5", "3", "4", "1", "2"]
    assert ids(book, order="state", wanted=Wanted.of(user="ada")) == ["5", "1", "3"]


def test_what_has_ended_is_found_as_well(book: Scheduler) -> None:
    words = Wanted.of(text="orin-1")
    assert ids(book, wanted=words) == ["1"]
    book.handle(Finished(50.0, "1", 1, "done"))
    book.handle(CancelAsked(60.0, "4"))
    assert ids(book, wanted=Wanted.of(state="done,cancelled"), order="queue") == ["1", "4"]
    assert ids(book, wanted=words) == ids(book, wanted=words) == ["1", "3"]
    assert ids(book, wanted=Wanted.of(device="orin-1")) == ["1", "3"]  # it ran there; 3 does now
    assert ids(book, wanted=Wanted.of(state="open"), order="-since")[0] == "3"


jobs_made = st.lists(
    st.tuples(
        st.sampled_from(["a", "B", "b", ""]),
        st.integers(0, 3),
        st.sampled_from(["ada", "bob"]),
        st.sampled_from(["distilgpt2", "gpt2"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(
    made=jobs_made,
    cancelled=st.sets(st.integers(1, 25)),
    order=st.sampled_from(ORDERS),
    states=st.sets(st.sampled_from(STATES)),
    user=st.sampled_from(["", "ada"]),
    size=st.integers(1, 7),
)
def test_pages_hold_each_wanted_job_once_however_they_are_turned(
    made: list[tuple[str, int, str, str]],
    cancelled: set[int],
    order: Order,
    states: set[Any],
    user: str,
    size: int,
) -> None:
    """Behind an id or by leaving out: the same pages, without a gap and without one twice."""
    jobs = [
        replace(a_job(str(n), model), name=name, priority=priority, user=user_of)
        for n, (name, priority, user_of, model) in enumerate(made, start=1)
    ]
    book = a_book(jobs)
    for number in cancelled:
        if number <= len(jobs):
            book.handle(CancelAsked(1.0, str(number)))
    wanted = Wanted.of(state=",".join(states), user=user)
    whole = ids(book, wanted=wanted, order=order)
    expected = {r.job.id for r in book.jobs.values() if wanted(r)}
    assert len(whole) == len(expected) and set(whole) == expected
    assert Page(wanted).count(book) == len(whole)
    behind: list[str] = []
    while part := ids(
        book, wanted=wanted, order=order, limit=size, after=behind[-1] if behind else ""
    ):
        behind += part
    assert behind == whole
    for skip in range(0, len(whole) + 1, size):
        page = Page(wanted, order, limit=size, skip=skip)
        records, total = page.counted(book, book.jobs.__getitem__)
        assert [record.job.id for record in records] == whole[skip : skip + size]
        assert total == len(whole)


def test_ended_jobs_are_not_looked_through_for_what_is_open() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("looked at a job that has ended")

    book = a_book([named(n) for n in range(1, 6)])
    for number in "345":
        book.handle(CancelAsked(1.0, number))
        book.jobs[number] = cast(JobRecord, Untouched())
    assert ids(book, wanted=Wanted.of(state="open", text="job"), order="name") == ["1", "2"]


# ---------------------------------------------------------------------------------- through the API


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """No board: what is submitted waits, in the order of its priority."""
    home = tmp_path_factory.mktemp("queue")
    agents = LocalAgents(home / "nodes", {})
    with (
        LiveWorld(home, TableCosts({}), agents=agents) as world,
        Served(world) as served,
    ):
        for user in ("ada", "bob"):
            specs = [
                {
                    "name": f"{user}-{n}",
                    "priority": 10 * n,
                    "work": {"kind": "command", "run": "true", "like": LIKE},
                }
                for n in range(4)
            ]
            served.client.submit_specs(specs, user=user)
        served.client.cancel("8")
        yield served


def get(served: Served, **params: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return httpx.get(served.url + "/jobs", params=params, headers=headers, trust_env=False)


def test_the_api_filters_sorts_and_counts(served: Served) -> None:
    answer = get(served, user="bob", state="open", order="-priority", limit=2, count=True)
    assert [job["name"] for job in answer.json()] == ["bob-2", "bob-1"]
    assert answer.headers["X-Total-Count"] == "3"
    rest = get(served, user="bob", state="open", order="-priority", limit=2, skip=2)
    assert [job["name"] for job in rest.json()] == ["bob-0"]
    assert "X-Total-Count" not in rest.headers
    assert [job["id"] for job in served.client.page(text="ada", priority="15-99")] == ["3", "4"]


@pytest.mark.parametrize(
    "wrong", [{"order": "up"}, {"order": "-queue"}, {"priority": "x"}, {"skip": -1}, {"state": "x"}]
)
def test_a_question_that_makes_no_sense_is_answered_with_what_and_where(
    served: Served, wrong: dict[str, Any]
) -> None:
    answer = get(served, **wrong)
    assert 400 <= answer.status_code < 500
    assert answer.json()["hint"]
