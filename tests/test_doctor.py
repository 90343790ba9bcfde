"""What the doctor finds on made-up boards, each with its fix, and on the machine at hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_identity import a_board, no_gpu

from jetsched.cli import main
from jetsched.profiler.doctor import CHECKS, examine, has_findings
from jetsched.profiler.findings import (
    Cluster,
    Disk,
    Finding,
    World,
    cache_folder,
    disk_of,
    sees_cuda,
    this_world,
)
from jetsched.profiler.identity import Identity, Software, identify
from jetsched.profiler.sensors import Missing, Source

NX_SOFTWARE = Software("3.8.10", "2.0.0+nv23.05", "11.4", "4.46.3", "3.1.0")
SENSORS = (
    Missing("jtop", "no service listens"),
    Source("tegrastats", "/usr/bin/tegrastats is there", lambda interval_s: None),  # type: ignore[arg-type,return-value]
)
ROOMY = Disk(120_000.0, 60_000.0, True, "nvme0n1p1")


def a_world(root: Path, *, files: dict[str, Any] | None = None, **identity: Any) -> World:
    """A Xavier NX in its fastest mode with all that it needs; changes of files and identity."""
    board = a_board(root, **{"var/lib/nvpmodel/status": "pmode:0008 fmode:cool", **(files or {})})
    found = identify(board, ask=no_gpu)
    given = {"software": NX_SOFTWARE, "workload_python": "/usr/bin/python3", **identity}
    return World(
        identity=replace(found, **given),
        cache=Path("/home/me/.cache/huggingface"),
        data=Path("/home/me/.local/share/jetsched"),
        root=board,
        agent_python="3.11.7",
        cuda=True,
        disk=lambda path: ROOMY,
        sensors=SENSORS,
    )


def the(world: World, check: str) -> Finding:
    """The one finding of a check; what is not ok has a fix, what is has none."""
    findings = examine(world)
    for finding in findings:
        assert bool(finding.fix) == (finding.level != "ok") and "{" not in finding.fix, finding
    (found,) = [finding for finding in findings if finding.check == check]
    return found


def test_a_board_that_is_ready_has_no_findings(tmp_path: Path) -> None:
    found = examine(a_world(tmp_path))
    assert not has_findings(found), [f for f in found if f.level != "ok"]
    said = {finding.check: finding.text for finding in found}
    assert "Xavier NX" in said["board"] and "5.1.2" in said["jetpack"]
    assert said["power"] == "20W_6CORE"
    assert "CUDA 11.4" in said["torch"]
    assert said["telemetry"].startswith("tegrastats")


def test_every_check_says_something_about_a_board(tmp_path: Path) -> None:
    world = a_world(tmp_path, files={"proc/swaps": "Filename Type Size Used Priority\n"})
    assert all(list(check(world)) for check in CHECKS)


def test_a_low_power_mode_names_the_command_that_ends_it(tmp_path: Path) -> None:
    files = {"var/lib/nvpmodel/status": "pmode:0002"}
    found = the(a_world(tmp_path, files=files), "power")
    assert found.level == "warn"
    assert "15W_6CORE (15 W): slower than 20W_6CORE" in found.text
    assert found.fix.startswith("sudo nvpmodel -m 8 ")


@pytest.mark.parametrize("status, words", [(None, "cannot be told"), ("pmode:0077", "mode-77")])
def test_an_unknown_power_mode_is_a_finding(tmp_path: Path, status: str | None, words: str) -> None:
    found = the(a_world(tmp_path, files={"var/lib/nvpmodel/status": status}), "power")
    assert found.level == "warn" and words in found.text


@pytest.mark.parametrize(
    "release, level, words",
    [
        ("# R32 (release), REVISION: 7.1", "fail", "JetPack 4"),
        ("# R36 (release), REVISION: 4.7", "warn", "GPU allocations fail"),
        (None, "warn", "cannot be read"),
    ],
)
def test_a_jetpack_that_makes_trouble(
    tmp_path: Path, release: str | None, level: str, words: str
) -> None:
    found = the(a_world(tmp_path, files={"etc/nv_tegra_release": release}), "jetpack")
    assert found.level == level and words in found.text


def test_a_board_that_no_data_sheet_has_is_to_be_calibrated(tmp_path: Path) -> None:
    found = the(a_world(tmp_path, files={"proc/device-tree/model": "Jetson Foo Kit\0"}), "board")
    assert found.level == "warn" and found.fix == "jetsched profile --calibrate"


@pytest.mark.parametrize(
    "name, model", [("xavier-nx-jetpack5", "xavier-nx"), ("orin-nano-jetpack6", "orin-nano")]
)
def test_the_files_of_a_whole_board_are_understood(
    tmp_path: Path, name: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no tegrastats, no nvidia-smi
    world = this_world(sys.executable, tmp_path, root=Path(__file__).parent / "fake_sys" / name)
    found = {finding.check: finding for finding in examine(world)}
    assert world.identity.model == model
    assert (found["board"].level, found["jetpack"].level) == ("ok", "ok")
    assert found["telemetry"].text.startswith("sysfs")


# -- interpreters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "own, head, words", [("3.8.10", "", "3.10 or"), ("3.11.7", "3.11.9", "3.11.9")]
)
def test_a_python_that_ray_refuses_fails(tmp_path: Path, own: str, head: str, words: str) -> None:
    token = tmp_path / "token"
    world = replace(a_world(tmp_path), agent_python=own, cluster=Cluster(token, head))
    found = the(world, "agent python")
    assert found.level == "fail" and words in found.text


def test_the_heads_own_python_is_fine(tmp_path: Path) -> None:
    world = replace(a_world(tmp_path), cluster=Cluster(tmp_path / "token", "3.11.7"))
    assert the(world, "agent python").level == "ok"


def software(**changed: str) -> dict[str, Any]:
    return {"software": replace(NX_SOFTWARE, **changed)}


@pytest.mark.parametrize(
    "changed, check, words",
    [
        (software(problem="/nope is not there"), "workload python", "/nope"),
        (software(python="3.6.9"), "workload python", "3.8 is the lowest"),
        (software(torch="", cuda=""), "torch", "no torch"),
        (software(torch="1.10.0"), "torch", "too old"),
        (software(torch="2.0.0", cuda=""), "torch", "CPU-only"),
        (software(transformers=""), "transformers", "no transformers"),
        (software(transformers="4.57.1"), "transformers", "it wants 2.2"),
        (software(transformers="5.0.0", torch="2.4.0"), "transformers", "it wants 2.6"),
    ],
)
def test_a_workload_interpreter_that_cannot_do_the_work_fails(
    tmp_path: Path, changed: dict[str, Any], check: str, words: str
) -> None:
    found = the(a_world(tmp_path, **changed), check)
    assert found.level == "fail" and words in found.text


def test_transformers_for_jetpack_5_is_4_46(tmp_path: Path) -> None:
    found = the(a_world(tmp_path, **software(transformers="")), "transformers")
    assert found.fix == "/usr/bin/python3 -m pip install transformers==4.46.3"
    newer = the(a_world(tmp_path, **software(transformers="4.50.0", torch="2.1.0")), "transformers")
    assert newer.level == "warn" and "4.46.3" in newer.fix


def test_a_torch_that_sees_no_gpu_fails_although_it_is_built_for_one(tmp_path: Path) -> None:
    found = the(replace(a_world(tmp_path), cuda=False), "torch")
    assert found.level == "fail" and "sees no GPU" in found.text and "video" in found.fix


# -- memory, disks, sensors, token -----------------------------------------------------------------


def test_a_desktop_and_little_free_memory_are_findings(tmp_path: Path) -> None:
    files = {
        "proc/99/comm": "gnome-shell\n",
        "proc/meminfo": "MemTotal: 7021568 kB\nMemAvailable: 3500000 kB\n",
    }
    world = a_world(tmp_path, files=files)
    assert the(world, "desktop").level == "warn"
    assert "multi-user.target" in the(world, "desktop").fix
    assert the(world, "memory").level == "warn"


ZRAM = "Filename Type Size Used Priority\n/dev/zram0 partition 585128 0 5\n"


@pytest.mark.parametrize(
    "swaps, meminfo, level",
    [
        ("Filename Type Size Used Priority\n", "", "ok"),
        (ZRAM, "", "warn"),
        ("h\n/swapfile file 8388604 0 -2\n", "SwapTotal: 8388604 kB\nSwapFree: 8388604 kB\n", "ok"),
        (
            "h\n/swapfile file 8388604 0 -2\n",
            "SwapTotal: 8388604 kB\nSwapFree: 6388604 kB\n",
            "warn",
        ),
    ],
)
def test_zram_and_what_is_swapped_out_are_findings(
    tmp_path: Path, swaps: str, meminfo: str, level: str
) -> None:
    memory = "MemTotal: 7021568 kB\nMemAvailable: 6300000 kB\n"
    world = a_world(tmp_path, files={"proc/swaps": swaps, "proc/meminfo": memory + meminfo})
    assert the(world, "swap").level == level


@pytest.mark.parametrize(
    "disk, level, words",
    [
        (Disk(29_000.0, 300.0, True, "mmcblk1p1"), "fail", "on mmcblk1p1, an SD card"),
        (Disk(29_000.0, 3_000.0), "warn", "too little"),
        (replace(ROOMY, writable=False), "fail", "not writable"),
        (None, "warn", "cannot be read"),
    ],
)
def test_a_full_or_closed_cache_is_a_finding(
    tmp_path: Path, disk: Disk | None, level: str, words: str
) -> None:
    base = a_world(tmp_path)
    world = replace(base, disk=lambda path: disk if path == base.cache else ROOMY)
    found = the(world, "cache")
    assert found.level == level and words in found.text
    assert the(world, "disk").level == "ok"


def test_a_jetson_without_any_sensor_is_a_finding_that_says_what_was_tried(tmp_path: Path) -> None:
    sensors = (Missing("jtop", "no service"), Missing("tegrastats", "no such program"))
    found = the(replace(a_world(tmp_path), sensors=sensors), "telemetry")
    assert found.level == "warn" and "tegrastats: no such program" in found.text


def a_token(path: Path) -> None:
    path.write_text("secret")
    path.chmod(0o600)


def an_open_token(path: Path) -> None:
    a_token(path)
    path.chmod(0o644)


@pytest.mark.parametrize(
    "write, level",
    [(a_token, "ok"), (an_open_token, "warn"), (Path.touch, "fail"), (lambda path: None, "fail")],
)
def test_rays_token_is_there_and_only_its_owners(
    tmp_path: Path, write: Callable[[Path], None], level: str
) -> None:
    token = tmp_path / "ray-token"
    write(token)
    world = replace(a_world(tmp_path / "board"), cluster=Cluster(token))
    found = the(world, "token")
    assert found.level == level
    assert "secret" not in found.text


# -- machines that are no board --------------------------------------------------------------------


def test_a_computer_without_a_gpu_is_no_finding(tmp_path: Path) -> None:
    here = Identity("cpu", "cpu", "some CPU", memory_total_mib=8000.0, memory_available_mib=7000.0)
    world = World(
        replace(here, software=Software("3.12.1", "2.13.0+cpu", "", "5.0.0")),
        tmp_path,
        tmp_path,
        tmp_path,
        "3.12.1",
        disk=lambda path: ROOMY,
    )
    assert not has_findings(examine(world))


def test_a_graphics_card_that_nobody_watches_is_a_finding(tmp_path: Path) -> None:
    card = Identity("gpu", "rtx", "RTX", software=Software("3.12.1", "2.13", "13.0", "5.0.0"))
    world = World(card, tmp_path, tmp_path, tmp_path, "3.12.1", cuda=False)
    assert the(world, "telemetry").fix == "pip install nvidia-ml-py"
    assert "nvidia-smi" in the(world, "torch").fix


# -- the machine at hand ---------------------------------------------------------------------------


def test_the_cache_is_where_the_hubs_libraries_have_it() -> None:
    assert cache_folder({"HF_HOME": "/data/hf"}) == Path("/data/hf")
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface")
    assert cache_folder({}) == Path.home() / ".cache/huggingface"


def test_a_disk_is_told_by_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    mounts = tmp_path / "proc/mounts"
    mounts.parent.mkdir()
    mounts.write_text(f"/dev/mmcblk0p1 / ext4 rw\n/dev/nvme0n1p1 {tmp_path} ext4 rw\nproc /proc\n")
    found = disk_of(tmp_path / "not/yet/there", tmp_path)
    assert found is not None and found.medium == "nvme0n1p1"
    assert found.writable and found.total_mib > found.free_mib > 0


def test_an_interpreter_without_torch_cannot_be_asked_for_cuda() -> None:
    assert sees_cuda("/no/such/python") is None


def test_this_machine_is_examined_without_an_error(tmp_path: Path) -> None:
    checks = {finding.check for finding in examine(this_world(sys.executable, tmp_path))}
    assert checks >= {"board", "agent python", "workload python", "memory", "disk", "telemetry"}


def test_the_verb_prints_json_and_ends_with_1_when_something_is_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    words = ["jetsched", "doctor", "--workload-python", "/no/such/python"]
    for json_too in (["--json"], []):
        monkeypatch.setattr(sys, "argv", words + json_too)
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 1
        out = capsys.readouterr().out
        if json_too:
            rows = json.loads(out)
            assert {"check", "level", "text", "fix"} == set(rows[0])
            assert [r["level"] for r in rows if r["check"] == "workload python"] == ["fail"]
        else:
            assert "✗ workload python  /no/such/python is not there" in out
            assert "fix: jetsched doctor --workload-python" in out
