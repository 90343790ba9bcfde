"""The live cluster on real Ray: `up`, jobs, things that die, `down`. Nothing is mocked."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from live_world import allocating, journal, starts

from jetsched.cluster.asked import Asked
from jetsched.cluster.client import Client
from jetsched.cluster.processes import MARK, OwnProcess, family
from jetsched.cluster.simulated import KILLED_WITHIN, SimulatedCluster
from jetsched.cluster.state import ClusterState, read_state
from jetsched.cluster.truth import TrueRun
from jetsched.cluster.up import down, up
from jetsched.errors import InputError, JetschedError
from jetsched.policies import load
from jetsched.profiler.costs import CostModel
from jetsched.profiler.limits import PREFIX
from jetsched.records import DeviceClass, Job
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.draws import uniform
from jetsched.scheduler.events import DeviceJoined, Entry, Finished, Start, Submitted
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.loop import run

pytestmark = pytest.mark.slow

#: Against hanging only.
SOON_S = 120.0
#: 615 MiB on the NX, 2,763 MiB on the Orin.
EMULATE = "xavier-nx:0.1,orin-nano:0.4"
SMALL = {"kind": "infer", "model": "tiny-gpt2", "prompt_tokens": 8, "max_new_tokens": 4}
#: What the cost model thinks takes long, whatever is really run.
LONG = {"kind": "infer", "model": "gpt2", "prompt_tokens": 8, "max_new_tokens": 4000}


class Running:
    """A cluster that is up, for a test to use and to hurt."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def state(self) -> ClusterState:
        state = read_state(self.home)
        assert state is not None
        return state

    def client(self) -> Client:
        return Client.to(self.state)

    def submit(self, run: str, like: dict[str, Any] | None = None, **job: Any) -> str:
        spec = {"work": {"kind": "command", "run": run, "like": like or SMALL}, **job}
        with self.client() as client:
            return str(client.submit_specs([spec])[0]["id"])

    def wait(self, job_id: str, *states: str) -> dict[str, Any]:
        with self.client() as client:
            job = until(lambda: (j := client.job(job_id))["state"] in states and j)
            return dict(job)

    def attempts(self, job_id: str, *states: str) -> list[tuple[str, str]]:
        return [(a["device"], a["outcome"]) for a in self.wait(job_id, *states)["attempts"]]

    def wait_devices(self, **states: str) -> None:
        with self.client() as client:
            until(
                lambda: {d["id"].replace("-", "_"): d["state"] for d in client.devices()} == states
            )

    def agent(self, device: str) -> OwnProcess:
        """The process of a device's agent."""
        (node,) = [p for p in self.state.of_role("node") if p.device == device]
        (found,) = [
            p
            for p in family(self.state.id, self.state.processes)
            if os.getsid(p.pid) == node.pid and _line(p.pid).startswith("ray::Agent")
        ]
        return found


def until(fact: Callable[[], Any]) -> Any:
    end = time.monotonic() + SOON_S
    while not (value := fact()):
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.05)
    return value


