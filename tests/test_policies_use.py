"""`policies use`: another policy for a running cluster, and what a bad one does to it live."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest
from api_world import TOKEN, Served
from live_world import LiveWorld, a_command, journal, table
from policy_worlds import LOOPS

from jetsched import screens
from jetsched.cluster import guard
from jetsched.cluster.state import VERSION, ClusterState, read_state, write_state
from jetsched.cluster.switching import switch_policy
from jetsched.errors import InputError, UnreachableError
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.events import PolicyChanged

IDLE = """
class Idle:
    '''Starts nothing at all.'''

    name = "idle"

    def decide(self, view):
        return []
"""


def in_file(folder: Path, text: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_another_policy_decides_at_once_about_what_waits(tmp_path: Path) -> None:
    with LiveWorld(tmp_path, policy=str(in_file(tmp_path, IDLE))) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "true"))
        assert world.look(lambda s: s.jobs["1"].state) == "waiting"
        assert world.desk.use_policy("fastest_device") == {
            "policy": "fastest_device",
            "before": "idle",
        }
        assert world.look(lambda s: s.jobs["1"].state) != "waiting"
        assert world.until_state("1", "done", "failed")
        assert world.desk.health()["policy"] == "fastest_device"
    entries = journal(tmp_path)
    changes = [entry.policy for entry in entries if isinstance(entry, PolicyChanged)]
    assert changes == ["fastest_device"], entries


def test_the_policy_that_was_chosen_last_decides_after_a_restart(tmp_path: Path) -> None:
    """Whoever told the scheduler, over HTTP as well: the journal has it, with its options."""
    with LiveWorld(tmp_path, policy="round_robin") as world:
        world.desk.use_policy("fastest_device")
        world.desk.use_policy("comparative_advantage:bias=3")
    with LiveWorld(tmp_path, policy="round_robin") as world:
        assert world.desk.health()["policy"] == "comparative_advantage:bias=3"


def test_a_new_cluster_begins_with_the_policy_it_is_started_with(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.desk.use_policy("fastest_device")
        started_s = world.cluster.ask(lambda now_s: now_s) + 1e-6
    with LiveWorld(tmp_path, policy="round_robin", since_s=started_s) as world:
        assert world.desk.health()["policy"] == "round_robin"


@pytest.mark.parametrize(
    ("started_with", "decides"), [("round_robin", "round_robin"), ("gone.py", "earliest_finish")]
)
def test_a_policy_whose_file_is_gone_keeps_no_scheduler_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, started_with: str, decides: str
) -> None:
    file = in_file(tmp_path, IDLE)
    with LiveWorld(tmp_path) as world:
        world.desk.use_policy(str(file))
    for text in (None, "raise RuntimeError('boo')", "import sys\nsys.exit(3)"):
        file.unlink() if text is None else file.write_text(text)
        caplog.clear()
        with LiveWorld(tmp_path, policy=started_with) as world:
            assert world.desk.health()["policy"] == decides
        assert f"policy {file} is not used: " in caplog.text


def test_a_policy_file_is_in_the_journal_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = in_file(tmp_path, IDLE)
    monkeypatch.chdir(tmp_path)
    with LiveWorld(tmp_path) as world:
        world.desk.use_policy("mine.py")
    monkeypatch.chdir("/")
    with LiveWorld(tmp_path) as world:
        assert world.desk.health()["policy"] == "idle"
    changes = [e.policy for e in journal(tmp_path) if isinstance(e, PolicyChanged)]
    assert changes == [str(file)]


def test_a_policy_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        with pytest.raises(InputError, match=r"mine\.py:2: ZeroDivisionError"):
            world.desk.use_policy(str(in_file(tmp_path, "\n1 / 0\n")))
        assert world.desk.health()["policy"] == "earliest_finish"


def test_an_endless_loop_does_not_take_the_service_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop of the service goes on, the job runs; log and `status` name file and line."""
    monkeypatch.setenv(guard.VARIABLE, "0.2")
    with LiveWorld(tmp_path, policy=str(in_file(tmp_path, LOOPS))) as world:
        world.until_devices("nx-1", "orin-1")
        world.submit(a_command("1", "true"))
        assert [end for _, end in world.until_state("1", "done", "failed")] == ["done"]
        (error, *_) = world.desk.health()["policy_errors"]
        assert "policy loops took more than 0.2 s" in error
        assert f"{tmp_path / 'mine.py'}:" in error
        assert error in [record.getMessage() for record in caplog.records]
        world.desk.use_policy("earliest_finish")
        assert world.desk.health()["policy"] == "earliest_finish"


