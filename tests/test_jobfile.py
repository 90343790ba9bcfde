"""Job files: what they become, and what they may point to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jetsched.files import from_json, to_json
from jetsched.jobfile import FileProblems, JobSpec, Problem, load_jobs, parse_job
from jetsched.records import Job, Needs, Retry, Workload

TRAIN = "work: {kind: train, model: gpt2}\n"
SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "The kettle is blue.",
                    "qas": [
                        {
                            "id": str(i),
                            "question": "Which colour?",
                            "answers": [{"text": "blue", "answer_start": 14}],
                        }
                        for i in range(5)
                    ],
                }
            ]
        }
    ]
}


def the_problem(text: str, **around: Any) -> Problem:
    """The only problem of a text."""
    with pytest.raises(FileProblems) as caught:
        parse_job(text, **around)
    (problem,) = caught.value.problems
    return problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job folder with a data set, prompts and a model in it, and secrets beside it."""
    here = tmp_path / "jobs"
    here.mkdir()
    (here / "mine.json").write_text(json.dumps(SQUAD))
    (here / "prompts.jsonl").write_text('{"prompt": "One?"}\n\n{"prompt": "Two?"}\n')
    (here / "lines.txt").write_text("One?\nTwo?\nThree?\n")
    (here / "model").mkdir()
    (here / "model" / "config.json").write_text("{}")
    (tmp_path / "secret.json").write_text(json.dumps(SQUAD))
    return here


# ------------------------------------------------------------------------------- what files become


def test_a_full_train_job() -> None:
    """The job file of the user's guide, field by field."""
    job = parse_job(
        """
name: squad-distilgpt2
work:
  kind: train
  model: distilgpt2
  dataset: squad[:2000]
  epochs: 2
  batch_size: 8
  seq_len: 384
  precision: fp16
  method: full
  head: qa
needs: {device: [orin-nano, xavier-nx], memory: 5GiB, disk: 6GiB}
deadline: 2h30m
time_limit: 3h
priority: 70
retry: {times: 3, on: [killed_memory, lost, failed]}
checkpoint: {every: 10m, keep: 2}
env: {TOKENIZERS_PARALLELISM: "false"}
labels: {project: thesis}
user: ada
"""
    ).to_job("7", 1000.0)
    assert job.workload == Workload(
        "train",
        "distilgpt2",
        dataset="squad",
        batch_size=8,
        seq_len=384,
        precision="fp16",
        head="qa",
    )
    assert job.amount == 4000.0
    assert job.needs == Needs(("orin-nano", "xavier-nx"), 5120.0, 6144.0)
    assert (job.submitted_s, job.deadline_s, job.time_limit_s) == (1000.0, 10_000.0, 10_800.0)
    assert (job.id, job.name, job.user, job.priority) == ("7", "squad-distilgpt2", "ada", 70)
    assert job.retry == Retry(3, ("killed_memory", "lost", "failed"))
    assert (job.checkpoint_every_s, job.work["checkpoint_keep"]) == (600.0, 2)
    assert job.env == (("TOKENIZERS_PARALLELISM", "false"),)
    assert job.labels == (("project", "thesis"),)
    assert from_json(Job, to_json(job)) == job


def test_the_defaults() -> None:
    job = parse_job(TRAIN, "some/where/small.yaml").to_job("1", 0.0, user="bob")
    assert job.name == "small", "the file's name stands in"
    assert job.user == "bob"
    assert job.amount == 87_599, "one pass over SQuAD's train split"
    assert job.needs == Needs()
    assert job.retry == Retry(2, ("killed_memory", "lost"))
    assert (job.priority, job.deadline_s, job.time_limit_s) == (50, None, None)
    assert job.work == {
        "kind": "train",
        "model": "gpt2",
        "dataset": "squad",
        "dataset_path": None,
        "epochs": 1,
        "samples": 87_599,
        "batch_size": 8,
        "seq_len": 384,
        "precision": "fp32",
        "method": "full",
        "head": "qa",
        "gradient_checkpointing": False,
        "accumulation_steps": 1,
        "lora_rank": 0,
    }


def test_models_are_known_by_one_name() -> None:
    spec = parse_job("work: {kind: infer, model: openai-community/gpt2, prompts: 3}")
    names = {"openai-community/gpt2": "gpt2"}
    assert spec.to_job("1", 0.0, canonical=lambda m: names.get(m, m)).workload.model == "gpt2"
    assert spec.to_job("1", 0.0).workload.model == "openai-community/gpt2"


