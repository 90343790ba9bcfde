"""No job is taken that asks a model to look at more tokens than it has positions for."""

from __future__ import annotations

from pathlib import Path

import pytest
from estimate_world import Estimate, a_file, estimate_in

from jetsched.jobfile import FileProblems, load_job, parse_job
from jetsched.profiler.models import positions


@pytest.fixture
def estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Estimate:
    return estimate_in(tmp_path / "home", monkeypatch, capsys)


def test_a_model_says_how_many_it_has() -> None:
    assert positions("gpt2") == 1024
    assert positions("TinyLlama/TinyLlama-1.1B-Chat-v1.0") == 2048
    assert positions("me/nowhere") is None


def test_as_many_as_there_are_will_do() -> None:
    text = "work: {kind: train, model: gpt2, dataset: 'squad[:4]', seq_len: %d}"
    assert parse_job(text % 1024, positions=positions).workload.seq_len == 1024
    with pytest.raises(FileProblems) as caught:
        parse_job(text % 1025, positions=positions)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("work.seq_len", 1)
    assert "seq_len is 1,025, but 'gpt2' has only 1,024 positions" in problem.message
    assert problem.hint == "at most seq_len: 1024"
    assert parse_job(text % 1025).workload.seq_len == 1025  # who cannot know lets it pass


@pytest.mark.parametrize(
    ("fields", "path", "hint"),
    [
        ("max_new_tokens: 2000", "work.max_new_tokens", "at most max_new_tokens: 1984"),
        ("prompt_tokens: 2000", "work.prompt_tokens", "at most prompt_tokens: 1984"),
        ("prompt_tokens: 9000, max_new_tokens: 4000", "work.prompt_tokens", "cut both"),
    ],
)
def test_a_prompt_and_what_is_written_behind_it_share_them(
    fields: str, path: str, hint: str
) -> None:
    with pytest.raises(FileProblems) as caught:
        parse_job(
            f"work: {{kind: infer, model: tinyllama, prompts: 2, {fields}}}", positions=positions
        )
    (problem,) = caught.value.problems
    assert (problem.path, problem.hint) == (path, hint)
    assert problem.message.startswith("prompt_tokens + max_new_tokens is ")


def test_a_command_is_only_like_a_model() -> None:
    like = "{kind: train, model: gpt2, seq_len: 4096}"
    text = f"work: {{kind: command, run: ./t.sh, like: {like}}}"
    assert parse_job(text, positions=positions).workload.seq_len == 4096


def test_a_model_with_a_broken_config_is_a_problem_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_text('{"model_type": "gpt2", "n_embd": null}')
    file = Path(a_file(tmp_path, "kind: train, model: ./m"))
    with pytest.raises(FileProblems) as caught:
        load_job(file, positions=positions)
    (problem,) = caught.value.problems
    assert problem.path == "work.model"
    assert problem.message.startswith(f"{tmp_path}/m/config.json: ")


def test_the_verb_names_the_change_that_asked_for_too_many(
    estimate: Estimate, tmp_path: Path
) -> None:
    file = a_file(tmp_path, "kind: train, model: gpt2")
    result = estimate(file, "--set", "work.seq_len=4096", "--device", "cpu")
    assert (result.code, result.out) == (2, "")
    assert "--set work.seq_len=4096: " in result.err and "1,024 positions" in result.err
