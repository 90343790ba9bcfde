"""Telemetry: what is sampled beside a workload, how it is summed up, and what that costs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from attempt_worlds import SOON_S, a_command, python, until

from jetsched.profiler.runner import Run
from jetsched.profiler.samples import Sample, Summary, Totals
from jetsched.profiler.telemetry import RunTelemetry


def test_means_are_over_time_and_maxima_are_maxima() -> None:
    totals = Totals()
    for sample in (
        Sample(0.0, memory_mib=100, cpu_pct=0, swap_used_mib=10, power_w=10, temperature_c=40),
        Sample(1.0, memory_mib=300, cpu_pct=100, swap_used_mib=10, power_w=10, temperature_c=60),
        Sample(3.0, memory_mib=200, cpu_pct=100, swap_used_mib=25, power_w=20, temperature_c=50),
    ):
        totals.add(sample)
    summary = totals.summary()
    assert (summary.samples, summary.peak_memory_mib, summary.temperature_c) == (3, 300, 60)
    assert summary.cpu_util_pct == pytest.approx(250 / 3)
    assert summary.energy_j == 40  # 1 s x 10 W + 2 s x 15 W
    assert summary.power_w == pytest.approx(40 / 3)
    assert summary.swap_delta_mib == 15


def test_what_was_never_seen_is_none() -> None:
    totals = Totals()
    assert totals.summary() == Summary()
    totals.add(Sample(0.0, memory_mib=5))
    assert totals.summary() == Summary(samples=1, peak_memory_mib=5)


def test_memory_and_cpu_of_the_whole_tree_are_seen(tmp_path: Path) -> None:
    """The worker is a grandchild: the shell stays between it and the supervisor."""
    worker = python("""
        import time
        kept = b"x" * (80 << 20)
        open("ready", "w").close()
        end = time.monotonic() + 600
        while time.monotonic() < end:
            sum(range(1000))
    """)
    run = Run.start(a_command(tmp_path, worker.replace("exec ", "", 1) + "; true"))
    until((tmp_path / "attempt/ready").exists)
    assert until(lambda: (run.poll().memory_mib or 0) > 80)
    time.sleep(1.0)
    run.stop("cancelled", grace_s=0)
    measurement = run.wait(SOON_S)
    assert measurement.peak_memory_mib is not None and 80 < measurement.peak_memory_mib < 200
    assert measurement.cpu_util_pct is not None and measurement.cpu_util_pct > 1
    assert measurement.swap_delta_mib is not None


def test_a_workload_that_is_gone_at_once_is_no_error() -> None:
    telemetry = RunTelemetry()
    telemetry.start(2**22 + 1)  # no process has this number
    until(telemetry.latest)
    summary = telemetry.stop()
    assert summary.peak_memory_mib is None
    assert telemetry.stop() == summary


def test_sampling_costs_next_to_nothing() -> None:
    """Measured: 0.3 % of a core; the bound is loose because machines differ."""
    telemetry = RunTelemetry()
    telemetry.start(os.getppid())
    until(telemetry.latest)
    before, start = telemetry.own_cpu_s, time.monotonic()
    time.sleep(2.0)
    telemetry.stop()
    assert (telemetry.own_cpu_s - before) / (time.monotonic() - start) < 0.05
