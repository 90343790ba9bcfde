"""What ends an attempt that nobody asked to end: heat, silence, a full disk. And what it leaves."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from attempt_worlds import (
    BOARD,
    SOON_S,
    a_command,
    a_training,
    cgroups_of,
    processes_in,
    python,
    until,
)
from sensor_worlds import a_tree
from small_disk import fill, small_disk

from jetsched.profiler.attempts import Story, is_running, measured_phase, read_object, read_result
from jetsched.profiler.heat import zones_of
from jetsched.profiler.limits import PREFIX, STALE_S, Limits, make_temporary, remove_stale
from jetsched.profiler.outcomes import Seen, classify
from jetsched.profiler.procfs import boot_id
from jetsched.profiler.runner import Run
from jetsched.profiler.supervising import Watch
from jetsched.records import DeviceClass

REAL = replace(BOARD, device_class=DeviceClass("xavier-nx", "15W_6CORE", "", 6000.0))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for attempts; afterwards no process of theirs and no cgroup of ours may be left."""
    yield tmp_path
    until(lambda: not processes_in(tmp_path))
    assert cgroups_of(os.getpid()) == []


def a_board(root: Path, degrees: float, *, name: str = "GPU-therm", zone: int = 0) -> Path:
    """A root folder with a thermal zone; returns the file with its temperature."""
    place = root / f"sys/class/thermal/thermal_zone{zone}"
    place.mkdir(parents=True)
    (place / "type").write_text(f"{name}\n")
    (place / "temp").write_text(f"{degrees * 1000:.0f}\n")
    return place / "temp"


def trips(zone: Path, **points: float) -> None:
    for number, (kind, degrees) in enumerate(points.items()):
        (zone.parent / f"trip_point_{number}_type").write_text(f"{kind.rstrip('_')}\n")
        (zone.parent / f"trip_point_{number}_temp").write_text(f"{degrees * 1000:.0f}\n")


# ------------------------------------------------------------------------------------------- heat


def test_a_zone_s_limit_lies_between_being_held_back_and_being_switched_off(tmp_path: Path) -> None:
    trips(a_board(tmp_path, 50), active=60, passive=86, passive_=90, critical=98)
    trips(a_board(tmp_path, 50, name="CPU-therm", zone=1), critical=96)
    a_board(tmp_path, 50, name="Tboard_tegra", zone=2)  # no trip points: no limit
    trips(a_board(tmp_path, 100, name="PMIC-Die", zone=3), critical=90)  # a constant
    assert {zone.name: zone.limit_c for zone in zones_of(tmp_path)} == {
        "GPU-therm": 94.0,
        "CPU-therm": 91.0,
    }


def test_a_limit_of_one_s_own_holds_for_all_zones_and_0_is_none(tmp_path: Path) -> None:
    a_board(tmp_path, 50)
    assert [zone.limit_c for zone in zones_of(tmp_path, 70.0)] == [70.0]
    assert zones_of(tmp_path, 0) == ()


CHECKPOINTS = """
import signal
def save(*_):
    os.makedirs(os.path.join(spec["folder"], "checkpoint", "step-3"))
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
tell("loaded", load_s=0.1)
tell("progress", done=3, amount=8, step=3, steps=8, loss=1.0)
time.sleep(600)
"""


def test_a_board_that_gets_too_hot_ends_the_attempt_after_a_checkpoint(folder: Path) -> None:
    zone = a_board(folder / "root", 60)
    order = a_training(
        folder,
        CHECKPOINTS,
        device=REAL,
        root=folder / "root",
        limits=Limits(temperature_c=80.0),
    )
    run = Run.start(order)
    until(lambda: run.poll().step == 3)
    zone.write_text("85500\n")
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "killed_heat"
    assert measurement.text == (
        "the board became too hot: GPU-therm reached 85.5 C, its limit is 80.0 C"
    )
    assert (order.folder / "checkpoint/step-3").is_dir()


def a_watch(folder: Path, **order: object) -> Watch:
    return Watch({"folder": str(folder), **order}, start=1000.0)


def test_one_hot_reading_is_a_sensor_s_mistake(tmp_path: Path) -> None:
    file = a_board(tmp_path, 60)
    watch = a_watch(tmp_path, heat=[["GPU", str(file), 80.0]])
    found = []
    for second, degrees in enumerate([90, 90, 70, 90, 90, 90]):
        file.write_text(f"{degrees * 1000}")
        found.append(watch.look(1001.0 + second))
    assert found[:5] == [None] * 5
    assert found[5] == ("killed_heat", "heat", "GPU reached 90.0 C, its limit is 80.0 C")


def test_a_zone_that_is_off_is_not_hot(tmp_path: Path) -> None:
    file = a_board(tmp_path, -256)
    watch = a_watch(tmp_path, heat=[["GPU", str(file), 80.0], ["CPU", "/no/such", 80.0]])
    assert [watch.look(1001.0 + second) for second in range(5)] == [None] * 5