@pytest.mark.parametrize(
    ("dataset", "samples"),
    [("squad[:10]", 10), ("squad[:100000]", 87_599), ("org/other[:30]", 30), ("mine.json", 5)],
)
def test_the_amount_is_samples_times_epochs(folder: Path, dataset: str, samples: int) -> None:
    text = f"work: {{kind: train, model: gpt2, dataset: '{dataset}', epochs: 3}}"
    spec = parse_job(text, folder=folder)
    assert (spec.amount, spec.work["samples"]) == (3 * samples, samples)


def test_samples_say_how_many_where_there_is_no_slice() -> None:
    spec = parse_job("work: {kind: train, model: gpt2, dataset: org/other, samples: 40}")
    assert (spec.amount, spec.workload.dataset) == (40, "org/other")


def test_lora_has_a_rank() -> None:
    assert parse_job("work: {kind: train, model: gpt2, method: lora}").workload.lora_rank == 8
    spec = parse_job("work: {kind: train, model: gpt2, method: lora, lora_rank: 16}")
    assert (spec.workload.lora_rank, spec.work["lora_rank"]) == (16, 16)


def test_an_infer_job(folder: Path) -> None:
    """Prompts come from a file, or are made up by number."""
    text = "work: {kind: infer, model: gpt2, prompts: %s, prompt_tokens: 32, max_new_tokens: 8}"
    spec = parse_job(text % "prompts.jsonl", folder=folder)
    assert spec.amount == 2
    assert spec.work["prompts_path"] == str(folder / "prompts.jsonl")
    assert spec.workload == Workload("infer", "gpt2", prompt_tokens=32, max_new_tokens=8)
    assert parse_job(text % "lines.txt", folder=folder).amount == 3
    spec = parse_job(text % "32")
    assert (spec.amount, spec.work["prompts_path"]) == (32, None)


def test_a_command_costs_what_it_is_like() -> None:
    spec = parse_job(
        "work: {kind: command, run: python train.py, like: {kind: train, model: gpt2}}"
    )
    assert spec.amount == 1
    assert (spec.workload.kind, spec.workload.like, spec.workload.model) == (
        "command",
        "train",
        "gpt2",
    )
    assert (spec.workload.batch_size, spec.workload.command) == (8, "python train.py")
    assert spec.work["run"] == "python train.py"
    assert parse_job("work: {kind: command, run: ls}").workload == Workload(
        "command", "", command="ls"
    )


def test_json_is_a_job_file_too() -> None:
    """What a program posts to the API is read by the same reader."""
    body = {"name": "naïve \U0001f600", "work": {"kind": "infer", "model": "gpt2", "prompts": 3}}
    for text in (
        json.dumps(body),
        json.dumps(body, ensure_ascii=False),
        json.dumps(body, indent=1),
    ):
        assert parse_job(text).name == "naïve \U0001f600"


def test_yaml_is_version_1_2() -> None:
    """`on` and `yes` are words, dates are text, and an alias is what it names."""
    spec = parse_job(
        "name: &n 2024-01-01\nuser: *n\nlabels: {yes: no}\nretry: {on: [lost]}\n" + TRAIN
    )
    assert (spec.name, spec.user, spec.labels) == ("2024-01-01", "2024-01-01", (("yes", "no"),))
    assert spec.retry.on == ("lost",)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(("\ufeffname: x\r\n" + TRAIN.replace("\n", "\r\n")).encode())
    assert load_jobs([path])[0].name == "x"


# -------------------------------------------------------------------------------------- the devices


def test_an_unknown_device_is_told_with_those_there_are() -> None:
    text = TRAIN + "needs:\n  device: [orin-nano, nx-7]\n"
    problem = the_problem(text, known_devices=["orin-nano", "nx-1"])
    assert (problem.line, problem.column, problem.path) == (3, 23, "needs.device[1]")
    assert problem.message == "unknown device 'nx-7' (devices here: orin-nano, nx-1)"
    assert problem.hint == "did you mean 'nx-1'?"
    assert parse_job(text).needs.device == ("orin-nano", "nx-7"), "unchecked without a fleet"


def test_one_device_needs_no_list() -> None:
    spec = parse_job(TRAIN + "needs: {device: nx-1}", known_devices=["nx-1"])
    assert spec.needs.device == ("nx-1",)
    problem = the_problem(TRAIN + "needs: {device: nx-1}", known_devices=[])
    assert (problem.column, problem.path) == (9, "needs.device")
    assert problem.message == "unknown device 'nx-1' (devices here: none)"


def test_of_many_devices_ten_are_listed() -> None:
    fleet = [f"orin-{i}" for i in range(1, 101)]
    problem = the_problem(TRAIN + "needs: {device: x}", known_devices=fleet)
    assert problem.message.endswith("orin-9, orin-10 and 90 more)")


