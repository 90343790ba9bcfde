"""On real Ray: a live run is what a profiled one is, a simulation what was live, and what a run
has taught is still known when the scheduler was killed."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_world import journal
from test_live_ray import Running, until

from jetsched.cluster.asked import Asked
from jetsched.cluster.past import past_job
from jetsched.cluster.replaying import replay
from jetsched.cluster.up import down, up
from jetsched.profiler.emulation import parse
from jetsched.profiler.runner import Run, RunOrder
from jetsched.scheduler.events import Finished, ServiceStarted

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from live_agreement import SAME_MAKESPAN, twenty_jobs  # a program, no package

pytestmark = pytest.mark.slow

EMULATE = "xavier-nx:0.2,orin-nano:0.2"
TRAIN = """
name: learns
work: {kind: train, model: tiny-gpt2, dataset: "squad[:32]", batch_size: 8, seq_len: 64, head: qa}
needs: {device: [orin-1]}
"""
#: All that a process has from whoever started it, as far as it changes how fast it runs.
LOOK = (
    "env | sort; nice; umask; ulimit -a; cat /proc/self/oom_score_adj /proc/self/timerslack_ns;"
    " grep -E 'Cpus_allowed_list|Mems_allowed_list|NoNewPrivs|Sig(Ign|Blk|Cgt)|Seccomp:|Threads'"
    " /proc/self/status; cat /proc/self/sched | grep -E 'policy|prio'; cat /proc/self/limits"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    try:
        up(Asked(EMULATE), home=home)
        yield Running(home)
    finally:
        down(home=home)


def test_a_live_job_starts_with_all_that_a_profiled_one_starts_with(
    cluster: Running, tmp_path: Path
) -> None:
    """Environment, niceness, limits, CPUs, signals: from under Ray, and from a shell."""
    job_id = cluster.submit(LOOK, needs={"device": ["nx-1"]})
    cluster.wait(job_id, "done", "failed")
    with cluster.client() as client:
        live = "".join(client.follow_log(job_id))
    board = next(board for board in parse(EMULATE) if board.id == "nx-1")
    job = past_job(job_id, cluster.home / "journal.db").jobs[0].job
    run = Run.start(RunOrder(job, board.device, tmp_path / "profiled", limits=board.limits))
    assert run.wait(120).outcome == "done"
    profiled = (tmp_path / "profiled" / "log.txt").read_text()
    assert _plain(live) == _plain(profiled)
    assert "OMP_NUM_THREADS=1" in live and "Max open files" in live


def _plain(text: str) -> list[str]:
    """Without the names of the attempt's own folder, and what a test's own shell has."""
    folder = r"=/\S*/(nx-1|profiled|jetsched-\d+-\d+-)\S*"
    lines = [re.sub(folder, "=FOLDER", line) for line in text.splitlines()]
    return [line for line in lines if not line.startswith(("PYTEST_", "_=", "SHLVL="))]


def test_what_a_run_has_taught_is_known_to_the_scheduler_that_comes_next(
    cluster: Running, tmp_path: Path
) -> None:
    """Estimated before, measured after, measured still when the service was killed; the same
    decision as before is taken from its journal."""
    file = tmp_path / "learns.yaml"
    file.write_text(TRAIN)

    def run() -> list[tuple[str, str]]:
        with cluster.client() as client:
            job_id = str(client.submit([file])[0]["id"])
        return cluster.attempts(job_id, "done", "failed")

    def row() -> dict[str, Any]:
        with cluster.client() as client:
            decision = client.plan(file)
        (found,) = [row for row in decision["rows"] if row["device"] == "orin-1"]
        return dict(found)

    before = row()
    assert before["source"] != "measured"
    assert run() == [("orin-1", "done")]
    after = row()
    assert after["source"] == "measured" and after["time_s"] != before["time_s"]
    (service,) = cluster.state.of_role("service")
    service.send(signal.SIGKILL)
    until(lambda: not service.alive)
    until(lambda: cluster.state.is_alive("service") and _answers(cluster))
    cluster.wait_devices(nx_1="ready", orin_1="ready")
    again = row()
    for name in ("source", "time_s", "admitted_mib", "peak_memory_mib"):
        assert again[name] == after[name]
    assert run() == [("orin-1", "done")]
    entries = journal(cluster.home)
    assert sum(isinstance(entry, ServiceStarted) for entry in entries) == 2
    ends = [entry for entry in entries if isinstance(entry, Finished)]
    assert all(entry.measurement is not None for entry in ends)
    assert replay(cluster.home / "journal.db", mode="exact").same


def _answers(cluster: Running) -> bool:
    try:
        with cluster.client() as client:
            return bool(client.status())
    except Exception:  # it is being started
        return False


def test_a_trace_of_twenty_jobs_is_simulated_as_it_was_live(cluster: Running) -> None:
    """Three kinds of work on two boards: the same decisions, the makespan within 10 %."""
    report = twenty_jobs(cluster.home, trains=0.15, gap_s=0.7, say=print)
    assert report.same, report.causes
    assert report.free is not None and report.free.jobs == 20
    assert abs(report.free.off) <= SAME_MAKESPAN
