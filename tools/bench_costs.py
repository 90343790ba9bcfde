"""How good the cost model's times are on other people's measurements (`make bench-costs`).

Prints the bars of the issue beside what is measured: whole models, devices and families held out of
tables that were never fitted on; how honest the p90 is; what a few measurements of a new device are
worth. The tables are read from ../shared/data/cost, or from --data; without them only the
benchmarks that need none are run. ``--alternatives``: the same tests for other ways to predict.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean

from cost_bars import Bar, memory_bars, quick_bars
from cost_tables import agx_frameworks, family, xavier_clocks

from jetsched.profiler.costrows import CostRow
from jetsched.profiler.costtable import read_table
from jetsched.profiler.evaluate import Evaluation, evaluate_groups
from jetsched.profiler.scoring import Score, wilson
from jetsched.profiler.timefit import TimeFit

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "cost"
#: Other benchmarks, each its own program.
OTHERS = (
    "bench_memory.py",
    "bench_quick.py",
    "bench_power.py",
    "bench_sheet.py",
    "bench_estimates.py",
)
SHOTS = (0, 1, 3, 5)

GroupOf = Callable[[CostRow], str]


def held_out(rows: Sequence[CostRow], name: str, group_of: GroupOf) -> Evaluation:
    """Each group held out in turn."""
    groups: dict[str, list[CostRow]] = {}
    for row in rows:
        groups.setdefault(group_of(row), []).append(row)
    return evaluate_groups(groups, name)


def label(name: str) -> GroupOf:
    return lambda row: row.labels[name]


def print_lines(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    table = [titles, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(titles))]
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  " + "  ".join(cells).rstrip(), flush=True)


def print_bars(bars: Iterable[Bar]) -> None:
    """MAPE unless the test says otherwise."""
    print_lines(("TEST", "BAR", "MEASURED", "", "PEERS"), [bar.cells for bar in bars])


# ------------------------------------------------------------------------------------------- parts


def bars(gpus: Sequence[CostRow], decodes: Sequence[CostRow]) -> dict[str, Evaluation]:
    """Print the bars that need the tables; returns what was held out, by name."""
    tests = {
        "7 GPUs, workload": held_out(gpus, "workload", lambda row: row.workload),
        "7 GPUs, family": held_out(gpus, "family", lambda row: family(row.device)),
        "7 GPUs, device": held_out(gpus, "device", lambda row: row.device),
        "Jetson decode, workload": held_out(decodes, "workload", lambda row: row.workload),
    }
    overall = {name: found.overall for name, found in tests.items()}
    workload, kin = overall["7 GPUs, workload"], overall["7 GPUs, family"]
    peer = f"NeuSight's authors on these rows {workload.peer_mape_pct:.1f}; quick trial 9.0"
    trial = "quick trial 12.6; random forest 18.5"
    device, order = overall["7 GPUs, device"], "quick trial 94-97"
    decode = overall["Jetson decode, workload"]
    rows = [
        Bar("7 GPUs, hold out workload", workload.mape_pct, peer, 8.5),
        Bar("7 GPUs, hold out device family", kin.mape_pct, trial, 12.0),
        Bar("7 GPUs, hold out device", device.mape_pct, trial, 12.0),
        Bar("  pairs ordered, family held out", kin.pairs_ordered_pct, order, least_pct=97.0),
        Bar("  pairs ordered, device held out", device.pairs_ordered_pct, order, least_pct=97.0),
        Bar(
            "  pairs ordered, workload held out", workload.pairs_ordered_pct, order, least_pct=97.0
        ),
        Bar("Jetson decode, hold out workload", decode.mape_pct, "quick trial 12.5", 11.0),
    ]
    print_bars([*rows, *memory_bars(), *quick_bars()])
    return tests


def more_tests(
    frameworks: Sequence[CostRow], clocks: Sequence[CostRow], decodes: Sequence[CostRow]
) -> dict[str, Evaluation]:
    """The tests without a bar, some hard on purpose: a framework is quite unlike the others."""
    return {
        "Jetson decode, device": held_out(decodes, "device", lambda row: row.device),
        "AGX Orin, model": held_out(frameworks, "model", label("model")),
        "AGX Orin, framework": held_out(frameworks, "framework", label("framework")),
        "AGX Orin, precision": held_out(frameworks, "precision", label("precision")),
        "Xavier clocks, board": held_out(clocks, "board", label("board")),
        # Forty modes of 2,185 rows would take minutes.
        "Xavier clocks, mode (1 row in 4)": held_out(clocks[::4], "mode", label("mode")),
    }


def coverage(tests: dict[str, Evaluation]) -> None:
    """How often the p90 held, per test and pooled over all of them."""
    print("\nHow often the p90 held (85-95 % is wanted, pooled), with its 95 % binomial interval")
    lines = [(name, *_covered(found.overall)) for name, found in tests.items()]
    scores = [found.overall for found in tests.values()]
    hits = sum(round((each.p90_coverage or 0.0) * each.predicted) for each in scores)
    rows = sum(each.predicted for each in scores)
    low, high = wilson(hits, rows)
    pooled = f"{100 * hits / rows:.1f} %", f"{100 * low:.0f}-{100 * high:.0f}"
    mean = fmean(each.p90_coverage or 0.0 for each in scores)
    lines.append(("all, each row alike", str(rows), "", *pooled))
    lines.append(("all, each test alike", "", "", f"{100 * mean:.1f} %", ""))
    print_lines(("TEST", "ROWS", "MAPE", "P90 HELD", "95 %"), lines)


def _covered(found: Score) -> tuple[str, str, str, str]:
    low, high = found.p90_coverage_95 or (0.0, 1.0)
    share = f"{100 * (found.p90_coverage or 0.0):.1f} %"
    mape = f"{found.mape_pct or 0.0:.1f} %"
    return str(found.predicted), mape, share, f"{100 * low:.0f}-{100 * high:.0f}"


def few_shot(rows: Sequence[CostRow], draws: int, seed: int) -> None:
    """A new device with 0, 1, 3, 5 rows of its own; its family is held out with it."""
    devices = [d for d in dict.fromkeys(r.device for r in rows) if _count(rows, d) > max(SHOTS)]
    errors: dict[int, list[float]] = {shots: [] for shots in SHOTS}
    for device in devices:
        mine = [row for row in rows if row.device == device]
        others = [row for row in rows if family(row.device) != family(device)]
        for shots in SHOTS:
            for draw in range(draws if shots else 1):
                drawn = random.Random(f"{seed}-{device}-{draw}").sample(mine, shots)
                rest = [row for row in mine if row not in drawn]
                found = TimeFit.fit([*others, *drawn]).predict(rest)
                apes = [
                    100 * abs(p.time_s / row.time_s - 1) for p, row in zip(found, rest, strict=True)
                ]
                # So that a device counts alike however many draws there are of it.
                errors[shots] += [fmean(apes)] * (draws // (draws if shots else 1))
    peers = {0: "11.8", 1: "11.7", 3: "8.7", 5: "8.3"}
    print(f"\nA new GPU with a few rows of its own ({len(devices)} GPUs with more than 5 rows,")
    print(f"{draws} draws, seed {seed}; each GPU alike). Quick trial: on 123 rows, 11 GPUs")
    print_lines(
        ("ROWS OF ITS OWN", "MAPE", "QUICK TRIAL"),
        [(str(n), f"{fmean(errors[n]):.1f} %", f"{peers[n]} %") for n in SHOTS],
    )


def _count(rows: Sequence[CostRow], device: str) -> int:
    return sum(row.device == device for row in rows)


def other_benchmarks() -> int:
    """Run the benchmarks of the other bars; how many failed."""
    failed = 0
    for name in OTHERS:
        tool = ROOT / "tools" / name
        if tool.exists():
            print(flush=True)
            failed += subprocess.run([sys.executable, str(tool)], check=False).returncode != 0
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the tables")
    parser.add_argument("--alternatives", action="store_true", help="compare ways to predict")
    parser.add_argument("--bars-only", action="store_true", help="nothing but the first table")
    parser.add_argument("--draws", type=int, default=10, help="of rows of a new device")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if not (asked.data / "transformers_on_gpus.csv").exists():
        print(f"The tables of measured costs are not in {asked.data}: these tests are left out.")
        print_bars([*memory_bars(), *quick_bars()])
        return 0 if asked.bars_only else other_benchmarks()
    gpus = read_table(asked.data / "transformers_on_gpus.csv").rows
    decodes = read_table(asked.data / "jetson_decode.csv").rows
    if asked.alternatives:
        from cost_alternatives import print_alternatives

        print_alternatives(gpus, decodes)
        return 0
    tests = bars(gpus, decodes)
    if asked.bars_only:
        return 0
    few_shot(gpus, asked.draws, asked.seed)
    frameworks = agx_frameworks(asked.data / "agx_orin_frameworks.csv")
    clocks = xavier_clocks(asked.data / "xavier_dvfs.csv")
    tests.update(more_tests(frameworks, clocks, decodes))
    coverage(tests)
    return other_benchmarks()


if __name__ == "__main__":
    sys.exit(main())
