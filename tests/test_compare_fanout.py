"""Many computations at once: one that goes wrong costs nothing but itself, wherever they run."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from jetsched.cluster.compare import Point, compare
from jetsched.cluster.engines import RUNS_FOR_RAY, engine_for
from jetsched.cluster.fanout import LIMIT_S, Children, Crew, Engine, Failed, Here, fan_out
from jetsched.cluster.onray import OnRay
from jetsched.cluster.rayplace import RayPlace
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.errors import InputError, UnreachableError


@dataclass(frozen=True)
class Square:
    """A task that computes, or goes wrong in one of the ways there are."""

    number: int

    def __call__(self) -> object:
        if self.number == 3:
            os._exit(7)
        if self.number == 4:
            raise ValueError("four")
        if self.number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.number == 6:
            while True:
                time.sleep(0.1)
        if self.number == 7:
            raise InputError("seven is not there", hint="try eight")
        if self.number == 8:
            return lambda: None  # which cannot be sent
        return self.number**2


def texts(results: list[object]) -> list[str]:
    return [result.text for result in results if isinstance(result, Failed)]


def test_what_goes_wrong_costs_its_own_task_only() -> None:
    """A process that exits, is killed or raises is told by its task; the others go on."""
    results = fan_out([Square(n) for n in range(10) if n != 6], Children(2))
    assert [r for r in results if not isinstance(r, Failed)] == [0, 1, 4, 81]
    exited, raised, killed, refused, unsendable = texts(results)
    assert exited == "its process ended with exit code 7"
    assert raised.startswith("ValueError: four (") and "test_compare_fanout.py:" in raised
    assert killed == "its process was killed (out of memory?)"
    assert refused == "seven is not there. try eight"
    assert unsendable.startswith("its result cannot be sent")


def test_an_endless_task_is_stopped_and_others_go_on() -> None:
    """Those have all the time that they need, however slow the machine is."""
    results: list[object] = []
    with Crew(1, limit_s=1.0) as crew:
        crew.run([Square(6)], lambda number, result: results.append(result))
        crew.limit_s = LIMIT_S
        crew.run([Square(2)], lambda number, result: results.append(result))
    assert texts(results) == ["it was stopped after 1 s: an endless loop?"]
    assert results[1] == 4


def test_in_this_process_an_exception_costs_its_task_only() -> None:
    results = fan_out([Square(2), Square(4), Square(9)], Here())
    assert results[0] == 4 and results[2] == 81 and texts(results)[0].startswith("ValueError: four")


def test_nothing_to_do_is_done_at_once() -> None:
    heard: list[tuple[int, int]] = []
    assert fan_out([], Children(2), lambda done, total: heard.append((done, total))) == []
    assert heard == [(0, 0)]


def children() -> set[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in path.read_text().split()}


def in_use() -> set[Path]:
    """Folders of private Rays that live: others who test at the same time have theirs."""
    words = [word for p in psutil.process_iter(["cmdline"]) for word in p.info["cmdline"] or ()]
    found = (re.search("/tmp/jsr-[0-9a-f]+", word) for word in words)
    return {Path(match[0]) for match in found if match is not None}


def test_no_process_is_left() -> None:
    before = children()
    fan_out([Square(1), Square(3)], Children(2))
    assert children() <= before


def test_a_process_that_cannot_be_told_where_it_is_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, descriptors = children(), len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "path", [*sys.path, lambda: None])  # which cannot be sent
    with pytest.raises((AttributeError, pickle.PicklingError)):
        fan_out([Square(1)], Children(1))
    assert children() <= before and len(os.listdir("/proc/self/fd")) == descriptors


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """They hang in an endless task then, which nobody could tell to stop."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_compare_fanout import Square\n"
        "from jetsched.cluster.fanout import Children, fan_out\n"
        "fan_out([Square(6)], Children(1))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent)])
    listing = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    found: list[str] = []
    for _ in range(600):
        if found := listing.read_text().split():
            break
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    assert found
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in found):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


