"""The board's sensors: each source on files or programs that tests make, and the choice."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from attempt_worlds import is_alive, python, until
from sensor_worlds import LINE, a_jtop, a_program, a_tegrastats, a_tree

from jetsched.profiler.identity import identify
from jetsched.profiler.sensor_process import SensorProcess
from jetsched.profiler.sensors import JTOP_SOCKET, Missing, Reading, Source, candidates
from jetsched.profiler.sensors_jtop import HELPER, JtopSensors, has_jtop
from jetsched.profiler.sensors_nvml import NvmlSensors
from jetsched.profiler.sensors_sysfs import (
    SysfsSensors,
    find_places,
    gpu_memory_mib,
    throttle_counts,
)
from jetsched.profiler.sensors_tegrastats import TegrastatsSensors


def process_of(sensors: TegrastatsSensors | JtopSensors) -> int:
    return sensors._process._process.pid


def test_a_xavier_nx_is_read_from_its_files(tmp_path: Path) -> None:
    root = a_tree(tmp_path, "xavier-nx-jetpack5")
    sensors = SysfsSensors(find_places(root))
    assert sensors.read() == Reading(
        gpu_util_pct=73.4,  # the kernel says per mille
        gpu_mhz=803.25,
        swap_used_mib=124,
        power_w=5.0 * 1.84,  # of VDD_IN
        temperature_c=48,  # not the PMIC's 100
    )
    assert sensors.problem == ""
    assert gpu_memory_mib(root) == 200


def test_an_orin_nano_is_read_from_its_files(tmp_path: Path) -> None:
    root = a_tree(tmp_path, "orin-nano-jetpack6")
    reading = SysfsSensors(find_places(root)).read()
    assert (reading.gpu_util_pct, reading.gpu_mhz, reading.temperature_c) == (99.1, 612, 57.125)
    assert reading.power_w == pytest.approx(4.976 * 2.412)
    assert throttle_counts(root) == {"under-voltage": 0, "over-current": 7}


@pytest.mark.parametrize(
    ("tree", "model", "mode", "jetpack", "headless"),
    [
        ("xavier-nx-jetpack5", "xavier-nx", "20W_6CORE", "5.1.2", True),
        ("orin-nano-jetpack6", "orin-nano", "25W", "6.2", False),
    ],
)
def test_the_same_trees_say_what_board_it_is(
    tmp_path: Path, tree: str, model: str, mode: str, jetpack: str, headless: bool
) -> None:
    found = identify(a_tree(tmp_path, tree), ask=lambda argv: "")
    assert (found.model, found.power_mode, found.jetpack) == (model, mode, jetpack)
    assert found.headless is headless


def test_jetpack_4_has_a_power_monitor_driver_of_its_own(tmp_path: Path) -> None:
    chip = tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    chip.mkdir(parents=True)
    for channel, (name, milliwatts) in enumerate({"POM_5V_IN": 2500, "POM_5V_GPU": 40}.items()):
        (chip / f"rail_name_{channel}").write_text(name)
        (chip / f"in_power{channel}_input").write_text(f"{milliwatts}\n")
    assert SysfsSensors(find_places(tmp_path)).read().power_w == 2.5


def test_a_sensor_that_may_not_be_read_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    locked = root / "sys/class/hwmon/hwmon3/curr1_input"
    locked.unlink()
    locked.symlink_to(root / "nowhere")  # root may read anything, so a lock would not do
    places = find_places(root)
    assert [rail.name for rail in places.rails] == ["VDD_CPU_GPU_CV", "VDD_SOC"]
    assert SysfsSensors(places).read().gpu_util_pct == 73.4
    if os.geteuid() == 0:
        return
    (root / "sys/devices/gpu.0/load").chmod(0)
    sensors = SysfsSensors(find_places(root))
    assert sensors.read().gpu_util_pct is None
    assert "GPU load: no permission" in sensors.problem


def test_without_permission_for_a_sensor_there_is_a_line_and_the_rest_is_read() -> None:
    """Also where the tests run as root, whom no lock keeps out: a child gives its rights away."""
    folder = Path(tempfile.mkdtemp())
    try:
        root = a_tree(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        locked = root / "sys/devices/gpu.0/load"
        locked.chmod(0)
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                sensors = SysfsSensors(find_places(root))
                reading = sensors.read()
                told = {"gpu": reading.gpu_util_pct, "w": reading.power_w, "why": sensors.problem}
                os.write(into, json.dumps(told).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(into)
        with os.fdopen(out) as answer:
            found = json.loads(answer.read())
    finally:
        shutil.rmtree(folder)
    assert found["gpu"] is None
    assert found["w"] is not None
    assert f"GPU load: no permission for {locked}" in found["why"]


def test_a_machine_without_sensors_has_none(tmp_path: Path) -> None:
    places = find_places(tmp_path)
    assert (places.gpu_loads, places.rails, places.label) == ((), (), "no sensors")
    assert SysfsSensors(places).read() == Reading()
    assert gpu_memory_mib(tmp_path) is None and throttle_counts(tmp_path) == {}


def test_tegrastats_is_read_while_it_runs_and_ends_with_us(tmp_path: Path) -> None:
    sensors = TegrastatsSensors(str(a_tegrastats(tmp_path)), 0.25)
    assert until(sensors.read) == Reading(
        gpu_util_pct=80, gpu_mhz=612, swap_used_mib=64, power_w=10, temperature_c=50.25
    )
    pid = process_of(sensors)
    assert is_alive(pid)
    assert sensors.close() >= 0
    assert not is_alive(pid)


def test_of_several_lines_the_newest_counts_and_a_cut_one_waits(tmp_path: Path) -> None:
    first, second = LINE.format(gpu=1, mw=1000), LINE.format(gpu=2, mw=2000)
    script = f"""
        printf '%s\\n%s\\n%s' '{first}' '{second}' '{LINE.format(gpu=3, mw=3000)[:90]}'
        exec sleep 600
    """
    sensors = TegrastatsSensors(str(a_tegrastats(tmp_path, script)), 0.25)
    reading = until(sensors.read)
    sensors.close()
    assert (reading.gpu_util_pct, reading.power_w) == (2, 2)


def test_a_tegrastats_that_ends_is_told_and_says_nothing_any_more(tmp_path: Path) -> None:
    sensors = TegrastatsSensors(str(a_tegrastats(tmp_path, "echo Permission denied; exit 1")), 0.25)
    until(lambda: sensors.read() or sensors.problem)
    assert sensors.read() is None
    assert sensors.problem == "tegrastats ended after 1 lines"
    sensors.close()


def test_a_program_that_hangs_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    process = SensorProcess([str(a_program(tmp_path / "hangs", script))])
    until(process.newest_line)
    process.close()
    assert not is_alive(process._process.pid)


def test_a_sensor_program_does_not_outlive_us_however_we_die(tmp_path: Path) -> None:
    program = a_tegrastats(tmp_path)
    code = f"""
        import os, sys
        from jetsched.profiler.sensor_process import SensorProcess
        print(SensorProcess(["{program}"])._process.pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run(["sh", "-c", python(code)], capture_output=True, text=True)
    assert done.stdout.strip().isdigit(), done.stderr
    until(lambda: not is_alive(int(done.stdout)))


def test_jtop_is_read_in_a_process_of_its_own(tmp_path: Path) -> None:
    interpreter = a_jtop(tmp_path)
    sensors = JtopSensors(interpreter, 0.05)
    assert until(sensors.read) == Reading(
        gpu_util_pct=63.5,  # of the integrated GPU
        gpu_mhz=803.25,
        gpu_memory_mib=512,
        swap_used_mib=20,
        power_w=8.125,
        temperature_c=47,
    )
    pid = process_of(sensors)
    assert sensors.close() >= 0
    assert not is_alive(pid)
    assert "jtop" not in sys.modules  # its import would make multiprocessing fork here


def test_a_jtop_whose_service_does_not_answer_says_why(tmp_path: Path) -> None:
    code = """
        def refuse(self):
            raise JtopException("The jtop.service is not active.")

        jtop.__enter__ = refuse
    """
    sensors = JtopSensors(a_jtop(tmp_path, code), 0.05)
    until(lambda: sensors.read() or sensors.problem)
    assert sensors.problem == "jtop: The jtop.service is not active."
    sensors.close()


def test_a_jtop_without_this_or_that_leaves_it_out(tmp_path: Path) -> None:
    code = """
        jtop.gpu = {}
        jtop.power = {"rail": {}}
        jtop.memory = {"RAM": {}}
        jtop.temperature = {}
    """
    sensors = JtopSensors(a_jtop(tmp_path, code), 0.05)
    assert until(sensors.read) == Reading()
    sensors.close()


def test_the_helper_runs_on_a_python_of_jetpack_4_and_needs_nothing_of_ours() -> None:
    tree = ast.parse(HELPER.read_text(), feature_version=(3, 6))
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    assert names == ["importlib", "json", "sys"]
    assert "__future__" not in HELPER.read_text()


NVML = """
class NVMLError(Exception): pass
NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0
class _: pass
def nvmlInit(): open({log!r}, "a").write("init ")
def nvmlShutdown(): open({log!r}, "a").write("shutdown ")
def nvmlDeviceGetHandleByIndex(index):
    if {cards} <= index: raise NVMLError("no card")
    return index
def nvmlDeviceGetUtilizationRates(card): r = _(); r.gpu = 88; return r
def nvmlDeviceGetMemoryInfo(card): r = _(); r.used = 3 << 30; return r
def nvmlDeviceGetPowerUsage(card): raise NVMLError("Not Supported")
def nvmlDeviceGetClockInfo(card, kind): return 1410
def nvmlDeviceGetTemperature(card, kind): return 61
def nvmlDeviceGetCurrentClocksThrottleReasons(card): return 0x1 | 0x4 | 0x20
"""


@pytest.mark.parametrize("cards", [1, 0])
def test_a_graphics_card_is_read_through_nvml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cards: int
) -> None:
    """With a stand-in of the binding: no machine with a card was at hand."""
    (tmp_path / "pynvml.py").write_text(NVML.format(log=str(tmp_path / "log"), cards=cards))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    if not cards:
        with pytest.raises(OSError, match="no card"):
            NvmlSensors()
    else:
        sensors = NvmlSensors()
        assert sensors.read() == Reading(
            gpu_util_pct=88,
            gpu_mhz=1410,
            gpu_memory_mib=3072,
            temperature_c=61,
            throttling=("power cap", "thermal slow-down (driver)"),
        )
        assert sensors.problem == "NVML: Not Supported"  # power, as in some virtual machines
        sensors.close()
    assert (tmp_path / "log").read_text() == "init shutdown "
    monkeypatch.delitem(sys.modules, "pynvml")


