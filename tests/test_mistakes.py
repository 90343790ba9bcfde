"""Job files with mistakes: each is told with its place, and no input does anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from jetsched.checks import Size, Strict, load_yaml
from jetsched.files import from_json, to_json
from jetsched.jobfile import FileProblems, Problem, load_jobs, parse_job
from jetsched.jobsource import MAX_BYTES
from jetsched.problems import did_you_mean, frame
from jetsched.records import Job

EXAMPLES = Path(__file__).parents[1] / "examples"
TRAIN = "work: {kind: train, model: gpt2}\n"


def problems(text: str, **around: Any) -> list[Problem]:
    """All problems of a text."""
    with pytest.raises(FileProblems) as caught:
        parse_job(text, "f.yaml", **around)
    return list(caught.value.problems)


def the_problem(text: str, **around: Any) -> Problem:
    """The only problem of a text."""
    found = problems(text, **around)
    assert len(found) == 1, [problem.message for problem in found]
    return found[0]


# ----------------------------------------------------------------------------- how mistakes look


def test_the_whole_text_of_the_users_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look of UX.md, with its places: columns line up, the caret stands under the field."""
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(
        "# three mistakes\nname: x\nwork:\n  kind: train\n  model: gpt2\n  epoch: 2\n"
        "\nneeds:\n  memory: 5\n\npriority: 500\n"
    )
    with pytest.raises(FileProblems) as caught:
        load_jobs(["bad.yaml"])
    assert caught.value.text("Nothing was submitted.") == (
        "✗ bad.yaml has 3 problems. Nothing was submitted.\n"
        "  bad.yaml:6:3  work.epoch: unknown field 'epoch'\n"
        "      6 │   epoch: 2\n"
        "        │   ^ did you mean 'epochs'?\n"
        "  bad.yaml:9:3  needs.memory: needs a unit, e.g. 5GiB (a bare number is ambiguous)\n"
        "      9 │   memory: 5\n"
        "        │   ^\n"
        "  bad.yaml:11:1 priority: 500 is above 100\n"
        "     11 │ priority: 500\n"
        "        │ ^"
    )
    assert caught.value.exit_code == 2
    assert caught.value.to_json()[0] == {
        "file": "bad.yaml",
        "line": 6,
        "column": 3,
        "path": "work.epoch",
        "message": "unknown field 'epoch'",
        "hint": "did you mean 'epochs'?",
        "frame": "      6 │   epoch: 2\n        │   ^ did you mean 'epochs'?",
    }


def test_problems_of_several_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("priority: -1\n" + TRAIN)
    (tmp_path / "b.yaml").write_text("")
    (tmp_path / "good.yaml").write_text(TRAIN)
    with pytest.raises(FileProblems) as caught:
        load_jobs([tmp_path / name for name in ("a.yaml", "good.yaml", "b.yaml", "goood.yaml")])
    found = caught.value.problems
    assert [(Path(p.file).name, p.line, p.message, p.hint) for p in found] == [
        ("a.yaml", 1, "-1 is below 0", ""),
        ("b.yaml", 1, "the file is empty", ""),
        ("goood.yaml", 0, "no such file", "did you mean 'good.yaml'?"),
    ]
    assert str(caught.value).startswith("✗ 3 files have 3 problems.\n")


