"""`jetsched doctor`: everything about a board that makes profiles or jobs go wrong, with its fix.

Each check is a pure function of a :class:`~jetsched.profiler.findings.World`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from jetsched.profiler.devices import DEVICE_MODELS, POWER_MODES
from jetsched.profiler.doctor_software import (
    check_agent_python,
    check_torch,
    check_transformers,
    check_workload_python,
)
from jetsched.profiler.findings import Disk, Finding, World
from jetsched.profiler.identity import power_modes
from jetsched.profiler.procfs import number_after
from jetsched.profiler.sensors import Missing, Source
from jetsched.units import format_size

#: A board with less than this share of its memory free is not idle.
IDLE_SHARE = 0.6
#: The smallest model of the paper's inference suite needs 2.2 GB on the disk.
SCARCE_DISK_MIB, FULL_DISK_MIB = 5 * 1024.0, 1024.0
#: Some idle pages are always swapped out; more than this says that memory is short.
SWAPPED_MIB = 256.0
_LARGEST = "du -sh ~/.cache/huggingface/hub/* | sort -h"
#: The release in which CUDA allocations fail although memory is free (JETSON.md).
BAD_L4T = "36.4.7"


def examine(world: World) -> list[Finding]:
    """All findings, those that are fine included, in the order in which a board is set up."""
    return [finding for check in CHECKS for finding in check(world)]


def has_findings(findings: list[Finding]) -> bool:
    """Whether anything is to be done."""
    return any(finding.level != "ok" for finding in findings)


def check_board(world: World) -> Iterator[Finding]:
    """Is it a Jetson, and which; the software that NVIDIA gives it."""
    here = world.identity
    if here.kind != "jetson":
        what = "no Jetson, but with an NVIDIA GPU" if here.kind == "gpu" else "no Jetson, no GPU"
        yield Finding("board", "ok", f"{here.title}: {what}")
        return
    if here.model in DEVICE_MODELS:
        yield Finding("board", "ok", f"{here.title} ({here.model})")
    else:
        text = f"{here.title}: no data sheet has it, nothing can be estimated before it is measured"
        yield Finding("board", "warn", text, "jetsched profile --calibrate")
    name = f"JetPack {here.jetpack or '?'} (L4T {here.l4t or '?'})"
    major = here.jetpack.partition(".")[0]
    if not here.l4t:
        fix = "in a container: docker run -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro ..."
        yield Finding("jetpack", "warn", "/etc/nv_tegra_release cannot be read", fix)
    elif major and int(major) < 5:
        text = f"{name}: its Python 3.6 is too old for the workload side"
        fix = "flash JetPack 5.1.x, the last for a Xavier; 6 or later on an Orin"
        yield Finding("jetpack", "fail", text, fix)
    elif here.l4t == BAD_L4T:
        text = f"{name}: GPU allocations fail in this release although memory is free"
        yield Finding("jetpack", "warn", text, "sudo apt update && sudo apt full-upgrade")
    else:
        yield Finding("jetpack", "ok", name)


def check_power(world: World) -> Iterator[Finding]:
    """The power mode decides on a factor of up to three, and is part of every profile."""
    here = world.identity
    if here.kind != "jetson":
        return
    if not here.power_mode:
        text = "the power mode cannot be told: a profile would not say what it is of"
        yield Finding("power", "warn", text, "sudo nvpmodel -q; sudo nvpmodel -m 0")
        return
    modes = {mode.name: mode for mode in POWER_MODES.get(here.model, ())}
    mode = modes.get(here.power_mode)
    if not modes:
        yield Finding("power", "ok", here.power_mode)
        return
    best = max(modes.values(), key=lambda each: each.watts)
    ids = power_modes(world.root)
    number = ids.get(best.name)
    fix = f"sudo nvpmodel -m {'ID' if number is None else number}    # {best.name}"
    if mode is None:
        text = f"{here.power_mode}: not in the data sheets; estimates assume the default mode"
        yield Finding("power", "warn", text, f"{fix}, or: jetsched profile --calibrate")
    elif mode.watts < best.watts:
        text = f"{here.power_mode} ({mode.watts:g} W): slower than {best.name} ({best.watts:g} W)"
        yield Finding("power", "warn", text, fix)
    else:
        yield Finding("power", "ok", here.power_mode)


def check_memory(world: World) -> Iterator[Finding]:
    """What a job could have, and who has the rest."""
    here = world.identity
    total, free = here.memory_total_mib, here.memory_available_mib
    if total is None or free is None:
        yield Finding("memory", "warn", "/proc/meminfo cannot be read", "run this on Linux")
    else:
        text = f"{format_size(free)} of {format_size(total)} are free for jobs"
        idle = free >= IDLE_SHARE * total
        fix = "stop what holds it: ps aux --sort=-rss | head"
        yield Finding("memory", "ok" if idle else "warn", text, "" if idle else fix)
    if here.kind != "jetson":
        return
    if here.headless is False:
        text = "a desktop runs: it takes 0.8 to 2 GB that jobs could have"
        fix = "sudo systemctl set-default multi-user.target && sudo reboot"
        yield Finding("desktop", "warn", text, fix)
    elif here.headless:
        yield Finding("desktop", "ok", "none runs")


def check_swap(world: World) -> Iterator[Finding]:
    """GPU memory does not swap; zram takes of the same memory, and a swapping run is no timing."""
    try:
        lines = (world.root / "proc/swaps").read_text(errors="replace").splitlines()[1:]
    except OSError:
        return
    names = [line.split()[0] for line in lines if line.strip()]
    meminfo = _text(world.root / "proc/meminfo")
    total, free = number_after("SwapTotal:", meminfo), number_after("SwapFree:", meminfo)
    used_mib = ((total or 0) - (free or 0)) / 1024
    zram = [name for name in names if "zram" in name]
    if used_mib > SWAPPED_MIB:
        text = f"{format_size(used_mib)} are swapped out: a run that swaps is no measurement"
        yield Finding("swap", "warn", text, "sudo swapoff -a && sudo swapon -a")
    elif zram and world.identity.kind == "jetson":
        text = "zram is on: it compresses memory with the CPU that the workload needs"
        yield Finding("swap", "warn", text, "sudo systemctl disable --now nvzramconfig")
    elif names:
        yield Finding("swap", "ok", "on, and not in use")
    else:
        yield Finding("swap", "ok", "off")


def check_disks(world: World) -> Iterator[Finding]:
    """Models are gigabytes, and SD cards fill up."""
    for check, path, what, clear in (
        ("disk", world.data, "data folder", "remove old folders below it"),
        (
            "cache",
            world.cache,
            "model cache",
            "remove models from it (hf cache rm), or set HF_HOME",
        ),
    ):
        disk = world.disk(path)
        if disk is None:
            text = f"{what} {path}: its disk cannot be read"
            yield Finding(check, "warn", text, f"mkdir -p {path}")
            continue
        text = f"{what} {path}: {format_size(disk.free_mib)} free{_on(disk)}"
        if not disk.writable:
            yield Finding(check, "fail", f"{text}, and not writable", f"sudo chown $USER {path}")
        elif disk.free_mib < FULL_DISK_MIB:
            yield Finding(check, "fail", f"{text}: full", clear)
        elif disk.free_mib < SCARCE_DISK_MIB:
            yield Finding(check, "warn", f"{text}: too little for the larger models", clear)
        else:
            yield Finding(check, "ok", text)


def _on(disk: Disk) -> str:
    if disk.medium.startswith("mmcblk"):
        return f" on {disk.medium}, an SD card or eMMC (slow to load from)"
    return f" on {disk.medium}" if disk.medium else ""


def check_telemetry(world: World) -> Iterator[Finding]:
    """GPU load, power and temperature: from whom."""
    found = [source for source in world.sensors if isinstance(source, Source)]
    missing = "; ".join(f"{s.name}: {s.why}" for s in world.sensors if isinstance(s, Missing))
    if found:
        yield Finding("telemetry", "ok", f"{found[0].name}: {found[0].why}")
    elif world.identity.kind == "cpu":
        yield Finding("telemetry", "ok", "time and memory only: there is no GPU to watch")
    elif world.identity.kind == "gpu":
        text = f"nobody reads the GPU: profiles lack its load and energy ({missing})"
        yield Finding("telemetry", "warn", text, "pip install nvidia-ml-py")
    else:
        text = f"no sensor can be read: profiles lack GPU load and energy ({missing})"
        fix = "sudo pip3 install jetson-stats && sudo systemctl restart jtop, or run tegrastats"
        yield Finding("telemetry", "warn", text, fix)


def check_token(world: World) -> Iterator[Finding]:
    """Whoever has Ray's token can run code on the board."""
    if world.cluster is None:
        yield Finding("token", "ok", "no cluster is configured here")
        return
    path = world.cluster.token_file
    try:
        mode, size = path.stat().st_mode, path.stat().st_size
    except OSError as error:
        text = f"Ray's token {path} cannot be read ({error.strerror}): no node can join"
        yield Finding("token", "fail", text, "jetsched down && jetsched up")
        return
    if not size:
        text = f"Ray's token {path} is empty"
        yield Finding("token", "fail", text, "jetsched down && jetsched up")
    elif mode & 0o077:
        text = f"others may read Ray's token {path}: who has it can run code here"
        yield Finding("token", "warn", text, f"chmod 600 {path}")
    else:
        yield Finding("token", "ok", f"Ray's token is in {path}")


Check = Callable[[World], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    check_board,
    check_power,
    check_agent_python,
    check_workload_python,
    check_torch,
    check_transformers,
    check_memory,
    check_swap,
    check_disks,
    check_telemetry,
    check_token,
)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
