"""Job files before they are sent: all problems at once, then a plan for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_world import JOB
from live_world import LiveWorld, a_command, table

from jetsched.cluster.drafts import (
    MOST_DRAFTS,
    MOST_PLANNED,
    Checked,
    Draft,
    look_over,
)
from jetsched.errors import InputError
from jetsched.jobfile import load_jobs
from jetsched.jobmodel import Surroundings
from jetsched.problems import FileProblems
from jetsched.profiler.models import positions

ADVICE = "your own files go with: jetsched submit FILE.yaml"
BAD = "work: {kind: command, rum: x}\npriority: 500\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorld]:
    """Two boards that know `tiny-gpt2`; nx-1 is busy for long."""
    costs = table(**{"tiny-gpt2": 1.0, "long": 600.0})
    with LiveWorld(tmp_path_factory.mktemp("drafts"), costs) as world:
        world.until_devices("nx-1", "orin-1")
        needs = replace(a_command("1", "").needs, device=("nx-1",))
        world.submit(a_command("1", "exec sleep 600", "long", needs=needs))
        world.until_state("1", "running")
        yield world


def looked(world: LiveWorld, *texts: str | bytes) -> list[Checked]:
    around = Surroundings(devices=world.desk.device_names(), positions=positions, advice=ADVICE)
    drafts = [
        Draft(f"job-{n}.yaml", text if isinstance(text, bytes) else text.encode())
        for n, text in enumerate(texts)
    ]
    return look_over(world.desk, drafts, around)


def test_problems_of_all_texts_come_at_once_with_places_and_nothing_is_planned(
    world: LiveWorld,
) -> None:
    good, bad, cut = looked(world, JOB, BAD, "work: [\n")
    assert good.problems == () and good.planned is None
    places = {(p.line, p.column, p.path) for p in bad.problems}
    assert {(1, 23, "work.rum"), (2, 1, "priority")} <= places
    assert any("did you mean 'run'" in p.hint for p in bad.problems)
    assert cut.problems and cut.problems[0].line >= 1 and cut.planned is None


def test_the_problems_are_those_of_check(world: LiveWorld, tmp_path: Path) -> None:
    files = {"rum": BAD.encode(), "tabs": b"work:\n\tkind: train\n", "latin": b"name: \xfcber\n"}
    for name, data in files.items():
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(data)
        with pytest.raises(FileProblems) as caught:
            load_jobs([path], positions=positions)
        (found,) = looked(world, data)
        told = [replace(p, file="") for p in found.problems]
        assert told == [replace(p, file="") for p in caught.value.problems]


def test_a_file_of_the_browsers_machine_is_refused_with_the_way_that_brings_it(
    world: LiveWorld, tmp_path: Path
) -> None:
    there = tmp_path / "there.txt"
    there.write_text("hello\n")
    infer = "work: {{kind: infer, model: tiny-gpt2, prompts: {}}}\n"
    relative, missing, fine = looked(
        world,
        infer.format("prompts.jsonl"),
        infer.format(tmp_path / "gone.txt"),
        infer.format(there),
    )
    assert relative.problems[0].hint == ADVICE
    assert ADVICE in missing.problems[0].hint and str(tmp_path) in missing.problems[0].hint
    assert fine.problems == ()


def test_a_device_that_is_not_there_is_a_problem_that_names_those_there_are(
    world: LiveWorld,
) -> None:
    (found,) = looked(world, JOB + "needs: {device: [orin-9]}\n")
    assert "orin-1" in str(found.problems[0].hint) + found.problems[0].message


def test_each_job_is_planned_where_it_would_go(world: LiveWorld) -> None:
    free, busy, never = looked(
        world,
        JOB,
        JOB + "needs: {device: [nx-1]}\n",
        JOB.replace("tiny-gpt2", "gpt2"),
    )
    assert free.planned is not None and free.planned.prospect == "starts"
    assert busy.planned is not None and busy.planned.prospect == "waits"
    assert busy.planned.chosen is not None and busy.planned.chosen.device == "nx-1"
    assert never.planned is not None and never.planned.prospect == "never"
    assert [row.device for row in never.planned.decision.rows] == ["nx-1", "orin-1"]
    assert world.look(lambda s: len(s.jobs)) == 1  # nothing was submitted


def test_a_model_that_nobody_knows_is_remarked_on_as_check_does(world: LiveWorld) -> None:
    known, unknown = looked(world, JOB, JOB.replace("tiny-gpt2", "my/own"))
    assert known.note == ""
    assert "profile the job file first" in unknown.note


def test_jobs_that_are_alike_are_planned_once_and_too_many_different_ones_are_not(
    world: LiveWorld,
) -> None:
    alike = looked(world, *[f"name: job-{n}\n{JOB}" for n in range(30)])
    assert len({id(one.planned) for one in alike}) == 1
    different = looked(world, *[f"{JOB}priority: {n}\n" for n in range(MOST_PLANNED + 2)])
    assert [one.planned is None for one in different] == [False] * MOST_PLANNED + [True] * 2
    assert "first 20" in different[-1].unplanned


def test_no_text_and_too_many_are_refused_with_what_to_do(world: LiveWorld) -> None:
    with pytest.raises(InputError, match="no job file"):
        looked(world)
    with pytest.raises(InputError, match="more than the 100") as caught:
        looked(world, *[JOB] * (MOST_DRAFTS + 1))
    assert "jetsched submit" in caught.value.hint


def test_a_file_that_is_too_large_is_a_problem(world: LiveWorld) -> None:
    (found,) = looked(world, b"#" * (300 * 1024))
    assert "larger than 256 KiB" in found.problems[0].message
