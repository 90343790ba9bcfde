"""Placement policies: the table below, the entry-point group ``jetsched.policies``, and files."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jetsched.policies.finding import broken, class_of, installed, named
from jetsched.policies.specs import Option, Spec, made, options_of
from jetsched.scheduler.view import Policy

#: Name -> module and class. One file, one idea.
BUILT_IN: Mapping[str, str] = {
    "random": "jetsched.policies.random_choice:RandomChoice",
    "round_robin": "jetsched.policies.round_robin:RoundRobin",
    "fastest_device": "jetsched.policies.fastest_device:FastestDevice",
    "least_loaded": "jetsched.policies.least_loaded:LeastLoaded",
    "first_fit": "jetsched.policies.first_fit:FirstFit",
    "best_fit": "jetsched.policies.best_fit:BestFit",
    "fifo_fastest": "jetsched.policies.fifo_fastest:FifoFastest",
    "earliest_finish": "jetsched.policies.earliest_finish:EarliestFinish",
    "shortest_first": "jetsched.policies.shortest_first:ShortestFirst",
    "comparative_advantage": "jetsched.policies.comparative_advantage:ComparativeAdvantage",
    "response_ratio": "jetsched.policies.response_ratio:ResponseRatio",
    "matching": "jetsched.policies.matching:Matching",
    "min_min": "jetsched.policies.min_min:MinMin",
    "max_min": "jetsched.policies.max_min:MaxMin",
    "sufferage": "jetsched.policies.sufferage:Sufferage",
    "makespan": "jetsched.policies.makespan:Makespan",
    "auto": "jetsched.policies.auto:Auto",
    "earliest_deadline": "jetsched.policies.earliest_deadline:EarliestDeadline",
    "lowest_energy": "jetsched.policies.lowest_energy:LowestEnergy",
    "energy_delay": "jetsched.policies.energy_delay:EnergyDelay",
    "fair_share": "jetsched.policies.fair_share:FairShare",
    "shortest_remaining": "jetsched.policies.shortest_remaining:ShortestRemaining",
    "colocation": "jetsched.policies.colocation:Colocation",
}

#: What each is for. A policy that is not here says it itself, in an attribute ``kind``.
KINDS: Mapping[str, str] = {
    "random": "baseline",
    "round_robin": "baseline",
    "first_fit": "baseline",
    "best_fit": "baseline",
    "fastest_device": "baseline",
    "least_loaded": "baseline",
    "fifo_fastest": "baseline",
    "earliest_finish": "baseline",
    "shortest_first": "size-aware",
    "comparative_advantage": "size-aware",
    "response_ratio": "size-aware",
    "matching": "size-aware",
    "min_min": "batch",
    "max_min": "batch",
    "sufferage": "batch",
    "makespan": "batch",
    "earliest_deadline": "deadline",
    "lowest_energy": "energy",
    "energy_delay": "energy",
    "fair_share": "fairness",
    "colocation": "co-location",
    "shortest_remaining": "preemptive",
    "auto": "any objective",
}

#: Decides where nobody names another one.
DEFAULT = "auto"

#: Decides where another one breaks its contract: plain, so that it hardly can.
FALLBACK = "earliest_finish"


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A line of `jetsched policies`. ``where`` is its ``module:Class``."""

    name: str
    summary: str
    kind: str
    source: Literal["built-in", "entry point"]
    where: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class PolicyDetails:
    """What `jetsched policies show` tells: ``text`` is the docstring, with its literature."""

    name: str
    kind: str
    text: str
    where: str
    options: tuple[Option, ...]
    ages: bool


def load(spec: str, **options: Any) -> Policy:
    """Make a policy: ``name``, ``module:Class``, ``file.py`` or ``file.py:Class``.

    Options for its constructor may follow, as in ``comparative_advantage:bias=3`` or
    ``file.py:Class:a=1,b=x``; such a policy is called by the whole of it. ``options`` are those of
    the caller, where the spec says nothing else; ``seed`` is offered to every policy, and left out
    where the constructor does not take it. Raises :class:`InputError` for an unknown name or
    option, and, with file and line, for code that does not load or holds no policy.
    """
    asked = Spec.of(spec)
    return made(asked, class_of(asked.where, BUILT_IN), options)


def split(text: str) -> list[str]:
    """The specs of a list with commas between them; options may have commas too.

    ``a,b:x=1,y=2,c`` is three of them, and ``all`` stands for the built-in ones; none comes twice.
    Raises :class:`InputError` for an empty one.
    """
    found: list[str] = []
    for spec in Spec.several(text):
        found += BUILT_IN if spec.text == "all" else [spec.text]
    return list(dict.fromkeys(found))


def describe() -> list[PolicyInfo]:
    """All policies that have a name: the built-in ones, then the installed ones by name."""
    rows = []
    for name, where in BUILT_IN.items():
        summary, kind = _words(name, named(where))
        rows.append(PolicyInfo(name, summary, kind, "built-in", where, name == DEFAULT))
    for name, point in sorted(installed(BUILT_IN).items()):
        try:
            summary, kind = _words(name, point.load())
        except Exception as error:  # somebody else's package must not hide the others
            summary, kind = f"cannot be loaded: {broken(error)}", ""
        rows.append(PolicyInfo(name, summary, kind, "entry point", point.value))
    return rows


def details(spec: str) -> PolicyDetails:
    """What a policy says of itself. Raises :class:`InputError` as :func:`load` does."""
    where = Spec.of(spec).where
    found = class_of(where, BUILT_IN)
    name = str(getattr(found, "name", "") or getattr(found, "__name__", where))
    points = installed(BUILT_IN)
    at = BUILT_IN.get(where) or (points[where].value if where in points else where)
    text, ages = inspect.getdoc(found) or "", getattr(found, "ages", False) is True
    return PolicyDetails(name, _words(name, found)[1], text, at, options_of(found), ages)


def _words(name: str, found: object) -> tuple[str, str]:
    kind = KINDS.get(name) or getattr(found, "kind", "")
    return (inspect.getdoc(found) or "").partition("\n")[0], kind if isinstance(kind, str) else ""
