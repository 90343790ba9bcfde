"""Builders for tests that really start processes: orders, small children, and who is left."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jetsched.profiler.limits import PREFIX, _parents
from jetsched.profiler.runner import RunOrder
from jetsched.records import Device, DeviceClass, Job, Workload

BOARD = Device("nx-1", DeviceClass("xavier-nx", "emulated", "none", 1000.0, emulated=True))
#: Against hanging only.
SOON_S = 120.0


def a_command(folder: Path, run: str, **changes: Any) -> RunOrder:
    """An attempt of kind *command*: ``run`` is shell."""
    job = Job("1", Workload("command", "", command=run))
    return replace(RunOrder(job, BOARD, folder / "attempt"), **changes)


def python(code: str) -> str:
    """A shell command that runs Python code with this interpreter."""
    return f"exec {sys.executable} -c '{textwrap.dedent(code)}'"


def a_training(folder: Path, child: str, **changes: Any) -> RunOrder:
    """An attempt of kind *train* whose child is the given code; it has `spec` and `tell(...)`."""
    script = folder / "small_child.py"
    head = """
        import json, os, sys, time
        spec = json.load(open(sys.argv[1]))
        events = open(os.path.join(spec["folder"], "events.jsonl"), "a")
        def tell(event, **values):
            values.update(event=event, t=time.time())
            events.write(json.dumps(values) + "\\n")
            events.flush()
    """
    script.write_text(textwrap.dedent(head) + textwrap.dedent(child))
    workload = Workload("train", "tiny-gpt2", "squad", batch_size=2, seq_len=64, head="qa")
    job = Job("1", workload, amount=8)
    return replace(RunOrder(job, BOARD, folder / "attempt", child=script), **changes)


def until(fact: Callable[[], Any], patience_s: float = SOON_S) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + patience_s
    while not (value := fact()):
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)
    return value


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def processes_in(folder: Path) -> list[int]:
    """Processes whose working folder is this one or below it: what an attempt has left behind."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and is_alive(int(name)):
            try:
                where = os.readlink(f"/proc/{name}/cwd")
            except OSError:
                continue
            if Path(where).is_relative_to(folder):
                found.append(int(name))
    return found


def cgroups_of(pid: int) -> list[str]:
    """Cgroups that were made by a process of ours and are still there."""
    return [
        str(group)
        for _, parent in _parents(Path("/"))
        for group in parent.glob(f"{PREFIX}*-{pid}-*")
    ]
