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
    ids: Sequence[str] = ()  # 1, 2... where the file has none
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
        ids = self.ids or map(str, range(1, len(self.arrivals_s) + 1))
        return [
            Job(
                id=job_id,
                workload=workload,
                amount=max(1.0, (duration_s - load_s) / rate_s),
                submitted_s=at_s,
                name=name,
                work=work,
            )
            for job_id, at_s, duration_s, (workload, name, load_s, rate_s) in zip(
                ids, self.arrivals_s, self.durations_s, drawn, strict=False
            )
        ]


class DurationRows:
    """Reads the rows of such a stream from a CSV."""

    def __init__(self, rows: Rows, header: Sequence[str]) -> None:
        self._rows = rows
        self._arrival, self._duration = header.index("arrival_s"), header.index("duration_s")
        self._id = header.index("job_id") if "job_id" in header else None
        self._ids: dict[str, int] = {}  # with the line of each
        self._found: list[tuple[float, float, int]] = []

    def row(self, line: int, cells: Sequence[str]) -> None:
        rows = self._rows
        arrival_s = rows.number(line, "arrival_s", cells[self._arrival].strip())
        duration_s = rows.number(line, "duration_s", cells[self._duration].strip())
        if rows.is_bad(line):
            return
        rows.above_0(line, "duration_s", duration_s)
        if self._id is not None:
            rows.new_id(line, cells[self._id].strip(), self._ids)
        rows.arrival(line, arrival_s)
        if not rows.is_bad(line):
            self._found.append((arrival_s, duration_s, line))

    def done(self) -> Durations:
        self._rows.check(empty=not self._found)
        arrivals_s, durations_s, lines = zip(*self._found, strict=True)
        rows = self._rows
        good = set(lines)
        return Durations(
            arrivals_s,
            durations_s,
            [job_id for job_id, line in self._ids.items() if line in good],
            str(rows.path),
            lines,
            rows.skipped,
            rows.left_out,
        )
