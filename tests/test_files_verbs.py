"""fetch, cache and prune: as a person uses them, over HTTP and from another machine."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import TOKEN, Served
from commands import Jetsched
from live_world import LiveWorld, a_command

from jetsched.cluster.client_files import FileClient
from jetsched.cluster.connection import Connection
from jetsched.errors import InputError, UnreachableError
from jetsched.records import Job

TINY = {"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "vocab_size": 99}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A head that the command reaches as if from another machine."""
    with LiveWorld(tmp_path / "head") as world, Served(world) as found:
        world.until_devices("nx-1", "orin-1")
        token = tmp_path / "token"
        token.write_text(TOKEN)
        monkeypatch.setenv("JETSCHED_HEAD", found.url)
        monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(token))
        monkeypatch.chdir(tmp_path)
        yield found


def done(served: Served, run: str, id: str = "1") -> None:
    """Run a command; what it leaves is on the head then."""
    world = served.world
    world.submit(a_command(id, run))
    assert world.until_state(id, "done", "failed", "killed")[-1][1] == "done"
    files = world.service.files
    assert files is not None
    if "JETSCHED_OUT" in run:
        world.wait(lambda: files.artefacts((id, 1)).state == "complete")


LEAVES = (
    "mkdir $JETSCHED_OUT/a; echo hi > $JETSCHED_OUT/a/b;"
    " head -c 3000000 /dev/zero > $JETSCHED_OUT/z"
)


def test_fetch_brings_what_a_job_left_and_is_quick_the_second_time(
    served: Served, jetsched: Jetsched, tmp_path: Path
) -> None:
    done(served, LEAVES)
    listed = jetsched("fetch", "1", "--list")
    assert listed.code == 0 and "a/b" in listed.out and "on the head" in listed.out
    assert not (tmp_path / "jetsched-1").exists()
    first = jetsched("fetch", "1", "--json").json()
    assert (first["files"], first["bytes"], first["came_bytes"]) == (["a/b", "z"], 3000003, 3000003)
    assert (tmp_path / "jetsched-1" / "a" / "b").read_text() == "hi\n"
    assert jetsched("fetch", "1", "--json").json()["came_bytes"] == 0
    row = served.client.job("1")
    assert row["artefacts"] == {"state": "complete", "files": 2, "bytes": 3000003}


def test_fetch_says_why_there_is_nothing_and_never_writes_over_another_file(
    served: Served, jetsched: Jetsched, tmp_path: Path
) -> None:
    done(served, "echo only a log")
    told = jetsched("fetch", "1")
    assert told.code == 2 and "has left no files" in told.err and "JETSCHED_OUT" in told.err
    assert jetsched("fetch", "7").code == 2
    done(served, LEAVES, "2")
    assert jetsched("fetch", "2", "--attempt", "5").code == 2
    mine = tmp_path / "out" / "a"
    mine.mkdir(parents=True)
    (mine / "b").write_text("mine")
    told = jetsched("fetch", "2", "--out", "out")
    assert told.code == 2 and "another file" in told.err and (mine / "b").read_text() == "mine"


def test_a_fetch_that_was_cut_goes_on_where_it_was(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(served, LEAVES)
    read, asked = Connection.read, []

    def cut(self: Connection, path: str, offset: int = 0) -> Iterator[bytes]:
        asked.append((path.rpartition("/")[2], offset))
        for number, data in enumerate(read(self, path, offset)):
            if path.endswith("/z") and len(asked) < 4 and number:
                raise UnreachableError("cut")
            yield data

    monkeypatch.setattr(Connection, "read", cut)
    monkeypatch.setattr("jetsched.cluster.client_files.PAUSE_S", 0.0)
    found = FileClient(served.client).fetch("1", tmp_path / "out")
    offsets = [offset for name, offset in asked if name == "z"]
    assert offsets[0] == 0 and offsets == sorted(set(offsets)) and len(offsets) == 3
    assert found.came_bytes == 3000003


@pytest.mark.parametrize("path", ["../state.json", "..%2Fstate.json", "%2Fetc%2Fpasswd", "nothing"])
def test_no_path_of_the_api_leads_out_of_what_a_job_left(served: Served, path: str) -> None:
    done(served, LEAVES)
    url = f"{served.url}/jobs/1/artefacts/1/{path}"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {TOKEN}"})
    assert 300 <= answer.status_code < 500 and "key" not in answer.text


def a_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TINY))
    (folder / "model.safetensors").write_bytes(os.urandom(2_500_000))
    return folder


def test_a_job_file_hands_the_files_in_that_it_names(served: Served, tmp_path: Path) -> None:
    a_model(tmp_path / "mine")
    (tmp_path / "ask.txt").write_text("one\ntwo\nthree\n")
    job = tmp_path / "job.yaml"
    job.write_text("work: {kind: infer, model: ./mine, prompts: ask.txt}\n")
    (row,) = served.client.submit([job], hold=True)
    kept: Job = served.world.look(lambda s: s.jobs[row["id"]].job)
    model, prompts = Path(kept.workload.model), Path(kept.work["prompts_path"])
    assert kept.amount == 3
    for path in (model, prompts):
        assert path.is_relative_to(tmp_path / "head" / "files" / "bundles")
    sent = (model / "model.safetensors").read_bytes()
    assert sent == (tmp_path / "mine" / "model.safetensors").read_bytes()
    assert set(kept.work["files"]) == {"model_path", "prompts_path"}
    assert served.client.job(row["id"])["name"] == "job"


