"""tools/jetpack5.py: which Python 3.8 is taken, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools/jetpack5.py"


@pytest.fixture
def jetpack5() -> ModuleType:
    """The tool as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location("tools_jetpack5", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_program(path: Path, script: str = "exit 0") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_newest_3_8_of_pyenv_goes_before_that_of_uv(
    jetpack5: ModuleType, tmp_path: Path
) -> None:
    older = a_program(tmp_path / ".pyenv/versions/3.8.10/bin/python")
    newer = a_program(tmp_path / ".pyenv/versions/3.8.18/bin/python")
    a_program(tmp_path / ".pyenv/versions/3.10.1/bin/python")
    uv = a_program(tmp_path / ".local/share/uv/python/cpython-3.8.20-linux/bin/python3.8")
    assert list(jetpack5.candidates({"HOME": str(tmp_path), "PATH": ""})) == [newer, older, uv]


def test_one_that_is_named_is_the_only_candidate(jetpack5: ModuleType, tmp_path: Path) -> None:
    a_program(tmp_path / ".pyenv/versions/3.8.18/bin/python")
    environ = {"HOME": str(tmp_path), "PYTHON38": "/no/such/python"}
    assert jetpack5.find(environ) is None


def test_another_python_is_not_taken_for_a_3_8(jetpack5: ModuleType) -> None:
    assert jetpack5.find({"PYTHON38": sys.executable}) is None


def test_without_any_it_says_what_is_missing() -> None:
    code = "import sys, jetpack5; jetpack5.is_ready = lambda _: False; sys.exit(jetpack5.main())"
    environ = {"PYTHON38": "/no/such/python", "PYTHONPATH": str(TOOL.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert "uv python install 3.8" in done.stderr and "pyenv" in done.stderr
