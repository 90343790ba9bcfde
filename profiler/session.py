"""The board that `jetsched profile` runs on: the machine itself, or an emulated one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jetsched.errors import InputError
from jetsched.profiler.calibrating import CalibrationStore, calibrate
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.emulation import EmulatedBoard, parse
from jetsched.profiler.identity import identify
from jetsched.profiler.limits import Limits
from jetsched.profiler.profiling import Row, profile, session_folder
from jetsched.profiler.runner import Progress
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.suites import Benchmark
from jetsched.records import Device
from jetsched.units import format_duration, format_size, parse_duration_s, parse_size_mib


@dataclass(frozen=True)
class Board:
    """What is profiled, and under which limits."""

    device: Device
    title: str
    limits: Limits = field(default_factory=Limits)
    python: str = sys.executable
    identity: Mapping[str, Any] = field(default_factory=dict)
    #: What makes the profile say less than it seems to, e.g. a CPU-only torch on a Jetson.
    problems: tuple[str, ...] = ()

    def profile(
        self,
        benchmarks: Sequence[Benchmark],
        suite: str,
        *,
        online: bool = False,
        fresh: bool = False,
        folder: Path | None = None,
        store: MeasurementStore | None = None,
        say: Callable[[str], None] = lambda text: None,
        on_progress: Callable[[Benchmark, Progress], None] = lambda benchmark, progress: None,
    ) -> Iterator[Row]:
        """Run the benchmarks in turn; ``say`` hears a line when one begins and when it ends.

        ``folder`` and ``store`` are in the data home if not given. What ``on_progress`` raises,
        twice a second at most, stops the benchmark that runs.
        """

        def started(benchmark: Benchmark) -> None:
            say(f"  {self.device.id}: {benchmark.name} ...")

        for row in profile(
            self.device,
            benchmarks,
            folder or session_folder(self.device, suite),
            python=self.python,
            limits=self.limits,
            identity=self.identity,
            offline=not online,
            fresh=fresh,
            store=store,
            on_start=started,
            on_progress=on_progress,
        ):
            say(f"  {self.device.id}: {row.benchmark.name} {_ending(row)}")
            yield row

    def calibration(
        self,
        *,
        fresh: bool = False,
        store: CalibrationStore | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> Calibration:
        """The constants of this board: those it had, or if it has changed or is ``fresh``, anew.

        New ones are kept in ``store`` (in the data home if not given). Raises JobFailedError.
        """
        store = store or CalibrationStore()
        known = None if fresh else store.valid(self.device.device_class, self.identity)
        if known is not None:
            return known
        say(f"  {self.device.id}: calibrating (a minute at most) ...")
        found = calibrate(
            self.device,
            session_folder(self.device, "calibration"),
            python=self.python,
            limits=self.limits,
            identity=self.identity,
        )
        store.append(found)
        return found


def this_board(
    emulate: str | None = None,
    python: str = sys.executable,
    memory_limit: str | None = None,
    timeout: str | None = None,
) -> Board:
    """The machine at hand, or one emulated board.

    ``memory_limit`` is a size such as ``5GiB``, ``timeout`` a duration such as ``30m``.

    Raises InputError for a board that is not known, and for more than one.
    """
    if emulate is not None:
        boards = parse(emulate, python)
        if len(boards) != 1:
            raise InputError("profile takes one board at a time", hint="--emulate xavier-nx:0.5")
        board = emulated_board(boards[0], python)
    else:
        identity = identify(python=python)
        device = identity.device(identity.model)
        board = Board(
            device,
            identity.title,
            python=identity.workload_python,
            identity=identity.to_dict(),
            problems=identity.problems,
        )
    if timeout is not None:
        board = replace(board, limits=replace(board.limits, time_s=parse_duration_s(timeout)))
    if memory_limit is None:
        return board
    cap_mib = parse_size_mib(memory_limit)
    kind = replace(board.device.device_class, memory_mib=cap_mib)
    return replace(
        board,
        device=replace(board.device, device_class=kind),
        limits=replace(board.limits, memory_mib=cap_mib),
    )


def emulated_board(emulated: EmulatedBoard, python: str = sys.executable) -> Board:
    """An emulated board, with the identity of the machine that emulates it."""
    identity = identify(python=python)
    return Board(
        emulated.device,
        emulated.title,
        emulated.limits,
        identity.workload_python,  # absolute: the workload runs in a folder of its own
        {**identity.to_dict(), "emulated_scale": emulated.scale},
        identity.problems,
    )


def _ending(row: Row) -> str:
    m = row.measurement
    if row.kept:
        return "was finished before"
    words = f"{m.outcome} in {format_duration(m.time_s)}"
    if m.peak_memory_mib is not None:
        words += f", peak {format_size(m.peak_memory_mib)}"
    return words + (f": {m.text}" if m.outcome != "done" and m.text else "")
