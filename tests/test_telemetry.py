"""Telemetry: what is sampled beside a workload, how it is summed up, and what that costs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from attempt_worlds import SOON_S, a_command, a_training, python, until
from hypothesis import given
from hypothesis import strategies as st
from sensor_worlds import FixedSensors, a_machine, a_source, a_tegrastats, a_tree

from jetsched.profiler.identity import power_mode
from jetsched.profiler.machine import Machine
from jetsched.profiler.runner import Run
from jetsched.profiler.samples import MOST_POINTS, Course, Sample, Summary, Totals
from jetsched.profiler.sensors import Missing, Reading, Source, candidates
from jetsched.profiler.telemetry import RunTelemetry, telemetry_for
from jetsched.records import Device, DeviceClass, Measurement


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
    telemetry.start(os.getpid())  # and what it has started: nothing much
    until(telemetry.latest)
    before, start = telemetry.own_cpu_s, time.monotonic()
    time.sleep(2.0)
    telemetry.stop()
    assert (telemetry.own_cpu_s - before) / (time.monotonic() - start) < 0.05


def test_energy_and_gpu_load_can_be_asked_of_any_stretch() -> None:
    totals = Totals()
    for t_s, watts, load in (
        (0.0, 5.0, 0.0),
        (1.0, 5.0, 0.0),
        (2.0, 15.0, 90.0),
        (4.0, 15.0, 90.0),
    ):
        totals.add(Sample(t_s, power_w=watts, gpu_util_pct=load))
    work = totals.summary(2.5, 3.5)
    assert (work.energy_j, work.power_w, work.gpu_util_pct) == (15, 15, 90)
    assert totals.summary().energy_j == 5 + 10 + 30
    never = totals.summary(float("inf"), float("inf"))  # it ended while it was loading
    assert (never.energy_j, never.power_w, never.gpu_util_pct) == (None, None, None)
    assert never.samples == 4


def test_a_sensor_that_was_silent_for_long_invents_no_energy() -> None:
    totals = Totals()
    for t_s, watts in ((0.0, 10.0), (1.0, 10.0), (100.0, 10.0), (101.0, 10.0)):
        totals.add(Sample(t_s, power_w=watts))
    summary = totals.summary(0.0, 101.0)
    assert summary.power_w == 10
    assert summary.energy_j is None  # it was seen for 2 of 101 seconds
    assert totals.summary(0.0, 1.0).energy_j == 10


@given(st.lists(st.floats(0.1, 60), min_size=3, max_size=40), st.data())
def test_the_stretches_of_a_course_add_up(watts: list[float], data: st.DataObject) -> None:
    course = Course()
    for t_s, value in enumerate(watts):
        course.add(float(t_s), value)
    middle = data.draw(st.floats(0, len(watts) - 1))
    before, after = course.between(until_s=middle), course.between(since_s=middle)
    whole = course.between()
    assert before[0] + after[0] == pytest.approx(whole[0])
    assert before[1] + after[1] == pytest.approx(len(watts) - 1)
    assert min(watts) - 1e-9 <= whole[0] / whole[1] <= max(watts) + 1e-9


def test_hours_of_samples_take_no_more_room_than_minutes_and_stay_exact() -> None:
    course = Course()
    for i in range(4 * MOST_POINTS):
        course.add(i * 0.25, 10.0 if i % 2 else 20.0)
    assert len(course._times) <= MOST_POINTS
    assert course.mean() == pytest.approx(15)
    assert course.between(1000.0, 1100.0) == pytest.approx((1500, 100), rel=0.01)


def test_a_clock_that_falls_under_load_is_noted_and_one_that_rests_is_not() -> None:
    def told(*moments: tuple[float, float]) -> tuple[str, ...]:
        totals = Totals()
        for t_s, (load, mhz) in enumerate(moments):
            totals.add(Sample(float(t_s), gpu_util_pct=load, gpu_mhz=mhz))
        return totals.summary().throttling

    assert told((0, 114), (99, 114), (99, 1100), (99, 1100), (3, 114)) == ()
    assert told((99, 1100), (99, 1100), (99, 612), (99, 1100)) == (
        "GPU clock fell from 1100 to 612 MHz under load",
    )


CHILD = """
    import pathlib, re
    meminfo, load, counter = map(pathlib.Path, {files!r})
    before = meminfo.read_text()
    kept = b"x" * (40 << 20)
    load.write_text("0")
    time.sleep(0.8)
    load.write_text("1000")
    tell("loaded", load_s=0.8)
    counter.write_text("10")
    meminfo.write_text(re.sub("NvMapMemUsed: *[0-9]+", "NvMapMemUsed: 1228800", before))
    time.sleep(1.6)
    {result}
    load.write_text("0")
    meminfo.write_text({last})
    time.sleep(1.0)
    sys.exit({code})
