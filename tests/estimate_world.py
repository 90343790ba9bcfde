"""What the tests of `jetsched estimate` share: the verb, a job file, runs that were measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from builders import a_workload

from jetsched.cli import main
from jetsched.profiler.store import MeasurementStore
from jetsched.records import DeviceClass, Measurement, Workload

ROOT = Path(__file__).resolve().parent.parent
GPT2 = str(ROOT / "tests/data/gpt2.yaml")
CPU = DeviceClass("cpu", "", "torch-2.9.0", 15_872.0)
WORK = a_workload("tinygpt2-25m", batch_size=2, seq_len=64)
#: The work section that is :data:`WORK`.
AS_WORK = "kind: train, model: tinygpt2-25m, batch_size: 2, seq_len: 64"


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)
        return found

    @property
    def row(self) -> dict[str, Any]:
        (only,) = self.rows
        return only


Estimate = Callable[..., Result]


def estimate_in(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Estimate:
    """The verb, run in this process with a data home of its own."""
    monkeypatch.setenv("JETSCHED_HOME", str(home))
    monkeypatch.setenv("JETSCHED_DEBUG", "")  # what --debug sets is undone with it

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["jetsched", "estimate", *words])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return Result(int(code or 0), out, err)

    return run


def a_file(tmp_path: Path, work: str, more: str = "") -> str:
    file = tmp_path / "job.yaml"
    file.write_text(f"work: {{{work}}}\n{more}")
    return str(file)


def a_run(where: DeviceClass = CPU, workload: Workload = WORK, **changes: Any) -> Measurement:
    """A run of 12 samples in 6 seconds, after 3 of loading."""
    base = Measurement(
        workload,
        where,
        "done",
        amount=12.0,
        time_s=9.0,
        load_s=3.0,
        work_s=6.0,
        peak_memory_mib=900.0,
        at="2026-11-01T10:00:00Z",
        emulated=where.emulated,
    )
    return replace(base, **changes)


def remember(tmp_path: Path, *runs: Measurement) -> None:
    """As `jetsched profile` does."""
    store = MeasurementStore(tmp_path / "home" / "measurements.jsonl")
    for run in runs:
        store.append(run)
