"""Parts of `make bench-live` on hosts of their own: how soon jobs run again, what a board pays."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from chaos_inject import words_of
from chaos_watch import JournalWatch
from hosted_cluster import HostedCluster, a_cluster
from live_bars import Row
from multihost import Host, reason_against
from multihost_net import Elsewhere

#: So often each thing is done, and how long an idle board is watched.
TIMES = 4
WATCH_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


def recovery() -> Iterator[Row]:
    """From power loss, a cut link and a dead scheduler until a job runs (again). Health: tight."""
    if against := reason_against():
        yield Row("recovery", f"left out: {against}")
        return
    with a_cluster(lease_s=15.0) as cluster:
        watch = JournalWatch(cluster.journal, Elsewhere(cluster.site.pid))
        killed, cut, service = [], [], []
        for turn in range(TIMES):
            host = [*cluster.boards.values()][turn % 2]
            killed.append(_moved(cluster, watch, host, host.power_loss))
            host.power_on()
            cluster.wait_ready()
        for turn in range(TIMES):
            host = [*cluster.boards.values()][turn % 2]
            cut.append(_moved(cluster, watch, host, host.cut))
            host.heal()
            cluster.wait_ready()
        for _ in range(TIMES):
            service.append(_service_killed(cluster))
            cluster.wait_ready()
        watch.close()
    yield Row("board without power -> runs elsewhere", _worst(killed), "< 10 s", max(killed) < 10)
    yield Row("link cut -> runs elsewhere", _worst(cut), "< 20 s", max(cut) < 20)
    yield Row("service killed -> schedules again", _worst(service), "< 5 s", max(service) < 5)


def _moved(cluster: HostedCluster, watch: JournalWatch, host: Host, hurt: Any) -> float:
    """Seconds until a job of a board runs on the other one, counted to its `Started`."""
    other = next(name for name in cluster.boards if name != host.name)
    blocker = cluster.submit("sleep 2", needs={"device": [other]})
    cluster.wait(blocker, "running", "done")
    job_id = cluster.submit("sleep 30", priority=90)
    cluster.wait(job_id, "running")
    cluster.wait(blocker, "done")
    began = time.monotonic()
    hurt()
    again = watch.wait_for(
        lambda: watch.first_after(began, lambda e: e.type == "Started" and e.key == (job_id, 2)),
        120.0,
    )
    with cluster.client() as client:
        client.cancel(job_id)
    cluster.wait(job_id)
    return float(again.at - began)


def _service_killed(cluster: HostedCluster) -> float:
    """Seconds until a job that is handed in after the kill has started."""
    (service,) = (p for p in cluster.head.processes() if "jetsched.cluster.service" in words_of(p))
    began = time.monotonic()
    os.kill(service, signal.SIGKILL)
    job_id = cluster.submit("true")
    cluster.wait(job_id, "starting", "running", "done")
    return time.monotonic() - began


def _worst(values: list[float]) -> str:
    return f"median {median(values):.1f} s, worst {max(values):.1f} s of {len(values)}"


# ------------------------------------------------------------------------------------ footprint


def footprint() -> Iterator[Row]:
    """What an idle board pays: memory as if it were alone on its machine, and CPU time."""
    if against := reason_against():
        yield Row("footprint", f"left out: {against}")
        return
    with a_cluster({"nx": "xavier-nx:0.2"}) as cluster:
        nx = cluster.boards["nx"]
        assert cluster.attempts(cluster.submit("true")) == [("nx", "done")]
        time.sleep(5.0)
        before = {pid: cpu_s(pid) for pid in nx.processes()}
        time.sleep(WATCH_S)
        after = {pid: cpu_s(pid) for pid in nx.processes()}
        used = {pid: (after[pid] - before.get(pid, 0.0)) / WATCH_S for pid in after}
        mine = {pid for pid in after if is_ours(pid)}
        memory = memory_mb(list(after))
        parts = sorted(((memory_mb([pid]), name_of(pid)) for pid in after), reverse=True)
        ray_cpu = sum(used[p] for p in used if p not in mine)
        our_cpu = sum(used[p] for p in mine)
    total = ", ".join(f"{name} {mb:.0f}" for mb, name in parts)
    yield Row(
        "memory of an idle board with Ray",
        f"{memory:.0f} MB ({total})",
        "< 350 MB",
        memory < 350,
    )
    yield Row("CPU of our own processes, idle", f"{our_cpu:.2%} of a core", "< 1 %", our_cpu < 0.01)
    yield Row("CPU of Ray's processes, idle", f"{ray_cpu:.2%} of a core")


def is_ours(pid: int) -> bool:
    """Whether it is jetsched's own: the board's supervisor, or the agent in its Ray worker."""
    words = words_of(pid)
    return words[:1] == ["ray::Agent"] or "jetsched.cluster.noderunner" in words


def name_of(pid: int) -> str:
    words = words_of(pid)
    if is_ours(pid):
        return "agent" if words[0].startswith("ray::") else "join"
    if any("ray_command" in word for word in words):
        return "ray start"
    return os.path.basename(words[0]).removeprefix("ray::") if words else "?"


def cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pids: list[int]) -> float:
    """Their PSS, as if nobody else on the machine used the same files.

    What is private counts fully; of a file that several have mapped, the most that one of them has
    of each mapping counts once.
    """
    private, shared = 0, dict[tuple[str, str], int]()
    for pid in pids:
        with contextlib.suppress(OSError):
            file, sizes = ("", ""), dict[str, int]()
            for line in [*Path(f"/proc/{pid}/smaps").read_text().splitlines(), "0-0 - 0 0 0"]:
                words = line.split()
                if not words[0].endswith(":"):
                    alone = sizes.get("Private_Clean:", 0) + sizes.get("Private_Dirty:", 0)
                    private += alone
                    shared[file] = max(shared.get(file, 0), sizes.get("Rss:", 0) - alone)
                    path = words[5] if len(words) > 5 else f"{pid} {words[0]}"
                    file, sizes = (path, words[2]), {}
                elif words[-1] == "kB":
                    sizes[words[0]] = int(words[1])
    return (private + sum(shared.values())) * 1024 / 1e6
