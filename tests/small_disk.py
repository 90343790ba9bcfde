"""A disk that is soon full: a small tmpfs of one's own. Without root the test is skipped."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, mib: float) -> Iterator[Path]:
    """A mounted disk of so many MiB; afterwards it is gone with all that is on it."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={int(mib * 1024)}k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "jetsched-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing more goes; returns the file, to be removed again."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return path
    raise AssertionError("the disk has no end")
