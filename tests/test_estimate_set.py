"""`--set`: fields of a job file that an option changes before it is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from estimate_world import GPT2, ROOT, Estimate, a_file, estimate_in


@pytest.fixture
def estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Estimate:
    return estimate_in(tmp_path / "home", monkeypatch, capsys)


def test_a_change_is_as_if_the_file_said_so(estimate: Estimate, tmp_path: Path) -> None:
    written = a_file(tmp_path, "kind: train, model: gpt2, batch_size: 4, seq_len: 256, head: lm")
    by_file = estimate(written, "--json", "--device", "xavier-nx").row
    changed = a_file(tmp_path, "kind: train, model: tiny-gpt2, batch_size: 1")
    sets = ("model=gpt2", "batch_size=4", "seq_len=256", "head=lm")
    words = [word for change in sets for word in ("--set", f"work.{change}")]
    assert estimate(changed, "--json", "--device", "xavier-nx", *words).row == by_file


def test_the_last_change_of_a_field_counts(estimate: Estimate) -> None:
    words = ("--json", "--device", "xavier-nx", "--set", "work.batch_size=2")
    twice = estimate(GPT2, "--set", "work.batch_size=64", *words)
    assert twice.row == estimate(GPT2, *words).row


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("work.batchsize=4", "unknown field 'batchsize'"),
        ("batch_size=4", "write work.batch_size=…"),
        ("work.batch_size=four", "needs a whole number, not the text 'four'"),
        ("work.batch_size=0", "0 is below 1"),
        ("work.head=qq", "'qq' is not one of qa, lm"),
        ("work.batch_size", "needs KEY=VALUE"),
        ("=4", "needs KEY=VALUE"),
        ("work..batch_size=4", "needs KEY=VALUE"),
        ("work.batch_size=", "has no value"),
        ("work.model.size=4", "'work.model' has no fields"),
        ("work.model={a: [}", "not YAML"),
        ("needs.memory=5", "needs a unit"),
        ("checkpoint.every=10", "needs a unit"),
        ("work={kind: infer, model: gpt2}", "is missing"),
        ("work.dataset=absent.json", "no such file"),
    ],
)
def test_a_change_that_makes_no_sense_is_named(estimate: Estimate, change: str, says: str) -> None:
    result = estimate(GPT2, "--set", change, "--json")
    assert (result.code, result.out) == (2, "")
    assert f"--set {change}" in result.err and says in result.err
    assert "has 1 problem." in result.err


def test_problems_of_the_file_and_of_the_changes_come_together(estimate: Estimate) -> None:
    bad = str(ROOT / "examples/bad.yaml")
    result = estimate(bad, "--set", "work.head=qq")
    assert "has 8 problems." in result.err
    assert "bad.yaml:6:3" in result.err and "--set work.head=qq: 'qq'" in result.err


def test_a_change_reaches_into_what_the_file_does_not_have(
    estimate: Estimate, tmp_path: Path
) -> None:
    file = a_file(tmp_path, "kind: command, run: ./train.sh")
    words = ("--set", "work.like={kind: train, model: gpt2}", "--set", "work.like.batch_size=2")
    result = estimate(file, *words, "--json", "--device", "orin-nano")
    assert (result.code, result.row["fits"]) == (0, "fits")


def test_an_alias_of_the_file_is_not_changed_with_its_anchor(
    estimate: Estimate, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "work: {kind: command, run: ./a, like: &l {kind: train, model: gpt2}}\n"
        "labels: {project: *l}\n"  # a mistake, to see what the alias holds
    )
    assert "labels.project" in estimate(str(file), "--set", "work.like.batch_size=2").err
