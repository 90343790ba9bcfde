"""The supervisor: limits, slow-down, stopping, and that nothing is ever left behind."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attempt_worlds import (
    SOON_S,
    a_command,
    a_training,
    cgroups_of,
    is_alive,
    processes_in,
    python,
    until,
)

from jetsched.profiler import procfs, supervising, supervisor
from jetsched.profiler.attempts import read_object, read_result
from jetsched.profiler.limits import Limits
from jetsched.profiler.runner import Run
from jetsched.records import Measurement


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for attempts; afterwards no process of theirs and no cgroup of ours may be left."""
    yield tmp_path
    until(lambda: not processes_in(tmp_path))
    assert cgroups_of(os.getpid()) == []


def test_a_command_runs_in_its_folder_and_its_output_is_the_log(folder: Path) -> None:
    measurement = Run.start(a_command(folder, "pwd; echo oops >&2; touch made")).wait(SOON_S)
    assert measurement.outcome == "done"
    assert measurement.amount == 1
    assert measurement.work_s == measurement.time_s
    assert (folder / "attempt/log.txt").read_text() == f"{folder}/attempt\noops\n"
    assert (folder / "attempt/made").exists()


def test_a_supervisor_that_fails_leaves_no_process_and_no_cgroup(folder: Path) -> None:
    run = Run.start(a_command(folder, "sleep 600", limits=Limits(memory_mib=500)))
    run._lifeline.write(b"no wish\n")
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "lost"
    assert "JSONDecodeError" in measurement.text


def test_a_failing_command_has_its_exit_code_and_last_words(folder: Path) -> None:
    measurement = Run.start(a_command(folder, "echo no such thing; exit 3")).wait(SOON_S)
    assert measurement.outcome == "failed"
    assert measurement.text == "no such thing"
    assert "exit code 3" in measurement.evidence


def test_an_interpreter_that_does_not_exist_is_a_failed_attempt(folder: Path) -> None:
    order = a_training(folder, "", python="/no/such/python")
    measurement = Run.start(order).wait(SOON_S)
    assert measurement.outcome == "failed"
    assert "/no/such/python" in measurement.text


def test_the_workload_gets_a_clean_environment_and_priority(folder: Path) -> None:
    """Under Ray nice 15, OMP_NUM_THREADS=1, RAY_* and PYTHON* of the agent are inherited."""
    starter = """
        import os, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        os.nice(15)
        os.environ.update(OMP_NUM_THREADS="1", RAY_JOB_ID="7", PYTHONPATH="/x",
                          CUDA_VISIBLE_DEVICES="", JETSCHED_TOKEN="secret")
        Path("/proc/self/oom_score_adj").write_text("1000")
        from jetsched.profiler.runner import Run
        from attempt_worlds import a_command
        run = 'env > env.txt; nice > nice.txt; cat /proc/self/oom_score_adj > oom.txt'
        print(Run.start(a_command(Path(sys.argv[1]), run)).wait(60).outcome)
    """
    here = str(Path(__file__).parent)
    argv = [sys.executable, "-c", textwrap.dedent(starter), str(folder), here]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "done\n"
    names = {line.partition("=")[0] for line in (folder / "attempt/env.txt").open()}
    assert "PATH" in names
    foreign = [name for name in names if name.startswith(("RAY_", "PYTHON", "JETSCHED_"))]
    assert foreign == ["JETSCHED_OUT"]  # where its results go
    assert not names & {"OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"}
    assert int((folder / "attempt/oom.txt").read_text()) == supervisor.OOM_SCORE_ADJ
    if os.geteuid() == 0:  # else a niceness cannot be taken back
        assert (folder / "attempt/nice.txt").read_text() == "0\n"


