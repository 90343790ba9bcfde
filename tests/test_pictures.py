"""Where a picture may be written: said before anything is computed for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jetsched.cli import main


@pytest.mark.parametrize("verb", ["costs", "profiles"])
@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("x.xyz", "ends in .png, .pdf, .svg"),
        ("x", "ends in .png, .pdf, .svg"),
        ("nowhere/x.png", "there is no folder nowhere"),
        ("folder.png", "is a folder"),
    ],
)
def test_what_no_picture_can_be_written_to_is_bad_input(
    verb: str,
    out: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JETSCHED_DEBUG", "")  # what --debug sets is undone with it
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(sys, "argv", ["jetsched", verb, "plot", "--out", out])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and f"--out {out}: " in said and words in said
    assert not (tmp_path / "nowhere").exists()
