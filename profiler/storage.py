"""On what a folder is stored: an SD card or an NVMe drive makes a model's load time. No serials."""

from __future__ import annotations

import os
import re
from pathlib import Path

#: File systems that are no local disk -> what they are.
ELSEWHERE = {"nfs": "network", "nfs4": "network", "cifs": "network", "tmpfs": "memory"}


def storage_of(folder: Path, root: Path = Path("/")) -> str:
    """``sd-card``, ``emmc``, ``nvme``, ``ssd``, ``hdd``, ``network``, ``memory``; "": not known.

    The folder need not exist. ``root`` is where /proc and /sys are looked for.
    """
    source, kind = _mount(os.path.abspath(folder), root)
    if kind in ELSEWHERE:
        return ELSEWHERE[kind]
    if source == "/dev/root":  # what older kernels call the disk that they were started from
        match = re.search(r"\broot=(/dev/\S+)", _text(root / "proc/cmdline"))
        source = match[1] if match else ""
    if not source.startswith("/dev/"):
        return ""
    return _kind_of_disk(source.removeprefix("/dev/"), root / "sys/block")


def _mount(folder: str, root: Path) -> tuple[str, str]:
    """Source and file system of the mount that a folder lies in; of two at one place the later."""
    found, longest = ("", ""), -1
    for line in _text(root / "proc/mounts").splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").rstrip("/")
        if len(point) >= longest and (folder + "/").startswith(point + "/"):
            found, longest = (fields[0], fields[2]), len(point)
    return found


def _kind_of_disk(partition: str, blocks: Path) -> str:
    disks = [path.name for path in blocks.glob("*") if partition.startswith(path.name)]
    if not disks:
        return ""
    disk = max(disks, key=len)
    if disk.startswith("mmcblk"):
        return "emmc" if _text(blocks / disk / "device/type") == "MMC" else "sd-card"
    if disk.startswith("nvme"):
        return "nvme"
    rotates = _text(blocks / disk / "queue/rotational")
    # A virtual disk says that it rotates, whatever it lies on.
    if not disk.startswith("sd"):
        return ""
    return {"0": "ssd", "1": "hdd"}.get(rotates, "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
