"""The files in examples/: they are valid, they say how to run them, and the schema knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jetsched.inputs import count_prompts
from jetsched.jobfile import FileProblems, json_schema, load_jobs, parse_job

EXAMPLES = Path(__file__).parents[1] / "examples"
JOBS = sorted(p for p in EXAMPLES.glob("*.yaml") if p.stem not in ("bad", "fleet"))


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def refuses(document: Any) -> bool:
    """Whether the job file's schema refuses a document."""
    jsonschema = pytest.importorskip("jsonschema", reason="it comes with ray")
    validator = jsonschema.validators.validator_for(json_schema())
    validator.check_schema(json_schema())
    return not validator(json_schema()).is_valid(document)


def test_there_is_one_of_each_kind() -> None:
    kinds = {spec.workload.kind for spec in load_jobs(JOBS)}
    assert kinds == {"train", "infer", "command"}


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_an_example_is_valid(path: Path) -> None:
    devices = ["xavier-nx", "orin-nano"]
    (spec,) = load_jobs([path], known_devices=devices)
    assert spec.name == path.stem, "so that `queue` shows which file it was"
    assert not refuses(parsed(path.read_text()))


@pytest.mark.parametrize("path", [*JOBS, EXAMPLES / "fleet.yaml"], ids=lambda path: path.stem)
def test_an_example_says_how_to_run_it(path: Path) -> None:
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"examples/{path.name}" in line and "jetsched" in line for line in comment)


def test_the_bad_one_has_all_of_its_problems_told() -> None:
    with pytest.raises(FileProblems) as caught:
        load_jobs([EXAMPLES / "bad.yaml"])
    assert [(p.line, p.column, p.path) for p in caught.value.problems] == [
        (6, 3, "work.epoch"),
        (7, 3, "work.precision"),
        (9, 3, "needs.memory"),
        (10, 1, "deadline"),
        (11, 1, "priority"),
        (12, 24, "retry.on[0]"),
        (13, 1, "priority"),
    ]


def test_the_prompts_are_prompts() -> None:
    assert count_prompts(EXAMPLES / "prompts.jsonl") == 8


WRONG = [
    "{}",
    "work: {kind: train}",
    "work: {kind: trian, model: gpt2}",
    "work: {kind: train, model: gpt2, epoch: 1}",
    "work: {kind: train, model: gpt2, epochs: 0}",
    "work: {kind: train, model: gpt2, epochs: '1'}",
    "work: {kind: train, model: gpt2, max_new_tokens: 8}",
    "work: {kind: train, model: gpt2, precision: fp8}",
    "work: {kind: infer, model: gpt2}",
    "work: {kind: infer, model: gpt2, prompts: 0}",
    "work: {kind: command}",
    "work: {kind: command, run: ls, like: {kind: command, run: ls}}",
    "{work: {kind: command, run: ls}, priority: 500}",
    "{work: {kind: command, run: ls}, deadline: 90}",
    "{work: {kind: command, run: ls}, deadline: soon}",
    "{work: {kind: command, run: ls}, needs: {memory: 5}}",
    "{work: {kind: command, run: ls}, needs: {memory: 5G}}",
    "{work: {kind: command, run: ls}, needs: {device: []}}",
    "{work: {kind: command, run: ls}, retry: {on: [done]}}",
    "{work: {kind: command, run: ls}, env: {A: 1}}",
    "{work: {kind: command, run: ls}, name: ''}",
    "{work: {kind: command, run: ls}, colour: blue}",
]


@pytest.mark.parametrize("text", WRONG)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    assert refuses(parsed(text))
    with pytest.raises(FileProblems):
        parse_job(text)


@pytest.mark.parametrize(
    "text",
    [
        "{work: {kind: command, run: ls}, deadline: null, needs: {device: nx-1, memory: 1.5 GiB}}",
        "{work: {kind: command, run: ls, like: {kind: infer, model: gpt2}}, time_limit: 1h 30m}",
        "{work: {kind: infer, model: gpt2, prompts: 32}, checkpoint: null}",
    ],
)
def test_the_schema_takes_what_the_reader_takes(text: str) -> None:
    assert not refuses(parsed(text))
    parse_job(text)


def test_every_field_is_explained() -> None:
    """An editor shows the description: there is one on each field of each section."""
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        assert section["additionalProperties"] is False
        for name, field in section["properties"].items():
            known = "$ref" in field or field.get("description")  # a section explains itself
            assert known, f"{section['title']}.{name}"
        assert section is schema or section["description"]