# ---------------------------------------------------------------------------------------- the files


def in_folder(folder: Path, **work: str) -> JobSpec:
    """The job of a train file in the folder, read from there."""
    fields = "".join(f"  {name}: {value}\n" for name, value in work.items())
    (folder / "job.yaml").write_text(f"work:\n  kind: train\n  model: gpt2\n{fields}")
    return load_jobs([folder / "job.yaml"])[0]


def complaint(folder: Path, **work: str) -> tuple[str, str]:
    """(message, hint) of the only problem of such a file; it stands at the field."""
    with pytest.raises(FileProblems) as caught:
        in_folder(folder, **work)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (4, 3)
    return problem.message, problem.hint


def test_paths_are_meant_from_the_job_files_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    spec = in_folder(folder, dataset="mine.json[:3]")
    assert spec.work["dataset_path"] == str(folder / "mine.json")
    assert (spec.work["dataset"], spec.amount) == ("mine.json[:3]", 3)
    assert spec.workload.dataset == "mine.json", "where it lies does not change what it costs"


def test_a_model_may_be_a_folder(folder: Path) -> None:
    text = "work: {kind: train, model: ./model}"
    spec = parse_job(text, folder=folder)
    assert spec.workload.model == spec.work["model"] == str(folder / "model")
    (folder / "empty").mkdir()
    problem = the_problem("work: {kind: train, model: ./empty}", folder=folder)
    assert problem.message == "'./empty' holds no model"


def test_a_file_elsewhere_is_named_by_its_absolute_path(folder: Path) -> None:
    outside = folder.parent / "secret.json"
    assert complaint(folder, dataset="../secret.json") == (
        "'../secret.json' leads out of the job file's folder",
        "name files elsewhere by their absolute path",
    )
    assert in_folder(folder, dataset=str(outside)).amount == 5


def test_a_link_may_not_lead_out(folder: Path) -> None:
    (folder / "link.json").symlink_to(folder.parent / "secret.json")
    (folder / "up").symlink_to(folder.parent)
    for name in ("link.json", "up/secret.json"):
        message, _ = complaint(folder, dataset=name)
        assert message == f"'{name}' leads out of the job file's folder"
    (folder / "inside.json").symlink_to("mine.json")
    assert in_folder(folder, dataset="inside.json").amount == 5


@pytest.mark.parametrize("name", ["none.json", "./none", "~nobody-here/x.json", "loop.json"])
def test_a_missing_file_is_told(folder: Path, name: str) -> None:
    (folder / "loop.json").symlink_to("loop.json")
    message, _ = complaint(folder, dataset=name)
    assert message.startswith(f"'{name}'")


def test_a_name_that_no_file_can_have_is_told(folder: Path) -> None:
    for name in ('"./a\\0b"', f"./{'x' * 400}"):
        message, _ = complaint(folder, dataset=name)
        assert "is not a usable path" in message or "no such file" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "{",
            "'odd.json' is not JSON: Expecting property name enclosed in double quotes at line 1:2",
        ),
        ("[]", "'odd.json' is not in SQuAD form: 'data' is missing or odd"),
        ('{"data": [{}]}', "'odd.json' is not in SQuAD form: data[0].paragraphs is missing or odd"),
        ('{"data": []}', "'odd.json' holds no question with an answer"),
        ("\xff", "'odd.json' is not UTF-8 at byte 0"),
        ("[" * 100_000, "'odd.json' is not JSON: maximum recursion"),
    ],
)
def test_a_data_set_in_another_form_is_told(folder: Path, content: str, message: str) -> None:
    (folder / "odd.json").write_bytes(content.encode("latin-1"))
    assert complaint(folder, dataset="odd.json")[0].startswith(message)


def test_a_folder_is_no_data_set(folder: Path) -> None:
    assert complaint(folder, dataset="./model")[0].endswith("is not a file")


def test_a_bad_prompt_is_told_by_its_line(folder: Path) -> None:
    (folder / "p.jsonl").write_text('{"prompt": "a"}\n{"promt": "b"}\n')
    problem = the_problem("work: {kind: infer, model: gpt2, prompts: p.jsonl}", folder=folder)
    assert problem.message == "'p.jsonl', line 2: not a prompt"


def test_a_changed_file_is_counted_again(folder: Path) -> None:
    text = "work: {kind: infer, model: gpt2, prompts: lines.txt}"
    assert parse_job(text, folder=folder).amount == 3
    (folder / "lines.txt").write_text("one\n")
    assert parse_job(text, folder=folder).amount == 1


def test_reading_leaves_no_file_open(folder: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        in_folder(folder, dataset="mine.json")
    assert len(os.listdir("/proc/self/fd")) <= before + 1
