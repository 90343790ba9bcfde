"""Fixtures of more than one topic."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Chrome, chrome
from commands import Jetsched, Result

from jetsched.cli import main

# How wide a screen is, is a test's own affair; processes of `make test JOBS=2` are told 80 columns.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)


@pytest.fixture
def jetsched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Jetsched:
    """Runs the command in this process, with a data home of its own."""
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JETSCHED_DEBUG", "")  # what --debug sets is undone with it

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["jetsched", *words])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return Result(int(code or 0), out, err)

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """A real browser for the tests of a module; skips them where there is none."""
    with chrome() as running:
        yield running
