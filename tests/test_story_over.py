"""When a job of the past is over: as the scheduler says it, on every page about it."""

from __future__ import annotations

from pathlib import Path

from builders import a_job, an_estimate, nx
from hypothesis import given
from hypothesis import strategies as st
from test_story import ALL, own

from jetsched import policies
from jetsched.cluster.pastjobs import PastBook
from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.story import job_story
from jetsched.cluster.storypage import job_page
from jetsched.cluster.storyweek import week_story
from jetsched.cluster.storyweekpage import week_page
from jetsched.profiler.costs import CostModel
from jetsched.records import FINAL_STATES, Outcome, Placement, Retry
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    DeviceJoined,
    Entry,
    Finished,
    RetryAsked,
    Start,
    Submitted,
)
from jetsched.scheduler.journal import NoJournal

OUTCOMES: tuple[Outcome, ...] = (
    *("done", "failed", "killed_memory", "killed_time", "killed_heat", "lost", "preempted"),
)


def test_a_job_that_will_be_tried_again_has_not_ended(tmp_path: Path) -> None:
    """Neither on its own page nor on that of the week, whether a head can be asked or not; after
    its last try it has, until somebody asks for another one."""
    job = a_job("1", retry=Retry(1, ("killed_memory",)))
    placement = Placement(job, nx(), an_estimate(60.0), 11.0, 71.0)
    store = Store(tmp_path / JOURNAL)
    store.append(
        DeviceJoined(0.0, nx()),
        Submitted(10.0, (job,)),
        Start(11.0, placement, 1, None),
        Finished(41.0, "1", 1, "killed_memory", None, "too large"),
    )

    def pages() -> tuple[str, str]:
        story = job_story("1", own(tmp_path / JOURNAL))
        return job_page(story), week_page(week_story(ALL, own(tmp_path / JOURNAL)))

    page, week = pages()
    assert "<dt>ended</dt>" not in page and "from submission to end" not in page
    assert '<span class="label">WAITING</span>' in page and "waits for another try" in page
    assert "<dt>not over at the end</dt><dd>1</dd>" in week and "WAITING" in week
    store.append(
        Start(50.0, placement, 2, None),
        Finished(80.0, "1", 2, "killed_memory", None, "too large"),
    )
    page, week = pages()
    assert "<dt>ended</dt>" in page and "waits for another try" not in page
    assert "KILLED(memory)</span>" in page and "not over at the end" not in week
    store.append(RetryAsked(90.0, "1"))
    page, week = pages()
    assert "<dt>ended</dt>" not in page and "not over at the end" in week
    store.close()


@given(times=st.integers(0, 3), ended=st.lists(st.sampled_from(OUTCOMES), max_size=6))
def test_a_job_is_over_in_the_past_when_the_scheduler_says_so(
    times: int, ended: list[Outcome]
) -> None:
    """The same attempts are told to both."""
    job = a_job("1", retry=Retry(times, ("killed_memory", "lost", "failed")))
    book = PastBook()
    fallback = policies.load(policies.FALLBACK)
    scheduler = Scheduler(fallback, CostModel(), fallback=fallback, journal=NoJournal())
    entries: list[Entry] = [DeviceJoined(0.0, nx()), Submitted(1.0, (job,))]
    for number, outcome in enumerate(ended, 1):
        start = Start(10.0 * number, Placement(job, nx(), an_estimate(60.0), 0.0, 60.0), number)
        entries += [start, Finished(10.0 * number + 5.0, "1", number, outcome, None, "")]
    for entry in entries:
        if isinstance(entry, Start) and book.jobs["1"].over:
            break
        book.take(entry)
        scheduler.replay([entry])
        state = scheduler.jobs["1"].state if scheduler.jobs else "waiting"
        past = book.jobs.get("1")
        assert (past is not None and past.over) == (state in FINAL_STATES)
