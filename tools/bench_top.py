"""What `jetsched top` costs beside its bar (`make bench-top`).

    python tools/bench_top.py                  200 computed boards, 10,000 jobs
    python tools/bench_top.py --alternatives   also: its pictures through curses and through rich

A real one in a terminal of its own, at a real service. A look is counted when its clock is seen.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import top_painters
from api_world import TOKEN, Served
from many_boards import many_boards
from terminals import TerminalRun

#: Of one core, at a look a second.
BAR_PCT = 3.0
WARM_S = 10.0
SIZES = ((80, 24), (120, 40), (200, 60))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured, for each size")
    parser.add_argument("--alternatives", action="store_true", help="curses and rich as well")
    options = parser.parse_args(argv)
    met = True
    with fleet(options.boards, options.jobs) as (url, home):
        print(f"{options.boards} computed boards, {options.jobs:,} jobs", flush=True)
        for width, height in SIZES:
            cost = measured(url, home, width, height, options.seconds)
            met = met and cost.pct_at_1_hz < BAR_PCT
            word = "met" if cost.pct_at_1_hz < BAR_PCT else "MISSED"
            print(
                f"  top, {width}x{height:<3} {cost.pct_at_1_hz:5.2f} % of a core at 1 Hz, all its "
                f"threads (bar {BAR_PCT:g} %: {word}): {cost.cpu_s:.2f} s for {cost.looks} looks "
                f"in {cost.took_s:.0f} s, {cost.bytes_s / 1024:.1f} KiB/s to the terminal",
                flush=True,
            )
        if options.alternatives:
            for width, height in SIZES:
                for name in top_painters.WAYS:
                    env = environment(url, home)
                    cost_ms = top_painters.measured(name, env, home / "ms", width, height)
                    print(f"  painting, {width}x{height:<3} {name:<8} {cost_ms:6.2f} ms a picture")
    return 0 if met else 1


@contextmanager
def fleet(boards: int, jobs: int) -> Iterator[tuple[str, Path]]:
    """A service over so many boards: its address, and a folder with a token file for it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "token").write_text(TOKEN)
        with many_boards(home / "world", boards, jobs) as world, Served(world) as served:
            yield served.url, home


def environment(url: str, home: Path) -> dict[str, str]:
    return {
        "JETSCHED_HEAD": url,
        "JETSCHED_TOKEN_FILE": str(home / "token"),
        "JETSCHED_HOME": str(home / "data"),
    }


class Cost(NamedTuple):
    """What one took in a while. ``looks``: where the head is slow, less than one a second."""

    cpu_s: float
    took_s: float
    looks: int
    bytes_s: float

    @property
    def pct_at_1_hz(self) -> float:
        """As much as it takes, or would with a head that answers each second."""
        return 100 * self.cpu_s / min(self.took_s, max(self.looks, 1))


def measured(url: str, home: Path, width: int, height: int, seconds: float) -> Cost:
    """What one costs in a terminal of this size."""
    words = [sys.executable, "-m", "jetsched", "top"]
    with TerminalRun(words, environment(url, home), width=width, height=height) as run:
        run.until_shown("boards,")
        _read(run, WARM_S)
        before, began, sent = cpu_s(run.process.pid), time.monotonic(), len(run.sent)
        looks = _read(run, seconds)
        took_s, used_s = time.monotonic() - began, cpu_s(run.process.pid) - before
        rate = (len(run.sent) - sent) / took_s
        run.press("q")
        run.end()
    return Cost(used_s, took_s, looks, rate)


def _read(run: TerminalRun, seconds: float) -> int:
    """Take in what comes; returns how many different times of day stood at the top."""
    end, clocks = time.monotonic() + seconds, set[str]()
    while (left_s := end - time.monotonic()) > 0:
        run.read(left_s)
        clocks.add(run.lines[0])
    return len(clocks)


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
