"""Long work beside the service: one piece at a time, in a process that does not outlive it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from builders import NX, ORIN, a_workload
from test_costs_show import a_run

from jetsched.cluster.aside import LEAST_MIB, NICE, Aside, BusyError, Going, Turn, room_mib
from jetsched.cluster.unseen import guesses_of, work
from jetsched.profiler.heldout import held_out
from jetsched.profiler.store import MeasurementStore

#: Against hanging only.
SOON_S = 120.0
CHILD = """
import os, sys, time
from jetsched.cluster.aside import work_aside
from jetsched.errors import InputError

def work(given, said):
    said(1, 3)
    if given == "wait":
        time.sleep(600)
    if given == "refuse":
        raise InputError("that is wrong", hint="do this")
    if given == "grow":
        return len(bytearray(8 << 30))
    if given == "fall":
        os.write(2, b"first line\\nthe last words\\n")
        os._exit(7)
    print("something that a library says")
    if given == "lie":  # code of somebody else, a policy's
        print('{"result": "<script>"}', "17", '{"total": "x"}', "[]", sep="\\n", flush=True)
        os.system("echo '{\\"result\\": 1}'")
    said(3, 3)
    return {"given": given, "nice": os.nice(0), "args": sys.argv[1:]}

sys.exit(work_aside(work))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that children find."""
    (tmp_path / "aside_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "aside_child"


def until(fact: Callable[[], object]) -> None:
    end = time.monotonic() + SOON_S
    while not fact():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)


class Late(dict[str, Any]):
    """What is given, of which a line of JSON can be made only when something is so."""

    fact: Callable[[], object]

    def items(self) -> Any:
        until(self.fact)
        return super().items()


def ended(aside: Aside) -> Going:
    until(lambda: aside.going is not None and not aside.going.running)
    assert aside.going is not None
    return aside.going


#: A child that does not keep to what is agreed.
RUDE = """
import os, sys, time
for line in {lines!r}:
    os.write(1, line.encode() + b"\\n")
time.sleep({waits_s})
"""


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended may be waiting to be looked at."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children() -> list[psutil.Process]:
    """Those of this process that run; one may end while it is looked at."""
    found = []
    for process in psutil.Process().children():
        try:
            words = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if "aside_child" in " ".join(words) and alive(process):
            found.append(process)
    return found


def test_the_result_comes_with_how_far_it_was(module: str) -> None:
    aside = Aside()
    assert aside.going is None
    assert aside.start("m", module, ["a", "b"], {"x": 1}).running
    found = ended(aside)
    nice = min(19, os.nice(0) + NICE)  # of what this process has
    assert found.result == {"given": {"x": 1}, "nice": nice, "args": ["a", "b"]}
    assert (found.mark, found.done, found.total, found.error) == ("m", 3, 3, "")
    assert found.took_s is not None and found.took_s > 0


def test_one_piece_of_work_at_a_time(module: str) -> None:
    aside = Aside()
    aside.start(1, module, [], "wait")
    assert aside.start(1, module, [], "wait").running  # the same is under way already
    with pytest.raises(BusyError, match="works on something else"):
        aside.start(2, module, [])
    assert len(children()) == 1
    assert aside.cancel()
    assert ended(aside).error == "it was cancelled"
    until(lambda: not children())
    assert not aside.cancel()
    aside.start(2, module, [], "go on")
    assert ended(aside).result["given"] == "go on"


def test_what_is_refused_comes_with_its_hint(module: str) -> None:
    aside = Aside()
    aside.start(1, module, [], "refuse")
    found = ended(aside)
    assert (found.error, found.hint, found.result) == ("that is wrong", "do this", None)


def test_one_that_falls_says_its_last_words(module: str) -> None:
    aside = Aside()
    aside.start(1, module, [], "fall")
    assert ended(aside).error == "it ended with code 7: the last words"


def test_one_that_grows_too_large_ends(module: str) -> None:
    aside = Aside(most_mib=2048)
    aside.start(1, module, [], "grow")
    assert "needs more than 2,048 MiB" in ended(aside).error


def test_one_that_takes_too_long_is_ended(module: str) -> None:
    aside = Aside(limit_s=0.5)
    aside.start(1, module, [], "wait")
    assert ended(aside).error == "it took longer than 500 ms"
    until(lambda: not children())


def test_it_ends_when_the_server_wants_to_end(module: str) -> None:
    closing = False
    aside = Aside(closing=lambda: closing)
    aside.start(1, module, [], "wait")
    until(children)
    closing = True
    assert ended(aside).error == "the service ends"
    until(lambda: not children())


def test_it_does_not_outlive_a_service_that_is_killed(module: str, tmp_path: Path) -> None:
    """Its end of the child's standard input is closed by the kernel."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from jetsched.cluster.aside import Aside\n"
            "aside = Aside()\n"
            "aside.start(1, 'aside_child', [], 'wait')\n"
            "while not aside.going.done: time.sleep(0.01)\n"
            "print(aside._process.pid, flush=True)\n"
            "time.sleep(600)\n",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    child = psutil.Process(pid)
    assert alive(child)
    parent.kill()
    parent.wait()
    until(lambda: not alive(child))


