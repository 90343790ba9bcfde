"""The loop's own parts: journal before action, calls that hang, closings, boards in words."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from live_world import BOARDS, FAST, NX, SOON_S, LiveWorld, a_command, journal, starts, table
from local_agents import LocalAgents

from jetsched.cluster.boards import Board, timing_for
from jetsched.cluster.calling import RayGone
from jetsched.cluster.conditions import state_of, troubles_of, words_of
from jetsched.cluster.exchange import Answers, Wishes
from jetsched.cluster.health import PRESETS
from jetsched.cluster.profiled import Profiles
from jetsched.cluster.protocol import Closing, Info, Reading
from jetsched.errors import UnreachableError
from jetsched.profiler.attempts import is_running
from jetsched.profiler.drift import Drift
from jetsched.records import Measurement, Needs, Workload
from jetsched.scheduler.events import DeviceClosed, DeviceOpened, Finished, Submitted, Tick

BOTH = ("nx-1", "orin-1")


class Witness(LocalAgents):
    """Notes what of the journal is on the disk when an agent is told something."""

    def __init__(self, folder: Path, *args: Any, **node: Any) -> None:
        self.home = folder.parent
        self.early: list[object] = []
        super().__init__(folder, *args, **node)

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        if method == "exchange":
            wishes: Wishes = args[0]
            if wishes.starts or wishes.forget:
                entries = journal(self.home)
                started = {(job_id, attempt) for job_id, _, attempt in starts(entries)}
                ended = {(e.job_id, e.attempt) for e in entries if isinstance(e, Finished)}
                self.early += [o.key for o in wishes.starts if o.key not in started]
                self.early += [key for key in wishes.forget if key not in ended]
        return super().call(device_id, method, *args)


def test_nobody_is_told_of_what_is_not_on_the_disk(tmp_path: Path) -> None:
    agents = Witness(tmp_path / "nodes", BOARDS)
    with LiveWorld(tmp_path, agents=agents) as world:
        world.until_devices(*BOTH)
        for n in range(0, 30, 3):
            world.submit(*(a_command(str(n + k), ":") for k in range(3)))
            on_disk = [j.id for e in journal(tmp_path) if isinstance(e, Submitted) for j in e.jobs]
            assert on_disk == [str(k) for k in range(n + 3)]
        world.until(lambda s: all(r.state == "done" for r in s.jobs.values()))
    assert not agents.early


def test_many_short_jobs_cost_one_kind_of_call_only(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices(*BOTH)
        world.submit(*(a_command(str(n), ":") for n in range(40)))
        world.until(lambda s: all(r.state == "done" for r in s.jobs.values()))
        methods = {method for _, method in world.agents.calls}
        assert methods <= {"info", "stored", "exchange", "files"}  # what is left is asked for once
        finished = [e for e in journal(tmp_path) if isinstance(e, Finished)]
        assert len(finished) == 40
        assert not list((tmp_path / "nodes").glob("*/*-1"))  # nothing was started for them


# ---------------------------------------------------------------------------- what does not answer


def test_an_agent_that_hangs_is_asked_again_and_at_last_replaced(tmp_path: Path) -> None:
    timing = replace(FAST, suspect_s=0.2, silence_s=0.5, call_s=0.3, renew_s=1.5)
    with LiveWorld(tmp_path, timing=timing) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 60", needs=Needs(("nx-1",))))
        world.until(lambda s: s.jobs["1"].state == "running")
        world.agents.hung.add("nx-1")
        world.until_devices("orin-1")
        folder = tmp_path / "nodes" / "nx-1" / "1-1"
        world.wait(lambda: not is_running(folder))  # its agent was replaced, and it ended with it
        calls = world.agents.calls.count(("nx-1", "info"))
        world.wait(lambda: world.agents.calls.count(("nx-1", "info")) > calls + 1)
        world.agents.hung.clear()
        world.until(lambda s: len(s.jobs["1"].attempts) == 2)


class Silent(LocalAgents):
    """Ray's head may stop to answer."""

    gone = False

    def nodes(self) -> Future[dict[str, str]]:
        return Future() if self.gone else super().nodes()


def test_without_ray_the_loop_ends_with_an_error_and_refuses_who_asks(tmp_path: Path) -> None:
    agents = Silent(tmp_path / "nodes", BOARDS)
    raised: list[BaseException] = []
    hook, threading.excepthook = threading.excepthook, lambda args: raised.append(args.exc_value)  # type: ignore[arg-type]
    try:
        with LiveWorld(tmp_path, agents=agents, timing=replace(FAST, ray_s=0.5)) as world:
            world.until_devices(*BOTH)
            agents.gone = True
            world._thread.join(SOON_S)
            with pytest.raises(UnreachableError):
                world.desk.devices()
    finally:
        threading.excepthook = hook
    assert [type(error) for error in raised] == [RayGone]


def test_a_health_preset_says_when_a_silent_board_is_given_up() -> None:
    assert timing_for(PRESETS["tight"]).silence_s == 9.0  # cut off and noticed in less than 10 s
    assert timing_for(PRESETS["slow"]).silence_s == 90.0


# ------------------------------------------------------------------------------- closed and open


