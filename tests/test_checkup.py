"""The doctor on boards of a cluster, asked from the head."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_world import TOKEN, Served
from live_world import BOARDS, NX, LiveWorld, a_command, table
from local_agents import LocalAgents
from sensor_worlds import a_tree

from jetsched.cli import main
from jetsched.cluster.checkup import TOKEN_VARIABLE, check_up, cluster_of
from jetsched.cluster.desk_doctor import MOST_WAITING
from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.errors import InputError, UnreachableError
from jetsched.profiler.limits import Limits
from jetsched.records import Device, DeviceClass, Needs

#: A real board, as far as its files say: a Jetson whose Python has no torch.
REAL = Device("nx-9", DeviceClass("xavier-nx", "20W_6CORE", "", 6000.0))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A board that looks like a Xavier NX."""
    folder = tmp_path_factory.mktemp("checkup")
    root = a_tree(folder)
    agents = LocalAgents(folder / "nodes", {"nx-9": (REAL, Limits())}, root=str(root))
    with LiveWorld(folder, table(short=1.0), agents=agents) as world:
        world.until_devices("nx-9")
        with Served(world) as served:
            yield served


def row(served: Served, device_id: str = "nx-9") -> dict[str, Any]:
    (found,) = (row for row in served.client.devices() if row["id"] == device_id)
    return found


def test_a_board_is_examined_from_the_head_and_its_row_keeps_what_is_to_do(
    served: Served,
) -> None:
    assert row(served)["findings"] is None  # nobody has looked
    found = served.client.doctor("nx-9")
    assert (found["device"], found["note"]) == ("nx-9", "")
    said = {finding["check"]: finding for finding in found["findings"]}
    assert "Xavier NX" in said["board"]["text"] and said["board"]["level"] == "ok"
    assert said["agent python"]["text"].startswith(".".join(map(str, sys.version_info[:2])))
    after = row(served)
    assert after["findings"] == [f for f in found["findings"] if f["level"] != "ok"]
    assert all(finding["fix"] for finding in after["findings"])
    assert after["examined_s"] == found["at_s"]
    header = {"Authorization": f"Bearer {TOKEN}"}
    again = httpx.get(f"{served.url}/devices/nx-9/doctor", headers=header, trust_env=False)
    assert again.json() == found  # it is told again, not looked at again
    assert served.client.doctor("nx-9")["at_s"] > found["at_s"]


def test_a_board_that_is_not_there_and_one_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.agents.unplug("nx-1")
        world.until_devices("orin-1")
        with pytest.raises(UnreachableError, match="nx-1 cannot be examined: its node is gone"):
            world.desk.doctor("nx-1")
        with pytest.raises(InputError, match="there is no device 'nx-7'"):
            world.desk.doctor("nx-7")
        assert world.desk.last_doctor("orin-1") is None
        found = world.desk.doctor("orin-1")
        assert found["note"].startswith("emulated")
        assert {finding["check"] for finding in found["findings"]} == {"disk", "cache"}
        assert world.desk.last_doctor("orin-1") == found


class SlowDoctor(LocalAgents):
    """Agents whose doctor answers when it is told to, if at all."""

    def __init__(self, *args: Any, **node: Any) -> None:
        super().__init__(*args, **node)
        self.asked: list[Future[Any]] = []
        self.is_old = False

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        if method != "doctor":
            return super().call(device_id, method, *args)
        answer: Future[Any] = Future()
        if self.is_old:
            answer.set_exception(AttributeError("'ActorHandle' object has no attribute 'doctor'"))
        self.asked.append(answer)
        return answer

    def let_go(self) -> None:
        super().call("nx-1", "doctor").add_done_callback(
            lambda done: self.asked[-1].set_result(done.result())
        )


def test_who_asks_too_soon_is_told_so_and_the_answer_is_there_the_next_time(
    tmp_path: Path,
) -> None:
    """And however many ask at once, the board is asked once."""
    agents = SlowDoctor(tmp_path / "nodes", BOARDS)
    with LiveWorld(tmp_path, agents=agents) as world:
        world.until_devices("nx-1", "orin-1")
        with pytest.raises(UnreachableError, match="the doctor has been at work on nx-1"):
            world.desk.doctor("nx-1", patience_s=0.05)
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(world.desk.doctor, "nx-1") for _ in range(3)]
            agents.let_go()
            answers = [one.result(120) for one in waiting]
        assert len(agents.asked) == 1
        assert answers[0] == answers[1] == answers[2] == world.desk.last_doctor("nx-1")


