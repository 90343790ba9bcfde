"""What machine this is: made-up board files and nvidia-smi answers, and real Pythons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from jetsched.profiler.devices import device_model
from jetsched.profiler.identity import Software, identify, software_of
from jetsched.profiler.storage import storage_of

NX_MODES = """
< PARAM TYPE=FILE NAME=CPU_ONLINE >
< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >
CPU_ONLINE CORE_1 1
< POWER_MODEL ID=8 NAME=MODE_20W_6CORE >
"""
ORIN_MODES = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"


def a_board(root: Path, **changes: Any) -> Path:
    """The files by which a Xavier NX under JetPack 5.1.2 is known; None takes one away."""
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
        "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref,"
        " EABI: aarch64, DATE: Tue Aug  1 19:57:35 UTC 2023\n",
        "proc/meminfo": "MemTotal:        7021568 kB\nMemAvailable:    6300000 kB\n",
        "proc/1/comm": "systemd\n",
        "proc/77/comm": "sshd\n",
        "sys/devices/system/cpu/online": "0-5\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1420800\n",
        "sys/class/devfreq/17000000.gv11b/max_freq": "1109250000\n",
        "var/lib/nvpmodel/status": "pmode:0002 fmode:cool",
        "etc/nvpmodel.conf": NX_MODES,
    }
    for name, text in {**files, **changes}.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


def no_gpu(argv: list[str]) -> str:
    return ""


def test_a_xavier_nx_is_known_by_its_files(tmp_path: Path) -> None:
    found = identify(a_board(tmp_path), ask=no_gpu)
    assert (found.kind, found.model, found.power_mode) == ("jetson", "xavier-nx", "15W_6CORE")
    assert (found.l4t, found.jetpack) == ("35.4.1", "5.1.2")
    assert (found.cpus_online, found.cpu_max_mhz, found.gpu_max_mhz) == ("0-5", 1420.8, 1109.25)
    assert found.headless is True
    device_class = found.device_class()
    assert device_class.memory_mib == 6144  # 6152 MiB were free
    assert device_class.software.startswith("jetpack-5.1.2")
    assert device_model(device_class.model).title == "Jetson Xavier NX 8GB"


def test_an_orin_nano_is_known_by_its_files(tmp_path: Path) -> None:
    root = a_board(
        tmp_path,
        **{
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit"
            " Super\0",
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081",
            "var/lib/nvpmodel/status": "pmode:0002",
            "etc/nvpmodel.conf": ORIN_MODES,
            "sys/class/devfreq/17000000.gv11b/max_freq": None,
            "sys/class/devfreq/17000000.gpu/max_freq": "1020000000",
        },
    )
    found = identify(root, ask=no_gpu)
    assert (found.model, found.power_mode, found.jetpack) == ("orin-nano", "MAXN_SUPER", "6.2")
    assert found.gpu_max_mhz == 1020


FAKES = Path(__file__).parent / "fake_sys"


@pytest.mark.parametrize(
    "board, cpu, gpu, storage",
    [
        ("xavier-nx-jetpack5", (1190.4, 1420.8), (114.75, 1109.25, 803.25), "sd-card"),
        ("orin-nano-jetpack6", (729.6, 1344.0), (306.0, 918.0, 612.0), "nvme"),
    ],
)
def test_clocks_and_storage_are_part_of_a_board(
    board: str,
    cpu: tuple[float, ...],
    gpu: tuple[float, ...],
    storage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/home/nvidia/.cache/huggingface/hub")
    found = identify(FAKES / board, ask=no_gpu)
    assert (found.cpu_min_mhz, found.cpu_max_mhz) == cpu
    assert (found.gpu_min_mhz, found.gpu_max_mhz, found.gpu_mhz) == gpu
    assert found.clocks_locked is False
    assert found.storage == storage


def test_clocks_are_locked_where_nothing_can_move(tmp_path: Path) -> None:
    """As jetson_clocks leaves them; one CPU that may still slow down is enough to be not locked."""
    locked = {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "1420800\n",
        "sys/class/devfreq/17000000.gv11b/min_freq": "1109250000\n",
    }
    assert identify(a_board(tmp_path, **locked), ask=no_gpu).clocks_locked is True
    loose = tmp_path / "sys/devices/system/cpu/cpu1/cpufreq"
    loose.mkdir(parents=True)
    (loose / "scaling_min_freq").write_text("1190400\n")
    (loose / "scaling_max_freq").write_text("1420800\n")
    assert identify(tmp_path, ask=no_gpu).clocks_locked is False


def test_without_the_lower_ends_it_is_not_known_whether_clocks_are_locked(tmp_path: Path) -> None:
    found = identify(a_board(tmp_path), ask=no_gpu)
    assert found.clocks_locked is None
    assert "clocks_locked" not in found.to_dict()


@pytest.mark.parametrize(
    "mount, files, storage",
    [
        ("/dev/mmcblk0p1 / ext4", {"mmcblk0/device/type": "MMC"}, "emmc"),
        ("/dev/sda1 / ext4", {"sda/queue/rotational": "0"}, "ssd"),
        ("/dev/sda1 / ext4", {"sda/queue/rotational": "1"}, "hdd"),
        ("/dev/sda1 / ext4", {"sda/size": "1"}, ""),
        ("/dev/sdb1 / ext4\n/dev/nvme0n1p1 /models ext4", {"nvme0n1/size": "1"}, "nvme"),
        ("/dev/root / ext4", {"mmcblk0/size": "1"}, "sd-card"),
        ("nas:/models /models nfs4", {}, "network"),
        ("overlay / overlay", {}, ""),
        ("/dev/vda1 / ext4", {"vda/queue/rotational": "1"}, ""),  # virtual ones always say so
    ],
)
def test_the_storage_of_the_models_is_that_of_the_innermost_mount(
    tmp_path: Path, mount: str, files: dict[str, str], storage: str
) -> None:
    lines = "".join(f"{line} rw 0 0\n" for line in mount.splitlines())
    known = {f"sys/block/{name}": text for name, text in files.items()}
    root = a_board(
        tmp_path, **{"proc/mounts": lines, "proc/cmdline": "quiet root=/dev/mmcblk0p1 rw"}, **known
    )
    assert storage_of(Path("/models/hub"), root) == storage


def test_whether_torch_is_cpu_only_is_part_of_it(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    software = software_of(sys.executable)
    assert identify(tmp_path, ask=no_gpu).torch_cpu_only is (not software.cuda)
    assert identify(tmp_path, "/no/such/python", ask=no_gpu).torch_cpu_only is None


def test_a_cpu_only_torch_on_a_board_is_a_problem(tmp_path: Path) -> None:
    """The torch that PyPI has for Arm: a profile with it would say nothing about the GPU."""
    pytest.importorskip("torch")
    software = software_of(sys.executable)
    if software.cuda:
        pytest.skip("this torch is built for CUDA")
    found = identify(a_board(tmp_path), ask=no_gpu)
    assert any("CPU-only" in problem for problem in found.problems)
    assert identify(ask=no_gpu).problems == ()


def test_a_desktop_on_a_board_is_a_problem(tmp_path: Path) -> None:
    found = identify(a_board(tmp_path, **{"proc/99/comm": "gnome-shell\n"}), ask=no_gpu)
    assert found.headless is False
    assert any("desktop" in problem for problem in found.problems)


def test_a_power_mode_without_a_name_keeps_its_number(tmp_path: Path) -> None:
    root = a_board(tmp_path, **{"var/lib/nvpmodel/status": "pmode:0005"})
    assert identify(root, ask=no_gpu).power_mode == "mode-5"


def test_a_board_without_its_files_is_still_a_board(tmp_path: Path) -> None:
    root = a_board(
        tmp_path,
        **{"etc/nv_tegra_release": None, "var/lib/nvpmodel/status": None, "proc/meminfo": None},
    )
    found = identify(root, ask=no_gpu)
    assert (found.model, found.power_mode, found.l4t) == ("xavier-nx", "", "")
    assert found.device_class().memory_mib == 0


def test_no_serial_number_is_kept(tmp_path: Path) -> None:
    root = a_board(tmp_path, **{"proc/device-tree/serial-number": "1423221043432\0"})
    assert "1423221043432" not in str(identify(root, ask=no_gpu).to_dict())


def test_a_gpu_is_known_by_nvidia_smi(tmp_path: Path) -> None:
    def smi(argv: list[str]) -> str:
        assert argv[0] == "nvidia-smi"
        return "NVIDIA H100 80GB HBM3, 81559, 550.54.15, 1980\n"

    found = identify(tmp_path, ask=smi)
    assert (found.kind, found.model, found.driver) == ("gpu", "h100-80gb-hbm3", "550.54.15")
    assert found.device_class().memory_mib == 81408  # its own memory, not the machine's


def test_this_machine_is_something() -> None:
    found = identify()
    assert found.memory_total_mib is not None and found.memory_available_mib is not None
    assert found.device_class().memory_mib <= found.memory_total_mib
    assert found.to_dict()["software"]["python"] == found.python


def test_software_is_told_without_importing_torch() -> None:
    found = software_of(sys.executable)
    assert found.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    torch = pytest.importorskip("torch.version")
    assert found.torch == torch.__version__
    assert found.label == f"torch-{torch.__version__}"


def test_an_interpreter_that_cannot_be_asked_is_a_problem(tmp_path: Path) -> None:
    assert "no program" in software_of("/no/such/python").problem
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    broken.chmod(0o755)
    assert software_of(str(broken)) == Software(problem=f"{broken}: it is broken")
