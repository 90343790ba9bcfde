"""Whether a workload's memory fits a device: proven by runs and kills, else counted.

A kill proves that it never fits, a run that came to its end proves that it does. Without either,
live bytes and the runtime decide (*never*), and what the allocator holds beyond them (*tight*).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median
from typing import NamedTuple

from jetsched.profiler.evidence import SAME_MEMORY, Evidence, Runs
from jetsched.profiler.memory import FILES_CPU_MIB, Memory, Stack
from jetsched.profiler.subjects import Card, Place, Subjects
from jetsched.records import Fit, Never, Source

#: A measured peak varies from run to run by less than this.
PEAK_MARGIN = 1.02
#: Counted live bytes are off by less than this (docs/log.md: 31 runs, at most 3 %).
COUNT_MARGIN = 1.03
#: Beside what is counted as kept (memory.py), how many times the tensors that come and go an
#: allocator holds: on average, and what it exceeds in one of twenty runs. CPU: runs of ours with
#: glibc's defaults (docs/log.md); CUDA: assumed, as 31 CPU runs of other people.
HEADROOM_CPU, HEADROOM_CUDA = (1.15, 1.25), (1.16, 1.35)
#: What is counted as held on a CPU beside live bytes is held to this part at least (one thread
#: holds up to 4 % less of a whole peak than two).
SURELY_HELD = 0.91
#: What a runtime may hold beyond what is usual, page tables and other small things included.
SMALL_MIB = 15.0
#: The prior above counts as much as so many measured peaks.
PRIOR_WEIGHT = 3.0
#: A peak further from the usual than this (a log: half as much again) counts as one at this
#: distance, unless they all differ.
REACH = log(1.5)
#: With fewer MiB of tensors that come and go, a peak tells about the runtime, not about headroom.
FEW_MIB = 128.0


@dataclass(frozen=True, slots=True)
class Room:
    """Memory that a run needs, and how it fits; MiB. Live bytes are those in tensors."""

    live_mib: float
    runtime_mib: float
    admitted_mib: float
    fit: Fit


@dataclass(frozen=True, slots=True)
class Headroom:
    """What processes on a device hold: the runtime, and some times the loose tensors.

    They hold ``p05`` times in nineteen of twenty runs, and more than ``p95`` times in one.
    """

    runtime_mib: float
    p05: float
    p95: float


class Counted(NamedTuple):
    """MiB that a workload needs by its model's shape; ``admitted_mib`` with headroom.

    ``runtime_mib`` is held beside live bytes in any case: by the runtime, and by an allocator that
    surely does not give all back.
    """

    live_mib: float
    runtime_mib: float
    admitted_mib: float


class Needs(NamedTuple):
    """MiB that a run needs in any case; a board with less kills it. ``beside_mib``: beside live."""

    live_mib: float
    beside_mib: float
    admitted_mib: float
    source: Source


class Admission:
    """Decides from the evidence. Keeps what it derives until told to forget it."""

    def __init__(self, evidence: Evidence, subjects: Subjects) -> None:
        self._evidence = evidence
        self._subjects = subjects
        self._headrooms: dict[tuple[str, str], Headroom] = {}

    def forget(self, allocator: tuple[str, str]) -> None:
        """A peak was learnt on devices with this allocator."""
        self._headrooms.pop(allocator, None)

    def killed(self, card: Card, place: Place) -> Never | None:
        """The proof by a kill that the workload cannot run there, if there is one."""
        kill = self._evidence.kill_of(card.workload, place.device_class)
        if kill is None:
            return None
        what = "" if kill.workload == card.workload else f"{kill.workload.label} was "
        here = place.device_class.memory_mib * SAME_MEMORY >= kill.has_mib
        where = "here" if here else f"on a {place.speed.model} with {kill.has_mib:,.0f} MiB"
        when = f" on {kill.at[:10]}" if kill.at else ""
        counted = self.counted(card, place)
        return Never(
            "NeverFits",
            f"{what}killed {where}{when}: needs more than {kill.has_mib:,.0f} MiB",
            peak_memory_mib=counted.live_mib if counted else None,
            admitted_mib=max(counted.admitted_mib if counted else 0.0, kill.has_mib),
            source="measured" if kill.measured else "assumed",
        )

    def room(self, card: Card, place: Place) -> Room | Never:
        """What the workload needs there, or that it is too much."""
        has_mib = place.has_mib
        proven_mib = self._proven(card, place)
        if proven_mib is not None:  # it cannot have needed more than there was
            peak_mib = min(proven_mib, has_mib)
            live_mib, runtime_mib = self._parts(card, place, peak_mib)
            return Room(live_mib, runtime_mib, min(peak_mib * PEAK_MARGIN, has_mib), "fits")
        needs = self.needs(card, place) or Needs(0.0, 0.0, 0.0, "estimated")
        live_mib, runtime_mib, admitted_mib, source = needs
        if live_mib + runtime_mib > has_mib:
            return Never(
                "NeverFits",
                f"needs {live_mib:,.0f} MiB live + {runtime_mib:,.0f} {_beside(place)},"
                f" has {has_mib:,.0f}",
                peak_memory_mib=live_mib,
                admitted_mib=admitted_mib,
                source=source,
            )
        fit: Fit = "fits" if admitted_mib <= has_mib else "tight"
        return Room(live_mib, runtime_mib, admitted_mib, fit)

    def needs(self, card: Card, place: Place) -> Needs | None:
        """What it needs by runs on such devices, else as counted; None where neither tells."""
        counted, seen_mib = self.counted(card, place), self._held_seen(card, place)
        if seen_mib is not None:
            parts = self._parts(card, place, seen_mib)
            return Needs(*parts, seen_mib * PEAK_MARGIN, "measured")
        return None if counted is None else Needs(*counted, "estimated")

    def _parts(self, card: Card, place: Place, held_mib: float) -> tuple[float, float]:
        """Live bytes of runs that held so much, and what is needed beside them in any case.

        Live bytes as the allocator counted them, else as we do. On a CPU another run will hold as
        much again; on CUDA the pool may have kept more than was needed.
        """
        counted = self.counted(card, place)
        if counted is not None:
            runtime_mib = counted.runtime_mib
        else:
            runtime_mib = place.stack.runtime_mib if place.stack else 0.0
        live_mib = self._live_seen(card, place)
        if live_mib is None:
            live_mib = counted.live_mib if counted else max(held_mib - runtime_mib, 0.0)
        live_mib = min(live_mib, held_mib)
        if place.stack is not None and not place.stack.cuda:
            runtime_mib = held_mib / PEAK_MARGIN - live_mib
        return live_mib, min(max(runtime_mib, 0.0), held_mib - live_mib)

    def _proven(self, card: Card, place: Place) -> float | None:
        """The peak of runs that came to their end on this kind of device with no more memory."""
        for measured in (True, False):
            runs = self._evidence.runs(card.workload, place.speed, measured=measured)
            if runs is not None and runs.peak_mib is not None:
                fits = runs.done_with_mib <= place.has_mib * SAME_MEMORY
                return runs.peak_mib if fits else None
        return None

    def _held_seen(self, card: Card, place: Place) -> float | None:
        """The most that was held on devices whose processes hold the same memory."""
        return max(
            (
                runs.peak_mib - _files_mib(runs, place)
                for where, runs in self._evidence.runs_of(card.workload)
                if where.allocator == place.speed.allocator and runs.peak_mib is not None
            ),
            default=None,
        )

    def _live_seen(self, card: Card, place: Place) -> float | None:
        """The most in tensors that an allocator of this kind has counted."""
        return max(
            (
                runs.live_mib
                for where, runs in self._evidence.runs_of(card.workload)
                if where.allocator == place.speed.allocator and runs.live_mib is not None
            ),
            default=None,
        )

    def memory(self, card: Card, place: Place) -> Memory | None:
        """What the memory goes to, as counted; the runtime is learnt. None without a shape."""
        memory = card.memory(place)
        if memory is None or place.stack is None:
            return None
        return self.with_runtime(memory, place, place.stack)

    def with_runtime(self, memory: Memory, place: Place, stack: Stack) -> Memory:
        """With what the runtime was seen to hold there."""
        return replace(memory, runtime_mib=self._headroom(place, stack).runtime_mib)

    def counted(self, card: Card, place: Place) -> Counted | None:
        """What the workload needs by its model's shape; None without one."""
        memory = self.memory(card, place)
        if memory is None or place.stack is None:
            return None
        return self.with_headroom(memory, place, place.stack)

    def with_headroom(self, memory: Memory, place: Place, stack: Stack) -> Counted:
        """Only sums and products, so that the memory's fields may be arrays."""
        headroom = self._headroom(place, stack)
        held_mib = memory.needed_mib * COUNT_MARGIN + memory.retained_mib + SMALL_MIB
        admitted_mib = held_mib + max(headroom.p95 - 1, 0.0) * memory.loose_mib
        beside_mib = memory.runtime_mib
        if not stack.cuda:  # what the pool on CUDA keeps, it gives back before it gives up
            beside_mib = beside_mib + memory.retained_mib
            beside_mib = beside_mib + max(headroom.p05 - 1, 0.0) * memory.loose_mib
            beside_mib = SURELY_HELD * beside_mib
        return Counted(memory.live_mib, beside_mib, admitted_mib)

    def _headroom(self, place: Place, stack: Stack) -> Headroom:
        found = self._headrooms.get(place.speed.allocator)
        if found is None:
            found = self._headrooms[place.speed.allocator] = self._learnt(place, stack)
        return found

    def _learnt(self, place: Place, stack: Stack) -> Headroom:
        """From measured peaks beside what was counted; a few weigh little against the prior."""
        mean, p95 = HEADROOM_CUDA if stack.cuda else HEADROOM_CPU
        rows = list(self._peaks(place))
        few = [beyond - (mean - 1) * loose for beyond, loose in rows if loose < FEW_MIB]
        runtime_mib = max(median(few), 0.0) if few else stack.runtime_mib
        logs = _capped(
            sorted(
                log(max(1 + (beyond - runtime_mib) / loose, 0.5))
                for beyond, loose in rows
                if loose >= FEW_MIB
            ),
            log(mean),
        )
        sigma = log(p95 / mean) / 1.645
        weight = PRIOR_WEIGHT + len(logs)
        centre = (PRIOR_WEIGHT * log(mean) + sum(logs)) / weight
        squares = PRIOR_WEIGHT * sigma**2 + sum((x - centre) ** 2 for x in logs)
        spread = 1.645 * (squares / weight) ** 0.5
        return Headroom(runtime_mib, exp(centre - spread), exp(centre + spread))

    def _peaks(self, place: Place) -> Iterator[tuple[float, float]]:
        """(peak beyond what is counted as held, loose tensors) of all runs with this allocator.

        Tensors are the measured ones where the allocator counts them, else the counted ones.
        """
        for where, table in self._evidence.measured.items():
            if where.allocator != place.speed.allocator:
                continue
            for workload, runs in table.items():
                card = self._subjects.card(workload)
                memory = card.memory(place) if card.teaches else None
                if runs.peak_mib is not None and memory is not None:
                    alive_mib = runs.live_mib or memory.live_mib
                    beyond_mib = runs.peak_mib - _files_mib(runs, place) - alive_mib
                    yield beyond_mib - memory.retained_mib, memory.loose_mib


def _capped(logs: list[float], prior: float) -> list[float]:
    """Each within reach of their median, the prior's among them: one odd peak is no spread."""
    values = [*logs, *[prior] * round(PRIOR_WEIGHT)]
    centre = median(values)
    usual = 1.4826 * median(abs(value - centre) for value in values)  # as a standard deviation
    reach = max(REACH, 4 * usual)
    return [min(max(value, centre - reach), centre + reach) for value in logs]


def _beside(place: Place) -> str:
    """What is held beside live bytes in any case."""
    return "runtime" if place.stack is None or place.stack.cuda else "runtime and allocator"


def _files_mib(runs: Runs, place: Place) -> float:
    """What a peak has of mapped files, which the kernel takes back before it kills.

    Nothing is sure of a run whose cap was near: there the peak is what its cgroup held.
    """
    if place.stack is None or place.stack.cuda or runs.peak_mib is None:
        return 0.0
    roomy = runs.done_with_mib - runs.peak_mib > FILES_CPU_MIB
    return min(FILES_CPU_MIB, runs.peak_mib) if roomy else 0.0
