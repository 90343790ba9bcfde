"""The HTTP API and its client, over a real socket; boards are agents in this process, or none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import JOB, LIKE, TOKEN, Served, job_file
from builders import TableCosts
from live_world import LiveWorld, allocating, table
from local_agents import LocalAgents

from jetsched.cluster.api_gate import LARGEST_BODY_BYTES
from jetsched.cluster.client import Client
from jetsched.cluster.desk_base import WontFitError
from jetsched.cluster.desk_logs import decode
from jetsched.cluster.state import VERSION, ClusterState, read_state, write_state
from jetsched.errors import InputError, JetschedError, NeverFitsError, UnreachableError
from jetsched.problems import FileProblems
from jetsched.records import Decision, Row


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Two boards; the cost table knows the workload `tiny-gpt2` on both, `gpt2` on none."""
    with LiveWorld(tmp_path, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        served = Served(world)
        yield served
        served.close()


@pytest.fixture
def boardless(tmp_path: Path) -> Iterator[Served]:
    """A scheduler without a single board."""
    agents = LocalAgents(tmp_path / "nodes", {})
    with LiveWorld(tmp_path, TableCosts({}), agents=agents) as world:
        served = Served(world)
        yield served
        served.close()


# ------------------------------------------------------------------------------------------ tokens


def test_nothing_is_told_without_the_token(boardless: Served) -> None:
    with httpx.Client(base_url=boardless.url, trust_env=False) as http:
        for path in ("/jobs", "/devices", "/status", "/jobs/1", "/jobs/1/why", "/jobs/1/log"):
            for header in (None, "", "Bearer wrong", TOKEN, f"bearer {TOKEN}", "Bearer ü"):
                headers = [] if header is None else [(b"Authorization", header.encode())]
                answer = http.get(path, headers=headers)
                assert answer.status_code in (401, 429)  # the last of so many wrong ones
                assert set(answer.json()) == {"error", "hint", "exit_code", "kind"}


def test_nothing_is_done_without_the_token(boardless: Served) -> None:
    wish = {"jobs": [{"text": JOB}]}
    assert httpx.post(boardless.url + "/jobs", json=wish, trust_env=False).status_code == 401
    assert boardless.client.jobs() == []


def test_health_is_told_to_anybody_and_says_nothing(boardless: Served) -> None:
    answer = httpx.get(boardless.url + "/healthz", trust_env=False)
    assert answer.json()["status"] == "ok"


# --------------------------------------------------------------------------------------- submitting


def test_a_submitted_file_runs_and_all_about_it_can_be_asked(
    served: Served, tmp_path: Path
) -> None:
    (row,) = served.client.submit([job_file(tmp_path)], user="ada")
    assert (row["id"], row["name"], row["user"]) == ("1", "job", "ada")
    assert row["state"] in ("starting", "running")
    served.world.until_state("1", "done")
    assert "".join(served.client.follow_log("1")) == "hi\n"
    job = served.client.job("1")
    assert [a["outcome"] for a in job["attempts"]] == ["done"]
    assert job["workload"]["model"] == "tiny-gpt2"
    why = served.client.why("1")
    assert why["chosen"] == job["attempts"][0]["device"]
    assert set(why["rows"][0]) == set(Row.__dataclass_fields__)
    assert served.client.jobs(open_only=True) == []
    assert [j["id"] for j in served.client.jobs()] == ["1"]


def test_the_scheduler_refuses_more_tokens_than_a_model_can_look_at(
    served: Served, tmp_path: Path
) -> None:
    long = job_file(tmp_path, "work:\n  kind: train\n  model: gpt2\n  seq_len: 4096\n")
    for ask in (lambda: served.client.submit([long]), lambda: served.client.plan(long)):
        with pytest.raises(FileProblems, match="has only 1,024 positions") as caught:
            ask()
        assert [(p.line, p.path) for p in caught.value.problems] == [(4, "work.seq_len")]
    assert served.client.jobs() == []


def test_all_problems_of_all_files_come_at_once_and_nothing_is_submitted(
    served: Served, tmp_path: Path
) -> None:
    bad = job_file(tmp_path, "work: {kind: command, rum: x}\npriority: 500\n", "bad.yaml")
    worse = job_file(tmp_path, "work: {kind: nothing}\n", "worse.yaml")
    with pytest.raises(FileProblems) as caught:
        served.client.submit([job_file(tmp_path), bad, worse])
    assert {Path(p.file).name for p in caught.value.problems} == {"bad.yaml", "worse.yaml"}
    assert len(caught.value.problems) >= 3
    assert all(p.line for p in caught.value.problems)
    assert caught.value.exit_code == 2
    assert served.client.jobs() == []


def test_a_device_that_nobody_has_is_refused_with_those_there_are(
    served: Served, tmp_path: Path
) -> None:
    file = job_file(tmp_path, JOB + "needs: {device: [orin-9]}\n")
    with pytest.raises(FileProblems, match="orin-1"):
        served.client.submit([file])


def test_a_file_that_is_not_there_is_a_problem_like_any_other(
    served: Served, tmp_path: Path
) -> None:
    with pytest.raises(FileProblems, match="no such file"):
        served.client.submit([tmp_path / "nothing.yaml"])


def test_a_job_that_fits_nowhere_is_refused_with_the_reason_per_device_unless_held(
    served: Served, tmp_path: Path
) -> None:
    file = job_file(tmp_path, JOB.replace("tiny-gpt2", "gpt2"))
    with pytest.raises(NeverFitsError) as caught:
        served.client.submit([job_file(tmp_path, name="good.yaml"), file])
    assert caught.value.exit_code == 3
    decision = getattr(caught.value, "decision", None)
    assert isinstance(decision, Decision)
    assert [row.device for row in decision.rows] == ["nx-1", "orin-1"]
    assert served.client.jobs() == []
    (row,) = served.client.submit([file], hold=True)
    assert row["state"] == "held"
    assert row["reason"]["code"] == "NotProfiled"


def test_all_jobs_of_a_submission_that_fit_nowhere_are_named_at_once(
    served: Served, tmp_path: Path
) -> None:
    """Those that are alike are told of once; nothing is submitted."""
    wont = [
        job_file(tmp_path, JOB.replace("tiny-gpt2", model) + f"name: {name}\n", f"{name}.yaml")
        for name, model in [
            ("one", "gpt2"),
            ("two", "gpt2-medium"),
            *((f"n{i}", "gpt2") for i in "1234"),
        ]
    ]
    with pytest.raises(NeverFitsError) as caught:
        served.client.submit([job_file(tmp_path, name="good.yaml"), *wont])
    first, *lines = str(caught.value).splitlines()
    assert "6 of these 7 jobs" in first
    assert [line.strip().partition(": nx-1: ")[0] for line in lines] == [
        "one, n1, n2 and 2 more like it",
        "two",
    ]
    assert all("nx-1: " in line and "orin-1: " in line for line in lines)
    assert "--hold" in caught.value.hint
    assert served.client.jobs() == []


def test_a_job_waits_when_there_is_no_board_at_all(boardless: Served, tmp_path: Path) -> None:
    (row,) = boardless.client.submit([job_file(tmp_path)])
    assert row["state"] == "waiting"
    assert boardless.client.devices() == []
    assert boardless.client.plan(job_file(tmp_path))["rows"] == []


def test_a_spec_as_json_is_checked_like_a_file(boardless: Served) -> None:
    with pytest.raises(FileProblems, match="priority"):
        boardless.client.submit_specs([{"work": {"kind": "command", "run": "x"}, "priority": -1}])


# ---------------------------------------------------------------------------------------- questions


def test_a_plan_changes_nothing_and_has_the_words_of_the_contract(
    served: Served, tmp_path: Path
) -> None:
    plan = served.client.plan(job_file(tmp_path))
    assert plan["chosen"] in ("nx-1", "orin-1")
    assert {row["verdict"] for row in plan["rows"]} == {"fits"}
    assert served.client.jobs() == []


def test_devices_tell_what_runs_there(served: Served, tmp_path: Path) -> None:
    text = JOB.replace("echo hi", "sleep 30") + "needs: {device: [orin-1]}\n"
    served.client.submit([job_file(tmp_path, text)])
    busy = {d["id"]: d for d in served.client.devices()}
    assert (busy["nx-1"]["state"], busy["orin-1"]["state"]) == ("ready", "busy")
    assert busy["orin-1"]["job_id"] == "1"
    assert busy["orin-1"]["emulated"] is True
    assert served.client.cancel("1")["state"] in ("starting", "running", "cancelled")
    served.world.until_state("1", "cancelled")


def test_a_job_that_has_ended_cannot_be_cancelled(served: Served, tmp_path: Path) -> None:
    served.client.submit([job_file(tmp_path)])
    served.world.until_state("1", "done")
    with pytest.raises(InputError, match="ended already"):
        served.client.cancel("1")


def test_a_job_that_does_not_exist_is_not_found_whatever_it_is_called(boardless: Served) -> None:
    client = boardless.client
    for job_id in ("7", "../jobs", "..", "a/b", "", " ", "\0", "💥", "x" * 5000):
        for ask in (client.job, client.why, client.cancel, client.log):
            with pytest.raises(JetschedError):
                ask(job_id)
    assert client.status()["jobs"] == 0


BAD_BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"jobs": []}',
    b'{"jobs": [{}]}',
    b'{"jobs": [{"text": 1}]}',
    b'{"jobs": [{"text": "x", "spec": {}}]}',
    b'{"jobs": [{"spec": {"work": null}}]}',
    b'{"jobs": [{"text": "\\u0000"}]}',
    b'{"jobs": [{"text": "a: *b"}], "hold": "perhaps"}',
    b'{"jobs": [{"text": "x", "folder": "\\u0000"}]}',
    b"\xff\xfe",
    b'{"jobs": [{"spec": {"work": {"kind": "command", "run": "x", "n": NaN}}}]}',
]