def test_an_emulated_board_has_no_heat_limit_of_the_machine_s(folder: Path) -> None:
    run = Run.start(a_command(folder, "true", limits=Limits(temperature_c=1.0)))
    assert run.wait(SOON_S).outcome == "done"
    assert read_object(run.order.folder / "order.json")["heat"] == []


# --------------------------------------------------------------------------------- power modes


def test_a_run_during_which_the_power_mode_was_changed_speaks_for_neither(folder: Path) -> None:
    root = a_tree(folder)  # a board in 20W_6CORE
    board = replace(REAL, device_class=replace(REAL.device_class, power_mode="20W_6CORE"))
    command = "touch ready; while [ ! -e go ]; do sleep 0.05; done"
    run = Run.start(a_command(folder, command, device=board, root=root))
    until((run.order.folder / "ready").exists)
    (root / "var/lib/nvpmodel/status").write_text("pmode:0002 fmode:cool\n")
    (run.order.folder / "go").touch()
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "done"
    assert measurement.device_class.power_mode == "20W_6CORE>15W_6CORE"
    assert "changed from 20W_6CORE to 15W_6CORE" in measurement.evidence[0]


# ------------------------------------------------------------------------------------------ silence

HANGS = """
tell("loaded", load_s=0.1)
tell("progress", done=2, amount=8, step=1, steps=4, loss=1.0)
time.sleep(600)
"""


def test_a_training_that_hangs_is_lost_with_the_reason(folder: Path) -> None:
    run = Run.start(a_training(folder, HANGS, limits=Limits(stall_s=1.0)))
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "lost"
    assert measurement.text.startswith("it hung: it showed no sign of life for")
    assert "stopped (stall)" in measurement.evidence
    assert measurement.amount == 2


def test_a_stopped_child_is_lost_too_and_still_hears_sigterm(folder: Path) -> None:
    """As after `kill -STOP`, or in a debugger: it gets the chance to write its checkpoint."""
    order = a_training(folder, CHECKPOINTS, limits=Limits(stall_s=2.0))
    run = Run.start(order)
    until(lambda: run.poll().step == 3)
    for pid in processes_in(order.folder):
        os.kill(pid, signal.SIGSTOP)
    assert run.wait(SOON_S).outcome == "lost"
    assert (order.folder / "checkpoint/step-3").is_dir()


TALKS = """
for second in range(8):
    tell("progress", done=second, amount=8, step=second, steps=8, loss=1.0)
    time.sleep(0.25)
tell("loaded", load_s=0.1)
tell("result", outcome="done", amount=8, work_s=2.0)
"""


def test_who_goes_on_talking_is_not_stalled(folder: Path) -> None:
    order = a_training(folder, TALKS, limits=Limits(stall_s=1.5))
    assert Run.start(order).wait(SOON_S).outcome == "done"


def test_a_command_may_be_silent(folder: Path) -> None:
    run = Run.start(a_command(folder, "sleep 1", limits=Limits(stall_s=0.2)))
    assert run.wait(SOON_S).outcome == "done"


def test_a_supervisor_that_was_stopped_itself_does_not_blame_the_workload(tmp_path: Path) -> None:
    watch = a_watch(tmp_path, stall_s=60.0)
    assert watch.look(1001.0) is None
    assert watch.look(5000.0) is None  # an hour in which nobody ran
    found = [watch.look(5000.0 + second) for second in range(1, 61)]
    assert found[:50] == [None] * 50
    assert found[-1] is not None and found[-1][:2] == ("lost", "stall")


# --------------------------------------------------------------------------------------- full disks

WRITES = """
with open("model.part", "wb") as file:
    while True:
        file.write(bytes(65536))
"""


def test_a_disk_that_fills_up_is_the_board_s_trouble(folder: Path) -> None:
    """Nothing can be written any more, and still it is known how the attempt ended."""
    with small_disk(folder / "disk", 4) as disk:
        run = Run.start(a_training(disk, f"os.chdir(spec['folder'])\n{WRITES}"))
        measurement = run.wait(SOON_S)
        assert measurement.outcome == "lost"
        assert measurement.text == "the board's disk was full while it ran"
        assert (run.order.folder / "exit.json").exists()
        assert any("MiB left at the least" in line for line in measurement.evidence)
        assert read_result(run.order.folder) == measurement


def test_a_full_disk_neither_kills_the_supervisor_nor_hides_a_good_end(folder: Path) -> None:
    """The workload needs no room itself, its log cannot grow, and it ends well."""
    with small_disk(folder / "disk", 4) as disk:
        order = a_command(
            disk, "touch ready; while [ ! -e go ]; do sleep 0.05; done; echo oops || true"
        )
        run = Run.start(order)
        until((order.folder / "ready").exists)
        ballast = fill(disk)
        os.link(order.folder / "ready", order.folder / "go")  # takes no room
        measurement = run.wait(SOON_S)
        assert measurement.outcome == "done"
        ballast.unlink()


