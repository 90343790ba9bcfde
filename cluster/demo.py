"""`jetsched demo`: the whole way once, without a board: simulate, profile, run, learn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetsched import policies
from jetsched.cluster.compare import Comparison, Point, compare
from jetsched.cluster.demo_live import LiveResult, run_live, summary_of
from jetsched.cluster.drawing import drawing, save
from jetsched.cluster.gantt import gantt
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.files import json_bytes, to_json, write_atomically

Say = Callable[[str], None]

JOBS = 24
SEED = 0
#: The same jobs in other orders and sizes: their figures get confidence intervals.
SEEDS = 5


@dataclass
class Demo:
    """What the demo showed. Everything in it is simulated or *emulated*, nothing from a board."""

    comparison: Comparison
    picture: Path
    summary: Path
    live: LiveResult | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def live_jobs(self) -> list[dict[str, Any]]:
        """The live jobs as in ``summary.json``."""
        return summary_of(self.live.jobs) if self.live else []


def simulated_part(folder: Path) -> tuple[Comparison, Path]:
    """24 jobs of the paper's mix on its two boards under all built-in policies; the picture."""
    (comparison,) = compare(
        list(policies.BUILT_IN), [Point(WorldOptions(generate=JOBS, seed=SEED))], SEEDS
    )
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "compare.png"
    title = f"{JOBS} jobs of the paper's mix on one Xavier NX and one Orin Nano (simulated)"
    with drawing():
        save(gantt(comparison.drawn, title=title, rows=comparison.rows), picture)
    return comparison, picture


def run_demo(
    folder: Path,
    *,
    simulate_only: bool = False,
    say: Say = lambda text: None,
    simulated: Callable[[Comparison, Path], None] = lambda comparison, picture: None,
    live: Callable[[], None] = lambda: None,
) -> Demo:
    """Run both parts and write ``summary.json`` and ``compare.png`` into ``folder``.

    ``simulated`` gets the first part's result as soon as it is there, ``live`` is called before the
    second part, and ``say`` hears what happens in it.
    """
    began = time.monotonic()
    comparison, picture = simulated_part(folder)
    simulated(comparison, picture)
    seconds = {"simulated": time.monotonic() - began}
    demo = Demo(comparison, picture, folder / "summary.json", seconds=seconds)
    if not simulate_only:
        live()
        began = time.monotonic()
        demo.live = run_live((folder / "home").absolute(), say)
        seconds["live"] = time.monotonic() - began
    write_atomically(demo.summary, json_bytes(_summary(demo)))
    return demo


def _summary(demo: Demo) -> dict[str, Any]:
    first = [run for run in demo.comparison.runs if run.seed == SEED]
    summary: dict[str, Any] = {
        "emulated": True,
        "simulated": {run.policy: to_json(run.metrics) for run in first},
        "simulated_seed": SEED,  # of these and of the picture's lanes; the table has the means
        "simulated_means": {row.policy: to_json(row.figures) for row in demo.comparison.rows},
        "live": demo.live_jobs,
        "seconds": dict(demo.seconds),
    }
    if demo.live is not None:
        summary["boards"] = demo.live.boards
        summary["emulate"] = demo.live.emulate
        summary["learnt"] = demo.live.learnt
        summary["profiles"] = [
            {
                "device": m.device,
                "workload": m.workload.label,
                "outcome": m.outcome,
                "time_s": m.time_s,
                "peak_memory_mib": m.peak_memory_mib,
            }
            for m in demo.live.profiles
        ]
    return summary
