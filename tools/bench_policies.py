"""How the policies and the simulation stand beside their bars (`make bench-policies`).

One table: what was measured, what is asked for, and what peers or bounds are. Each part runs in a
process of its own, so that memory and caches do not mix; figures of time are CPU seconds.

    python tools/bench_policies.py                   all parts, the large ones in smaller steps
    python tools/bench_policies.py --full            with a million jobs, and 100,000 that wait
    python tools/bench_policies.py gavel braun       some parts

Jobs and results of others are read from ../shared/data, or from --data; without them those parts
are left out, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import policy_batches
import policy_loads
import policy_scale
from policy_bars import DATA, TITLES, Asked, Row, left_out

Part = Callable[[Asked], Iterator[Row]]

#: Seconds after which a part is given up; four times as long in full.
PATIENCE_S = 600


def parts() -> Mapping[str, Part]:
    """Name -> the function that yields its rows; a policy under overload is a part of its own."""
    found: dict[str, Part] = {"scale": policy_scale.scale, "growth": policy_scale.growth}
    for name in policy_scale.greedy():
        found[f"overload-{name}"] = partial(policy_scale.overload, policy=name)
    found |= {
        "gavel": policy_loads.gavel,
        "braun": policy_batches.braun,
        "typed": policy_batches.typed,
        "philly": policy_loads.philly,
        "error": policy_loads.error,
    }
    return found


def chosen(names: Sequence[str]) -> list[str]:
    """The parts that are meant: by name, or by the beginning of several."""
    known = list(parts())
    for name in names:
        if not any(each == name or each.startswith(f"{name}-") for each in known):
            raise SystemExit(f"there is no part {name!r}; there are {', '.join(known)}")
    return [
        each
        for each in known
        if not names or any(each == name or each.startswith(f"{name}-") for name in names)
    ]


def in_child(name: str, words: Sequence[str], patience_s: float) -> list[Row]:
    """The rows of a part, from a process of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(Path(__file__).resolve()), "--child", name, *words]
    try:
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=patience_s)
    except subprocess.TimeoutExpired as late:
        text = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        rows = [Row(**json.loads(line)) for line in text.splitlines()]
        return [*rows, Row(name, f"not done after {patience_s:.0f} s", met=False)]
    rows = [Row(**json.loads(line)) for line in ran.stdout.splitlines()]
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
        rows.append(Row(name, f"broke: {reason[:80]}", met=False))
    return rows


def print_rows(rows: Sequence[Row]) -> None:
    lines = [row.cells for row in rows]
    widths = [max(len(line[i]) for line in [TITLES, *lines]) for i in range(len(TITLES))]
    for line in [TITLES, *lines]:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  " + "  ".join(cells).rstrip(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=", ".join(parts()))
    parser.add_argument("--full", action="store_true", help="as large as the bars ask for")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with others' jobs")
    parser.add_argument("--seeds", type=int, default=3, help="draws of streams that are random")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    what = Asked(asked.full, asked.data, asked.seeds)
    if asked.child:
        for row in parts()[asked.parts[0]](what):
            print(json.dumps(row.to_json()), flush=True)
        return 0
    words = ["--data", str(asked.data), "--seeds", str(asked.seeds)] + ["--full"] * asked.full
    rows: list[Row] = []
    for name in chosen(asked.parts):
        print(f"{name}...", file=sys.stderr, flush=True)
        rows += in_child(name, words, PATIENCE_S * (4 if asked.full else 1))
    print_rows(rows or [left_out("all", "nothing was asked for")])
    missed = sum(row.met is False for row in rows)
    met = sum(row.met is True for row in rows)
    print(f"\n  {met} bars met, {missed} missed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