class Telling(LocalAgents):
    """Agents whose nodes say what they are told to say against new jobs."""

    closings: tuple[Closing, ...] = ()

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        inner, answer = super().call(device_id, method, *args), Future[Any]()

        def take(done: Future[Any]) -> None:
            value = done.result()
            if isinstance(value, Answers) and value.reading is not None and device_id == "nx-1":
                value = replace(value, reading=replace(value.reading, closings=self.closings))
            answer.set_result(value)

        inner.add_done_callback(take)
        return answer


def test_what_a_node_says_against_new_jobs_closes_it_and_what_runs_goes_on(tmp_path: Path) -> None:
    agents = Telling(tmp_path / "nodes", BOARDS)
    with LiveWorld(tmp_path, agents=agents) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 2"))
        world.until(lambda s: s.jobs["1"].state == "running")
        agents.closings = (("TooHot", "96 C"),)
        world.until(lambda s: s.fleet.closings.get("nx-1") == {"TooHot": "96 C"})
        world.submit(a_command("2", "true", needs=Needs(("nx-1",))))
        row = next(d for d in world.desk.devices() if d["id"] == "nx-1")
        assert (row["state"], row["closings"]) == ("degraded", [{"code": "TooHot", "text": "96 C"}])
        assert world.until_state("1", "done", "lost") == [("nx-1", "done")]
        assert world.look(lambda s: s.jobs["2"].state) == "waiting"
        agents.closings = (("TooHot", "95 C"),)  # another text is no news
        world.wait(lambda: world.agents.calls.count(("nx-1", "exchange")) > 20)
        agents.closings = ()
        assert world.until_state("2", "done", "lost") == [("nx-1", "done")]
    told = [(e.code, type(e)) for e in journal(tmp_path) if hasattr(e, "code")]
    assert told == [("TooHot", DeviceClosed), ("TooHot", DeviceOpened)]


def test_time_that_passes_is_told_while_somebody_waits_for_a_board_that_is_late(
    tmp_path: Path,
) -> None:
    costs = table(short=0.3)
    with LiveWorld(tmp_path, costs) as world:
        world.until_devices(*BOTH)
        world.submit(a_command("1", "sleep 600"), a_command("2", "sleep 600"))
        world.until(lambda s: len(s.fleet.job_on) == 2)
        assert not [e for e in journal(tmp_path) if isinstance(e, Tick)]
        world.submit(a_command("3", "true"))
        world.wait(lambda: len([e for e in journal(tmp_path) if isinstance(e, Tick)]) >= 2)
        world.desk.cancel("3")
        for job_id in ("1", "2"):
            world.desk.cancel(job_id)
            world.until_state(job_id, "cancelled")
    ticks = [e.at_s for e in journal(tmp_path) if isinstance(e, Tick)]
    pauses = [later - sooner for sooner, later in pairwise(ticks)]
    assert all(pause >= 0.9 for pause in pauses)


# -------------------------------------------------------------------------------- boards in words


STEADY = Drift("steady")


def a_board(**changes: Any) -> Board:
    """A board that is ready."""
    board = Board("nx-1", known=True, ready=True, node="n", device=NX, info=Info(3, NX), text="")
    for name, value in changes.items():
        setattr(board, name, value)
    return board


def real(**identity: Any) -> Board:
    """A real board, as its agent describes it."""
    device = replace(NX, device_class=replace(NX.device_class, emulated=False))
    return a_board(device=device, info=Info(3, device, identity=identity))


@pytest.mark.parametrize(
    ("board", "closings", "busy", "state", "words"),
    [
        (a_board(), {}, False, "ready", ""),
        (a_board(), {}, True, "busy", ""),
        (a_board(ready=False, text="silent"), {"DeviceOffline": "x"}, True, "suspect", "silent"),
        (a_board(ready=False, known=False, text="gone"), {}, False, "offline", "gone"),
        (a_board(), {"Draining": "a new disk"}, True, "draining", "drained: a new disk"),
        (a_board(), {"DeviceOffline": "it rests"}, True, "busy", "it rests"),
        (a_board(), {"TooHot": "96 C"}, True, "degraded", "it is too hot: 96 C"),
        (a_board(reading=Reading(0.0, throttled=True)), {}, True, "degraded", "throttled"),
        (real(torch_cpu_only=True, kind="jetson"), {}, False, "degraded", "CPU-only"),
        (real(torch_cpu_only=True, kind="cpu"), {}, False, "ready", ""),
        (real(jetpack="6.2"), {}, False, "degraded", "JetPack 6.1 > 6.2"),
    ],
)
def test_a_board_is_described_in_a_word_and_why(
    board: Board, closings: Any, busy: bool, state: str, words: str
) -> None:
    profiles = Profiles()
    was = {"title": "Xavier NX", "jetpack": "6.1"}
    assert board.device is not None and board.info is not None
    work, kind = Workload("infer", "gpt2"), board.device.device_class
    profiles.note(Measurement(work, kind, "done", device=board.id, identity=was))
    profile = profiles.of(board.device, board.info.identity)
    troubles = troubles_of(board, closings, STEADY, profile)
    assert state_of(board, closings, troubles, busy) == state
    said = words_of(board, closings, troubles)
    assert (words in said) if words else said == ""


def test_a_board_that_has_become_slower_is_degraded() -> None:
    drift = Drift("slower", 1.6, text="1.6x slower than usual")
    assert troubles_of(a_board(), {}, drift, None) == ["1.6x slower than usual"]
