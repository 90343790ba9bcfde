"""Where a job file's bytes come from: a file, or something that can be read only once.

Standard input (``-``) and pipes (``/dev/stdin``, a shell's ``<(...)``) are kept once read: a verb
checks a file before the scheduler gets it. Paths in them are meant from the current directory.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

STDIN = "-"
_NAMES_OF_STDIN = (STDIN, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")

#: A file of jobs is read by people; what is larger is refused by whoever reads it.
MAX_BYTES = 256 * 1024

_kept: dict[str, bytes] = {}


def is_stdin(path: Path) -> bool:
    """Whether it names the standard input."""
    return str(path) in _NAMES_OF_STDIN


def name_of(path: Path) -> str:
    """What it is called in errors and in the job's row."""
    return "<stdin>" if is_stdin(path) else str(path)


def folder_of(path: Path) -> Path:
    """Where its relative paths lead from."""
    return Path() if _is_read_once(path) else path.parent


def read_bytes(path: Path) -> bytes:
    """Its bytes, the same each time; one more than ``MAX_BYTES`` of what is larger.

    Raises OSError or ValueError, as open does.
    """
    most = MAX_BYTES + 1
    if not _is_read_once(path):
        with path.open("rb") as stream:
            return stream.read(most)
    name = name_of(path)
    if name not in _kept:
        if is_stdin(path):
            _kept[name] = sys.stdin.buffer.read(most) if sys.stdin is not None else b""
        else:
            with path.open("rb") as stream:
                _kept[name] = stream.read(most)
    return _kept[name]


def _is_read_once(path: Path) -> bool:
    if is_stdin(path):
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