def test_a_policy_that_ends_its_process_is_told_with_its_run(tmp_path: Path) -> None:
    """Another policy's runs are all there, and so is its own of the other seed."""
    file = tmp_path / "deadly.py"
    file.write_text(
        "import os\n"
        "class Deadly:\n"
        '    """Ends its process under one seed."""\n'
        "    def __init__(self, seed=0):\n"
        "        self.seed = seed\n"
        "    def decide(self, view):\n"
        "        if self.seed == 1:\n"
        "            os._exit(3)\n"
        "        return iter(())\n"
    )
    point = Point(WorldOptions(generate=4))
    (found,) = compare([str(file), "auto"], [point], 2, engine=Children(1))
    assert [(run.policy, run.seed) for run in found.failed] == [(str(file), 1)]
    assert found.failed[0].text == "its process ended with exit code 3"
    assert [(row.runs, row.failed) for row in found.rows] == [(1, 1), (2, 0)]
    assert found.best["mean_completion_s"] == "auto"


def test_where_runs_go() -> None:
    """To children, unless there are many or somebody wants Ray."""
    assert engine_for(RUNS_FOR_RAY - 1, at_once=3) == Children(3)
    many = engine_for(RUNS_FOR_RAY, at_once=3)
    assert isinstance(many, OnRay) and many.otherwise == Children(3)
    assert engine_for(RUNS_FOR_RAY, at_once=3, on_ray=False) == Children(3)
    assert engine_for(1, at_once=3, on_ray=True) == OnRay(3)
    assert engine_for(1, address="h:1") == OnRay(None, address="h:1")


# ------------------------------------------------------------------------------------------- on Ray


@pytest.mark.slow
def test_on_ray_results_are_the_same_bytes_in_the_same_order(tmp_path: Path) -> None:
    """The files of a report too; and of Ray nothing is left, neither a process nor a folder."""
    from jetsched.cluster.report import write_report
    from jetsched.cluster.study import Study

    before, folders = children(), set(Path("/tmp").glob("jsr-*"))
    study = Study.of(WorldOptions(generate=12), names="random,auto", seeds=3, sweeps=["error=0,1"])
    engines: list[Engine] = [Children(2), OnRay(2)]
    for number, engine in enumerate(engines):
        write_report(replace(study, engine=engine).run(), tmp_path / str(number))
    for name in ("runs.jsonl", "index.html", "gantt.png", "cdf.png", "sweep-error.png"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes(), name
    assert children() <= before
    deadline = time.monotonic() + 120.0
    while left := set(Path("/tmp").glob("jsr-*")) - folders - in_use():
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


@pytest.mark.slow
def test_on_ray_what_goes_wrong_costs_its_own_task_only() -> None:
    """Every task gets a processor there, so an endless one keeps the others from nothing."""
    results = fan_out([Square(n) for n in range(10)], OnRay(2, limit_s=20.0))
    assert [r for r in results if not isinstance(r, Failed)] == [0, 1, 4, 81]
    exited, raised, killed, endless, refused, unsendable = texts(results)
    assert exited == killed == "its process died (out of memory?)"
    assert raised.startswith("ValueError: four (") and refused == "seven is not there. try eight"
    assert endless == "it was stopped after 20 s: an endless loop?"
    assert unsendable.startswith("its result cannot be sent")


def test_a_private_ray_that_is_given_up_at_its_start_leaves_no_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Path] = []

    def interrupted(place: RayPlace) -> dict[str, str]:
        made.append(Path(place.temp))
        assert Path(place.token_file).stat().st_mode & 0o077 == 0
        raise KeyboardInterrupt

    monkeypatch.setattr(RayPlace, "environment", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fan_out([Square(1)], OnRay(1))
    assert len(made) == 1 and not made[0].exists()


def test_a_private_ray_has_the_time_budget_of_policies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else a policy that is dropped here would go on there; what else is ours does not go along."""
    monkeypatch.setenv("JETSCHED_POLICY_BUDGET", "0.5")
    monkeypatch.setenv("JETSCHED_DEBUG", "1")
    environment = RayPlace("x", str(tmp_path), "", "127.0.0.1", str(tmp_path)).environment()
    assert environment["JETSCHED_POLICY_BUDGET"] == "0.5" and "JETSCHED_DEBUG" not in environment


def test_no_ray_at_an_address_is_told_at_once() -> None:
    with pytest.raises(UnreachableError, match=r"no Ray at 127\.0\.0\.1:1: "):
        fan_out([Square(1)], OnRay(2, address="127.0.0.1:1"))


def test_where_ray_was_nobodys_wish_children_do_it_when_it_does_not_start() -> None:
    said: list[str] = []
    engine = OnRay(2, address="127.0.0.1:1", otherwise=Children(1), say=said.append)
    assert fan_out([Square(2)], engine) == [4]
    assert said[0].startswith("Ray does not start, so child processes it is: no Ray at")
