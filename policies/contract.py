"""What every policy must do, as a test suite that comes with the package.

In one's own tests, with pytest:

    class TestCoolFirst(PolicyContract):
        def make(self, seed: int) -> Policy:
            return CoolFirst()

Without pytest, :func:`check` returns what is wrong. Both play small random worlds: a few kinds of
devices, jobs that arrive in groups, run times that differ from the estimates, jobs that fit nowhere
or only just, memory kills, devices that are lost and come back.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jetsched.policies.contract_worlds import World, play
from jetsched.records import Placement
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined, Start, Submitted
from jetsched.scheduler.view import Policy, View

#: Makes the policy under test; called once per world.
Factory = Callable[[int], Policy]

#: Yields what is broken in the world with that number.
Rule = Callable[[Factory, int], Iterator[str]]

WORLDS = 25


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule of the contract that was broken, and in which world."""

    rule: str
    world: int
    text: str


def check(factory: Factory, *, worlds: int = WORLDS, seed: int = 0) -> list[Finding]:
    """Play random worlds and return every broken rule; an empty list is a pass.

    ``factory(seed)`` must make a new policy each time it is called.
    """
    return [
        Finding(rule, world, text)
        for rule, breaks in RULES.items()
        for world in range(seed, seed + worlds)
        for text in _broken(breaks, factory, world)
    ]


def _broken(breaks: Rule, factory: Factory, world: int) -> list[str]:
    try:
        return list(breaks(factory, world))
    except Exception as error:  # of the policy: whatever it is, it belongs into the report
        return [f"raises {type(error).__name__}: {error}"]


# -------------------------------------------------------------------------------------- the rules


def _legal_choices(factory: Factory, seed: int) -> Iterator[str]:
    """It places waiting jobs on devices that are there, free and suited, and raises nothing."""
    yield from dict.fromkeys(play(factory(seed), World(seed)).scheduler.policy_errors)


def _same_seed_same_decisions(factory: Factory, seed: int) -> Iterator[str]:
    """Two policies made with the same seed decide the same in the same world."""
    first, second = (play(factory(seed), World(seed)).actions for _ in range(2))
    for one, other in zip(first, second, strict=False):
        if one != other:
            yield f"decided otherwise the second time: first {one}, then {other}"
            return
    if len(first) != len(second):
        yield f"made {len(first)} decisions, and {len(second)} the second time"


def _no_job_starves(factory: Factory, seed: int) -> Iterator[str]:
    """Every job comes to an end when devices stay and no more jobs come."""
    scheduler = play(factory(seed), World(seed, calm=True)).scheduler
    view = scheduler.view(scheduler.now_s)
    for job in view.queue():
        if view.options(job):
            yield f"job {job.id} still waits when nothing happens any more"


def _memory_rule(factory: Factory, seed: int) -> Iterator[str]:
    """It starts nothing where it never fits, nor where it is tight while it fits elsewhere."""
    played = play(factory(seed), World(seed))
    yield from played.bad_starts
    tight = World(seed, calm=True, only_tight=True)
    if not any(isinstance(a, Start) for a in play(factory(seed), tight).actions):
        yield "starts no job that is tight everywhere, though tight is allowed then"


def _holding_never_stalls(factory: Factory, seed: int) -> Iterator[str]:
    """When nothing runs and a waiting job could start, something starts."""
    for at_s in play(factory(seed), World(seed)).stalls[:1]:
        yield f"at {at_s:.0f} s nothing runs, a job could start, and nothing is started"


def _empty_worlds(factory: Factory, seed: int) -> Iterator[str]:
    """It decides nothing, and ends, where there are no jobs or no devices."""
    world = World(seed, calm=True)
    joined = [DeviceJoined(0.0, device) for device in world.devices]
    submitted = [Submitted(0.0, world.jobs)]
    for what, events in (("jobs", joined), ("devices", submitted), ("jobs and devices", [])):
        scheduler = Scheduler(_Idle(), world.costs())
        for event in events:
            scheduler.handle(event)
        choice = next(iter(factory(seed).decide(scheduler.view(0.0))), None)
        if choice is not None:
            yield f"decides {choice} without {what}"


def _leaves_the_view_alone(factory: Factory, seed: int) -> Iterator[str]:
    """It changes nothing in the view and does not keep it after the decision."""
    world = World(seed, calm=True)
    scheduler = Scheduler(_Idle(), world.costs())
    for device in world.devices:
        scheduler.handle(DeviceJoined(0.0, device))
    scheduler.handle(Submitted(0.0, world.jobs))
    policy, view = factory(seed), scheduler.view(0.0)
    before = _picture(scheduler)
    for choice in policy.decide(view):
        if isinstance(choice, Placement) and not view.is_placed(choice.job.id):
            view.assume(choice)
    if _picture(scheduler) != before:
        yield "changes the scheduler's own state through the view"
    kept = weakref.ref(view)
    del view
    gc.collect()
    if kept() is not None:
        yield "keeps the view: it is only true for one decision"


RULES: dict[str, Rule] = {
    "legal choices": _legal_choices,
    "same seed, same decisions": _same_seed_same_decisions,
    "no job starves": _no_job_starves,
    "memory rule": _memory_rule,
    "holding never stalls": _holding_never_stalls,
    "empty worlds": _empty_worlds,
    "leaves the view alone": _leaves_the_view_alone,
}


class _Idle:
    """Decides nothing: for a scheduler whose view is shown to the policy under test."""

    def decide(self, view: View) -> tuple[Placement, ...]:
        return ()


def _picture(scheduler: Scheduler) -> object:
    """All that a policy could reach and change through its view."""
    fleet = scheduler.fleet
    return (
        [(r.job, r.state, list(r.attempts), r.barred) for r in scheduler.jobs.values()],
        [r.job.id for r in scheduler.queue],
        dict(fleet.devices),
        dict(fleet.job_on),
        dict(fleet.finish_s),
        [(s.device_class, list(s.free), list(s.busy)) for s in fleet.classes],
    )


# -------------------------------------------------------------------------------------- for pytest


class PolicyContract:
    """Inherit from it in a test module, name the class ``Test...``, and write :meth:`make`."""

    def make(self, seed: int) -> Policy:
        """A new policy; one that draws at random must take its draws from the seed."""
        raise NotImplementedError

    def _passes(self, rule: str) -> None:
        for world in range(WORLDS):
            broken = list(RULES[rule](self.make, world))
            assert not broken, f"world {world}: {broken[0]}"

    def test_makes_only_legal_choices(self) -> None:
        """It places waiting jobs on devices that are there, free and suited, and raises nothing."""
        self._passes("legal choices")

    def test_same_seed_gives_the_same_decisions(self) -> None:
        """Two policies made with the same seed decide the same in the same world."""
        self._passes("same seed, same decisions")

    def test_no_job_starves(self) -> None:
        """Every job comes to an end when devices stay and no more jobs come."""
        self._passes("no job starves")

    def test_obeys_the_memory_rule(self) -> None:
        """It starts nothing where it never fits, nor where it is tight while it fits elsewhere."""
        self._passes("memory rule")

    def test_holding_never_stalls(self) -> None:
        """When nothing runs and a waiting job could start, something starts."""
        self._passes("holding never stalls")

    def test_decides_nothing_in_empty_worlds(self) -> None:
        """It decides nothing, and ends, where there are no jobs or no devices."""
        self._passes("empty worlds")

    def test_leaves_the_view_alone(self) -> None:
        """It changes nothing in the view and does not keep it after the decision."""
        self._passes("leaves the view alone")
