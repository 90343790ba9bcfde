"""What every policy must do, as a test suite that comes with the package.

In one's own tests, with pytest:

    class TestCoolFirst(PolicyContract):
        def make(self, seed: int) -> Policy:
            return CoolFirst()

Without pytest, :func:`check` returns what is wrong; on the command line it is
`jetsched policies test FILE`. All play small worlds: a few kinds of devices, users, jobs with
priorities and deadlines that arrive in groups, run times that differ from the estimates, jobs that
fit nowhere or only just, memory kills, preemption, devices that are lost and come back.

Two attributes of a policy say what it promises. ``ages = True``: no job waits for ever while others
keep coming; who does not promise it is only warned. ``heeds_priority = False``: it has an order of
its own, which priorities do not change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from jetsched.policies.contract_play import play
from jetsched.policies.contract_rules import RULES, Factory, Trial
from jetsched.policies.contract_worlds import random_world
from jetsched.scheduler.blame import where_raised
from jetsched.scheduler.view import Policy

#: In how many worlds the rules are asked, if a rule does not say fewer.
WORLDS = 25


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that was broken, and in which world; ``where`` is ``file:line in function``.

    A *warning* is a rule that this policy does not promise to keep.
    """

    rule: str
    world: int
    text: str
    kind: Literal["error", "warning"] = "error"
    where: str = ""


def check(factory: Factory, *, worlds: int = WORLDS, seed: int = 0) -> list[Finding]:
    """Play small worlds and return every broken rule; without an *error* in it, it is a pass.

    ``factory(seed)`` must make a new policy each time it is called.
    """
    return [f for _, found in trials(factory, worlds=worlds, seed=seed) for f in found]


def steps(worlds: int = WORLDS) -> int:
    """How many answers :func:`trials` gives."""
    return sum(min(rule.worlds, worlds) for rule in RULES.values())


def trials(
    factory: Factory, *, worlds: int = WORLDS, seed: int = 0
) -> Iterator[tuple[str, list[Finding]]]:
    """Rule by rule and world by world, the rule and what was found there: for whoever shows how it
    goes, or has seen enough."""
    cases = [Trial(factory, world) for world in range(seed, seed + worlds)]
    for name, rule in RULES.items():
        for case in cases[: rule.worlds]:
            yield name, _findings(name, case)


def digest(factory: Factory, *, worlds: int = 12) -> str:
    """The decisions in some worlds, as a few digits that are the same wherever they are."""
    hashed = blake2b(digest_size=12)
    for world in range(worlds):
        for line in play(factory(world), random_world(world)).lines():
            hashed.update(line.encode() + b"\n")
    return hashed.hexdigest()


def _findings(name: str, case: Trial) -> list[Finding]:
    policy: object = None
    rule = RULES[name]
    try:
        policy = case.policy()
        texts = list(rule.breaks(case))
    except Exception as error:  # of the policy: whatever it is, it belongs into the report
        where = where_raised(error, policy)
        return [Finding(name, case.seed, f"raises {type(error).__name__}: {error}", "error", where)]
    promise, unless = rule.promise
    kind: Literal["error", "warning"] = "error"
    if promise and not getattr(getattr(policy, "__wrapped__", policy), promise, unless):
        kind = "warning"
    return [Finding(name, case.seed, *_placed(text, kind)) for text in texts]


def _placed(
    text: str, kind: Literal["error", "warning"]
) -> tuple[str, Literal["error", "warning"], str]:
    """The scheduler ends what it says of a policy with the place in its source."""
    found = re.fullmatch(r"(.*) \((.+:\d+ in [^()]+)\)(.*)", text, re.DOTALL)
    return (found[1] + found[3], kind, found[2]) if found else (text, kind, "")


# -------------------------------------------------------------------------------------- for pytest


class PolicyContract:
    """Inherit from it in a test module, name the class ``Test...``, and write :meth:`make`."""

    def make(self, seed: int) -> Policy:
        """A new policy; one that draws at random must take its draws from the seed."""
        raise NotImplementedError

    def _keeps(self, rule: str) -> None:
        for world in range(min(WORLDS, RULES[rule].worlds)):
            for finding in _findings(rule, Trial(self.make, world)):
                assert finding.kind == "warning", f"world {world}: {finding.text} {finding.where}"

    def test_makes_only_legal_choices(self) -> None:
        """It chooses what is there, free and suited, and raises nothing."""
        self._keeps("legal choices")

    def test_same_seed_gives_the_same_decisions(self) -> None:
        """Two policies made with the same seed decide the same in the same world."""
        self._keeps("same seed, same decisions")

    def test_decides_the_same_when_asked_twice(self) -> None:
        """What it decides follows from what it sees, not from how often it was asked before."""
        self._keeps("asked twice, same decision")

    def test_can_be_copied(self) -> None:
        """A copy by ``copy.deepcopy`` decides the same: that is what looks ahead."""
        self._keeps("a copy decides the same")

    def test_no_job_starves(self) -> None:
        """Every job comes to an end when devices stay and no more jobs come."""
        self._keeps("no job starves")

    def test_no_job_starves_in_a_stream_if_it_promises_so(self) -> None:
        """With ``ages = True``, a long job gets its turn while short ones keep coming."""
        self._keeps("no job starves in a stream")

    def test_starts_the_higher_priority_first(self) -> None:
        """Unless ``heeds_priority = False``: of equal jobs, the more important one starts first."""
        self._keeps("higher priority first")

    def test_looks_ahead(self) -> None:
        """Asked for the whole future, it places all that can be placed."""
        self._keeps("looks ahead")

    def test_obeys_the_memory_rule(self) -> None:
        """It starts nothing where it never fits, nor where it is tight while it fits elsewhere."""
        self._keeps("memory rule")

    def test_holding_never_stalls(self) -> None:
        """When nothing runs and a waiting job could start, something starts."""
        self._keeps("holding never stalls")

    def test_decides_nothing_in_empty_worlds(self) -> None:
        """It decides nothing, and ends, where there are no jobs or no devices."""
        self._keeps("empty worlds")

    def test_leaves_the_view_alone(self) -> None:
        """It changes nothing in the view and does not keep it after the decision."""
        self._keeps("leaves the view alone")
