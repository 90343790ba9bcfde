"""The live cluster on hosts of their own: links are cut, power is lost, nothing is lost.

One cluster for the whole file: a head, an NX with a Xavier NX's own Python where `make
test-jetpack5` made it, and an Orin. Every test leaves it ready for the next one. Where no
namespaces can be had, a cluster on the loopback runs the jobs, and the rest is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosted_cluster import PROMPTS, PYTHON38, HostedCluster, a_cluster, until
from multihost import Host, Site, a_site, reason_against

from jetsched.cluster.asked import Asked
from jetsched.cluster.bundles import digest_of
from jetsched.cluster.client import Client
from jetsched.cluster.client_files import FileClient
from jetsched.cluster.up import down, up
from jetsched.records import FINAL_STATES
from jetsched.scheduler.events import Finished, Start

AGAINST = reason_against()
LEASE_S = 12.0
pytestmark = pytest.mark.slow
with_hosts = pytest.mark.skipif(bool(AGAINST), reason=AGAINST)

TRAIN = {
    "kind": "train",
    "model": "tiny-gpt2",
    "dataset": "squad",
    "samples": 64,
    "batch_size": 8,
    "seq_len": 64,
}
INFER = {"kind": "infer", "model": "tiny-gpt2", "prompt_tokens": 8, "max_new_tokens": 4}
INFER["prompts"] = str(PROMPTS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[HostedCluster]:
    if AGAINST:
        pytest.skip(AGAINST)
    began = time.monotonic()
    pythons = {"nx": PYTHON38} if PYTHON38.exists() else {}
    with a_cluster(lease_s=LEASE_S, pythons=pythons) as cluster:
        print(f"\nhosts until both boards are ready: {time.monotonic() - began:.0f} s")
        yield cluster


def running_on(cluster: HostedCluster, device: str, run: str, **job: object) -> str:
    """A job that runs on a board; returns its id."""
    job_id = cluster.submit(run, **job)
    job_row = cluster.wait(job_id, "running", *FINAL_STATES)
    assert (job_row["state"], job_row["device"]) == ("running", device)
    return job_id


# ------------------------------------------------------------------------------------ the hosts


@with_hosts
def test_hosts_have_disks_links_and_processes_of_their_own_and_all_goes_with_the_site() -> None:
    with a_site("one", "two") as (one, two):
        assert one.run(["hostname"]).stdout == "one\n"
        one.run(["sh", "-c", "echo kept > /mnt/file; echo gone > /tmp/file"])
        assert two.run(["ls", "/mnt", "/tmp"]).stdout.split() == ["/mnt:", "/tmp:"]
        one.unit("sleeper", ["sleep", "600"])
        (sleeper,) = until(one.processes)
        two.cut()
        assert not reaches(two, one)
        two.heal()
        assert reaches(two, one)
        one.power_loss()
        assert not Path(f"/proc/{sleeper}").exists()
        one.power_on()
        until(one.processes)  # the unit, again
        assert one.run(["cat", "/mnt/file"]).stdout == "kept\n"
        assert one.run(["cat", "/tmp/file"]).returncode != 0
        first, site = one.first, one.site.pid
    assert not Path(f"/proc/{first}").exists() and not Path(f"/proc/{site}").exists()
    assert not one.group.left() and (one.group.folder is None or not one.group.folder.exists())


@with_hosts
def test_a_hosts_disk_can_be_full_and_its_clock_be_wrong() -> None:
    with a_site("one", "two") as (one, two):
        one.fill_disk()
        write = ["sh", "-c", "echo more > /mnt/file"]
        assert one.run(write).returncode != 0
        one.free_disk()
        assert one.run(write).returncode == 0
        if not one.clock.works:
            pytest.skip("no C compiler: clocks cannot be stepped")
        clock = ["python3", "-S", "-c", "import time; print(time.time())"]
        one.clock.step(7200.0)
        ahead = float(one.run(clock).stdout) - float(two.run(clock).stdout)
        assert 7100 < ahead < 7300


@with_hosts
def test_two_sites_do_not_meet() -> None:
    with Site() as here, Site() as there:
        one, other = here.host("one"), there.host("one")
        assert one.address != other.address or here.pid != there.pid
        one.power_on()
        other.power_on()
        one.unit("sleeper", ["sleep", "600"])
        until(one.processes)
        assert other.processes() == []


# -------------------------------------------------------------------------------------- the jobs


@with_hosts
def test_both_boards_train_and_answer_with_their_own_interpreters(cluster: HostedCluster) -> None:
    specs = [
        {"work": work, "needs": {"device": [device]}}
        for work in (TRAIN, INFER)
        for device in cluster.boards
    ]
    ids = [cluster.submit_spec(spec) for spec in specs]
    where = [cluster.attempts(job_id) for job_id in ids]
    assert where == [[(device, "done")] for _ in range(2) for device in cluster.boards]
    versions = {}
    for entry in cluster.entries():
        if isinstance(entry, Finished) and entry.measurement is not None:
            versions[entry.measurement.device] = entry.measurement.identity["run"]["python"]
    print(f"\ninterpreters of the workloads: {versions}")
    assert not PYTHON38.exists() or versions["nx"].startswith("3.8")


def test_without_namespaces_jobs_run_on_local_boards(tmp_path: Path) -> None:
    if not AGAINST:
        pytest.skip("there are hosts of their own here")
    try:
        state = up(Asked(emulate="xavier-nx:0.2,orin-nano:0.4"), home=tmp_path).state
        with Client.to(state) as client:
            ids = [
                str(row["id"]) for row in client.submit_specs([{"work": TRAIN}, {"work": INFER}])
            ]
            until(lambda: all(client.job(id)["state"] == "done" for id in ids))
    finally:
        down(home=tmp_path)


# ------------------------------------------------------------------------------------- the links


def test_a_link_that_heals_before_the_lease_ends_costs_nothing(cluster: HostedCluster) -> None:
    job_id = running_on(cluster, "nx", "sleep 12; echo over", needs={"device": ["nx"]})
    cluster.boards["nx"].cut()
    time.sleep(3.0)
    cluster.boards["nx"].heal()
    assert cluster.attempts(job_id) == [("nx", "done")]
    cluster.wait_ready()


def test_a_link_that_stays_cut_has_the_job_done_elsewhere_and_the_rest_of_it_ended(
    cluster: HostedCluster,
) -> None:
    """The board stops what it runs when its lease ends; whatever it says later is too late."""
    nx = cluster.boards["nx"]
    job_id = running_on(cluster, "nx", "sleep 61; echo over", needs={"device": ["nx"]})
    nx.cut()
    began = time.monotonic()
    until(lambda: cluster.states()["nx"] == "offline")
    print(f"\nlink cut -> offline: {time.monotonic() - began:.1f} s")
    until(lambda: not workload(nx, "61"))
    print(f"link cut -> stopped over there: {time.monotonic() - began:.1f} s")
    nx.heal()
    cluster.wait_ready()
    with cluster.client() as client:
        client.cancel(job_id)
    ended = cluster.wait(job_id)
    assert ended["attempts"][0]["outcome"] == "lost"
    assert ended["state"] == "cancelled"


def test_a_job_of_a_board_that_is_cut_off_runs_elsewhere_and_is_done_once(
    cluster: HostedCluster,
) -> None:
    blocker = running_on(cluster, "orin", "sleep 4", needs={"device": ["orin"]})
    job_id = running_on(cluster, "nx", "sleep 8; echo over")
    cluster.boards["nx"].cut()
    try:
        job = cluster.wait(job_id)
    finally:
        cluster.boards["nx"].heal()
    assert [(a["device"], a["outcome"]) for a in job["attempts"]] == [
        ("nx", "lost"),
        ("orin", "done"),
    ]
    assert cluster.attempts(blocker) == [("orin", "done")]
    cluster.wait_ready()
    ends = [e for e in cluster.entries() if isinstance(e, Finished) and e.job_id == job_id]
    assert [e.outcome for e in ends if e.attempt == 2] == ["done"]


# ------------------------------------------------------------------------------------- the power


def test_a_board_without_power_comes_back_by_itself(cluster: HostedCluster) -> None:
    orin = cluster.boards["orin"]
    job_id = running_on(cluster, "orin", "sleep 6; echo over", needs={"device": ["orin"]})
    orin.power_loss()
    orin.power_on()
    assert cluster.attempts(job_id) == [("orin", "lost"), ("orin", "done")]


def test_a_head_without_power_forgets_nothing(cluster: HostedCluster) -> None:
    """Its jobs and their order are as they were; what was submitted before is done once. What ran
    is lost or, as it went down with the head, preempted."""
    running = running_on(cluster, "nx", "sleep 10; echo over", needs={"device": ["nx"]})
    waiting = [cluster.submit(f"echo {n}", needs={"device": ["nx"]}) for n in range(3)]
    before = len(cluster.entries())
    cluster.head.power_loss()
    time.sleep(2.0)
    cluster.head.power_on()
    outcomes = cluster.attempts(running)
    assert outcomes[-1] == ("nx", "done") and {o for _, o in outcomes[:-1]} <= {"lost", "preempted"}
    for job_id in waiting:
        assert cluster.attempts(job_id)[-1] == ("nx", "done")
    entries = cluster.entries()
    assert len(entries) > before
    order = [e.placement.job.id for e in entries if isinstance(e, Start)]
    assert [id for id in order if id in waiting] == waiting
    done = [e.job_id for e in entries if isinstance(e, Finished) and e.outcome == "done"]
    assert all(done.count(id) == 1 for id in (running, *waiting))
    cluster.wait_ready()


def test_nothing_of_any_job_is_left_on_the_boards(cluster: HostedCluster) -> None:
    for host in cluster.boards.values():
        until(lambda host=host: not workload(host, "supervisor.py"))  # type: ignore[misc]
        assert not workload(host, "sleep")


def reaches(host: Host, other: Host) -> bool:
    """Whether another host says anything at all; nobody listens there, so it says no."""
    code = f"import socket; socket.create_connection(({other.address!r}, 1), timeout=5)"
    return "refused" in host.run(["python3", "-S", "-c", code]).stderr


def workload(host: Host, word: str) -> list[str]:
    """Processes of a host with this word in their command."""
    found = []
    for pid in host.processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(w == word or w.endswith("/" + word) for w in words):
            found.append(" ".join(words))
    return found


# ------------------------------------------------------------------------------------- the files


def test_what_a_job_left_comes_whole_to_whoever_fetches_it_though_the_link_was_cut(
    cluster: HostedCluster, tmp_path: Path
) -> None:
    run = 'head -c 60000000 /dev/urandom > "$JETSCHED_OUT/big"; cd "$JETSCHED_OUT"; sha256sum big'
    job_id = cluster.submit(run, needs={"device": ["nx"]})
    until(lambda: cluster.job(job_id)["artefacts"]["state"] in ("fetching", "complete"))
    cluster.boards["nx"].cut()
    time.sleep(3.0)
    cluster.boards["nx"].heal()
    until(lambda: cluster.job(job_id)["artefacts"]["state"] == "complete", cluster.evidence)
    assert cluster.attempts(job_id) == [("nx", "done")]
    with cluster.client() as client:
        fetched = FileClient(client).fetch(job_id, tmp_path)
        log = client.log(job_id)["text"]
    assert (fetched.files, fetched.came_bytes) == (("big",), 60_000_000)
    assert digest_of(tmp_path / "big") in log
    cluster.wait_ready()
