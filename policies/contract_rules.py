"""The rules that every policy must keep, each as a question about a world."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

from jetsched.policies.contract_play import Played, play
from jetsched.policies.contract_worlds import Ahead, World, equal_world, random_world, stream_world
from jetsched.records import Placement
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined, Start, Submitted
from jetsched.scheduler.view import Policy, View

#: What may stand ahead of a job that waits for its turn, as words.
_AHEAD: Mapping[Ahead, str] = {
    "nothing": "",
    "absent": "; ahead of it are jobs that need a device that is not there",
    "busy": "; ahead of it are jobs that need a device that is busy",
}

#: Makes the policy under test; called once per world.
Factory = Callable[[int], Policy]


class Trial:
    """A policy in the worlds of one number; what several rules ask for is played once."""

    def __init__(self, factory: Factory, seed: int) -> None:
        self.factory = factory
        self.seed = seed
        self._played: Played | None = None

    def policy(self) -> Policy:
        return self.factory(self.seed)

    def world(self, *, calm: bool = False, only_tight: bool = False) -> World:
        return random_world(self.seed, calm=calm, only_tight=only_tight)

    @property
    def played(self) -> Played:
        """The random world with all its mishaps."""
        if self._played is None:
            self._played = play(self.policy(), self.world())
        return self._played


@dataclass(frozen=True)
class Rule:
    """``breaks`` yields what is broken, as sentences. ``worlds``: in how many it is asked.

    ``promise`` is an attribute of the policy, and what it is where there is none: a policy that
    does not promise the rule is only warned.
    """

    breaks: Callable[[Trial], Iterator[str]]
    worlds: int = 25
    promise: tuple[str, bool] = ("", True)


def _legal_choices(trial: Trial) -> Iterator[str]:
    """It chooses what is there, free and suited, and raises nothing."""
    yield from dict.fromkeys(trial.played.scheduler.policy_errors)


def _same_seed_same_decisions(trial: Trial) -> Iterator[str]:
    """Two policies made with the same seed decide the same in the same world."""
    again = play(trial.policy(), trial.world())
    yield from _differs(trial.played, again, "the second time")


def _asked_twice(trial: Trial) -> Iterator[str]:
    """What it decides follows from what it sees, not from how often it was asked before."""
    unstable: list[str] = []

    def ask_twice(scheduler: Scheduler) -> None:
        scheduler.foresee(scheduler.now_s)
        first, second = (scheduler.decide(scheduler.now_s) for _ in range(2))
        if first != second and not unstable:
            unstable.append(f"asked twice at {scheduler.now_s:.0f} s, it decides {first}, {second}")

    asked = play(trial.policy(), trial.world(), probe=ask_twice)
    yield from unstable or _differs(trial.played, asked, "when it is asked more often")


def _copies(trial: Trial) -> Iterator[str]:
    """A copy by ``copy.deepcopy`` decides the same: that is what looks ahead."""

    def swap(scheduler: Scheduler) -> None:
        scheduler.policy = deepcopy(scheduler.policy)

    copied = play(trial.policy(), trial.world(), probe=swap)
    yield from _differs(trial.played, copied, "as a copy")


def _no_job_starves(trial: Trial) -> Iterator[str]:
    """Every job comes to an end when devices stay and no more jobs come."""
    played = play(trial.policy(), trial.world(calm=True))
    if played.endless:
        yield "stops and starts jobs without end"
        return
    scheduler = played.scheduler
    view = scheduler.view(scheduler.now_s)
    left = [job.id for job in view.queue() if view.options(job)]
    if left:
        more = f", and {len(left) - 1} others" if left[1:] else ""
        yield f"job {left[0]} still waits when nothing happens any more{more}"


def _no_job_starves_in_a_stream(trial: Trial) -> Iterator[str]:
    """A long job gets its turn while short ones keep coming, faster than they are done."""
    for ahead, told in _AHEAD.items():
        world, long = stream_world(trial.seed, ahead)
        last_s = max(job.submitted_s for job in world.jobs)
        played = play(trial.policy(), world, until_s=last_s)
        record = played.scheduler.jobs[long.id]
        ran_s = sum((a.end_s or last_s) - a.start_s for a in record.attempts)
        if not record.attempts:
            waits = f"a job of 200 s waits for {last_s:,.0f} s, and still does"
            yield f"{waits}, while short ones start{told}"
        elif record.state not in ("done", "running") and ran_s < 200.0:
            yield f"a job of 200 s gets {ran_s:,.0f} s of {last_s:,.0f}, while short ones are done"


def _higher_priority_first(trial: Trial) -> Iterator[str]:
    """Of jobs that differ in nothing else, the one with the higher priority starts first."""
    world = equal_world(trial.seed)
    waiting = {job.id: job.priority for job in world.jobs}
    for action in play(trial.policy(), world).actions:
        if isinstance(action, Start):
            job = action.placement.job
            waiting.pop(job.id, None)
            best = max(waiting.values(), default=0)
            if best > job.priority:
                yield f"starts a job of priority {job.priority} while an equal one of {best} waits"
                return


def _looks_ahead(trial: Trial) -> Iterator[str]:
    """Asked for the whole future, it places all that can be placed."""
    left: list[str] = []

    def look(scheduler: Scheduler) -> None:
        if left or not scheduler.fleet.devices:
            return
        foreseen = scheduler.foresee(scheduler.now_s)
        view = scheduler.view(scheduler.now_s, planning=True)
        for job in view.queue():
            if job.id not in foreseen and view.options(job):
                left.append(f"at {scheduler.now_s:.0f} s it foresees nothing for job {job.id}")
                return

    play(trial.policy(), trial.world(), probe=look)
    yield from left


def _memory_rule(trial: Trial) -> Iterator[str]:
    """It starts nothing where it never fits, nor where it is tight while it fits elsewhere."""
    yield from trial.played.bad_starts
    tight = trial.world(calm=True, only_tight=True)
    if not any(isinstance(a, Start) for a in play(trial.policy(), tight, until_s=100.0).actions):
        yield "starts no job that is tight everywhere, though tight is allowed then"


def _holding_never_stalls(trial: Trial) -> Iterator[str]:
    """When nothing runs and a waiting job could start, something starts."""
    for at_s in trial.played.stalls[:1]:
        yield f"at {at_s:.0f} s nothing runs, a job could start, and nothing is started"


def _empty_worlds(trial: Trial) -> Iterator[str]:
    """It decides nothing, and ends, where there are no jobs or no devices."""
    world = trial.world(calm=True)
    joined = [DeviceJoined(0.0, device) for device in world.devices]
    submitted = [Submitted(0.0, tuple(world.jobs))]
    for what, events in (("jobs", joined), ("devices", submitted), ("jobs and devices", [])):
        scheduler = Scheduler(_Idle(), world.costs())
        for event in events:
            scheduler.handle(event)
        choice = next(iter(trial.policy().decide(scheduler.view(0.0))), None)
        if choice is not None:
            yield f"decides {choice} without {what}"


def _leaves_the_view_alone(trial: Trial) -> Iterator[str]:
    """It changes nothing in the view and does not keep it after the decision."""
    world = trial.world(calm=True)
    scheduler = Scheduler(_Idle(), world.costs())
    for device in world.devices:
        scheduler.handle(DeviceJoined(0.0, device))
    scheduler.handle(Submitted(0.0, tuple(world.jobs)))
    policy, view = trial.policy(), scheduler.view(0.0)
    before = _picture(scheduler)
    for choice in policy.decide(view):
        if isinstance(choice, Placement) and not view.is_placed(choice.job.id):
            view.assume(choice)
    if _picture(scheduler) != before:
        yield "changes the scheduler's own state through the view"
    kept = weakref.ref(view)
    del view
    if kept() is not None:
        gc.collect()
    if kept() is not None:
        yield "keeps the view: it is only true for one decision"


#: A name for each; the sentence that says it is the function's.
RULES: Mapping[str, Rule] = {
    "legal choices": Rule(_legal_choices),
    "same seed, same decisions": Rule(_same_seed_same_decisions),
    "asked twice, same decision": Rule(_asked_twice),
    "a copy decides the same": Rule(_copies),
    "no job starves": Rule(_no_job_starves),
    "no job starves in a stream": Rule(
        _no_job_starves_in_a_stream, worlds=2, promise=("ages", False)
    ),
    "higher priority first": Rule(
        _higher_priority_first, worlds=8, promise=("heeds_priority", True)
    ),
    "looks ahead": Rule(_looks_ahead),
    "memory rule": Rule(_memory_rule),
    "holding never stalls": Rule(_holding_never_stalls),
    "empty worlds": Rule(_empty_worlds, worlds=8),
    "leaves the view alone": Rule(_leaves_the_view_alone, worlds=8),
}


def _differs(first: Played, other: Played, when: str) -> Iterator[str]:
    ours, theirs = first.lines(), other.lines()
    for one, two in zip(ours, theirs, strict=False):
        if one != two:
            yield f"decides otherwise {when}: first {one}, then {two}"
            return
    if len(ours) != len(theirs):
        yield f"decides otherwise {when}: {len(ours)} times, then {len(theirs)}"


class _Idle:
    """Decides nothing: for a scheduler whose view is shown to the policy under test."""

    def decide(self, view: View) -> tuple[Placement, ...]:
        return ()


def _picture(scheduler: Scheduler) -> object:
    """All that a policy could reach and change through its view."""
    fleet = scheduler.fleet
    return (
        [(r.job, r.state, list(r.attempts), r.stopping) for r in scheduler.jobs.values()],
        [r.job.id for r in scheduler.queue],
        dict(fleet.devices),
        dict(fleet.job_on),
        dict(fleet.finish_s),
        [(s.device_class, list(s.free), list(s.busy)) for s in fleet.classes],
    )
