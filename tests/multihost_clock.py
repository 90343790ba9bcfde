"""Steps of a host's wall clock: a small library (multihost_clock.c) is loaded before every program.

It moves what Python and SQLite see of the wall clock, and the times of files written after the
step. Not covered: the clocks of Ray's own C++, and waits of the kernel for a wall clock time. Where
there is no C compiler there are no steps.
"""

from __future__ import annotations

import functools
import os
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from shutil import which

SOURCE = Path(__file__).with_name("multihost_clock.c")


@functools.lru_cache(maxsize=1)
def compiled() -> bytes | None:
    """The library; None where it cannot be compiled here."""
    compiler = which("cc") or which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "clock.so"
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(SOURCE), "-ldl"]
        done = subprocess.run([compiler, *flags], capture_output=True, text=True)
        return library.read_bytes() if done.returncode == 0 else None


class ClockShim:
    """The wall clock of one host, on whose disk the library and the offset are."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / ".clock"
        library = compiled()
        self.works = library is not None
        self.offset_s = 0.0
        if library is not None:
            (disk / ".clock.so").write_bytes(library)
            self._file.write_bytes(struct.pack("=qq", 0, 0))

    def environment(self, disk: Path) -> dict[str, str]:
        """What has a program on the host, which sees the disk there, live by this clock."""
        if not self.works:
            return {}
        return {"LD_PRELOAD": str(disk / ".clock.so"), "JETSCHED_TEST_CLOCK": str(disk / ".clock")}

    def step(self, seconds: float) -> None:
        """Set it forward, or back with less than 0, from now on."""
        assert self.works, "no C compiler here"
        self.offset_s += seconds
        handle = os.open(self._file, os.O_WRONLY)  # in place: programs have it mapped
        try:
            os.pwrite(handle, struct.pack("=qq", int(self.offset_s * 1e9), time.time_ns()), 0)
        finally:
            os.close(handle)
