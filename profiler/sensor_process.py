"""A process of ours that prints one reading a line: started, read without waiting, ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

#: What a well-behaved program needs to end after SIGTERM; then it is killed.
GRACE_S = 1.0
#: A program that prints no line end is none of those that are meant here.
MOST_BYTES = 1 << 16


class SensorProcess:
    """Keeps the newest whole line of a program's output.

    When we die, its next line goes nowhere and SIGPIPE ends it. It has a session of its own, so
    that a Ctrl-C for us does not end it before the run is summed up.

    Raises OSError where the program cannot be started.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._begun = b""
        self.lines = 0
        self.ended = False
        self.line_at = time.monotonic()  # when the last line came; before the first, the start

    def newest_line(self) -> str | None:
        """The last line that is complete, or None when none came since the last call."""
        received = self._receive()
        *whole, rest = (self._begun + received).split(b"\n")
        self._begun = rest[-MOST_BYTES:]
        if not whole:
            return None
        self.lines += len(whole)
        self.line_at = time.monotonic()
        return whole[-1].decode("utf-8", "replace")

    def close(self) -> float:
        """End it; returns the CPU seconds it has used, as far as they can be told."""
        used_s = self._cpu_s()
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return used_s

    def _receive(self) -> bytes:
        received = b""
        while len(received) < 16 * MOST_BYTES:
            try:
                some = os.read(self._output, MOST_BYTES)
            except BlockingIOError:
                break
            if not some:
                self.ended = True
                break
            received += some
        return received

    def _cpu_s(self) -> float:
        import psutil

        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system + times.children_user + times.children_system)
