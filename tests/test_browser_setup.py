"""tools/browser_setup.py: what is found, what is brought in, and that nothing to be had is a word.

Nothing is downloaded here: programs on a PATH of the test's own stand for apt-get and npm.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools/browser_setup.py"
NPM = """
while [ "$1" != --prefix ]; do shift; done
/bin/mkdir -p "$2/node_modules/axe-core" && : > "$2/node_modules/axe-core/axe.min.js"
"""


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool as a module; it is no part of the package."""
    spec = importlib.util.spec_from_file_location("tools_browser_setup", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tools_browser_setup", module)
    spec.loader.exec_module(module)
    return module


def a_program(folder: Path, name: str, script: str = "exit 0") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bin(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def test_a_browser_that_does_not_answer_is_passed_over(tool: ModuleType, bin: Path) -> None:
    """Ubuntu's package `chromium-browser` asks for a snap, and ends with an error."""
    a_program(bin, "chromium", "exit 1")
    works = a_program(bin, "google-chrome")
    assert tool.browser({"PATH": str(bin)}) == str(works)


def test_a_browser_that_is_named_is_the_only_candidate(tool: ModuleType, bin: Path) -> None:
    a_program(bin, "chromium")
    with pytest.raises(tool.SkippedError, match="JETSCHED_BROWSER=/no/such"):
        tool.browser({"PATH": str(bin), "JETSCHED_BROWSER": "/no/such"})


def test_what_is_missing_is_brought_in_and_found(
    tool: ModuleType, bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    a_program(bin, "npm", NPM)
    a_program(
        bin,
        "apt-get",
        f'[ "$1" = update ] && exit 0\necho "#!/bin/sh" > {bin}/chromium; '
        f"/bin/chmod +x {bin}/chromium",
    )
    found = tool.set_up(tmp_path / "browser", {"PATH": str(bin)})
    assert found.chromium == str(bin / "chromium")
    assert Path(found.axe).is_file()
    assert found.missing == {}


def test_what_is_there_is_not_brought_in_again(tool: ModuleType, bin: Path, tmp_path: Path) -> None:
    a_program(bin, "chromium")
    a_program(bin, "npm", NPM)
    first = tool.set_up(tmp_path / "browser", {"PATH": str(bin)})
    a_program(bin, "npm", "exit 1")
    a_program(bin, "apt-get", "exit 1")
    assert tool.set_up(tmp_path / "browser", {"PATH": str(bin)}) == first


@pytest.mark.parametrize("is_root", [True, False])
def test_what_cannot_be_had_is_said_and_is_no_failure(
    tool: ModuleType, bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_root: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    a_program(bin, "apt-get", "echo E: no route >&2; exit 100")
    found = tool.set_up(tmp_path / "browser", {"PATH": str(bin)})
    assert (found.chromium, found.axe) == ("", "")
    told = "ended with 100: E: no route" if is_root else "as root, apt-get install chromium"
    assert told in found.missing["chromium"]
    assert "npm" in found.missing["axe"]


def test_the_command_writes_down_what_it_found(
    tool: ModuleType,
    tmp_path: Path,
    bin: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tool, "FOLDER", tmp_path)
    monkeypatch.setattr(tool, "FOUND", tmp_path / "found.json")
    monkeypatch.setenv("PATH", str(bin))
    monkeypatch.setenv("JETSCHED_BROWSER", "/no/such")
    assert tool.main() == 0
    assert json.loads((tmp_path / "found.json").read_text())["chromium"] == ""
    assert "Skipped: JETSCHED_BROWSER=/no/such" in capsys.readouterr().out
