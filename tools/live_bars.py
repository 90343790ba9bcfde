"""One line of `make bench-live`, and what its parts have in common."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from jetsched.cluster.asked import Asked
from jetsched.cluster.client import Client
from jetsched.cluster.up import down, up

#: Against hanging only.
SOON_S = 300.0
#: What the cost model goes on for a command.
LIKE = {"kind": "infer", "model": "tiny-gpt2", "prompt_tokens": 8, "max_new_tokens": 4}


@dataclass(frozen=True)
class Row:
    """What was measured beside its bar; ``met`` is None where there is none."""

    test: str
    measured: str
    bar: str = ""
    met: bool | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def command(run: str, **more: Any) -> dict[str, Any]:
    """A job that runs a command."""
    return {"work": {"kind": "command", "run": run, "like": LIKE}, **more}


@contextlib.contextmanager
def local_cluster(emulate: str) -> Iterator[tuple[Path, Client]]:
    """Emulated boards on the loopback, in a data home of their own; all is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="jetsched-bench-") as folder:
        home = Path(folder)
        try:
            state = up(Asked(emulate=emulate), home=home).state
            with Client.to(state) as client:
                yield home, client
        finally:
            down(home=home)


def until(fact: Callable[[], Any], pause_s: float = 0.05) -> Any:
    """Wait until something is true; returns it."""
    end = time.monotonic() + SOON_S
    while not (value := fact()):
        if time.monotonic() > end:
            raise TimeoutError("it did not become true")
        time.sleep(pause_s)
    return value


def p90(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.9 * len(values)))]


def spread(values: Sequence[float], unit: str = "s", digits: int = 2) -> str:
    """Median and ninth decile in words."""
    return f"p50 {median(values):.{digits}f} {unit}, p90 {p90(values):.{digits}f} {unit}"