def test_the_best_source_comes_first_and_each_missing_one_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, interpreter = a_tree(tmp_path), a_jtop(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    without = list(candidates(root, (interpreter,)))
    assert [each.name for each in without] == ["jtop", "tegrastats", "sysfs", "nvml"]
    assert [type(each) for each in without][:3] == [Missing, Missing, Source]
    assert "no service" in without[0].why and without[1].why == "no such program"
    (root / JTOP_SOCKET).parent.mkdir(parents=True)
    (root / JTOP_SOCKET).touch()
    monkeypatch.setenv("PATH", f"{a_tegrastats(tmp_path).parent}:/usr/bin:/bin")
    found = list(candidates(root, (sys.executable, interpreter)))
    assert [type(each) for each in found][:3] == [Source, Source, Source]
    assert interpreter in found[0].why
    first = next(iter(candidates(root, ("/no/such/python",))))
    assert isinstance(first, Missing) and "has jetson-stats" in first.why


def test_jetson_stats_is_looked_for_without_importing_it(tmp_path: Path) -> None:
    interpreter = a_jtop(tmp_path, 'raise SystemExit("it was imported")')
    assert has_jtop(interpreter)
    assert not has_jtop("/no/such/python")
    broken = a_program(tmp_path / "broken", "exit 3")
    assert not has_jtop(str(broken))