def test_what_others_print_is_no_word_of_the_child(module: str) -> None:
    """A policy that prints what looks like a result, or has another program print it."""
    aside = Aside()
    aside.start(1, module, [], "lie")
    found = ended(aside)
    assert found.result["given"] == "lie" and (found.done, found.total) == (3, 3)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["17", "null", "[]", '"result"', "\x00", "{", '{"total": "x", "done": []}'], "code 0"),
        (["[" * 100_000], "code 0"),
        (['{"result": 5}'], "cannot be taken"),
    ],
)
def test_whatever_a_child_says_its_work_is_over_once_it_has_ended(
    module: str, tmp_path: Path, lines: list[str], error: str
) -> None:
    """No line stops who listens; a result that cannot be read is an error."""
    (tmp_path / "aside_child_rude.py").write_text(RUDE.format(lines=lines, waits_s=0))
    aside = Aside()
    aside.start(1, "aside_child_rude", [], {"much": "x" * 500_000}, read=lambda r: r["figures"])
    found = ended(aside)
    assert error in found.error and found.result is None
    aside.start(2, module, [], "go on")
    assert ended(aside).result["given"] == "go on"


def test_one_that_has_ended_before_it_was_given_its_work_says_why(
    module: str, tmp_path: Path
) -> None:
    """Its standard input is closed by then: that is no error of who starts it."""
    (tmp_path / "aside_child_gone.py").write_text("import sys; sys.exit('not today')")
    aside, given = Aside(), Late(x=1)
    given.fact = lambda: aside.going is not None and not aside.going.running
    aside.start(1, "aside_child_gone", [], given)
    assert ended(aside).error == "it ended with code 1: not today"


def test_those_who_share_a_turn_work_one_at_a_time(module: str) -> None:
    """Two children of 4 GiB each are more than a small head has."""
    turn = Turn()
    one, other = Aside(turn=turn), Aside(turn=turn)
    one.start(1, module, [], "wait")
    with pytest.raises(BusyError, match="works on something else"):
        other.start(2, module, [], "go on")
    assert other.going is None
    one.cancel()
    other.start(2, module, [], "go on")
    with pytest.raises(BusyError):
        one.start(1, module, [], "wait")
    assert ended(other).result["given"] == "go on"


def test_a_child_takes_no_more_than_half_of_what_is_free() -> None:
    """The service and what else runs there need memory, too; too little is said at once."""
    assert room_mib(4096, 64_000.0) == room_mib(4096, None) == 4096
    assert room_mib(4096, 5000.0) == 2500
    assert room_mib(4096, 1500.0) == LEAST_MIB
    with pytest.raises(BusyError, match="900 MiB of memory free"):
        room_mib(4096, 900.0)


def test_a_child_finds_no_module_where_the_service_was_started(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write into that folder must not run code in it."""
    place = tmp_path / "somewhere"
    place.mkdir()
    (place / "json.py").write_text("raise SystemExit('not the library')")
    monkeypatch.chdir(place)
    aside = Aside()
    aside.start(1, module, [], "go on")
    assert ended(aside).error == ""


def test_unseen_work_is_predicted_as_costs_plot_does_it(tmp_path: Path) -> None:
    works = [a_workload(m) for m in ("tiny-gpt2", "distilgpt2", "gpt2")]
    runs = [
        a_run(w, where, rate_s=0.1 * n, at=f"2026-11-2{n}")
        for n, w in enumerate(works)
        for where in (NX, ORIN)
        if n
    ]
    MeasurementStore(tmp_path / MeasurementStore.name).append(*runs)
    told: list[tuple[int, int]] = []
    before = os.nice(0)
    result = work(tmp_path, lambda done, total: told.append((done, total)))
    assert guesses_of(result) == held_out(runs)
    assert told[0] == (0, 2)
    assert result["score"]["rows"] == len(runs)
    assert os.nice(0) == before  # it is the child that stands back
