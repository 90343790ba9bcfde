"""The bars of the cost model as rows of one table (for bench_costs.py).

Those of memory and of this machine's CPU come out of what was measured before and is kept in
`tests/data` (bench_memory.py, bench_quick.py): predicted anew, not run anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import bench_memory
import bench_quick
import memory_cases

from jetsched.profiler.costs import CostModel


@dataclass(frozen=True)
class Bar:
    """A test, what is asked of it, and what was measured, all in per cent. None: not measured."""

    test: str
    measured_pct: float | None
    peer: str = ""
    most_pct: float | None = None
    least_pct: float | None = None

    @property
    def met(self) -> bool:
        if self.measured_pct is None:
            return False
        if self.most_pct is not None and self.measured_pct > self.most_pct:
            return False
        return self.least_pct is None or self.measured_pct >= self.least_pct

    @property
    def cells(self) -> tuple[str, ...]:
        bar = "-"
        if self.most_pct is not None:
            bar = f"<= {self.most_pct:g} %"
        elif self.least_pct is not None:
            bar = f">= {self.least_pct:g} %"
        measured = "-" if self.measured_pct is None else f"{self.measured_pct:.1f} %"
        return self.test, bar, measured, "" if self.met else "MISSED", self.peer


def memory_bars() -> Iterator[Bar]:
    """Live bytes of training, and decisions under caps: of what is recorded."""
    if not bench_memory.LIVE_RECORD.exists() or not bench_memory.FIT_RECORD.exists():
        yield Bar("training memory and fit decisions: no record", None)
        return
    with tempfile.TemporaryDirectory(prefix="jetsched-bench-") as name:
        models = memory_cases.configs(Path(name))
        live = bench_memory.live_results(bench_memory.read(bench_memory.LIVE_RECORD), models)
        cases = bench_memory.read(bench_memory.FIT_RECORD)
        decided = bench_memory.decisions(cases, models, CostModel())
    off = [each.error for each in live if each.in_bar]
    peer = "LLMem 1.6-3; Megatron's formula 20"
    yield Bar(
        f"training memory on this CPU, {len(off)} runs", 100 * fmean(map(abs, off)), peer, 3.0
    )
    yield Bar("  the furthest that one is under", max(0.0, -100 * min(off)), "", 6.0)
    share = 100 / len(decided)
    wrong = [each.verdict for each in decided if each.wrong]
    tight = sum(each.verdict == "tight" for each in decided)
    yield Bar(
        f"{len(decided)} fit decisions under a cap: fits, and killed",
        share * wrong.count("fits"),
        "",
        0.0,
    )
    yield Bar("  never, and would have run", share * wrong.count("never"), "", 5.0)
    yield Bar("  tight", share * tight, "", 20.0)


def quick_bars() -> Iterator[Bar]:
    """Jobs that the quick suite has not seen, on the CPU that it profiled."""
    if not bench_quick.RECORD.exists():
        yield Bar("CPU after --quick, unseen jobs: no record", None)
        return
    with bench_quick.record() as known:
        found = list(bench_quick.guesses(known))
    off = bench_quick.error_pct([guess.off for guess in found])
    test = f"CPU after --quick, {len(found)} unseen jobs, time"
    yield Bar(test, off, "PowerTrain 15", bench_quick.MOST_PCT)