def test_where_even_the_reserve_was_taken_the_attempt_is_lost_and_says_so(folder: Path) -> None:
    with small_disk(folder / "disk", 4) as disk:
        order = a_command(disk, "touch ready; while [ ! -e go ]; do sleep 0.05; done")
        run = Run.start(order)
        until((order.folder / "ready").exists)
        (order.folder / ".reserve").unlink()
        fill(disk)
        os.link(order.folder / "ready", order.folder / "go")
        measurement = run.wait(SOON_S)
        assert measurement.outcome == "lost"
        assert "the disk is full" in measurement.text
        assert run.result() is measurement


def test_an_attempt_is_not_begun_without_room_for_its_end(folder: Path) -> None:
    with small_disk(folder / "disk", 1) as disk:
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            Run.start(a_command(disk, "true"))


@pytest.mark.parametrize(
    ("log", "outcome"),
    [
        ("OSError: [Errno 28] No space left on device", "lost"),
        ("SafetensorError: I/O error: No space left on device (os error 28)", "lost"),
        ("OSError: [Errno 122] Disk quota exceeded", "lost"),
        ("ValueError: 28 is no number", "failed"),
    ],
)
def test_a_log_says_that_there_was_no_room(log: str, outcome: str) -> None:
    ending = classify(Seen(exit_code=1, log_tail=log, disk_least_mib=9000.0))
    assert ending.outcome == outcome
    assert any(log in line for line in ending.evidence)


def test_a_child_s_own_word_goes_before_a_disk_that_was_full() -> None:
    failed = {"error": "SpecError", "text": "seq_len 4 leaves no room"}
    assert classify(Seen(exit_code=1, failed=failed, disk_least_mib=0.0)).outcome == "failed"


# --------------------------------------------------------------------------------- temporary files


def test_temporary_files_end_with_the_attempt_however_that_ends(folder: Path) -> None:
    code = """
        import os, tempfile, time
        made = tempfile.mkstemp()[1]
        open("made", "w").write(made)
        os.rename("made", "told")
        time.sleep(600)
    """
    for number, end in enumerate(("stop", "kill")):
        order = a_command(folder / str(number), python(code))
        run = Run.start(order)
        told = order.folder / "told"
        until(told.exists)
        made = Path(told.read_text())
        assert made.exists() and made.parent.parent == Path(tempfile.gettempdir())
        if end == "stop":
            run.stop("cancelled", 0.0)
        else:
            os.kill(read_object(order.folder / "supervisor.json")["pid"], signal.SIGKILL)
        run.wait(SOON_S)
        assert not made.parent.exists()


def test_temporary_folders_of_a_dead_starter_are_removed_later_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = Path(make_temporary())
    namespace = mine.name.split("-")[1]
    names = {
        "old": f"{PREFIX}{namespace}-999999999-1-0-abc",
        "young": f"{PREFIX}{namespace}-999999999-1-1-abc",
        "foreign": f"{PREFIX}1-999999999-1-0-abc",  # of another pid namespace
    }
    places = {key: tmp_path / name for key, name in names.items()}
    for key, place in places.items():
        place.mkdir()
        if key != "young":
            age = place.stat().st_mtime - STALE_S - 1
            os.utime(place, (age, age))
    os.utime(mine, (0, 0))
    remove_stale(tmp_path)  # a root folder without cgroups
    assert {key: place.exists() for key, place in places.items()} == {
        "old": False,
        "young": True,
        "foreign": True,
    }
    assert mine.exists()


# ------------------------------------------------------------------------------ clocks that jump


def test_whether_an_attempt_starts_is_not_asked_of_the_wall_clock(tmp_path: Path) -> None:
    """``is_running`` takes the monotonic clock; the file's own time may be anything."""
    order = tmp_path / "order.json"
    order.write_text(f'{{"boot": "{boot_id()}", "ordered_monotonic_s": 1000.0}}')
    for hours in (-10, 10):
        moved = order.stat().st_mtime + hours * 3600
        os.utime(order, (moved, moved))
        assert is_running(tmp_path, clock=lambda: 1001.0)
        assert not is_running(tmp_path, clock=lambda: 1031.0)


def test_an_attempt_of_before_a_restart_of_the_machine_is_over(tmp_path: Path) -> None:
    """The monotonic clock began anew with it."""
    order = tmp_path / "order.json"
    order.write_text('{"boot": "another", "ordered_monotonic_s": 1000.0}')
    assert not is_running(tmp_path, clock=lambda: 1001.0)


@pytest.mark.parametrize("step_s", [0.0, 7200.0, -7200.0])
def test_moments_of_a_run_during_which_the_clock_was_set_say_nothing(
    tmp_path: Path, step_s: float
) -> None:
    (tmp_path / "exit.json").write_text(
        f'{{"started_s": 100.0, "time_s": 50.0, "clock_step_s": {step_s}}}'
    )
    (tmp_path / "events.jsonl").write_text(f'{{"event": "loaded", "t": {110.0 + step_s}}}\n')
    since_s, until_s = measured_phase(tmp_path, Story(tmp_path / "events.jsonl"), "train")
    assert (since_s, until_s) == ((110.0, 150.0) if step_s == 0 else (float("inf"), float("inf")))