@pytest.mark.parametrize(
    ("policy", "shown"),
    [("mine", True), ("earliest_finish (mine was dropped)", True), ("random", False)],
)
def test_queue_shows_the_last_mistake_of_the_policy_that_decides(
    capsys: pytest.CaptureFixture[str], policy: str, shown: bool
) -> None:
    errors = ["policy mine failed: [1] (mine.py:1)", "policy mine failed: [2] (mine.py:3 in score)"]
    screens.print_policy_error({"policy": policy, "policy_errors": errors})
    out = capsys.readouterr().out
    assert ("✗ policy mine failed: [2] (mine.py:3 in score): the fallback" in out) == shown
    assert "[1]" not in out


# ------------------------------------------------------------------------------ over the whole way


@pytest.fixture
def served(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A scheduler behind HTTP, with the state file that `up` would have written."""
    with LiveWorld(tmp_path, table(short=1.0)) as world:
        served = Served(world)
        write_state(
            tmp_path,
            ClusterState(
                id="test",
                version=VERSION,
                started_at=datetime.now(timezone.utc).isoformat(),
                emulate="",
                policy="earliest_finish",
                temp=str(tmp_path),
                api_token=TOKEN,
                api_port=int(served.url.rpartition(":")[2]),
            ),
        )
        yield served
        served.close()


def policy_now(served: Served) -> str:
    return policy_name(served.world.scheduler.policy)


def test_nobody_changes_the_policy_without_the_token(served: Served) -> None:
    for header in ({}, {"Authorization": "Bearer wrong"}):
        answer = httpx.post(
            f"{served.url}/policy", json={"policy": "random"}, headers=header, trust_env=False
        )
        assert answer.status_code == 401
    with pytest.raises(InputError, match="no policy 'randon'"):
        served.client.use_policy("randon")
    assert policy_now(served) == "earliest_finish"


def test_a_good_policy_is_taken_and_the_state_file_knows_it(served: Served, tmp_path: Path) -> None:
    change = switch_policy("comparative_advantage:bias=3", home=tmp_path)
    assert (change.done, change.before) == (True, "earliest_finish")
    assert policy_now(served) == "comparative_advantage:bias=3"
    state = read_state(tmp_path)
    assert state is not None and state.policy == "comparative_advantage:bias=3"


def test_a_file_is_remembered_by_its_whole_path(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file(
        tmp_path,
        "from jetsched.policies.base import Greedy\n\n"
        "class Mine(Greedy):\n"
        "    def __init__(self, a: int = 1) -> None:\n"
        "        self.a = a\n\n"
        "    def score(self, placement, view):\n"
        "        return placement.finish_s\n",
    )
    monkeypatch.chdir(tmp_path)
    assert switch_policy("mine.py:Mine:a=2", home=tmp_path).done
    state = read_state(tmp_path)
    assert state is not None and state.policy == f"{tmp_path}{os.sep}mine.py:Mine:a=2"
    assert policy_now(served) == "Mine:a=2"


def test_a_policy_that_breaks_its_contract_is_not_taken(served: Served, tmp_path: Path) -> None:
    change = switch_policy(str(in_file(tmp_path, IDLE)), home=tmp_path)
    assert not change.done
    assert {"no job starves", "looks ahead"} <= {f.rule for f in change.report.errors}
    assert policy_now(served) == "earliest_finish"
    state = read_state(tmp_path)
    assert state is not None and state.policy == "earliest_finish"


def test_without_a_scheduler_there_is_nothing_to_change(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        switch_policy("earliest_finish", home=tmp_path)
