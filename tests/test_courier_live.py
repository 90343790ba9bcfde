"""Files in a whole live cluster: artefacts, and a job that goes on where another board was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from child_worlds import GPT2
from live_world import BOARDS, LiveWorld, a_command, table
from local_agents import LocalAgents

from jetsched.cluster.filecache import Here
from jetsched.jobfile import parse_job
from jetsched.profiler.limits import Limits
from jetsched.records import Device, DeviceClass, Job
from jetsched.scheduler.events import CancelAsked, DeviceClosed, RetryAsked

pytest.importorskip("torch")


def a_training(world_home: Path, id: str, samples: int = 800) -> Job:
    """A tiny model, trained for some seconds on a CPU."""
    model = world_home / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(GPT2))
    work = {
        "kind": "train",
        "model": str(model),
        "samples": samples,
        "batch_size": 4,
        "seq_len": 48,
    }
    spec = parse_job(json.dumps({"work": work, "checkpoint": {"every": "1s"}}))
    job = spec.to_job(id, 0.0)
    return replace(job, checkpoint_every_s=0.2)


def world_for(tmp_path: Path) -> LiveWorld:
    """Two boards with room for torch."""
    room = Limits(memory_mib=2000.0, threads=1)
    kinds = (("nx-1", "xavier-nx"), ("orin-1", "orin-nano"))
    boards = {
        id: (Device(id, DeviceClass(kind, "emulated", "", 2000.0, emulated=True)), room)
        for id, kind in kinds
    }
    agents = LocalAgents(tmp_path / "nodes", boards)
    return LiveWorld(tmp_path, table(**{str(tmp_path / "model"): 20.0}), agents=agents)


def test_what_a_job_leaves_is_on_the_head_when_it_is_done(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "echo result > $JETSCHED_OUT/answer"))
        world.until_state("1", "done", "failed")
        files = world.service.files
        assert files is not None
        out = files.keeping.out(("1", 1))
        world.wait(out.exists)
        assert (out / "answer").read_text() == "result\n"
        world.wait(lambda: not (tmp_path / "nodes/nx-1/1-1/out").exists())  # and its node forgot it


@pytest.mark.slow
def test_a_job_whose_board_is_lost_goes_on_elsewhere_and_ends_with_the_same_loss(
    tmp_path: Path,
) -> None:
    """The same processor computes both, and the checkpoint has data order, random numbers and the
    optimizer's state: so the losses are the same to the last digit that is written."""
    with world_for(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_training(tmp_path, "1"))
        files = world.service.files
        assert files is not None
        keeping = files.keeping
        world.wait(lambda: keeping.checkpoint("1") is not None)
        world.agents.unplug("nx-1")
        assert world.until_state("1", "done", "failed", "lost") == [
            ("nx-1", "lost"),
            ("orin-1", "done"),
        ]
        spec = json.loads((tmp_path / "nodes/orin-1/1-2/spec.json").read_text())
        assert "/cache/bundles/" in spec["resume_from"]
        world.submit(a_training(tmp_path, "2"))
        world.until_state("2", "done", "failed")
        outs = [files.keeping.out(key) for key in (("1", 2), ("2", 1))]
        for out in outs:
            world.wait(out.exists)
        found = [json.loads((out / "metrics.json").read_text()) for out in outs]
        assert found[0]["amount"] + found[0]["warmup_amount"] < found[1]["amount"]
        assert found[0]["loss_last"] == found[1]["loss_last"]
        weights = [(out / "model.safetensors").read_bytes() for out in outs]
        assert weights[0] == weights[1]
        world.wait(lambda: keeping.checkpoint("1") is None)  # nobody needs it any more


@pytest.mark.slow
def test_a_cancelled_training_that_is_tried_again_elsewhere_goes_on_from_its_last_checkpoint(
    tmp_path: Path,
) -> None:
    """It writes that one when it is asked to end; the retry waits for it."""
    with world_for(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_training(tmp_path, "1"))
        files = world.service.files
        assert files is not None
        keeping = files.keeping
        world.wait(lambda: keeping.checkpoint("1") is not None)
        world.tell(lambda now_s: CancelAsked(now_s, "1"))
        world.until_state("1", "cancelled")
        world.tell(
            lambda now_s: DeviceClosed(now_s, "nx-1", "Draining", ""),
            lambda now_s: RetryAsked(now_s, "1"),
        )
        assert world.until_state("1", "done", "failed", "lost") == [
            ("nx-1", "cancelled"),
            ("orin-1", "done"),
        ]
        first = tmp_path / "nodes/nx-1/1-1"
        left = [path.name for path in (first / "checkpoint").iterdir()]  # until it is pruned
        spec = json.loads((tmp_path / "nodes/orin-1/1-2/spec.json").read_text())
        events = (tmp_path / "nodes/orin-1/1-2/events.jsonl").read_text().splitlines()
        steps = [e["step"] for e in map(json.loads, events) if e["event"] == "progress"]
        assert "/cache/bundles/" in spec["resume_from"]
        assert min(steps) > max(int(name.rpartition("-")[2]) for name in left)


def test_a_job_whose_files_find_no_room_waits_and_says_why_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node is closed as long as there is no room, so that it is not tried again and again."""
    monkeypatch.setattr(Here, "is_here", lambda here: False)  # as on another machine
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(GPT2))
    (model / "model.safetensors").write_bytes(bytes(3 << 20))
    agents = LocalAgents(tmp_path / "nodes", BOARDS, cache_mib=1.0)
    with LiveWorld(tmp_path, table(**{str(model): 20.0}), agents=agents) as world:
        world.until_devices("nx-1", "orin-1")
        work = {"kind": "infer", "model": str(model), "prompts": 2}
        (row,) = world.desk.submit([parse_job(json.dumps({"work": work}))])
        id = row["id"]
        world.until(lambda s: len(s.fleet.closings) == 2)
        closings = world.look(lambda s: {d: dict(c) for d, c in s.fleet.closings.items()})
        assert all("do not fit" in codes["NoDisk"] for codes in closings.values())
        job = world.desk.job(id)
        assert job["state"] == "waiting" and {a["outcome"] for a in job["attempts"]} == {
            "preempted"
        }
        assert len(job["attempts"]) == 2  # once on each board