def test_threads_cpus_and_the_jobs_own_environment_are_set() -> None:
    order = {"threads": 3, "env": {"PYTHONUNBUFFERED": "1"}}
    env = supervisor.environment(order, {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "0"})
    assert env["OMP_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "3"
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["CUDA_VISIBLE_DEVICES"] == "0"  # nobody but the user can have set it


def test_the_workload_is_bound_to_its_cpus(folder: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    order = a_command(
        folder, "grep Cpus_allowed_list /proc/self/status", limits=Limits(cpus=(cpu,))
    )
    assert Run.start(order).wait(SOON_S).outcome == "done"
    assert (folder / "attempt/log.txt").read_text().split() == ["Cpus_allowed_list:", str(cpu)]


def test_stopping_gives_the_workload_time_to_end(folder: Path) -> None:
    """SIGTERM comes first, to the whole group, and what the shell started may use the grace."""
    code = """
        import signal, sys, time
        def end(*_):
            time.sleep(0.5)
            open("saved", "w").close()
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        open("ready", "w").close()
        time.sleep(600)
    """
    run = Run.start(a_command(folder, python(code).replace("exec ", "", 1) + "; true"))
    until((folder / "attempt/ready").exists)
    run.stop("preempted", grace_s=60)
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "preempted"
    assert (folder / "attempt/saved").exists()


@pytest.mark.parametrize("slowdown", [1.0, 20.0])
def test_a_wish_to_stop_that_comes_at_once_is_heard(folder: Path, slowdown: float) -> None:
    """Before the workload has begun there is already somebody to hear it."""
    for number in range(5):
        order = a_command(folder / str(number), "sleep 600", limits=Limits(slowdown=slowdown))
        run = Run.start(order)
        run.stop("cancelled", grace_s=600)
        assert run.wait(SOON_S).outcome == "cancelled"


def test_what_ignores_sigterm_is_killed_after_the_grace(folder: Path) -> None:
    run = Run.start(a_command(folder, "trap '' TERM; touch ready; while :; do sleep 1; done"))
    until((folder / "attempt/ready").exists)
    run.stop("cancelled", grace_s=0.3)
    assert run.wait(SOON_S).outcome == "cancelled"
    assert read_object(folder / "attempt/exit.json")["killed_after_grace"] is True


def test_a_run_past_its_time_limit_is_killed_time(folder: Path) -> None:
    measurement = Run.start(a_command(folder, "sleep 600", limits=Limits(time_s=0.3))).wait(SOON_S)
    assert measurement.outcome == "killed_time"
    assert measurement.time_s is not None and measurement.time_s >= 0.3


def test_what_a_workload_leaves_running_is_killed_when_it_ends(folder: Path) -> None:
    run = Run.start(a_command(folder, "setsid sleep 600 & echo $! > orphan; exit 0"))
    assert run.wait(SOON_S).outcome == "done"
    assert not is_alive(int((folder / "attempt/orphan").read_text()))


def a_dying_starter(folder: Path, how: str) -> subprocess.Popen[str]:
    """A process that starts an attempt whose workload has a grandchild in a session of its own."""
    starter = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from jetsched.profiler.limits import Limits
from jetsched.profiler.runner import Run
from attempt_worlds import a_command
command = "trap '' TERM; setsid sh -c 'echo $$ > far; sleep 601; :' & echo $$ > near; wait; wait"
order = a_command(Path(sys.argv[1]), command, grace_s=0.5,
                  limits=Limits(slowdown=2.0, memory_mib=200))
run = Run.start(order)
while not (order.folder / "far").exists() or not (order.folder / "near").read_text():
    time.sleep(0.01)
print("started", flush=True)
{how}
"""
    here = str(Path(__file__).parent)
    argv = [sys.executable, "-c", starter, str(folder), here]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", ["time.sleep(600)", "del run", "sys.exit()", "os._exit(3)"])
def test_a_workload_ends_with_its_starter_however_that_dies(folder: Path, how: str) -> None:
    """Grandchildren in a session of their own included; and the next agent learns of it."""
    with a_dying_starter(folder, how) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        pids = [int((folder / "attempt" / name).read_text()) for name in ("near", "far")]
        if how == "time.sleep(600)":
            starter.kill()
        starter.wait(SOON_S)
    measurement = until(lambda: read_result(folder / "attempt"))
    assert measurement.outcome == "lost"
    assert not [pid for pid in pids if is_alive(pid)]
    assert cgroups_of(starter.pid) == []
    assert read_result(folder / "attempt") == measurement


def test_a_killed_supervisor_takes_the_workload_with_it(folder: Path) -> None:
    run = Run.start(a_command(folder, "echo $$ > near; sleep 600; :"))
    pid = int(
        until(lambda: (folder / "attempt/near").exists() and (folder / "attempt/near").read_text())
    )
    os.kill(read_object(folder / "attempt/supervisor.json")["pid"], signal.SIGKILL)
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "lost"
    until(lambda: not is_alive(pid))


def test_sigterm_to_the_supervisor_stops_the_workload(folder: Path) -> None:
    run = Run.start(a_command(folder, "touch ready; sleep 600"))
    until((folder / "attempt/ready").exists)
    os.kill(read_object(folder / "attempt/supervisor.json")["pid"], signal.SIGTERM)
    assert run.wait(SOON_S).outcome == "lost"


def spin(folder: Path, cpu_s: float, slowdown: float) -> tuple[Measurement, dict[str, Any]]:
    """The measurement and the exit.json of a fixed piece of CPU work."""
    code = f"""
        import time
        while time.process_time() < {cpu_s}:
            pass
    """
    order = a_command(folder, python(code), limits=Limits(slowdown=slowdown))
    measurement = Run.start(order).wait(SOON_S)
    assert measurement.outcome == "done"
    return measurement, read_object(order.folder / "exit.json")


def test_a_slowed_down_workload_rests_as_long_as_it_runs(folder: Path) -> None:
    measurement, exited = spin(folder, cpu_s=0.6, slowdown=2.0)
    assert measurement.time_s is not None and measurement.cpu_util_pct is not None
    assert measurement.cpu_util_pct < 60  # of a core, though it never waits by itself
    ran_s = measurement.time_s - exited["rested_s"]
    assert exited["rested_s"] / ran_s == pytest.approx(1.0, abs=0.15)
    assert exited["own_cpu_s"] < 0.3  # most of it is the interpreter's start


def test_a_workload_that_is_not_slowed_down_never_rests(folder: Path) -> None:
    _, exited = spin(folder, cpu_s=0.1, slowdown=1.0)
    assert exited["rested_s"] == 0


def test_a_resting_workload_still_hears_sigterm(folder: Path) -> None:
    """With rests of 98 % it is nearly always stopped when the wish to end comes."""
    run = Run.start(
        a_command(
            folder,
            "trap 'touch heard; exit 0' TERM; touch ready; while :; do sleep 0.01; done",
            limits=Limits(slowdown=50.0),
        )
    )
    until((folder / "attempt/ready").exists)
    run.stop("preempted", grace_s=60)
    assert run.wait(SOON_S).outcome == "preempted"
    assert (folder / "attempt/heard").exists()


def test_the_supervisor_waits_without_using_the_cpu(folder: Path) -> None:
    run = Run.start(a_command(folder, "touch ready; sleep 600"))
    until((folder / "attempt/ready").exists)
    pid = read_object(folder / "attempt/supervisor.json")["pid"]

    def ticks() -> int:
        fields = procfs.stat_fields(pid)
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(1.0)
    assert ticks() - before <= 1
    run.stop("cancelled", grace_s=0)
    run.wait(SOON_S)


OTHER_PYTHONS = sorted(Path("~/.pyenv/versions").expanduser().glob("3.[89]*/bin/python"))


@pytest.mark.skipif(not OTHER_PYTHONS, reason="no Python 3.8 or 3.9 here")
@pytest.mark.parametrize("python", OTHER_PYTHONS, ids=lambda path: path.parts[-3])
def test_the_supervisor_runs_on_an_old_python(folder: Path, python: Path) -> None:
    (folder / "zone").write_text("50000\n")
    (folder / "tmp").mkdir()
    order = {
        "folder": str(folder),
        "argv": ["sh", "-c", "sleep 0.2; touch $TMPDIR/left; exit 4"],
        "cap": {"kind": "none", "group": None, "counters": [], "address_space": None},
        "slowdown": 2.0,
        "stall_s": 60.0,
        "heat": [["GPU", str(folder / "zone"), 90.0]],
        "tmp": str(folder / "tmp"),
    }
    supervisor.write_json(str(folder / "order.json"), order)
    heard, lifeline = os.pipe()
    argv = [str(python), "-I", "-S", supervisor.__file__, str(folder / "order.json"), str(heard)]
    subprocess.run(argv, pass_fds=(heard,), stdout=subprocess.DEVNULL, check=True)
    os.close(heard)
    exited = until(lambda: read_object(folder / "exit.json"))
    os.close(lifeline)
    assert exited["exit_code"] == 4
    assert exited["rested_s"] > 0
    assert exited["disk_least_mib"] > 0
    assert not (folder / "tmp").exists()


@pytest.mark.skipif(not OTHER_PYTHONS, reason="no Python 3.8 or 3.9 here")
def test_an_old_python_notices_silence_too(folder: Path) -> None:
    order = {
        "folder": str(folder),
        "argv": ["sleep", "600"],
        "cap": {"kind": "none", "group": None, "counters": [], "address_space": None},
        "stall_s": 0.5,
    }
    supervisor.write_json(str(folder / "order.json"), order)
    heard, lifeline = os.pipe()
    argv = [str(OTHER_PYTHONS[0]), "-I", "-S", supervisor.__file__, str(folder / "order.json")]
    subprocess.run([*argv, str(heard)], pass_fds=(heard,), stdout=subprocess.DEVNULL, check=True)
    os.close(heard)
    exited = until(lambda: read_object(folder / "exit.json"))
    os.close(lifeline)
    assert exited["stop"]["outcome"] == "lost"
    assert exited["stop"]["why"] == "stall"


@pytest.mark.parametrize("module", [supervisor, supervising, procfs], ids=lambda m: m.__name__)
def test_the_supervisor_is_python_3_8(module: ModuleType) -> None:
    """It must run on whatever interpreter a board has, with nothing installed."""
    source = Path(str(module.__file__)).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= {*sys.stdlib_module_names, "jetsched.profiler"}


def test_exit_json_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "exit.json"
    supervisor.write_json(str(path), {"version": 1})
    assert json.loads(path.read_text()) == {"version": 1}
    assert list(tmp_path.iterdir()) == [path]