def test_files_that_are_handed_in_must_be_what_they_were_said_to_be(
    served: Served, tmp_path: Path
) -> None:
    data = b"what was said"
    file = {"path": "x", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    ask = served.client.connection
    answer = ask.ask("POST", "/files", {"files": [file]})
    assert answer["have"] == {file["sha256"]: 0} and answer["path"] == ""
    ask.send(f"/files/{file['sha256']}", b"something els", {"offset": 0})
    again = ask.ask("POST", "/files/done", {"files": [file]})
    assert again["path"] == "" and again["have"] == {file["sha256"]: 0}
    for path in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(InputError, match="not a path"):
            ask.ask("POST", "/files", {"files": [{**file, "path": path}]})
    with pytest.raises(InputError, match="nobody has said"):
        ask.send("/files/" + "0" * 64, data, {"offset": 0})


def test_prefetch_brings_a_model_to_the_boards_and_prune_takes_it_away(
    served: Served, jetsched: Jetsched, tmp_path: Path
) -> None:
    a_model(tmp_path / "mine")
    rows = jetsched("cache", "prefetch", "./mine", "--json").json()
    assert sorted(row["device"] for row in rows) == ["nx-1", "orin-1"]
    assert all(Path(row["path"]).joinpath("config.json").exists() for row in rows)
    listed = jetsched("cache", "ls", "--device", "nx-1", "--json").json()
    assert [row["device"] for row in listed] == ["nx-1"]
    assert "head" in jetsched("cache").out
    assert jetsched("cache", "prune").code == 2  # what is to stay?
    for agent in served.world.agents._agents.values():
        agent._files.cache._pins.clear()
    would = jetsched("cache", "prune", "--keep-size", "0MiB", "--device", "nx-1", "--dry-run")
    assert "would be removed" in would.out
    jetsched("cache", "prune", "--keep-size", "0MiB", "--device", "nx-1")
    left = jetsched("cache", "ls", "--json").json()
    assert "nx-1" not in {row["device"] for row in left}


def test_what_the_head_does_not_have_is_not_asked_of_the_network(
    served: Served, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    told = jetsched("cache", "prefetch", "gpt2")
    assert told.code == 2 and "does not have the weights" in told.err and "--online" in told.err


def test_prune_takes_what_is_old_and_never_what_belongs_to_an_open_job(
    served: Served, jetsched: Jetsched, tmp_path: Path
) -> None:
    done(served, LEAVES)
    world = served.world
    world.submit(a_command("2", "echo x > $JETSCHED_OUT/x; sleep 600"))
    world.until(lambda s: s.jobs["2"].state == "running")
    assert jetsched("prune", "--older", "1h", "--json").json()["removed"] == []
    would: Any = jetsched("prune", "--older", "0s", "--dry-run", "--json").json()
    assert {(old["what"], old["job_id"]) for old in would["removed"]} == {("artefacts", "1")}
    assert [node["name"] for node in would["nodes"]] == ["1-1"]
    assert (tmp_path / "head/artefacts/1-1").exists()
    told = jetsched("prune", "--older", "0s")
    assert told.code == 0 and "removed" in told.out
    assert not (tmp_path / "head/artefacts/1-1").exists()
    assert not (tmp_path / "head/nodes/nx-1/1-1").exists()
    assert served.client.job("1")["artefacts"]["state"] == "none"
    assert served.client.job("2")["state"] == "running"


def test_prune_by_size_takes_the_oldest_first(served: Served, jetsched: Jetsched) -> None:
    for id in ("1", "2"):
        done(served, LEAVES, id)
        time.sleep(0.01)
    found = jetsched("prune", "--older", "1d", "--max-size", "4MiB", "--json").json()
    assert [(old["what"], old["job_id"]) for old in found["removed"]] == [("artefacts", "1")]
    assert found["left_bytes"] < 4 << 20


def test_plan_says_what_is_to_be_brought_first(
    served: Served, jetsched: Jetsched, tmp_path: Path
) -> None:
    a_model(tmp_path / "mine")
    job = tmp_path / "job.yaml"
    job.write_text("work: {kind: infer, model: ./mine, prompts: 3}\n")
    assert served.client.plan(job)["files"].keys() <= {"nx-1", "orin-1"}
    assert all(
        missing["bytes"] > 2_500_000 for missing in served.client.plan(job)["files"].values()
    )
    jetsched("cache", "prefetch", "./mine", "--device", "nx-1")
    assert "nx-1" not in served.client.plan(job)["files"]


def test_a_pickle_is_refused_when_it_is_submitted(served: Served, tmp_path: Path) -> None:
    model = a_model(tmp_path / "mine")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    job = tmp_path / "job.yaml"
    job.write_text("work: {kind: infer, model: ./mine, prompts: 3}\n")
    with pytest.raises(InputError, match="pickle"):
        served.client.submit([job], hold=True)
    assert served.client.jobs() == []
