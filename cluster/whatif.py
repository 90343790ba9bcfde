"""What if: the questions that the page takes, and what comes of one beside what was.

The answer is worked out by :mod:`jetsched.cluster.whatif_child`, beside the service.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jetsched import policies
from jetsched.cluster.history import span_s
from jetsched.cluster.whatif_picture import Picture
from jetsched.errors import InputError
from jetsched.files import from_json
from jetsched.policies.specs import Spec
from jetsched.problems import did_you_mean, quoted
from jetsched.records import Source
from jetsched.units import counted

#: So many boards may be added in one question.
MOST_ADDED = 64
_BOARDS_HINT = "orin-nano:2 adds boards as data sheets have them, nx-1:1 another one like nx-1"
_WORD = re.compile(r"([^\s,:@]{1,100}(?:@[^\s,:]{1,100})?)(?::(\d{1,4}))?")


@dataclass(frozen=True)
class Question:
    """What is to be replayed, and what is to be other than it was.

    ``span`` is of the history: ``last-week``, ``7d``, ``all``. ``policy`` is a spec, "" for the one
    that decides now; ``boards`` are to be added: ``orin-nano:2,nx-1:1``, models or boards here.
    """

    of: Literal["history", "queue"] = "history"
    span: str = "last-week"
    policy: str = ""
    boards: str = ""

    def check(self) -> Question:
        """Raises :class:`InputError` for what makes no sense."""
        if self.of == "history":
            span_s(self.span, "span")
        _check_policy(self.policy)
        boards = self.added
        if not self.policy and not boards:
            raise InputError(
                "nothing is to be other than it was", hint="choose another policy, or add boards"
            )
        if sum(count for _, count in boards) > MOST_ADDED:
            raise InputError(f"more than {MOST_ADDED} boards to add", hint=_BOARDS_HINT)
        return self

    @property
    def added(self) -> list[tuple[str, int]]:
        """(model or board, how many). Raises :class:`InputError`."""
        found = []
        for word in self.boards.split(",") if self.boards.strip() else ():
            match = _WORD.fullmatch(word.strip())
            count = int(match[2] or 1) if match is not None else 0
            if match is None or not count:
                raise InputError(f"boards: {quoted(word)} is none", hint=_BOARDS_HINT)
            found.append((match[1], count))
        return found

    @property
    def words(self) -> str:
        """The question in a few words."""
        what = f"the history ({self.span})" if self.of == "history" else "the queue as it is now"
        changes = [f"policy {self.policy}"] if self.policy else []
        changes += [f"{count} more {name}" for name, count in self.added]
        return f"{what} with {' and '.join(changes)}"

    @property
    def command(self) -> str:
        """A command line that asks nearly the same; "" where there is none."""
        if self.of != "history" or not self.policy or self.boards:
            return ""
        return f"jetsched compare --replay {self.span} --policies {self.policy}"


def _check_policy(spec: str) -> None:
    """No file is loaded for a browser: names of what comes with jetsched only, with options."""
    name = Spec.of(spec).where
    if spec and name not in policies.BUILT_IN:
        hint = did_you_mean(name, policies.BUILT_IN) or "see: jetsched policies"
        raise InputError(f"there is no policy {quoted(name)} to try here", hint=hint)


@dataclass(frozen=True)
class Came:
    """What came of the jobs in one of the worlds that are compared; times in seconds.

    ``source`` is *measured* for what was, and *estimated* for what was simulated. ``energy_of`` of
    ``attempts`` attempts have a known energy; None where it is an estimate.
    """

    title: str
    source: Source
    policy: str
    boards: int
    jobs: int
    done: int
    mean_completion_s: float | None
    p95_completion_s: float | None
    makespan_s: float | None
    killed: int
    lost: int
    missed_deadlines: int
    in_use: float | None
    energy_j: float | None
    attempts: int
    energy_of: int | None = None


@dataclass(frozen=True)
class Change:
    """A job whose completion changes: seconds until it is done, and where it ran."""

    job: str
    name: str
    work: str
    was_s: float | None
    then_s: float | None
    was_on: str
    then_on: str

    @property
    def more_s(self) -> float | None:
        """How much longer it takes; None where it is not done in one of the two."""
        if self.was_s is None or self.then_s is None:
            return None
        return self.then_s - self.was_s


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    ``came`` are, of a history: what was, that simulated, what if; of a queue: as it is, what if.
    """

    question: Question
    at_s: float
    came: Sequence[Came]
    changes: Sequence[Change]
    notes: Sequence[str]
    picture: Picture
    emulated: bool = False
    changed: int = 0  # how many jobs change, of which ``changes`` are those that change most
    one_policy: bool = True  # the policy that is simulated has decided all the time

    @property
    def verdict(self) -> str:
        """Simulated beside simulated, in a sentence; and how far a simulation of it is off."""
        before, after = self.came[-2], self.came[-1]
        text = _compared(before, after)
        off = _off(self.came[0], before)
        if len(self.came) > 2 and self.one_policy and off is not None:
            off_pct = f"{100 * abs(off):.0f} %"
            text += f" What was, simulated the same way, is {off_pct} off what was measured."
        return text

    @property
    def many_change(self) -> str:
        """``3 of 40 jobs change``."""
        jobs = counted(self.came[-1].jobs, "job")
        return f"{self.changed:,} of {jobs} {'changes' if self.changed == 1 else 'change'}"

    def difference(self, name: str) -> str:
        """How a figure of the simulation changes, in words; "" where it is not known."""
        was, then = getattr(self.came[-2], name), getattr(self.came[-1], name)
        if was is None or then is None:
            return ""
        if was == then:
            return "the same"
        if isinstance(then, int):
            return f"{then - was:+,}"
        word = "more" if then > was else "less"
        if not was:
            return word
        off_pct = round(100 * (then / was - 1))
        return f"{off_pct:+,} % ({word})" if off_pct else "about the same"


def answer_of(result: Any) -> Answer:
    """What the child has said."""
    return from_json(Answer, result)


def _compared(before: Came, after: Came) -> str:
    if before.done > after.done:
        fewer = before.done - after.done
        noun = "job is" if fewer == 1 else "jobs are"
        return f"{fewer:,} fewer {noun} done: the times below are of the rest."
    more = after.done - before.done
    text = f"{more:,} more {'job is' if more == 1 else 'jobs are'} done. " if more else ""
    off = _off(before, after)
    if off is None:
        return text + "No job is done in both, so there is nothing to compare."
    if abs(off) < 0.005:
        return text + "Jobs are done as soon as before, on average."
    word = "sooner" if off < 0 else "later"
    return text + f"Jobs are done {100 * abs(off):.0f} % {word} on average."


def _off(before: Came, after: Came) -> float | None:
    if not before.mean_completion_s or after.mean_completion_s is None:
        return None
    return after.mean_completion_s / before.mean_completion_s - 1
