"""Job files that come through the standard input or another pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = "work: {kind: train, model: gpt2, dataset: squad, batch_size: 8}\n"


def run(tmp_path: Path, given: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jetsched", *words],
        input=given,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "JETSCHED_HOME": str(tmp_path / "home")},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_check_and_estimate_read_the_standard_input(tmp_path: Path, name: str) -> None:
    checked = run(tmp_path, TRAIN, "check", name)
    assert checked.returncode == 0, checked.stderr
    assert "<stdin>: train gpt2" in checked.stdout
    estimated = run(tmp_path, TRAIN, "estimate", name, "--device", "orin-nano")
    assert estimated.returncode == 0, estimated.stderr
    assert "orin-nano" in estimated.stdout


@pytest.mark.parametrize("verb", ["check", "submit", "plan"])
def test_a_mistake_in_the_standard_input_has_its_place(tmp_path: Path, verb: str) -> None:
    done = run(tmp_path, TRAIN + "prio: 5\n", verb, "-")
    assert done.returncode == 2
    assert "<stdin>:2:1" in done.stderr


def test_a_pipe_is_read_once_and_its_paths_are_meant_from_here(tmp_path: Path) -> None:
    """`jetsched plan` reads a file twice: it checks it, and plans."""
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a"}\n')
    (tmp_path / "fleet.yaml").write_text("devices: [{model: orin-nano, count: 1}]\n")
    text = "work: {kind: infer, model: gpt2, prompts: ./mine.jsonl, max_new_tokens: 8}\n"
    for words in (["check", "-"], ["plan", "-", "--fleet", "fleet.yaml"]):
        done = run(tmp_path, text, *words)
        assert done.returncode == 0, done.stderr


def test_nothing_on_the_standard_input_is_an_empty_file(tmp_path: Path) -> None:
    done = run(tmp_path, "", "submit", "-")
    assert done.returncode == 2
    assert "<stdin>" in done.stderr
    assert "empty" in done.stderr
