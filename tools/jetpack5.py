"""Make .venv-jetpack5, a stand-in for a Xavier NX's own Python, for `make test-jetpack5`.

JetPack 5 ends at Python 3.8, an old torch and transformers 4.46. NVIDIA's torch is for Arm only;
torch 1.12.1 of the same time carries its libraries inside, hence no dependencies. Standard library
only. When nothing changed it is done at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-jetpack5"
TORCH = ("typing_extensions", "torch==1.12.1")
REST = ("numpy<1.25", "transformers==4.46.3")
#: What the environment is checked with when it is new.
CHECK = "import numpy, torch, transformers; print(torch.__version__, transformers.__version__)"

MISSING = """No Python 3.8 with the module venv was found (tried: $PYTHON38, pyenv, uv, python3.8).
  pyenv:   pyenv install 3.8
  uv:      uv python install 3.8
  or say:  make test-jetpack5 PYTHON38=/path/to/python3.8"""


def candidates(environ: Mapping[str, str]) -> Iterator[str]:
    """Where a Python 3.8 may be, the best first."""
    if environ.get("PYTHON38"):
        yield environ["PYTHON38"]
        return  # whoever names one wants no other
    home = Path(environ.get("HOME") or "/")
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    yield from sorted(map(str, pyenv.glob("versions/3.8*/bin/python")), reverse=True)
    uv = home / ".local/share/uv/python"
    yield from sorted(map(str, uv.glob("cpython-3.8*/bin/python3.8")), reverse=True)
    on_path = shutil.which("python3.8", path=environ.get("PATH"))
    if on_path:
        yield on_path


def find(environ: Mapping[str, str]) -> str | None:
    """The first candidate that is a Python 3.8 and can make environments."""
    question = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 8))"
    for python in candidates(environ):
        try:
            if subprocess.run([python, "-c", question], capture_output=True).returncode == 0:
                return python
        except OSError:
            continue
    return None


def make(python: str, folder: Path) -> None:
    """Make the environment afresh. Raises subprocess.CalledProcessError, with pip's own words."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", *TORCH], check=True)
    subprocess.run([*pip, "install", "--quiet", *REST], check=True)
    subprocess.run([str(folder / "bin/python"), "-c", CHECK], check=True)
    (folder / "ready").write_text(key())


def key() -> str:
    """What is in it, so that another list of packages makes another environment."""
    return "\n".join((*TORCH, *REST)) + "\n"


def is_ready(folder: Path) -> bool:
    """Whether it is there, whole, and with this list of packages."""
    stamp = folder / "ready"
    return stamp.exists() and stamp.read_text() == key() and (folder / "bin/python").exists()


def main() -> int:
    if is_ready(FOLDER):
        print(f"{FOLDER.name} is up to date")
        return 0
    python = find(os.environ)
    if python is None:
        print(MISSING, file=sys.stderr)
        return 1
    print(f"Making {FOLDER.name} with {python}: {', '.join((*TORCH, *REST))} (0.8 GB to download)")
    start = time.monotonic()
    try:
        make(python, FOLDER)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd[:5])} ... ended with {error.returncode}", file=sys.stderr)
        return 1
    print(f"made in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
