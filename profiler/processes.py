"""The processes of a workload: their memory and CPU, with psutil, on every Linux."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Usage:
    """What a workload's processes hold and have used since the last look."""

    t_s: float  # on the monotonic clock
    memory_mib: float | None = None  # RSS, shared pages counted once; None: there are none
    cpu_pct: float | None = None  # 100 is one busy core


class ProcessTree:
    """The processes below one, as they were last seen, and what must be kept between looks.

    Memory is the sum of RSS, with PSS instead where there are several processes, so that pages
    they share count once; PSS is dear, so it is renewed only on a slow look.
    """

    def __init__(self, pid: int) -> None:
        import psutil

        self._psutil = psutil
        self._pid = pid
        self._processes: list[psutil.Process] = []
        self._cpu_s: dict[int, float] = {}
        self._at = time.monotonic()
        self._pss_per_rss = 1.0

    def look(self, slow: bool) -> Usage:
        """What they use now; a slow look also finds out which processes there are."""
        if slow:
            self._refresh()
        now = time.monotonic()
        rss, used_s = 0.0, 0.0
        for process in self._processes:
            with contextlib.suppress(self._psutil.Error), process.oneshot():
                rss += process.memory_info().rss / _MIB
                times = process.cpu_times()
                spent = times.user + times.system
                used_s += spent - self._cpu_s.get(process.pid, 0.0)
                self._cpu_s[process.pid] = spent
        lasted, self._at = now - self._at, now
        return Usage(
            t_s=now,
            memory_mib=rss * self._pss_per_rss if self._processes else None,
            cpu_pct=100 * used_s / lasted if lasted > 0.01 else None,
        )

    def _refresh(self) -> None:
        with contextlib.suppress(self._psutil.Error):
            root = self._psutil.Process(self._pid)
            known = {process.pid: process for process in self._processes}
            found = root.children(recursive=True)
            self._processes = [known.get(process.pid, process) for process in found]
        self._pss_per_rss = self._share() if len(self._processes) > 1 else 1.0

    def _share(self) -> float:
        """Which part of the summed RSS is left when shared pages count once."""
        pss, rss = 0, 0
        for process in self._processes:
            with contextlib.suppress(self._psutil.Error):
                full = process.memory_full_info()
                pss, rss = pss + full.pss, rss + full.rss
        return pss / rss if rss else 1.0