def test_few_wait_for_the_doctor_at_once_and_the_others_are_told_so(tmp_path: Path) -> None:
    """Each holds one of the service's threads: pages must still be answered."""
    agents = SlowDoctor(tmp_path / "nodes", BOARDS)
    with LiveWorld(tmp_path, agents=agents) as world:
        world.until_devices("nx-1", "orin-1")
        with ThreadPoolExecutor(MOST_WAITING + 1) as pool:
            asked = [pool.submit(world.desk.doctor, "nx-1") for _ in range(MOST_WAITING + 1)]
            (refused,) = wait(asked, 120, return_when=FIRST_COMPLETED).done
            with pytest.raises(UnreachableError, match="4 wait for the doctor already"):
                refused.result()
            agents.let_go()
            answers = [one.result(120)["device"] for one in asked if one is not refused]
        assert answers == ["nx-1"] * MOST_WAITING


def test_an_agent_without_a_doctor_is_said_to_be_older(tmp_path: Path) -> None:
    agents = SlowDoctor(tmp_path / "nodes", BOARDS)
    agents.is_old = True
    with LiveWorld(tmp_path, agents=agents) as world:
        world.until_devices("nx-1", "orin-1")
        with pytest.raises(UnreachableError, match="an older one") as caught:
            world.desk.doctor("nx-1")
        assert "install the same jetsched" in caught.value.hint


def test_what_a_job_holds_is_not_held_against_the_board(tmp_path: Path) -> None:
    """A board that works is as free as it would be without our job; the GPU is left alone then."""
    config = NodeConfig(REAL, str(tmp_path), root=str(a_tree(tmp_path)))
    idle = {f.check: f for f in check_up(config, None).findings}
    busy = check_up(config, 2048.0)
    assert "a job runs" in busy.note
    both = idle["memory"].text, next(f.text for f in busy.findings if f.check == "memory")
    free = [float(text.split()[0]) for text in both]
    assert free[1] - free[0] == pytest.approx(2.0, abs=0.11)  # GiB


def test_a_running_job_is_seen_by_the_doctor(tmp_path: Path) -> None:
    agents = LocalAgents(tmp_path / "nodes", {"nx-9": (REAL, Limits())}, root=str(a_tree(tmp_path)))
    with LiveWorld(tmp_path, agents=agents) as world:
        world.until_devices("nx-9")
        world.submit(a_command("a", "sleep 300"))
        world.until_state("a", "running")
        assert "a job runs" in world.desk.doctor("nx-9")["note"]
        world.desk.cancel("a")
        world.until_state("a", "cancelled")


def test_the_token_is_looked_at_where_the_agent_is_one_of_rays(tmp_path: Path) -> None:
    assert cluster_of({}, "3.11.7") is None
    found = cluster_of({TOKEN_VARIABLE: str(tmp_path / "token")}, "3.11.7")
    assert found is not None
    assert (found.token_file, found.python) == (tmp_path / "token", "3.11.7")
    assert TOKEN_VARIABLE not in os.environ


def test_rows_say_what_others_hold_and_how_far_the_job_is(tmp_path: Path) -> None:
    """What the system and other programs hold is the rest of what is not free."""
    boards = {"nx-9": (REAL, Limits()), "nx-1": BOARDS["nx-1"]}
    with LiveWorld(tmp_path, agents=LocalAgents(tmp_path / "nodes", boards)) as world:
        world.until_devices("nx-9", "nx-1")
        world.wait(lambda: all(r["memory_total_mib"] for r in world.desk.devices()))
        emulated, real = world.desk.devices()
        assert emulated["others_mib"] == 0.0
        total, free = real["memory_total_mib"], real["memory_free_mib"]
        assert real["others_mib"] == pytest.approx(total - free - real["memory_mib"])
        assert real["profile"]["verdict"] == emulated["profile"]["verdict"] == "none"
        world.submit(replace(a_command("a", "sleep 300"), needs=Needs(device=("nx-1",))))
        world.until_state("a", "running")
        row = world.wait(lambda: next((r for r in world.desk.devices() if r["progress"]), None))
        assert (row["id"], row["job_id"]) == (NX.id, "a")
        assert row["start_s"] <= row["finish_s"]
        world.desk.cancel("a")
        world.until_state("a", "cancelled")


def test_the_verb_asks_for_a_board_and_ends_with_1_when_something_is_to_be_done(
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is the table of `jetsched doctor` on the board; what makes no sense is refused."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    monkeypatch.setenv("JETSCHED_HEAD", served.url)
    monkeypatch.setenv("JETSCHED_TOKEN_FILE", str(token))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jetsched", "doctor", *words])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    code, out, _ = run("nx-9", "--json")
    rows = json.loads(out)
    assert code == int(any(row["level"] != "ok" for row in rows)) == 1
    kept = served.world.desk.last_doctor("nx-9")
    assert kept is not None and rows == kept["findings"]
    code, out, _ = run("nx-9")
    assert code == 1 and "Xavier NX" in out and "jetsched doctor nx-9" in out
    code, _, error = run("nx-7")
    assert code == 2 and "there is no device 'nx-7'" in error
    code, _, error = run("nx-9", "--workload-python", "/usr/bin/python3")
    assert code == 2 and "nx-9 has its own" in error
