"""Server-sent events: what changes, what a job writes, and what it costs that people follow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import JOB, LIKE, TOKEN, Served, job_file
from commands import Jetsched
from live_world import LiveWorld, table

from jetsched.cluster.client import Client
from jetsched.cluster.sse import ServerEvent, decode

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with LiveWorld(tmp_path, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world) as served:
            yield served


def command(run: str, **more: Any) -> dict[str, Any]:
    return {"work": {"kind": "command", "run": run, "like": LIKE}, **more}


def test_what_is_written_is_read_again() -> None:
    events = [
        ServerEvent("jobs", {"text": "a\nb: ü \u2028 c"}, "run-1"),
        ServerEvent("end", {}),
    ]
    text = b": still here\n\n" + b"".join(event.encode() for event in events) + b"data: {\n\n"
    assert list(decode(text.decode().split("\n"))) == events


def states_of(events: Iterator[ServerEvent], job_id: str, last: str) -> list[str]:
    """The states that a job is told to be in, up to the last one."""
    found: list[str] = []
    for event in events:
        if event.name == "jobs":
            found += [job["state"] for job in event.data["jobs"] if job["id"] == job_id]
        if last in found:
            return found
    raise AssertionError("the stream ended")


def test_a_follower_hears_of_every_state_of_a_job(served: Served) -> None:
    events = served.client.follow()
    assert next(events).name == "hello"
    served.client.submit_specs([command("true")])
    states = states_of(events, "1", "done")
    assert list(dict.fromkeys(states)) in (
        ["starting", "running", "done"],
        ["starting", "done"],
    )


def test_who_comes_back_hears_what_was_missed_and_who_was_elsewhere_is_told_to_look(
    served: Served,
) -> None:
    with httpx.Client(base_url=served.url, headers=HEADERS, trust_env=False, timeout=60) as http:

        def first(last_id: str, count: int) -> list[ServerEvent]:
            with http.stream("GET", "/events", headers={"Last-Event-ID": last_id}) as answer:
                events = decode(answer.iter_lines())
                return [next(events) for _ in range(count)]

        (hello,) = first("", 1)
        served.client.submit_specs([command("true")])
        served.world.until_state("1", "done")
        _, missed = first(hello.id, 2)
        assert (missed.name, missed.data["event"]) == ("jobs", "Submitted")
        for strange in ("another-7", "x", f"{hello.data['run']}-999999999", "%-1"):
            names = {event.name for event in first(strange, 2)}
            assert "reset" in names


def test_a_lost_board_is_told_with_the_job_that_ran_there(served: Served) -> None:
    served.client.submit_specs([command("sleep 60", needs={"device": ["orin-1"]})])
    served.world.until_state("1", "running")
    events = served.client.follow()
    next(events)
    served.world.agents.unplug("orin-1")
    lost, waits = False, False
    for event in events:
        if event.name == "devices":
            lost |= (event.data["event"], event.data["device"]) == ("DeviceLost", "orin-1")
        elif event.name == "jobs":
            waits |= event.data["jobs"][0]["outcome"] == "lost"
        if lost and waits:
            break
    served.client.cancel("1")


def test_a_log_is_streamed_with_the_place_to_go_on_from(served: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    served.client.submit_specs(
        [command(f"echo one; while ! test -e {gate}; do sleep 0.02; done; echo two")]
    )
    with httpx.Client(base_url=served.url, headers=HEADERS, trust_env=False, timeout=60) as http:
        with http.stream("GET", "/jobs/1/log/stream") as answer:
            first = next(decode(answer.iter_lines()))
        assert (first.data["text"], first.id) == ("one\n", "1-4")
        gate.touch()
        headers = {"Last-Event-ID": first.id}
        with http.stream("GET", "/jobs/1/log/stream", headers=headers) as answer:
            rest = list(decode(answer.iter_lines()))
    assert "".join(e.data["text"] for e in rest if e.name == "log") == "two\n"
    assert rest[-1].name == "end"


@pytest.mark.parametrize("place", ["x", "1", "1-", "-1", "0-0", "1--1", "9-0", "1-" + "9" * 30])
def test_a_place_in_a_log_that_is_none_is_refused(served: Served, place: str) -> None:
    served.client.submit_specs([command("true")])
    served.world.until_state("1", "done")
    answer = httpx.get(
        served.url + "/jobs/1/log/stream",
        headers={**HEADERS, "Last-Event-ID": place},
        trust_env=False,
    )
    assert answer.status_code == 400


def test_logs_f_prints_what_comes_and_ends_with_the_job(
    served: Served, jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("JETSCHED_HEAD", served.url)
    monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(tmp_path / "token"))
    assert jetsched("submit", str(job_file(tmp_path, JOB))).code == 0
    assert jetsched("logs", "-f", "1").out == "hi\n"


def test_a_server_that_ends_does_not_wait_for_those_who_follow(served: Served) -> None:
    with Client(served.url, TOKEN) as other:
        events = other.follow()
        next(events)
        began = threading.Event()

        def end() -> None:
            began.set()
            served.close()

        thread = threading.Thread(target=end)
        thread.start()
        thread.join(120)
        assert began.is_set() and not thread.is_alive()


def test_five_followers_cost_the_loop_nothing_while_nothing_happens(served: Served) -> None:
    """The loop is asked for what has changed only: by the pulse and by nobody else."""
    served.client.submit_specs([command("echo x; sleep 60", needs={"device": ["orin-1"]})])
    served.world.until_state("1", "running")
    asked: list[float] = []
    ask = served.world.cluster.ask

    def counted(*args: Any, **options: Any) -> Any:
        asked.append(time.monotonic())
        return ask(*args, **options)

    served.world.cluster.ask = counted  # type: ignore[method-assign]
    stop = threading.Event()
    firsts = threading.Barrier(6)

    def follow() -> None:
        with Client(served.url, TOKEN) as client:
            text = client.follow_log("1")
            next(text)
            firsts.wait(120)
            stop.wait(120)

    threads = [threading.Thread(target=follow, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    firsts.wait(120)
    time.sleep(0.5)
    began, count = time.monotonic(), len(asked)
    time.sleep(2.0)
    seconds = time.monotonic() - began
    assert len(asked) - count <= 1 + seconds  # a look at the log each would be 40
    stop.set()
    served.client.cancel("1")
    for thread in threads:
        thread.join(120)
