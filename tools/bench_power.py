"""How far off power is: for software, models and clocks that were left out (`make bench-costs`).

The rows are other people's (../shared/data/cost/README.md). Utilisation is the measured one, so
that energy per token, power x measured time, is off by what power is. Figures go to docs/log.md.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from statistics import mean, median

from jetsched.profiler.devices import sheet_of
from jetsched.profiler.evidence import Z90
from jetsched.profiler.power import CLOCK_EXPONENT
from jetsched.profiler.powerline import Point, PowerLine, Prior, fit_line, sheet_prior
from jetsched.records import DeviceClass

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cost"
ORIN_ROWS, XAVIER_ROWS = "agx_orin_frameworks.csv", "xavier_dvfs.csv"
#: Clocks below this part of the highest are idling more than working.
LEAST_CLOCK = 0.4
#: Watts of the boards of xavier_dvfs.csv when they do nothing: Jetson Nano's is assumed.
IDLE_W: Mapping[str, float] = {"NX": 4.0, "AGX": 8.0, "Nano": 2.0}


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``mape_pct`` and the others are over all held-out rows."""

    test: str
    mape_pct: float
    median_pct: float
    p90_coverage: float | None
    rows: int
    peer: str = ""


@dataclass(frozen=True)
class _Row:
    framework: str
    model: str
    precision: str
    point: Point

    @property
    def workload(self) -> tuple[str, str, str]:
        return self.framework, self.model, self.precision


def figures(data: Path) -> list[Figure]:
    """All of them; none where the data is not there."""
    found: list[Figure] = []
    if (data / ORIN_ROWS).exists():
        found += _lines(list(_orin_rows(data / ORIN_ROWS)))
    if (data / XAVIER_ROWS).exists():
        found += _clocks(data / XAVIER_ROWS)
    return found


def _orin_rows(path: Path) -> Iterator[_Row]:
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["decode_board_mw"] and row["decode_gpu_util_pct"]:
                watts = float(row["decode_board_mw"]) / 1000
                point = Point(float(row["decode_gpu_util_pct"]), watts)
                yield _Row(row["framework"], row["model"], row["precision"], point)


def _lines(rows: Sequence[_Row]) -> list[Figure]:
    """AGX Orin: power over utilisation, with whole groups of runs left out."""
    sheet = sheet_of(DeviceClass("agx-orin"))
    prior = sheet_prior(sheet.idle_w, sheet.max_w)
    assert prior is not None
    what = "power, AGX Orin"
    return [
        _held_out(f"{what}, hold out framework x model x precision", rows, _workload, prior, "7.8"),
        _held_out(f"{what}, hold out framework", rows, lambda row: row.framework, prior),
        _held_out(f"{what}, hold out model", rows, lambda row: row.model, prior),
        _few_shot(f"{what}, data sheet alone", rows, prior, 0),
        *(_few_shot(f"{what}, {n} workload(s) measured", rows, prior, n) for n in (1, 3, 5)),
    ]


def _workload(row: _Row) -> tuple[str, str, str]:
    return row.workload


def _held_out(
    test: str, rows: Sequence[_Row], key: Callable[[_Row], object], prior: Prior, peer: str = ""
) -> Figure:
    pairs: list[tuple[PowerLine, Point]] = []
    for group in sorted({str(key(row)) for row in rows}):
        line = fit_line(_medians(row for row in rows if str(key(row)) != group), prior)
        pairs += [(line, row.point) for row in rows if str(key(row)) == group]
    return _figure(test, pairs, peer)


def _few_shot(test: str, rows: Sequence[_Row], prior: Prior, shots: int) -> Figure:
    """With so many workloads known, drawn 40 times; the other workloads are predicted."""
    draw = random.Random(0)
    workloads = sorted({row.workload for row in rows})
    pairs: list[tuple[PowerLine, Point]] = []
    for _ in range(40 if shots else 1):
        known = set(draw.sample(workloads, shots))
        line = fit_line(_medians(row for row in rows if row.workload in known), prior)
        pairs += [(line, row.point) for row in rows if row.workload not in known]
    return _figure(test, pairs)


def _medians(rows: Iterable[_Row]) -> list[Point]:
    """A point for each workload, as the power model has them."""
    groups: dict[tuple[str, str, str], list[Point]] = defaultdict(list)
    for row in rows:
        groups[row.workload].append(row.point)
    return [
        Point(median(p.util_pct for p in group), median(p.power_w for p in group))
        for group in groups.values()
    ]


def _figure(test: str, pairs: Sequence[tuple[PowerLine, Point]], peer: str = "") -> Figure:
    off = [abs(line.power_w(p.util_pct) / p.power_w - 1) * 100 for line, p in pairs]
    covered = [
        p.power_w <= line.power_w(p.util_pct) * exp(Z90 * line.sigma(p.util_pct))
        for line, p in pairs
    ]
    return Figure(test, mean(off), median(off), mean(covered), len(pairs), peer)


def _clocks(path: Path) -> list[Figure]:
    """Power of a CNN at other GPU clocks, from what the same batch draws at the highest."""
    boards: dict[str, dict[tuple[float, float], float]] = defaultdict(dict)
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            key = (float(row["frequency"]), float(row["batch_size"]))
            boards[row["device"]][key] = float(row["energy"]) / float(row["latency"])
    found = []
    for board in sorted(boards):
        others = {name: table for name, table in boards.items() if name != board}
        exponent = min(
            (step / 20 for step in range(16, 41)),
            key=lambda e: mean(mean(_carried(t, IDLE_W[b], e)) for b, t in others.items()),
        )
        off = _carried(boards[board], IDLE_W[board], exponent)
        test = f"power at other GPU clocks, {board}, exponent {exponent:.2f} from the other boards"
        found.append(Figure(test, mean(off), median(off), None, len(off)))
        off = _carried(boards[board], IDLE_W[board], CLOCK_EXPONENT)
        test = f"the same, the constant {CLOCK_EXPONENT} of power.py (was chosen on these rows)"
        found.append(Figure(test, mean(off), median(off), None, len(off)))
    return found


def _carried(
    table: Mapping[tuple[float, float], float], idle_w: float, exponent: float
) -> list[float]:
    top = max(clock for clock, _ in table)
    return [
        abs((idle_w + (table[top, batch] - idle_w) * (clock / top) ** exponent) / watts - 1) * 100
        for (clock, batch), watts in table.items()
        if LEAST_CLOCK * top <= clock < top and (top, batch) in table
    ]


def main() -> None:
    found = figures(DATA)
    if not found:
        print(f"Power: no data in {DATA}")
        return
    print("Power by utilisation and by clock, what was left out predicted (the bar to beat: 7.8 %)")
    for each in found:
        covered = "" if each.p90_coverage is None else f"{100 * each.p90_coverage:5.1f} %"
        peer = f"  (peer {each.peer} %)" if each.peer else ""
        print(
            f"  {each.test:72} MAPE {each.mape_pct:5.1f} %  median {each.median_pct:5.1f} %"
            f"  p90 covers {covered or '    -'}  of {each.rows}{peer}"
        )


if __name__ == "__main__":
    main()