def test_a_bad_request_is_answered_with_a_reason_and_never_an_internal_error(
    boardless: Served,
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with httpx.Client(base_url=boardless.url, headers=headers, trust_env=False) as http:
        for body in BAD_BODIES:
            answer = http.post("/jobs", content=body)
            assert 400 <= answer.status_code < 500, (body, answer.text)
            assert answer.json()["error"]
    assert boardless.client.jobs() == []


def test_a_request_that_is_too_large_is_refused(boardless: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    body = b" " * (LARGEST_BODY_BYTES + 1)
    answer = httpx.post(boardless.url + "/plan", content=body, headers=headers, trust_env=False)
    assert answer.status_code == 413


def test_a_request_that_does_not_say_how_long_it_is_is_refused(boardless: Served) -> None:
    parts = iter([b"x"])
    answer = httpx.post(boardless.url + "/jobs", content=parts, trust_env=False)
    assert answer.status_code == 411


# ------------------------------------------------------------------------------------------- client


def a_state(port: int) -> ClusterState:
    return ClusterState("id", VERSION, "", "", "", "/nowhere", api_token=TOKEN, api_port=port)


def test_the_client_finds_the_scheduler_through_the_state_file(
    boardless: Served, tmp_path: Path
) -> None:
    home = tmp_path / "elsewhere"
    write_state(home, a_state(int(boardless.url.rpartition(":")[2])))
    with Client.connect(home) as client:
        assert client.jobs() == []


def test_without_a_scheduler_the_client_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        Client.connect(tmp_path)
    assert "jetsched up --emulate" in caught.value.hint
    assert caught.value.exit_code == 5
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    write_state(tmp_path, a_state(port))
    with pytest.raises(UnreachableError):
        Client.connect(tmp_path)


def test_the_state_file_is_for_its_owner_only_and_comes_back_as_it_was(tmp_path: Path) -> None:
    write_state(tmp_path, a_state(1))
    assert (tmp_path / "cluster.json").stat().st_mode & 0o777 == 0o600
    assert read_state(tmp_path) == a_state(1)
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(InputError):
        read_state(tmp_path)


@pytest.mark.parametrize("text", ["plain", "größer", "日本語", "💥💥"])
def test_a_log_that_is_cut_within_a_character_loses_nothing(text: str) -> None:
    data = text.encode()
    for cut in range(len(data) + 1):
        first, used = decode(data[:cut], whole=False)
        assert first + data[used:].decode() == text
    assert decode(b"broken \xf0", whole=True) == ("broken �", 8)


def test_wont_fit_is_the_error_of_exit_code_3() -> None:
    assert issubclass(WontFitError, NeverFitsError)


def test_bytes_that_are_no_text_do_not_stop_a_log(served: Served) -> None:
    work = {"kind": "command", "run": "printf '\\377\\200ok'", "like": LIKE}
    served.client.submit_specs([{"work": work}])
    served.world.until_state("1", "done", "failed")
    assert "".join(served.client.follow_log("1")).endswith("ok")


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


def test_jobs_submitted_together_are_in_the_order_of_the_files(
    boardless: Served, tmp_path: Path
) -> None:
    files = [job_file(tmp_path, name=f"{n}.yaml") for n in ("b", "a", "c")]
    assert names(boardless.client.submit(files)) == ["b", "a", "c"]
    assert names(boardless.client.jobs()) == ["b", "a", "c"]


def test_a_log_is_followed_from_one_attempt_to_the_next(served: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = f"echo try; while ! test -e {gate}; do sleep 0.02; done; {allocating(700, 0)}"
    served.client.submit_specs([{"work": {"kind": "command", "run": run, "like": LIKE}}])
    following = served.client.follow_log("1")
    first = next(following)
    gate.touch()
    assert first + "".join(following) == "try\ntry\n"
    assert "".join(served.client.follow_log("1", attempt=1)) == "try\n"
    end = len("try\n")  # whoever is still there has not seen all attempts, though the job is over
    assert [served.client.log("1", attempt=n, offset=end)["final"] for n in (1, 2)] == [False, True]


def test_the_end_of_a_long_log_is_had_without_the_rest(served: Served) -> None:
    """Whole lines, and the offset from which it goes on; a longer wish gives all of it."""
    run = "seq 1 1000; printf end"
    served.client.submit_specs([{"work": {"kind": "command", "run": run, "like": LIKE}}])
    served.world.until_state("1", "done")
    served.world.wait(lambda: served.world.log("1").endswith("end"))
    whole = served.world.log("1")
    part = served.client.log("1", last_bytes=19)
    assert whole.endswith(part["text"]) and part["text"] == "998\n999\n1000\nend"
    assert part["offset"] == len(whole.encode())
    assert served.client.log("1", last_bytes=200_000)["text"] == whole
    one_line = served.client.log("1", last_bytes=2)
    assert one_line["text"] == "nd", "no line begins there: the bytes themselves"
