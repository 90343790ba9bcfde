"""The most bytes that tensors held in one run of the child, as torch's own allocator counts them.

``python tools/live_bytes.py SPEC.json``, by an interpreter with torch; prints MiB. The child runs
in this process under torch's profiler, which hears of every allocation on the CPU. What loading
takes on the way does not count: random weights are drawn in large blocks, real ones are not.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

CHILD = Path(__file__).resolve().parent.parent / "profiler/child.py"


def live_mib(spec: dict[str, Any]) -> float:
    """Runs what the spec says, and returns the most that was alive at once after loading."""
    from torch.profiler import ProfilerActivity, profile, record_function

    child = _child()
    events, stop = child.Events(spec["folder"]), child.Stop()
    tell = events.emit

    def emit(event: str, **values: Any) -> None:
        if event == "loaded":
            with record_function(event):
                pass
        tell(event, **values)

    events.emit = emit
    with (
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        child.run(spec, events, stop)
    alive = most = 0
    for event in sorted(watched.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            alive += event.nbytes()
            most = max(most, alive)
        elif event.name() == "loaded":
            most = alive
    return most / 2**20


def _child() -> ModuleType:
    where = importlib.util.spec_from_file_location("child_under_count", CHILD)
    assert where is not None and where.loader is not None
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    return module


if __name__ == "__main__":
    print(live_mib(json.loads(Path(sys.argv[1]).read_text())))