# line, column, path, message, hint of the only problem of a file
ONE_MISTAKE: dict[str, tuple[int, int, str, str, str]] = {
    # fields
    TRAIN + "pririoty: 3": (
        2, 1, "pririoty", "unknown field 'pririoty'", "did you mean 'priority'?",
    ),
    "work: {kind: train, model: gpt2, batchSize: 2}": (
        1, 34, "work.batchSize", "unknown field 'batchSize'", "did you mean 'batch_size'?",
    ),
    TRAIN + "needs: {xyz: 3}": (
        2, 9, "needs.xyz", "unknown field 'xyz'", "the fields here: device, memory, disk",
    ),
    TRAIN + "epochs: 2": (
        2, 1, "epochs", "unknown field 'epochs' here", "it belongs to work: indent it to suit",
    ),
    "work: {kind: train, model: gpt2, priority: 2}": (
        1, 34, "work.priority", "unknown field 'priority' here",
        "it belongs to the job itself, one level up: indent it to suit",
    ),
    "work: {kind: train, model: gpt2, max_new_tokens: 2}": (
        1, 34, "work.max_new_tokens",
        "'max_new_tokens' is a field of kind infer; this is kind train", "",
    ),
    "name: x": (1, 1, "work", "is missing", "add e.g. work: {kind: train, model: distilgpt2}"),
    "work: {kind: train}": (1, 1, "work.model", "is missing", "add e.g. model: distilgpt2"),
    "work: {kind: infer, model: gpt2}": (
        1, 1, "work.prompts", "is missing", "add e.g. prompts: prompts.jsonl",
    ),
    "work: {model: gpt2, epochs: 2}": (1, 1, "work.kind", "is missing", "add e.g. kind: train"),
    "work: {kind: trian, model: gpt2}": (
        1, 8, "work.kind", "'trian' is not one of train, infer, command", "did you mean 'train'?",
    ),
    TRAIN + "work: 3": (2, 1, "work", "the field 'work' is here twice", "first in line 1"),
    TRAIN + "1: 3": (
        2, 1, "1", "unknown field '1'",
        "the fields here: name, work, needs, deadline, time_limit, priority, retry, checkpoint, "
        "artefacts and 3 more",
    ),
    TRAIN + "\u00a0user: 3": (
        2, 1, "\ufffduser", "unknown field '\ufffduser'",
        "the character U+00A0 is in it; was it pasted from somewhere?",
    ),
    # types
    "work:": (
        1, 1, "work", "has no value", "write e.g. work: {kind: train, model: distilgpt2}",
    ),
    "work: train": (1, 1, "work", "needs fields ('name: value'), not the text 'train'", ""),
    TRAIN + "needs: orin-nano": (
        2, 1, "needs", "needs fields ('name: value'), not the text 'orin-nano'", "",
    ),
    TRAIN + 'priority: "80"': (
        2, 1, "priority", "needs a whole number, not the text '80'", "write 80",
    ),
    TRAIN + "priority: 08": (
        2, 1, "priority", "needs a whole number, not the text '08'", "write 8",
    ),
    TRAIN + "priority: 1_0": (
        2, 1, "priority", "needs a whole number, not the text '1_0'", "write 10",
    ),
    TRAIN + "priority: 1e1": (2, 1, "priority", "needs a whole number, not '1e1'", "write 10"),
    TRAIN + "priority: 2.5": (2, 1, "priority", "needs a whole number, not '2.5'", ""),
    TRAIN + "priority: .nan": (2, 1, "priority", "needs a whole number, not '.nan'", ""),
    TRAIN + "priority: true": (2, 1, "priority", "needs a whole number, not 'true'", ""),
    TRAIN + "priority: 0x1F4": (2, 1, "priority", "0x1F4 is above 100", ""),
    TRAIN + "name: 5": (2, 1, "name", "needs text, not '5'", 'put it in quotes: "5"'),
    TRAIN + "name: ''": (2, 1, "name", "is empty", "write e.g. name: squad-distilgpt2"),
    TRAIN + "name: " + "x" * 101: (2, 1, "name", "has more than 100 characters", ""),
    TRAIN + 'name: "a\\nb"': (
        2, 1, "name", "holds line breaks, odd characters or spaces at an end",
        "one plain line of text",
    ),
    TRAIN + "name: [a]": (2, 1, "name", "needs text, not a list", ""),
    TRAIN + "env: {A: false}": (
        2, 7, "env.A", "needs text, not 'false'", 'put it in quotes: "false"',
    ),
    TRAIN + "env: {A-B: x}": (
        2, 7, "env.A-B", "'A-B' is not the name of a variable", "letters, digits and _",
    ),
    TRAIN + "env: [A]": (2, 1, "env", "needs fields ('name: value'), not a list", ""),
    TRAIN + "retry: {on: lost}": (
        2, 9, "retry.on", "needs a list, not the text 'lost'", "write [lost]",
    ),
    TRAIN + "retry:\n  on:\n    - lost\n    - killed_mem\n": (
        5, 7, "retry.on[1]",
        "'killed_mem' is not one of failed, killed_memory, killed_time, killed_heat, lost,"
        " preempted",
        "did you mean 'killed_memory'?",
    ),
    "work: {kind: train, model: gpt2, precision: fp8}": (
        1, 34, "work.precision", "'fp8' is not one of fp32, fp16, bf16", "",
    ),
    "work: {kind: train, model: gpt2, gradient_checkpointing: yes}": (
        1, 34, "work.gradient_checkpointing", "needs true or false, not the text 'yes'",
        "write true",
    ),
    "work: {kind: train, model: gpt2, epochs: 0}": (1, 34, "work.epochs", "0 is below 1", ""),
    # units
    TRAIN + "needs: {memory: 5}": (
        2, 9, "needs.memory", "needs a unit, e.g. 5GiB (a bare number is ambiguous)", "",
    ),
    TRAIN + "needs: {memory: '5'}": (
        2, 9, "needs.memory", "needs a unit, e.g. 5GiB (a bare number is ambiguous)", "",
    ),
    TRAIN + "needs: {memory: 5G}": (
        2, 9, "needs.memory", "'5G' is ambiguous",
        "write 5GiB (1024-based) or 5GB (1000-based)",
    ),
    TRAIN + "needs: {disk: [1]}": (
        2, 9, "needs.disk", "needs a value with a unit, not a list", "write e.g. 5GiB",
    ),
    TRAIN + "deadline: 90": (
        2, 1, "deadline", "needs a unit, e.g. 10m (a bare number is ambiguous)", "",
    ),
    TRAIN + "deadline: 0s": (2, 1, "deadline", "must be more than 0", ""),
    TRAIN + "time_limit: 99999999d": (2, 1, "time_limit", "'99999999d' is too large", ""),
    TRAIN + "checkpoint: {every: 5x}": (
        2, 14, "checkpoint.every", "'x' is not a unit of time",
        "the units are ms, s, m, h, d, e.g. 2h30m",
    ),
    # what does not go together
    "work: {kind: train, model: gpt2, lora_rank: 4}": (
        1, 34, "work.lora_rank", "is for method lora only", "add method: lora",
    ),
    "work: {kind: infer, model: gpt2, prompts: 1}\ncheckpoint: {every: 5m}": (
        2, 1, "checkpoint", "kind infer has nothing to save", "leave it out",
    ),
    "work: {kind: train, model: gpt2, dataset: 'squad[:9]', samples: 3}": (
        1, 56, "work.samples", "the data set has a slice already", "give one of the two",
    ),
    "work: {kind: train, model: gpt2, dataset: org/other}": (
        1, 34, "work.dataset", "how many samples 'org/other' has is not known here",
        "add samples: N, or take a part: org/other[:2000]",
    ),
    "work: {kind: train, model: gpt2, samples: 100000}": (
        1, 34, "work.samples", "100,000 are more than the 87,599 of 'squad'",
        "more passes over the data are epochs",
    ),
    "work: {kind: command, run: ls, like: {kind: train, model: gpt2, epochs: 2}}": (
        1, 65, "work.like.epochs", "unknown field 'epochs'",
        "the fields here: kind, model, batch_size, seq_len, precision, method, head,"
        " gradient_checkpointing, accumulation_steps and 1 more",
    ),
    'work: {kind: command, run: "ls \'x"}': (
        1, 23, "work.run", "is not a command: no closing quotation", "a closing quote is missing",
    ),
    "work: {kind: command, run: ' '}": (
        1, 23, "work.run", "is empty", "write e.g. run: python train.py",
    ),
    # names
    "work: {kind: train, model: a b}": (
        1, 21, "work.model", "'a b' is not the name of a model",
        "a known name (gpt2), a hub id (org/name), or a folder (./my-model)",
    ),
    "work: {kind: train, model: gpt2, dataset: 'squad[:10%]'}": (
        1, 34, "work.dataset", "'squad[:10%]' has a slice that is not understood",
        "the first N samples are name[:N], e.g. squad[:2000]",
    ),
    "work: {kind: train, model: gpt2, dataset: 'squad[:0]'}": (
        1, 34, "work.dataset", "'squad[:0]' asks for no sample at all", "",
    ),
    "work: {kind: train, model: gpt2, dataset: a/b/c}": (
        1, 34, "work.dataset", "'a/b/c' is not the name of a data set",
        "a hub id (squad, org/name) or a .json file in SQuAD form",
    ),
    "work: {kind: infer, model: gpt2, prompts: 0}": (
        1, 34, "work.prompts", "0 is not between 1 and 10,000,000", "",
    ),
    "work: {kind: infer, model: gpt2, prompts: [a]}": (
        1, 34, "work.prompts", "needs a file of prompts or their number",
        "e.g. prompts.jsonl, or 32",
    ),
    "work: {kind: infer, model: gpt2, prompts: a.jsonl}": (
        1, 34, "work.prompts", "'a.jsonl' is relative, and this job did not come from a folder",
        "name the file by its absolute path",
    ),
    # YAML itself
    "": (1, 1, "", "the file is empty", ""),
    "# nothing\n": (1, 1, "", "the file is empty", ""),
    "---\n": (1, 1, "", "the file is empty", ""),
    "null": (1, 1, "", "needs fields ('name: value'), not nothing", ""),
    "- a": (1, 1, "", "needs fields ('name: value'), not a list", ""),
    TRAIN + "---\n" + TRAIN: (
        2, 1, "", "a second document starts here: one job, one file", "",
    ),
    "work:\n\tkind: train": (2, 1, "", "a tab cannot indent in YAML", "indent with spaces"),
    "work: kind: train": (
        1, 11, "", "not YAML: a ':' cannot stand here",
        "check the indentation, or put the text in quotes",
    ),
    "work:\n  kind: train\n model: gpt2": (
        3, 2, "", "not YAML: does not belong here", "check the indentation and the '-' of lists",
    ),
    "name: x\nwork: [train\n": (
        2, 7, "", "not YAML: is never closed", "a closing quote or bracket is missing",
    ),
    "name: 'x\nwork: train\n": (
        1, 7, "", "not YAML: is never closed", "a closing quote or bracket is missing",
    ),
    "name: @x": (
        1, 7, "", "not YAML: found character '@' that cannot start any token",
        "put the text in quotes",
    ),
    "name: !!python/object x\n": (
        1, 7, "", "tags (words with '!') are not supported", "put text in quotes",
    ),
    TRAIN + "name: *x": (2, 7, "", "nothing is named '&x' before this", ""),
    "name: &x [*x]": (1, 11, "", "nothing is named '&x' before this", ""),
    TRAIN + "<<: {name: x}": (
        2, 1, "", "merge keys ('<<') are not supported", "write the fields out",
    ),
    "? [a]\n: b": (1, 3, "", "the name of a field must be a plain word", ""),
    TRAIN + 'name: "\\ud800"': (2, 7, "", "holds half a character (a lone surrogate)", ""),
    "name: \ud800": (1, 7, "", "the character U+D800 is not allowed in a file", ""),
    "name: a\x1b[31m": (1, 8, "", "the character U+001B is not allowed in a file", ""),
    "[" * 30: (1, 21, "", "is nested more than 20 levels deep", ""),
    "%YAML 3.0\n--- a": (
        1, 1, "", "not YAML: found incompatible YAML document (version 1.* is required)", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", ONE_MISTAKE, ids=lambda text: ascii(text[:60]))
def test_a_mistake_is_told_with_its_place(text: str) -> None:
    problem = the_problem(text)
    told = (problem.line, problem.column, problem.path, problem.message, problem.hint)
    assert told == ONE_MISTAKE[text]
    assert problem.file == "f.yaml"


def test_every_tab_is_shown() -> None:
    found = problems("work:\n\tkind: train\n  \tmodel: gpt2\n")
    assert [(p.line, p.column) for p in found] == [(2, 1), (3, 3)]


def test_a_wrong_kind_does_not_hide_the_rest() -> None:
    found = problems("work: {kind: inferr, model: a b, prompts: 0, max_tokens: 3}\nx: 1\n")
    assert [p.path for p in found] == [
        "work.kind", "work.model", "work.prompts", "work.max_tokens", "x",
    ]  # fmt: skip


def test_two_mistakes_in_one_place_are_both_told() -> None:
    found = problems(TRAIN + "env: {A B: 1}")
    assert [(p.line, p.column) for p in found] == [(2, 7), (2, 7)]


# ------------------------------------------------------------------------------- the file as a file


def file_problem(path: Path) -> Problem:
    with pytest.raises(FileProblems) as caught:
        load_jobs([path])
    (problem,) = caught.value.problems
    return problem


def test_not_utf8_is_told_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: x\nuser: J\xf6rg\n")
    problem = file_problem(path)
    assert (problem.line, problem.column) == (2, 8)
    assert problem.message == "is not UTF-8: byte 0xf6 at offset 15"
    assert problem.frame.startswith("      2 │ user: J�rg\n        │        ^ save the file")


def test_utf16_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "wide.yaml"
    path.write_bytes(TRAIN.encode("utf-16"))
    assert file_problem(path).hint == "it looks like UTF-16; save it as UTF-8"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_text("#" * (MAX_BYTES + 1))
    assert file_problem(path).message == "is larger than 256 KiB"
    assert file_problem(Path("/dev/zero")).message == "is larger than 256 KiB"
    assert the_problem("#" * (MAX_BYTES + 1)).message == "is larger than 256 KiB"


def test_a_folder_is_no_job_file(tmp_path: Path) -> None:
    assert file_problem(tmp_path).message == "is a folder, not a file"


def test_a_yaml_bomb_does_not_go_off() -> None:
    """Ten lines that would expand to ten thousand million words."""
    lines = ["a0: &a0 [" + ",".join("x" * 10) + "]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    problem = the_problem("\n".join(lines))
    assert problem.message == "expands to more than 20,000 values"
    assert problem.line == 5


# --------------------------------------------------------------------------------- other YAML files


class Board(Strict):
    model: str
    count: int = Field(1, ge=1)
    memory: Size | None = None


class Fleet(Strict):
    devices: list[Board] = Field(min_length=1)


def test_any_model_can_be_read_with_places(tmp_path: Path) -> None:
    """`load_yaml` does for a fleet file what is done for a job file."""
    path = tmp_path / "fleet.yaml"
    path.write_text("devices:\n  - {model: orin-nano, memory: 7GiB}\n  - {model: x, cuont: 2}\n")
    with pytest.raises(FileProblems) as caught:
        load_yaml(path, Fleet)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (3, 16, "devices[1].cuont")
    assert (problem.message, problem.hint) == ("unknown field 'cuont'", "did you mean 'count'?")
    path.write_text(path.read_text().replace("cuont", "count"))
    assert load_yaml(path, Fleet).devices[0].memory == 7168.0
    for text, message in {"devices: []": "is empty", "devices: {}": "needs a list, not"}.items():
        path.write_text(text)
        with pytest.raises(FileProblems, match=message):
            load_yaml(path, Fleet)


# --------------------------------------------------------------------------------------- the frames


def test_the_caret_stands_under_wide_characters() -> None:
    assert frame(["名: é́x"], 1, 4, "here").split("\n")[1] == "        │     ^ here"


def test_a_long_line_is_shown_around_the_place() -> None:
    source, caret = frame(["a" * 500 + "B" + "c" * 500], 1, 501, "").split("\n")
    assert source[caret.index("^")] == "B"
    assert len(source) <= 100


def test_nothing_from_a_file_moves_the_cursor() -> None:
    text = str(FileProblems(problems('"\\e[2Jx": 1\n' + TRAIN)))
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_suggestion_must_be_near() -> None:
    assert did_you_mean("Batch-Size", ["batch_size"]) == "did you mean 'batch_size'?"
    assert did_you_mean("colour", ["batch_size", "epochs"]) == ""


# ---------------------------------------------------------------------------------------- any input

TEXTS = [path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))]


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """An example with a few characters or lines deleted, doubled, swapped or put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        if not text:
            break
        whole = draw(st.booleans())
        parts = text.splitlines(keepends=True) if whole else list(text)
        at, other = draw(st.integers(0, len(parts) - 1)), draw(st.integers(0, len(parts) - 1))
        how = draw(st.sampled_from(["delete", "double", "swap", "insert"]))
        if how == "delete":
            del parts[at]
        elif how == "double":
            parts.insert(other, parts[at])
        elif how == "swap":
            parts[at], parts[other] = parts[other], parts[at]
        else:
            parts.insert(
                at, draw(st.sampled_from(list("\t\0\"'{}[]&*!|>%@`:-?,#~<= \n\x85é\ud800")))
            )
        text = "".join(parts)
    return text


def is_read_or_refused(text: str) -> None:
    try:
        spec = parse_job(text, folder=EXAMPLES, known_devices=["orin-nano", "xavier-nx"])
    except FileProblems as found:
        assert found.problems
        lines = str(found).count("\n")
        assert lines >= len(found.problems)
        for problem in found.problems:
            assert problem.line >= 1 and problem.column >= 1
        json.dumps(found.to_json())
    else:
        job = spec.to_job("1", 0.0)
        assert from_json(Job, to_json(job)) == job
        json.dumps(to_json(job), allow_nan=False)


@given(spoiled())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_spoiled_example_is_read_or_refused(text: str) -> None:
    """No file, whatever is wrong with it, raises anything but FileProblems."""
    is_read_or_refused(text)


@given(
    st.text(st.characters(codec=None), max_size=80)
    | st.text("ab:-?[]{},&*!|>'\"%@#\n \t", max_size=40)
)
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    is_read_or_refused(text)


@given(st.binary(max_size=60))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    with pytest.raises(FileProblems):
        load_jobs([path])
