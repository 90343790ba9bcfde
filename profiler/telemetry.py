"""What is measured beside a running workload: memory, CPU, GPU, power, temperature, swap.

Sampled in a thread of its own, summed up for the whole run at the end. The workload's processes
are seen with psutil, everywhere; the machine's sensors come from the best source it has.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Protocol

from jetsched.profiler.machine import Look, Machine
from jetsched.profiler.processes import ProcessTree, Usage
from jetsched.profiler.samples import Sample, Summary, Totals
from jetsched.profiler.sensors import candidates
from jetsched.records import DeviceClass

#: Between samples; a workload's memory changes within a step, which takes longer than this.
SAMPLE_S = 0.25
#: What is dear is read this often: which processes there are, their shared pages, the swap.
SLOW_S = 2.0


class Telemetry(Protocol):
    """A source of samples. The runner owns it: `start` once, `latest` at will, `stop` once.

    Neither method may block for longer than a sample takes, and none raises because a sensor is
    missing: what cannot be seen is None.
    """

    def start(self, pid: int) -> None:
        """Begin to sample; ``pid`` is the supervisor, below which the workload's processes are."""

    def latest(self) -> Sample | None:
        """The newest sample, or None before the first."""

    def stop(self, since_s: float = -inf, until_s: float = inf) -> Summary:
        """End sampling and sum up; a second call answers the same.

        The measured phase, of which energy and GPU load are wanted, began at ``since_s`` and
        ended at ``until_s``, in seconds since the Unix epoch.
        """


def telemetry_for(device_class: DeviceClass, root: Path = Path("/")) -> RunTelemetry:
    """Telemetry for a run on this machine; made before the run, for the sake of the baseline.

    An emulated board gets its processes only: the sensors of the machine that emulates it, which
    others use too, would say nothing about it.
    """
    if device_class.emulated:
        return RunTelemetry(Machine(root=root, why_psutil="the board is emulated"))
    return RunTelemetry(Machine(lambda: candidates(root), root))


class RunTelemetry:
    """Samples a workload and the machine under it; costs well under 1 % of a core.

    ``own_cpu_s`` is what sampling itself has cost, the helper processes of a source apart.
    """

    def __init__(self, machine: Machine | None = None, sample_s: float = SAMPLE_S) -> None:
        self._machine = machine or Machine(why_psutil="no sensors were asked for")
        self._sample_s = sample_s
        self._totals = Totals()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = time.monotonic()
        self._left_mib: float | None = None
        self._summary: Summary | None = None
        self.own_cpu_s = 0.0

    def start(self, pid: int) -> None:
        self._thread = threading.Thread(
            target=self._sample_until_over, args=(pid,), name="telemetry", daemon=True
        )
        self._thread.start()

    def latest(self) -> Sample | None:
        return self._totals.latest

    def stop(self, since_s: float = -inf, until_s: float = inf) -> Summary:
        if self._summary is None:
            self._over.set()
            if self._thread is not None:
                self._thread.join()
            wall = time.time() - time.monotonic()
            self._summary = self._summed_up(since_s - wall, until_s - wall)
        return self._summary

    def _sample_until_over(self, pid: int) -> None:
        tree = ProcessTree(pid)
        try:
            self._machine.open(self._sample_s)
            count, slow_every = 0, max(1, round(SLOW_S / self._sample_s))
            while True:
                slow = count % slow_every == 0
                # At first processes come and go.
                usage, look = tree.look(slow or count < 4), self._machine.look(slow)
                self._totals.add(_sample(usage, look, self._machine.unified))
                self.own_cpu_s = time.thread_time()
                count += 1
                if self._over.wait(self._sample_s):
                    break
            self._look_again()
        finally:
            self._machine.close()

    def _look_again(self) -> None:
        """The work is over: its power reaches up to here, and its memory should be back."""
        look = self._machine.look(slow=False)
        self._left_mib = look.gpu_share_mib
        if self._totals.latest is not None:
            self._totals.add(_sample(Usage(time.monotonic()), look, self._machine.unified))

    def _summed_up(self, since_s: float, until_s: float) -> Summary:
        machine, found = self._machine, self._totals.summary(since_s, until_s)
        lasted_s = time.monotonic() - self._started
        record = {
            **machine.record(),
            "samples": found.samples,
            "sample_s": self._sample_s,
            "own_cpu_pct": round(100 * (self.own_cpu_s + machine.helper_cpu_s) / lasted_s, 2),
            "gpu_memory_mib": found.gpu_memory_mib,
            "gpu_memory_left_mib": self._left_mib,
            "gpu_mhz": found.gpu_mhz,
            "gpu_busy_mhz": found.gpu_busy_mhz,
            "temperature_start_c": found.temperature_start_c,
            "throttling": [*machine.throttled(), *found.throttling],
        }
        known = {key: value for key, value in record.items() if value not in (None, [], {})}
        return replace(
            found,
            gpu_memory_left_mib=self._left_mib,
            throttling=tuple(known.get("throttling", ())),
            unified=machine.unified,
            record=known,
        )


def _sample(usage: Usage, look: Look, unified: bool) -> Sample:
    """On unified memory the job holds its processes' memory and its share on the GPU's side.

    Where the kernel does not tell that share, the growth of the whole machine's memory has both;
    it lacks mapped files, which RSS has, so the larger of the two is taken.
    """
    memory = usage.memory_mib
    if memory is not None and unified:
        if look.gpu_share_mib is not None:
            memory += look.gpu_share_mib
        elif look.growth_mib is not None:
            memory = max(memory, look.growth_mib)
    reading = look.reading
    return Sample(
        t_s=usage.t_s,
        memory_mib=memory,
        cpu_pct=usage.cpu_pct,
        swap_used_mib=reading.swap_used_mib,
        gpu_util_pct=reading.gpu_util_pct,
        gpu_mhz=reading.gpu_mhz,
        gpu_memory_mib=look.gpu_share_mib,
        board_memory_mib=look.board_memory_mib,
        power_w=reading.power_w,
        temperature_c=reading.temperature_c,
        throttling=look.throttling,
    )
