"""Which jobs somebody wants to see: those in some states, of a user, of a device, with a text."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import get_args

from jetsched.errors import InputError
from jetsched.problems import did_you_mean, listed, quoted
from jetsched.records import FINAL_STATES, State
from jetsched.scheduler.state import JobRecord

STATES: tuple[State, ...] = get_args(State)
#: Those that have not ended.
OPEN: frozenset[State] = frozenset(STATES) - FINAL_STATES


@dataclass(frozen=True)
class Wanted:
    """A sieve for jobs. What is left empty lets all of them through.

    ``words`` must all be in what a job says of itself: id, name, work, user, labels, devices.
    ``device`` is one that the job runs or ran on; ``priority`` the lowest and the highest, both
    included.
    """

    states: frozenset[State] | None = None
    words: tuple[str, ...] = ()
    device: str = ""
    user: str = ""
    priority: tuple[int, int] | None = None
    #: By a job's order: 2 and twice its attempts, and 1 more if the words are there; 0: not known.
    #: Most jobs stay as they are, and whoever looks every second asks of ten thousand.
    _known: array[int] = field(default_factory=lambda: array("L"), compare=False, repr=False)

    @classmethod
    def of(
        cls,
        *,
        state: str = "",
        text: str = "",
        device: str = "",
        user: str = "",
        priority: str = "",
    ) -> Wanted:
        """What a query names. Raises :class:`InputError` for what cannot be meant."""
        words = tuple(text.casefold().split())
        return cls(states_of(state), words, device.strip(), user.strip(), _range_of(priority))

    @property
    def is_all(self) -> bool:
        """Whether nothing but the state of a job matters."""
        return not (self.words or self.device or self.user or self.priority)

    def __call__(self, record: JobRecord) -> bool:
        job = record.job
        if self.states is not None and record.state not in self.states:
            return False
        if self.user and job.user != self.user:
            return False
        if self.priority is not None and not self.priority[0] <= job.priority <= self.priority[1]:
            return False
        if self.device and not any(a.device == self.device for a in record.attempts):
            return False
        return not self.words or self._says(record)

    def _says(self, record: JobRecord) -> bool:
        known, order = self._known, record.order
        if order >= len(known):
            known.extend([0] * (order + 1 - len(known)))
        mark = 2 + 2 * len(record.attempts)
        if known[order] | 1 != mark | 1:
            said = " ".join(_said(record)).casefold()
            known[order] = mark + all(word in said for word in self.words)
        return bool(known[order] & 1)

    def among(self, records: Iterable[JobRecord]) -> Iterator[JobRecord]:
        """Those that are let through, in the same order."""
        if self.is_all and self.states is None:
            return iter(records)
        return filter(self, records)


def _said(record: JobRecord) -> Iterator[str]:
    job = record.job
    yield from (job.id, job.name, job.workload.label, job.user)
    yield from (f"{name}={value}" for name, value in job.labels)
    yield from (attempt.device for attempt in record.attempts)


def states_of(text: str) -> frozenset[State] | None:
    """The states that a query names, with commas between; `open` is all that have not ended.

    None stands for all of them. Raises :class:`InputError` for an unknown one.
    """
    names = {name for word in text.split(",") if (name := word.strip())}
    for name in sorted(names - {*STATES, "open"}):
        hint = did_you_mean(name, STATES) or f"states: {listed(STATES)}, or open"
        raise InputError(f"there is no state {quoted(name)}", hint=hint)
    found = frozenset(state for state in STATES if state in names)
    return (found | OPEN if "open" in names else found) or None


def _range_of(text: str) -> tuple[int, int] | None:
    """``80`` or ``50-100``. Raises :class:`InputError`."""
    if not text.strip():
        return None
    low, dash, high = (part.strip() for part in text.partition("-"))
    ends = (low, high) if dash else (low, low)
    if not all(end.isascii() and end.isdigit() and len(end) <= 3 for end in ends):
        raise InputError(
            f"{quoted(text)} is no priority", hint="a number such as 80, or a range such as 50-100"
        )
    return int(ends[0]), int(ends[1])
