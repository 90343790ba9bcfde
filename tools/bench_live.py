"""How the live cluster stands beside its bars (`make bench-live`).

    python tools/bench_live.py                  all parts, about ten minutes
    python tools/bench_live.py start queue      some parts

Real Ray, real children. On a machine where something else runs the figures are worse than they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import live_hosts
import live_speed
from live_bars import Row

PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "start": live_speed.start,
    "throughput": live_speed.throughput,
    "recovery": live_hosts.recovery,
    "queue": live_speed.queue,
    "same": live_speed.same,
    "makespan": live_speed.makespan,
    "footprint": live_hosts.footprint,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all without")
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    options = parser.parse_args(argv)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    rows: list[Row] = []
    for part in options.parts or PARTS:
        began = time.monotonic()
        try:
            for row in PARTS[part]():
                rows.append(row)
                show(row)
        except Exception as error:
            rows.append(Row(part, f"{type(error).__name__}: {error}", "to run", False))
            show(rows[-1])
        print(f"    ({part}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    if options.json:
        options.json.write_text(json.dumps([row.to_json() for row in rows], indent=2) + "\n")
    return 1 if any(row.met is False for row in rows) else 0


def show(row: Row) -> None:
    bar = f"{row.bar} {'MISSED' if row.met is False else 'met'}" if row.bar else ""
    print(f"  {row.test:<42} {row.measured:<58} {bar}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
