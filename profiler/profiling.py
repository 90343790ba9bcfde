"""`jetsched profile`: a suite of benchmarks, one after the other, on one board.

A kill or a failure is a row like any other, and the next benchmark goes on. Rows are stored as
they come. An interrupted session is taken up again: what it has finished is not run a second time.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jetsched.files import home, write_atomically
from jetsched.profiler.attempts import read_result
from jetsched.profiler.limits import Limits
from jetsched.profiler.runner import Progress, Run, RunOrder
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.suites import Benchmark
from jetsched.profiler.whole import Whole, whole_of
from jetsched.records import Device, DeviceClass, Measurement

#: How often a caller hears how far a benchmark is.
PROGRESS_S = 0.5
#: Outcomes that say nothing about the benchmark: it is run again.
INTERRUPTED = frozenset({"lost", "cancelled", "preempted"})


class Row(NamedTuple):
    """One benchmark and what came of it."""

    benchmark: Benchmark
    measurement: Measurement
    kept: bool = False  # an interrupted session had run it already
    whole: Whole | None = None  # what the unbounded benchmark would take


def session_folder(device: Device, suite: str) -> Path:
    """Where the attempts of a suite on a board lie, in the data home."""
    return home() / "profiling" / device.id / Path(suite).stem


def profile(
    device: Device,
    suite: Sequence[Benchmark],
    folder: Path,
    *,
    python: str = sys.executable,
    limits: Limits | None = None,
    identity: Mapping[str, Any] | None = None,
    offline: bool = True,
    store: MeasurementStore | None = None,
    fresh: bool = False,
    on_start: Callable[[Benchmark], None] = lambda benchmark: None,
    on_progress: Callable[[Benchmark, Progress], None] = lambda benchmark, progress: None,
) -> Generator[Row, None, None]:
    """Run the benchmarks in turn; yields each row as soon as it is there and stored.

    ``folder`` (see :func:`session_folder`) keeps a session that was interrupted; ``fresh`` starts
    a new one. Two boards may be profiled at once, from two threads. Closing the iterator, or
    Ctrl-C, stops the benchmark that runs; it leaves no row.
    """
    store = store or MeasurementStore()
    finished = folder / "finished"
    if fresh or finished.exists():
        shutil.rmtree(folder, ignore_errors=True)
    for number, benchmark in enumerate(suite, start=1):
        place = folder / f"{number}-{benchmark.name}"
        kept = _finished_row(place, benchmark, device)
        if kept is not None:
            if kept not in store.read():  # the disk was full when it had been measured
                store.append(kept)
            yield Row(benchmark, kept, True, whole_of(benchmark, kept, place))
            continue
        shutil.rmtree(place, ignore_errors=True)
        on_start(benchmark)
        order = RunOrder(
            job=benchmark.job,
            device=device,
            folder=place,
            python=python,
            limits=limits or Limits(),
            max_steps=benchmark.max_steps,
            offline=offline,
            identity=identity or {},
            artefacts=False,
        )
        measurement = _run(order, benchmark, on_progress)
        store.append(measurement)
        for artefacts in ("out", "checkpoint"):  # a model may be gigabytes; the log is kept
            shutil.rmtree(place / artefacts, ignore_errors=True)
        yield Row(benchmark, measurement, False, whole_of(benchmark, measurement, place))
    write_atomically(finished, b"")


def _run(
    order: RunOrder, benchmark: Benchmark, on_progress: Callable[[Benchmark, Progress], None]
) -> Measurement:
    run = Run.start(order)
    try:
        while True:
            try:
                return run.wait(PROGRESS_S)
            except TimeoutError:
                on_progress(benchmark, run.poll())
    except BaseException:
        run.stop("cancelled", grace_s=2.0)
        run.wait(30.0)
        raise


def _finished_row(place: Path, benchmark: Benchmark, device: Device) -> Measurement | None:
    """What an earlier start of this session measured for the same workload on the same board."""
    found = read_result(place)
    if found is None or found.outcome in INTERRUPTED:
        return None
    if found.workload != benchmark.job.workload:
        return None
    return found if _like(found.device_class) == _like(device.device_class) else None


def _like(device_class: DeviceClass) -> DeviceClass:
    """The class without what differs from one moment to the next: memory, where it is measured."""
    return device_class if device_class.emulated else replace(device_class, memory_mib=0.0)