"""
BOARD = Device("nx", DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 6144.0))


def a_run_on_a_board(
    tmp_path: Path,
    result: str = 'tell("result", outcome="done", amount=8, work_s=1.6)',
    last: str = "before",
    code: int = 0,
) -> Measurement:
    root = a_tree(tmp_path)
    (root / "sys/class/hwmon/hwmon7").mkdir()
    (root / "sys/class/hwmon/hwmon7/oc3_event_cnt").write_text("7\n")
    names = "proc/meminfo", "sys/devices/gpu.0/load", "sys/class/hwmon/hwmon7/oc3_event_cnt"
    files = [str(root / name) for name in names]
    child = CHILD.format(files=files, result=result, last=last, code=code).replace("\n    ", "\n")
    telemetry = RunTelemetry(Machine(lambda: [*candidates(root)][2:], root), sample_s=0.05)
    return Run.start(a_training(tmp_path, child, device=BOARD), telemetry).wait(SOON_S)


def test_on_a_board_the_energy_is_of_the_measured_phase_and_the_memory_is_the_jobs(
    tmp_path: Path,
) -> None:
    """The GPU works, and holds 1,000 MiB more than before, between *loaded* and the result only."""
    measurement = a_run_on_a_board(tmp_path)
    assert measurement.outcome == "done", measurement
    assert measurement.power_w == pytest.approx(9.2)
    assert measurement.energy_j is not None and measurement.time_s is not None
    assert 1.5 < measurement.energy_j / 9.2 < measurement.time_s - 1.5  # s of 9.2 W
    assert measurement.gpu_util_pct is not None and measurement.gpu_util_pct > 50
    assert measurement.peak_memory_mib is not None and 1040 < measurement.peak_memory_mib < 1200
    assert (measurement.swap_delta_mib, measurement.temperature_c) == (0, 48)
    told = measurement.identity["telemetry"]
    assert told["source"] == "sysfs" and "VDD_IN" in told["why"]
    assert told["power_mode"] == power_mode(tmp_path / "root") == "20W_6CORE"
    assert told["gpu_memory_baseline_mib"] == 200 and told["gpu_memory_mib"] == 1000
    assert told["memory_baseline_mib"] == pytest.approx(6857 - 5600)
    assert (told["temperature_start_c"], told["gpu_mhz"]) == (48, 803.25)
    assert told["throttling"] == ["over-current: 3 times"]
    assert told["gpu_memory_left_mib"] == 0


def test_gpu_memory_that_a_crash_leaves_behind_is_evidence(tmp_path: Path) -> None:
    last = 're.sub("NvMapMemUsed: *[0-9]+", "NvMapMemUsed: 1024000", before)'
    measurement = a_run_on_a_board(tmp_path, "pass", last, code=1)
    assert measurement.outcome == "failed"
    assert "GPU memory in use is 800 MiB more than before" in measurement.evidence


def test_without_the_kernels_figure_the_growth_of_the_boards_memory_counts(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    meminfo = root / "proc/meminfo"
    text = meminfo.read_text().replace("NvMap", "Other")
    meminfo.write_text(text)
    machine = a_machine(FixedSensors(), root=root)
    machine.open(0.25)
    assert machine.look(slow=True).growth_mib == 0
    meminfo.write_text(text.replace("5734400 kB", f"{5734400 - 300 * 1024} kB"))
    look = machine.look(slow=False)
    assert (look.growth_mib, look.gpu_share_mib) == (300, None)
    telemetry = RunTelemetry(machine, sample_s=0.01)
    telemetry.start(os.getppid())  # this process is below it
    assert until(telemetry.latest).memory_mib >= 300
    telemetry.stop()


def test_what_the_kernel_holds_back_when_a_board_is_hot_is_noted(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    for name, state in {"pwm-fan": 3, "gpu-throttle-alert": 1, "cpu-throttle-alert": 0}.items():
        place = root / f"sys/class/thermal/cooling_device-{name}"
        place.mkdir()
        (place / "type").write_text(name)
        (place / "cur_state").write_text(str(state))
    machine = a_machine(FixedSensors(Reading(throttling=("power cap",))), root=root)
    machine.open(0.25)
    assert machine.look(slow=True).throttling == ("power cap", "hot: gpu-throttle-alert")


def test_a_source_that_never_worked_gives_way_to_the_next(tmp_path: Path) -> None:
    first = FixedSensors(None, "its service does not answer")
    second = FixedSensors(Reading(power_w=7.0))

    def refuse(interval_s: float) -> FixedSensors:
        raise OSError("no such device")

    sources: list[Source | Missing] = [
        Missing("gone", "it is not there"),
        Source("refusing", "", refuse),
        a_source(first, "silent"),
        a_source(second, "good"),
    ]
    machine = Machine(lambda: sources, tmp_path)
    telemetry = RunTelemetry(machine, sample_s=0.01)
    telemetry.start(2**22 + 1)
    until(lambda: (telemetry.latest() or Sample(0)).power_w)
    record = telemetry.stop().record
    assert (record["source"], record["why"]) == ("good", "it is a test")
    assert record["passed_over"] == {
        "gone": "it is not there",
        "refusing": "no such device",
        "silent": "its service does not answer",
    }
    assert (first.closed, second.closed, machine.helper_cpu_s) == (1, 1, 0.5)


def test_a_source_that_stops_in_the_middle_is_a_problem_that_is_told(tmp_path: Path) -> None:
    sensors = FixedSensors(Reading(power_w=7.0))
    telemetry = RunTelemetry(a_machine(sensors, root=tmp_path), sample_s=0.01)
    telemetry.start(2**22 + 1)
    until(lambda: (telemetry.latest() or Sample(0)).power_w)
    sensors.reading, sensors.problem = None, "it ended"
    until(lambda: (telemetry.latest() or Sample(0, power_w=1)).power_w is None)
    record = telemetry.stop().record
    assert (record["source"], record["problems"]) == ("fixed-0", ["it ended"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_sensor_with_a_bug_leaves_no_process_behind(tmp_path: Path) -> None:
    class Buggy(FixedSensors):
        def read(self) -> Reading | None:
            raise ZeroDivisionError

    sensors = Buggy()
    machine = a_machine(sensors, root=tmp_path)
    telemetry = RunTelemetry(machine, sample_s=0.01)
    telemetry.start(os.getpid())
    until(lambda: sensors.closed)
    assert telemetry.stop().samples == 0


def test_energy_reaches_to_the_end_of_a_run_that_is_noticed_at_once(tmp_path: Path) -> None:
    """However rarely it is sampled: the last look is at the end."""
    sensors = FixedSensors(Reading(power_w=10.0))
    telemetry = RunTelemetry(a_machine(sensors, root=tmp_path), sample_s=300.0)
    telemetry.start(os.getpid())
    until(telemetry.latest)
    since_s = time.time()
    time.sleep(0.3)
    summary = telemetry.stop(since_s, time.time())
    assert summary.energy_j is not None and summary.energy_j >= 3 * 0.9
    assert summary.samples == 2


def test_an_emulated_board_is_not_given_the_sensors_of_this_machine(tmp_path: Path) -> None:
    measurement = Run.start(a_command(tmp_path, "sleep 0.3")).wait(SOON_S)
    told = measurement.identity["telemetry"]
    assert (told["source"], told["why"]) == ("psutil", "the board is emulated")
    assert measurement.energy_j is None and measurement.gpu_util_pct is None


def test_without_any_source_it_is_psutil_and_says_what_was_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    telemetry = RunTelemetry(Machine(lambda: [*candidates(tmp_path)][:3], tmp_path))
    telemetry.start(os.getpid())
    until(telemetry.latest)
    record = telemetry.stop().record
    assert record["source"] == "psutil"
    assert set(record["passed_over"]) == {"jtop", "tegrastats", "sysfs"}
    assert "tegrastats: no such program" in record["why"]


def test_a_whole_run_beside_tegrastats_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found by its name, started for the run and ended with it."""
    program = a_tegrastats(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    device = Device("nano", DeviceClass("orin-nano", "15W", "jetpack-6", 6144.0))
    telemetry = telemetry_for(device.device_class, a_tree(tmp_path, "orin-nano-jetpack6"))
    run = Run.start(a_command(tmp_path, "sleep 3", device=device), telemetry)
    until(lambda: run.poll().gpu_util_pct == 80)
    measurement = run.wait(SOON_S)
    assert measurement.identity["telemetry"]["source"] == "tegrastats"
    assert (measurement.power_w, measurement.temperature_c) == (10, 50.25)
    assert measurement.energy_j is not None and measurement.time_s is not None
    assert 5 < measurement.energy_j <= 10 * measurement.time_s
    assert not [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(program) in path.read_bytes().decode(errors="replace")
    ]
