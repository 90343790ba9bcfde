"""Whatever happens, in whatever order, and however mad the policy: the books are right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

from builders import NX, ORIN, TableCosts, a_job, a_kill, an_estimate
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import check_invariants, check_starts

from jetsched.files import to_json
from jetsched.records import Device, DeviceClass, Needs, Placement, Preempt, Retry
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    CLOSINGS,
    CancelAsked,
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    DiskSeen,
    Event,
    FilesSeen,
    Finished,
    HoldAsked,
    Learned,
    QueuePaused,
    Reattached,
    RetryAsked,
    Started,
    Submitted,
    Tick,
)
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.view import View

MODELS = ("tiny-gpt2", "distilgpt2", "gpt2", "unknown")
CLASSES = (NX, ORIN, DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 3000.0))
OUTCOMES = ("done", "failed", "killed_memory", "killed_time", "preempted", "cancelled")
BOARDS = tuple(f"board-{number}" for number in range(4))
FILES = ("a", "b")


class AnythingGoes:
    """Draws legal and illegal choices from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def decide(self, view: View) -> Iterator[Placement | Preempt]:
        devices = sorted(view.all_devices.values(), key=lambda d: d.id)  # closed ones as well
        for job in list(view.queue())[:5]:
            roll = self.random.random()
            device = self.random.choice(devices)
            if roll < 0.4 and (options := view.options(job)):
                yield self.random.choice(options)
            elif roll < 0.6:
                start_s = view.now_s + self.random.choice([-1.0, 0.0, 3.0, float("inf")])
                yield Placement(job, device, an_estimate(), start_s, start_s)
            elif roll < 0.7:
                yield Preempt(self.random.choice([job.id, *(j.id for j, _ in view.running())]))
            elif roll < 0.72:
                raise RuntimeError("a bug in a plug-in")


def costs() -> TableCosts:
    return TableCosts(
        {
            ("tiny-gpt2", "xavier-nx"): 1.0,
            ("tiny-gpt2", "orin-nano"): 0.5,
            ("distilgpt2", "xavier-nx"): 3.0,
            ("distilgpt2", "orin-nano"): 1.0,
            ("gpt2", "xavier-nx"): 4.0,
            ("gpt2", "orin-nano"): 2.0,
        },
        tight={("gpt2", "xavier-nx")},
    )


numbers = st.integers(0, 20)  # which job or device: counted round what there is
steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 3), st.sampled_from(CLASSES)),
        st.tuples(st.just("lose"), numbers),
        st.tuples(
            st.just("submit"),
            st.lists(st.sampled_from(MODELS), min_size=1, max_size=3),
            st.sampled_from([0, 50, 100]),
            st.sampled_from([(), (), ("xavier-nx",), ("board-1",)]),
            st.integers(0, 2),
            st.sampled_from([None, None, 5000.0]),
        ),
        st.tuples(st.just("cancel"), numbers),
        st.tuples(st.just("learn"), st.lists(st.sampled_from(MODELS), max_size=3), numbers),
        st.tuples(st.just("started"), numbers),
        st.tuples(st.just("finish"), numbers, st.sampled_from(OUTCOMES), st.booleans()),
        st.tuples(st.just("finish"), numbers, st.just("done"), st.just(False)),
        st.tuples(st.just("close"), st.sampled_from(BOARDS), st.sampled_from(CLOSINGS)),
        st.tuples(st.just("open"), st.sampled_from(BOARDS), st.sampled_from(CLOSINGS)),
        st.tuples(st.just("remove"), st.sampled_from(BOARDS)),
        st.tuples(st.just("hold"), numbers, st.booleans()),
        st.tuples(st.just("retry"), numbers),
        st.tuples(st.just("pause"), st.booleans()),
        st.tuples(st.just("reattach"), numbers),
        st.tuples(st.just("late"), numbers, st.sampled_from((*OUTCOMES, "done", "lost"))),
        st.tuples(st.just("tick")),
        st.tuples(
            st.just("files"),
            st.sampled_from(BOARDS),
            st.lists(st.sampled_from(FILES), unique=True),
            st.none() | st.sampled_from([0.5, 20.0]),
        ),
        st.tuples(st.just("disk"), st.sampled_from(BOARDS), st.sampled_from([100.0, 9000.0])),
    ),
    min_size=15,
    max_size=80,
)


