"""What a node knows of itself: readings, and why it takes no new job."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from agent_world import OneAgent
from sensor_worlds import a_tree

from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.cluster.nodewatch import NodeWatch
from jetsched.profiler.limits import Limits
from jetsched.records import Device, DeviceClass

BOARD = Device("nx-1", DeviceClass("xavier-nx", "20W_6CORE", "", 6000.0))


def a_node(root: Path, **changes: object) -> NodeConfig:
    return replace(NodeConfig(BOARD, str(root), root=str(root)), **changes)  # type: ignore[arg-type]


def codes(watch: NodeWatch) -> list[str]:
    return [code for code, _ in watch.closings()]


def test_a_board_s_reading_has_what_its_kernel_tells(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    reading = NodeWatch(a_node(root)).reading(120.0)
    assert reading.memory_total_mib == pytest.approx(6857, abs=2)
    assert reading.memory_total_mib is not None and reading.memory_free_mib is not None
    assert 0 < reading.memory_free_mib < reading.memory_total_mib
    assert reading.jobs_mib == 120.0
    assert reading.gpu_util_pct is not None and reading.power_w is not None
    assert reading.power_w > 1
    assert reading.temperature_c == 48.0
    assert reading.power_mode == "20W_6CORE"
    assert reading.disk_free_mib is not None and reading.disk_free_mib > 0
    assert reading.closings == ()
    assert reading.device == BOARD
    assert abs(reading.at_s - time.time()) < 60


def test_a_reading_is_cheap(tmp_path: Path) -> None:
    """A hundred take less than a second of the CPU, on however slow a machine: 20 ms is plenty."""
    watch = NodeWatch(a_node(a_tree(tmp_path)))
    watch.reading(0.0)
    before = time.process_time()
    for _ in range(50):
        watch.reading(0.0)
    assert (time.process_time() - before) / 50 < 0.02


def test_an_emulated_board_says_nothing_of_the_machine_s_sensors(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        reading = world.ask(world.agent.reading())
    assert (reading.memory_total_mib, reading.memory_free_mib) == (150.0, 150.0)
    assert reading.jobs_mib == 0
    assert reading.gpu_util_pct is reading.power_w is reading.temperature_c is None
    assert reading.power_mode is None and reading.throttled is None


def test_what_a_job_holds_is_in_the_reading(tmp_path: Path) -> None:
    with OneAgent(tmp_path) as world:
        run = "exec python3 -c 'x = b\"x\" * (40 << 20); import time; time.sleep(600)'"
        world.start("1", run)

        async def wait() -> float:
            while True:
                held = (await world.agent.reading()).jobs_mib or 0.0
                if held > 40:
                    return held

        assert 40 < world.ask(wait()) < 150


def test_a_hot_board_is_closed_until_it_has_cooled(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    zone = root / "sys/class/thermal/thermal_zone1/temp"  # the GPU's
    watch = NodeWatch(a_node(root, limits=Limits(temperature_c=80.0)))
    seen = []
    for degrees in (79, 80, 79, 71, 70, 69, 79):
        zone.write_text(f"{degrees * 1000}\n")
        seen.append(codes(watch) == ["TooHot"])
    assert seen == [False, True, True, True, True, False, False]
    zone.write_text("85000\n")
    assert watch.closings() == (("TooHot", "GPU-therm is at 85 C; it takes jobs again below 70 C"),)


def test_a_board_without_trip_points_has_no_heat_limit(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    (root / "sys/class/thermal/thermal_zone1/temp").write_text("120000\n")
    assert codes(NodeWatch(a_node(root))) == []


def test_below_its_reserve_of_disk_a_node_is_closed(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    watch = NodeWatch(a_node(root, disk_min_mib=1e9))
    ((code, text),) = watch.closings()
    assert code == "NoDisk" and "1000000000 are needed" in text
    assert watch.missing_mib > 0
    assert codes(NodeWatch(a_node(root, disk_min_mib=1.0))) == []


def set_mode(root: Path, number: int) -> None:
    (root / "var/lib/nvpmodel/status").write_text(f"pmode:{number:04d} fmode:cool\n")


def test_another_power_mode_makes_a_board_another_class(tmp_path: Path) -> None:
    """Its estimates are those of that mode; nobody has to start the agent again."""
    root = a_tree(tmp_path)
    watch = NodeWatch(a_node(root))
    set_mode(root, 2)
    reading = watch.reading(None)
    assert reading.power_mode == "15W_6CORE"
    assert reading.closings == ()
    assert reading.device is not None
    assert reading.device.device_class == replace(BOARD.device_class, power_mode="15W_6CORE")
    set_mode(root, 8)
    assert watch.device() == BOARD


def test_an_identity_goes_with_the_power_mode(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    told = {"model": "xavier-nx", "power_mode": "20W_6CORE", "memory_available_mib": 6100.0}
    watch = NodeWatch(a_node(root, identity=told))
    assert watch.identity() == told
    set_mode(root, 2)
    (root / "sys/devices/system/cpu/online").write_text("0-3\n")
    now = watch.identity()
    assert (now["power_mode"], now["cpus_online"]) == ("15W_6CORE", "0-3")
    assert now["memory_available_mib"] == 6100.0


def test_a_board_that_is_to_be_in_one_power_mode_is_closed_in_another(tmp_path: Path) -> None:
    root = a_tree(tmp_path)
    watch = NodeWatch(a_node(root, power_mode="20W_6CORE"))
    assert codes(watch) == []
    set_mode(root, 2)
    text = "it is in power mode 15W_6CORE, and is to be in 20W_6CORE"
    assert watch.closings() == (("WrongPowerMode", text),)


def test_without_its_workload_python_a_node_is_closed(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to("/bin/true")
    watch = NodeWatch(a_node(a_tree(tmp_path), python=str(python)))
    assert codes(watch) == []
    python.unlink()
    assert watch.closings() == (("EnvMissing", f"the workload's interpreter is gone: {python}"),)
