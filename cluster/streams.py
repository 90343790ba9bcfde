"""Streams that tell only when jobs come and how long they run: a mix says what they are.

Each job gets a workload of the paper's mix, and as much of it as takes its duration on the
reference board, an Orin Nano in its default power mode (the faster of the paper's two). On other
boards it takes what the bundled profile says: the paper's ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from jetsched.cluster.generators import shuffled
from jetsched.cluster.tracerows import Rows
from jetsched.problems import Problem
from jetsched.records import Job


@dataclass(frozen=True)
class Durations:
    """Jobs of which only arrival and duration are known, in the order of their arrival."""

    arrivals_s: Sequence[float]
    durations_s: Sequence[float]
    file: str = ""
    lines: Sequence[int] = field(default=(), compare=False)
    skipped: int = field(default=0, compare=False)
    left_out: Sequence[Problem] = field(default=(), compare=False)

    def jobs(self, seed: int) -> list[Job]:
        """Jobs of the mix: the workloads are drawn from the seed, in the mix's shares.

        Their amounts need not be whole: a job takes just its duration on the reference board, or
        the model's loading and one unit of work, if that is longer. They have no deadlines.
        """
        from jetsched.cluster.paper_world import MIX, REFERENCE, paper_truth

        truth, work = paper_truth(), dict[str, Any]()
        named = []
        for share in MIX:
            one = truth.run(Job("", share.workload), REFERENCE)
            assert one is not None  # the paper ran all of them there
            name = f"{share.workload.kind}-{share.workload.model}"
            rate_s = one.time_s - one.load_s
            named.append((share.count, (share.workload, name, one.load_s, rate_s)))
        drawn = shuffled(named, Random(f"mix of durations {seed}"))
        return [
            Job(
                id=str(number),
                workload=workload,
                amount=max(1.0, (duration_s - load_s) / rate_s),
                submitted_s=at_s,
                name=name,
                work=work,
            )
            for number, (at_s, duration_s, (workload, name, load_s, rate_s)) in enumerate(
                zip(self.arrivals_s, self.durations_s, drawn, strict=False), start=1
            )
        ]


class DurationRows:
    """Reads the rows of such a stream from a CSV."""

    def __init__(self, rows: Rows, header: Sequence[str]) -> None:
        self._rows = rows
        self._arrival, self._duration = header.index("arrival_s"), header.index("duration_s")
        self._found: list[tuple[float, float, int]] = []

    def row(self, line: int, cells: Sequence[str]) -> None:
        rows = self._rows
        arrival_s = rows.number(line, "arrival_s", cells[self._arrival].strip())
        duration_s = rows.number(line, "duration_s", cells[self._duration].strip())
        if rows.is_bad(line):
            return
        rows.above_0(line, "duration_s", duration_s)
        rows.arrival(line, arrival_s)
        if not rows.is_bad(line):
            self._found.append((arrival_s, duration_s, line))

    def done(self) -> Durations:
        self._rows.check(empty=not self._found)
        arrivals_s, durations_s, lines = zip(*self._found, strict=True)
        rows = self._rows
        return Durations(
            arrivals_s, durations_s, str(rows.path), lines, rows.skipped, rows.left_out
        )