def events_of(scheduler: Scheduler, drawn: list[tuple[object, ...]]) -> Iterator[Event]:
    """Turn what hypothesis drew into events that concern what is there."""
    for number, kind in enumerate(CLASSES[:2]):
        yield DeviceJoined(0, Device(f"board-{number}", kind))
    for at_s, step in enumerate(drawn, start=1):
        devices = sorted(scheduler.fleet.devices)
        running = sorted(scheduler.fleet.job_on.values())
        match step:
            case ("join", int(number), DeviceClass() as kind):
                yield DeviceJoined(at_s, Device(f"board-{number}", kind))
            case ("lose", int(number)) if devices:
                yield DeviceLost(at_s, devices[number % len(devices)])
            case ("submit", list(models), int(priority), tuple(wish), int(times), disk):
                first = len(scheduler.jobs)
                yield Submitted(
                    at_s,
                    tuple(
                        a_job(
                            str(first + n),
                            model,
                            priority=priority,
                            needs=Needs(wish, disk_mib=disk),  # type: ignore[arg-type]
                            retry=Retry(times=times),
                            submitted_s=float(at_s),
                            work={"files_mib": {FILES[n % 2]: 10.0}} if n else {},
                        )
                        for n, model in enumerate(models)
                    ),
                )
            case ("cancel", int(number)) if scheduler.jobs:
                yield CancelAsked(at_s, str(number % len(scheduler.jobs)))
            case ("close", str(device_id), code):
                yield DeviceClosed(at_s, device_id, code, "why not")  # type: ignore[arg-type]
            case ("open", str(device_id), code):
                yield DeviceOpened(at_s, device_id, code)  # type: ignore[arg-type]
            case ("remove", str(device_id)):
                yield DeviceRemoved(at_s, device_id)
            case ("hold", int(number), bool(hold)) if scheduler.jobs:
                yield HoldAsked(at_s, str(number % len(scheduler.jobs)), hold)
            case ("retry", int(number)) if scheduler.jobs:
                yield RetryAsked(at_s, str(number % len(scheduler.jobs)))
            case ("pause", bool(paused)):
                yield QueuePaused(at_s, paused, "for a while")
            case ("disk", str(device_id), float(free_mib)):
                yield DiskSeen(at_s, device_id, free_mib)
            case ("files", str(device_id), list(names), mib_s):
                yield FilesSeen(at_s, device_id, tuple(names), mib_s)  # type: ignore[arg-type]
            case ("tick",):
                yield Tick(at_s)
            case ("reattach", int(number)) if lost := lost_last(scheduler):
                yield Reattached(at_s, *lost[number % len(lost)])
            case ("late", int(number), str(outcome)) if lost := lost_last(scheduler):
                job_id, last = lost[number % len(lost)]
                late_kill = a_kill(scheduler.jobs[job_id].job, Device("board-0", NX))
                measured = late_kill if outcome == "killed_memory" else None
                yield Finished(at_s, job_id, last, outcome, measured)  # type: ignore[arg-type]
            case ("learn", list(models), int(number)) if devices:
                board = scheduler.fleet.devices[devices[number % len(devices)]]
                kills = tuple(a_kill(a_job("x", model), board) for model in models)
                yield Learned(at_s, kills, CLASSES[: number % 2])
            case ("started", int(number)) if running:
                job_id = running[number % len(running)]
                yield Started(at_s, job_id, scheduler.jobs[job_id].attempts[-1].number)
            case ("finish", int(number), str(outcome), bool(stale)) if running:
                record = scheduler.jobs[running[number % len(running)]]
                attempt = record.attempts[-1]
                kill = None
                if outcome == "killed_memory":
                    kill = a_kill(record.job, scheduler.fleet.devices[attempt.device])
                yield Finished(
                    at_s,
                    record.job.id,
                    attempt.number - stale,
                    outcome,  # type: ignore[arg-type]
                    kill,
                )


def lost_last(scheduler: Scheduler) -> list[tuple[str, int]]:
    """Jobs whose last attempt was given up, each with its number; they may have moved on."""
    return [
        (job_id, record.attempts[-1].number)
        for job_id, record in scheduler.jobs.items()
        if record.attempts and record.attempts[-1].outcome == "lost"
    ]


def run(drawn: list[tuple[object, ...]], seed: int) -> tuple[Scheduler, MemoryJournal]:
    journal = MemoryJournal()
    scheduler = Scheduler(
        AnythingGoes(seed), costs(), fallback=AnythingGoes(seed + 1), journal=journal
    )
    for event in events_of(scheduler, drawn):
        actions = scheduler.handle(event)
        check_invariants(scheduler)
        check_starts(scheduler, actions)
    return scheduler, journal


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(0, 1000))
def test_the_books_are_right_after_every_event(drawn: list[tuple[object, ...]], seed: int) -> None:
    """One state per job, one job per device, nothing where it never fits."""
    run(drawn, seed)


@settings(max_examples=50, deadline=None)
@given(steps, st.integers(0, 1000))
def test_the_same_seed_gives_the_same_journal(drawn: list[tuple[object, ...]], seed: int) -> None:
    first, second = (json.dumps([to_json(e) for e in run(drawn, seed)[1]]) for _ in range(2))
    assert first == second


@settings(max_examples=50, deadline=None)
@given(steps, st.integers(0, 1000))
def test_a_replayed_journal_gives_the_same_state(
    drawn: list[tuple[object, ...]], seed: int
) -> None:
    scheduler, journal = run(drawn, seed)
    again = Scheduler(AnythingGoes(0), costs())
    again.replay(journal)
    check_invariants(again)
    assert facts(again) == facts(scheduler)


def facts(scheduler: Scheduler) -> dict[str, object]:
    """All that a replay has to bring back."""
    fleet = scheduler.fleet
    return {
        "jobs": {
            i: (r.state, r.attempts, r.reason, r.kept, r.forgiven, r.group.saved, r.group.barred)
            for i, r in scheduler.jobs.items()
        },
        "queue": [record.job.id for record in scheduler.queue],
        "fleet": (list(fleet.devices.values()), list(fleet.open), fleet.closings, fleet.away),
        "classes": [(kind.device_class, sorted(kind.known)) for kind in fleet.classes],
        "runs": (list(fleet.job_on.items()), fleet.finish_s),
        "files": {device_id: fleet.files.of(device_id) for device_id in BOARDS},
        "paused": scheduler.paused,
        "usage": {user: usage.until(scheduler.now_s) for user, usage in scheduler.usage.items()},
    }