def _line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def left_over(cluster_id: str, home: Path) -> list[str]:
    """Living processes of a cluster: marked, or with something of it in their command."""
    found = []
    for process in psutil.process_iter():
        with psutil.Process.oneshot(process):
            try:
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                words = " ".join(process.cmdline())
                if str(home) in words or process.environ().get(MARK) == cluster_id:
                    found.append(f"{process.pid} {words}")
            except psutil.Error:
                continue
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One cluster for the tests that leave it whole; its policy remembers nothing of them."""
    home = tmp_path_factory.mktemp("home")
    try:
        began = up(Asked(EMULATE, policy="earliest_finish"), home=home)
        print(f"\nup until two boards are ready: {began.seconds:.1f} s")
        assert began.what == "started"
        yield Running(home)
    finally:
        down(home=home)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Running]:
    """A cluster of its own for a test that breaks it."""
    try:
        up(Asked(EMULATE), home=tmp_path)
        yield Running(tmp_path)
    finally:
        down(home=tmp_path)


# -------------------------------------------------------------------------------- up, and how it is


def test_up_starts_two_boards_and_a_second_up_says_so(cluster: Running) -> None:
    cluster.wait_devices(nx_1="ready", orin_1="ready")
    again = up(Asked(EMULATE), home=cluster.home)
    assert again.what == "running"
    assert again.state == cluster.state


def test_everything_listens_on_the_loopback_only(cluster: Running) -> None:
    ours = {p.pid for p in family(cluster.state.id, cluster.state.processes)}
    listening = [
        str(next(iter(c.laddr)))
        for c in psutil.net_connections("inet")
        if c.pid in ours and c.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_the_tokens_are_in_files_of_their_owner_and_nowhere_else(cluster: Running) -> None:
    state = cluster.state
    for path in (cluster.home / "cluster.json", state.token_file, cluster.home / "journal.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ray_token = state.token_file.read_text()
    for process in family(state.id, state.processes):
        line = _line(process.pid)
        assert ray_token not in line and state.api_token not in line
    for log in [*Path(state.temp).rglob("*.log"), *(cluster.home / "logs").iterdir()]:
        text = log.read_text(errors="replace")
        assert ray_token not in text and state.api_token not in text


def test_the_api_refuses_a_wrong_token(cluster: Running) -> None:
    with (
        Client(cluster.state.url, "wrong") as stranger,
        pytest.raises(JetschedError, match="token is missing or wrong"),
    ):
        stranger.jobs()


def test_ray_refuses_a_driver_with_a_wrong_token(cluster: Running) -> None:
    code = (
        "from jetsched.cluster.raynodes import stay_on_loopback; stay_on_loopback();"
        "import ray, sys; ray.init(address=sys.argv[1], _node_ip_address='127.0.0.1');"
        "print('let in', len(ray.nodes()))"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    stranger = subprocess.run(
        [sys.executable, "-c", code, cluster.state.ray_address],
        env=env,
        capture_output=True,
        text=True,
        timeout=SOON_S,
    )
    assert stranger.returncode != 0
    assert "let in" not in stranger.stdout


# -------------------------------------------------------------------------------------------- jobs


def test_a_job_runs_as_a_benchmark_would(cluster: Running) -> None:
    """None of Ray's settings for its own workers reaches the workload, and of ours only where it
    may leave files."""
    began = time.time()
    ours = "env | grep -v ^JETSCHED_OUT= | grep -c -e ^RAY_ -e ^JETSCHED_"
    job_id = cluster.submit(f"date +%s.%N; nice; {ours}; true")
    assert [outcome for _, outcome in cluster.attempts(job_id, "done", "failed")] == ["done"]
    with cluster.client() as client:
        date, niceness, foreign = "".join(client.follow_log(job_id)).split()
    print(f"\nfrom submit to the child's first breath: {float(date) - began:.3f} s")
    assert (niceness, foreign) == ("0", "0")


def test_two_jobs_run_at_once_on_two_boards(cluster: Running) -> None:
    ids = [cluster.submit("sleep 2", needs={"device": [m]}) for m in ("xavier-nx", "orin-nano")]
    jobs = [cluster.wait(job_id, "done", "failed") for job_id in ids]
    spans = [(j["attempts"][0]["start_s"], j["attempts"][0]["end_s"]) for j in jobs]
    assert max(start for start, _ in spans) < min(end for _, end in spans)


def test_a_running_job_is_cancelled_and_nothing_of_it_is_left(cluster: Running) -> None:
    job_id = cluster.submit("sleep 54321", needs={"device": ["nx-1"]})
    cluster.wait(job_id, "running")
    with cluster.client() as client:
        client.cancel(job_id)
    assert cluster.attempts(job_id, "cancelled") == [("nx-1", "cancelled")]
    assert not [p for p in psutil.process_iter(["cmdline"]) if "54321" in (p.info["cmdline"] or [])]


def test_a_memory_kill_is_learnt_and_the_job_finishes_on_the_other_board(cluster: Running) -> None:
    blocker = cluster.submit("sleep 2", LONG, needs={"device": ["orin-1"]})
    job_id = cluster.submit(allocating(1300, 0.1))
    assert cluster.attempts(job_id, "done", "failed", "killed") == [
        ("nx-1", "killed_memory"),
        ("orin-1", "done"),
    ]
    cluster.wait(blocker, "done")
    with cluster.client() as client:
        rows = {row["device"]: row for row in client.why(job_id)["rows"]}
        assert rows["nx-1"]["verdict"] == "never"
        again = client.submit_specs(
            [{"work": {"kind": "command", "run": allocating(1300, 0.1), "like": SMALL}}]
        )[0]
    assert cluster.attempts(again["id"], "done", "failed", "killed") == [("orin-1", "done")]


# -------------------------------------------------------------------------------- things that die


def test_an_agent_that_is_killed_loses_its_attempt_and_the_job_is_tried_again(
    cluster: Running,
) -> None:
    job_id = cluster.submit("sleep 4", needs={"device": ["nx-1"]})
    cluster.wait(job_id, "running")
    cluster.agent("nx-1").send(signal.SIGKILL)
    assert cluster.attempts(job_id, "done", "failed", "lost") == [
        ("nx-1", "lost"),
        ("nx-1", "done"),
    ]
    cluster.wait_devices(nx_1="ready", orin_1="ready")


def test_a_board_whose_agent_could_not_be_made_once_comes_back(cluster: Running) -> None:
    temp = Path(cluster.state.temp)
    file, away = temp / "nx-1.json", temp / "away.json"
    file.rename(away)
    cluster.agent("nx-1").send(signal.SIGKILL)
    until(lambda: any("nx-1.json" in _text(path) for path in temp.rglob("*.err")))
    away.rename(file)
    job_id = cluster.submit("true", needs={"device": ["nx-1"]})
    assert cluster.attempts(job_id, "done", "failed", "lost")[-1] == ("nx-1", "done")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def test_a_scheduler_that_is_killed_comes_back_with_its_state_and_adopts_what_runs(
    cluster: Running,
) -> None:
    running = cluster.submit("echo before; sleep 12; echo after", needs={"device": ["nx-1"]})
    cluster.wait(running, "running")
    waiting = cluster.submit("true", needs={"device": ["nx-1"]})
    (service,) = cluster.state.of_role("service")
    began = time.monotonic()
    service.send(signal.SIGKILL)
    until(lambda: not service.alive)
    another = cluster.submit("true", needs={"device": ["orin-1"]})  # waits until it is back
    cluster.wait(another, "done")
    print(f"\nscheduler killed -> a new job is done: {time.monotonic() - began:.1f} s")
    assert up(Asked(EMULATE), home=cluster.home).what == "running"
    assert cluster.attempts(running, "done", "failed", "lost") == [("nx-1", "done")]
    assert cluster.attempts(waiting, "done", "failed", "lost") == [("nx-1", "done")]
    with cluster.client() as client:
        assert "".join(client.follow_log(running)) == "before\nafter\n"
    cluster.wait_devices(nx_1="ready", orin_1="ready")
    mine = [s for s in starts(journal(cluster.home)) if s[0] in (running, waiting)]
    assert mine == [(running, "nx-1", 1), (waiting, "nx-1", 1)]


def test_a_board_whose_raylet_dies_is_lost_and_its_job_runs_elsewhere(victim: Running) -> None:
    job_id = victim.submit("sleep 5")
    job = victim.wait(job_id, "running")
    device = job["device"]
    (node,) = [p for p in victim.state.of_role("node") if p.device == device]
    raylets = [p for p in psutil.Process(node.pid).children() if "raylet" in p.name()]
    began = time.time()
    for raylet in raylets:
        raylet.kill()
    job = victim.wait(job_id, "done", "failed", "lost")
    outcomes = [(a["device"], a["outcome"]) for a in job["attempts"]]
    print(f"\nraylet killed -> running elsewhere: {job['attempts'][1]['start_s'] - began:.1f} s")
    other = {"nx-1": "orin-1", "orin-1": "nx-1"}[device]
    assert outcomes == [(device, "lost"), (other, "done")]
    assert "its node" in job["attempts"][0]["text"]
    victim.wait_devices(nx_1="ready", orin_1="ready")  # its node was started again
    print(f"raylet killed -> the board is back: {time.time() - began:.1f} s")


def test_rays_head_is_killed_and_everything_comes_back_without_a_person(victim: Running) -> None:
    job_id = victim.submit("sleep 3")
    victim.wait(job_id, "running")
    (head,) = victim.state.of_role("head")
    (gcs,) = [p for p in psutil.Process(head.pid).children() if "gcs" in p.name()]
    life = victim.state.ray_life
    began = time.monotonic()
    gcs.kill()
    until(lambda: victim.state.ray_life != life)
    victim.wait_devices(nx_1="ready", orin_1="ready")
    print(f"\nRay's head killed -> both boards are back: {time.monotonic() - began:.1f} s")
    assert victim.attempts(job_id, "done", "failed", "lost")[-1][1] == "done"
    assert victim.attempts(victim.submit("true"), "done", "failed") != []
    assert not head.alive


def test_a_supervisor_that_is_killed_leaves_all_running_and_the_next_adopts_it(
    cluster: Running,
) -> None:
    cluster.wait_devices(nx_1="ready", orin_1="ready")
    job_id = cluster.submit("sleep 6", needs={"device": ["nx-1"]})
    cluster.wait(job_id, "running")
    before = cluster.state
    (runner,) = before.of_role("runner")
    runner.send(signal.SIGKILL)
    until(lambda: not runner.alive)
    assert up(Asked(), home=cluster.home).what == "revived"
    after = cluster.state
    for role in ("head", "node", "service"):
        assert after.of_role(role) == before.of_role(role)
    assert after.of_role("runner") != before.of_role("runner")
    assert cluster.attempts(job_id, "done", "failed", "lost") == [("nx-1", "done")]


# -------------------------------------------------------------------------------------------- down


def test_down_leaves_nothing_behind_but_the_history_and_touches_nobody_else(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        running = Running(tmp_path)
        try:
            up(Asked(EMULATE), home=tmp_path)
            job_id = running.submit("trap '' TERM; sleep 43210 & sleep 43210; wait")
            running.wait(job_id, "running")
            state = running.state
            makers = {p.pid for p in family(state.id, state.processes)}
            assert _groups_of(makers)
        finally:
            began = time.monotonic()
            ended = down(home=tmp_path)
            print(f"\ndown with a stubborn job: {time.monotonic() - began:.1f} s")
        assert ended is not None and ended.id == state.id
        assert left_over(state.id, tmp_path) == []
        assert not [
            p for p in psutil.process_iter(["cmdline"]) if "43210" in (p.info["cmdline"] or [])
        ]
        assert not Path(state.temp).exists()
        assert not (tmp_path / "cluster.json").exists()
        assert _groups_of(makers) == []
        assert bystander.poll() is None
        assert down(home=tmp_path) is None
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "head.json",
            "journal.db",
            "logs",
            "nodes",
        ]

        up(Asked(EMULATE), home=tmp_path)  # and what was waiting goes on after the next `up`
        job = running.wait(job_id, "running", "starting")
        assert job["attempts"][0]["outcome"] == "preempted"  # which uses up no try
    finally:
        down(home=tmp_path)
        bystander.kill()
        bystander.wait()


def test_an_up_that_fails_cleans_up_after_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no policy"):
        up(Asked(EMULATE, policy="nonsense"), home=tmp_path)
    with pytest.raises(InputError):
        up(Asked("toaster"), home=tmp_path)
    assert sorted(tmp_path.iterdir()) == []
    (tmp_path / "journal.db").write_bytes(b"this is no journal " * 300)
    with pytest.raises(JetschedError, match="no journal of jetsched"):
        up(Asked(EMULATE), home=tmp_path)
    assert left_over("", tmp_path) == []
    assert not (tmp_path / "cluster.json").exists()


def _groups_of(pids: set[int]) -> list[str]:
    """Memory cgroups that processes with these pids made."""
    folders = subprocess.run(
        ["find", "/sys/fs/cgroup", "-maxdepth", "6", "-type", "d", "-name", f"{PREFIX}*"],
        capture_output=True,
        text=True,
    ).stdout.split()
    return [f for f in folders if (m := re.search(r"-(\d+)-\d+-\d+$", f)) and int(m[1]) in pids]


def test_a_finished_attempt_is_in_the_journal_once(cluster: Running) -> None:
    ends = [(e.job_id, e.attempt) for e in journal(cluster.home) if isinstance(e, Finished)]
    assert len(ends) == len(set(ends))


def test_the_simulated_cluster_makes_the_decisions_that_were_made_on_ray(cluster: Running) -> None:
    """Told how each attempt really went, the same scheduler under a virtual clock starts the same
    jobs on the same boards in the same order: a kill, a second try and a wait among them."""
    runs = [("sleep 4", LONG), (allocating(1300, 1), SMALL), ("sleep 1", SMALL)]
    specs = [{"work": {"kind": "command", "run": run, "like": like}} for run, like in runs]
    with cluster.client() as client:
        ids = [str(row["id"]) for row in client.submit_specs(specs)]
    for job_id in ids:
        cluster.wait(job_id, "done")
    live = journal(cluster.home)
    made = [start for start in starts(live) if start[0] in ids]
    assert len({device for _, device, _ in made}) == 2
    assert len(made) == 4  # one of them was killed

    submitted = next(e for e in live if isinstance(e, Submitted) and e.jobs[0].id == ids[0])
    jobs = [replace(job, submitted_s=0.0) for job in submitted.jobs]
    before = live[: live.index(submitted)]
    costs = CostModel(e.measurement for e in before if isinstance(e, Finished) and e.measurement)
    journalled = MemoryJournal()
    scheduler = Scheduler(
        load("earliest_finish"), costs, fallback=load("earliest_finish"), journal=journalled
    )
    boards = {e.device.id: e.device for e in before if isinstance(e, DeviceJoined)}
    simulated = SimulatedCluster(boards.values(), jobs, Recorded(live), seed=0)
    for _ in run(scheduler, simulated):
        pass
    assert starts(journalled) == made


class Recorded:
    """What really happened to each job on each kind of board, from a live journal."""

    def __init__(self, entries: list[Entry]) -> None:
        self._ended = {(e.job_id, e.attempt): e for e in entries if isinstance(e, Finished)}
        self._starts = [e for e in entries if isinstance(e, Start)]

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        for start in self._starts:
            where = start.placement.device.device_class
            if (start.placement.job.id, where.model) == (job.id, device_class.model):
                end = self._ended[job.id, start.attempt]
                time_s = end.at_s - start.at_s
                if end.outcome != "killed_memory":
                    return TrueRun(time_s, 0.0, 0.0)
                low, high = KILLED_WITHIN
                draw = uniform("memory kill", 0, job.id, device_class.model)
                return TrueRun(time_s / (low + (high - low) * draw), 0.0, 1e9)
        return None
