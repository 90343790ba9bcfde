"""docs/states.md tells of every state and every reason, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from jetsched.records import Code, Outcome, State

DOC = (Path(__file__).resolve().parent.parent / "docs" / "states.md").read_text()


def section(title: str) -> str:
    """A section's text, up to the next one of its rank."""
    return DOC.split(f"\n## {title}\n")[1].split("\n## ")[0]


def told(title: str) -> dict[str, str]:
    """What has a heading of its own in a section, with its paragraph."""
    parts = re.split(r"^### `(\w+)`\n", section(title), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_state_of_a_job_is_explained_and_no_other() -> None:
    assert list(told("States of a job")) == list(get_args(State))


def test_every_reason_is_explained_and_no_other() -> None:
    assert list(told("Reasons")) == list(get_args(Code))


def test_each_has_a_paragraph() -> None:
    for title in ("States of a job", "Reasons"):
        for name, text in told(title).items():
            assert len(text.strip()) > 60, name


def test_every_outcome_is_mentioned() -> None:
    text = section("Outcomes of an attempt")
    assert [outcome for outcome in get_args(Outcome) if f"`{outcome}`" not in text] == []
