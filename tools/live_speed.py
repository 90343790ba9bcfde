"""Parts of `make bench-live` on the loopback: latency, throughput, a long queue, agreement."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import psutil
from live_agreement import SAME_AS_PROFILE, SAME_MAKESPAN, same_as_profile, twenty_jobs
from live_bars import Row, command, local_cluster, p90, spread, until

from jetsched.cluster.client import Client
from jetsched.cluster.state import read_state
from jetsched.cluster.store import JOURNAL, journal_entries
from jetsched.records import FINAL_STATES
from jetsched.scheduler.events import Finished, Submitted

#: So often the way from the submission to the child is measured, and on an idle board each time.
STARTS = 30
IDLE_S = 1.0
#: Jobs without a child, handed in one by one by so many clients at once; and jobs with one.
NULLS, CLIENTS, TRUES = 3000, 8, 60
LONG_QUEUE = 10_000
#: Runs of the same work, live and under `profile` in turn.
PAIRS = 5


def start() -> Iterator[Row]:
    """From the submission to the child's first breath, on an idle board with a warm agent."""
    with local_cluster("orin-nano:0.4") as (home, client):
        wait_done(client, [submit(client, command("true"))])
        breaths, forks = [], []
        for _ in range(STARTS):
            time.sleep(IDLE_S)
            began = time.time()
            job_id = submit(client, command("date +%s.%N"))
            wait_done(client, [job_id])
            breaths.append(float(client.log(job_id)["text"]) - began)
            (exited,) = home.glob(f"nodes/*/{job_id}-1/exit.json")
            forks.append(json.loads(exited.read_bytes())["started_s"] - began)
    yield Row(
        "submit -> child started (idle board)", spread(forks), "p50 < 0.5 s", median(forks) < 0.5
    )
    yield Row("submit -> first output of `date`", spread(breaths))


def throughput() -> Iterator[Row]:
    """Jobs per second, from the API to the commit of their end."""
    with local_cluster("xavier-nx:0.2,orin-nano:0.4") as (home, client):
        state = read_state(home)
        assert state is not None

        def hand_in(count: int) -> None:
            with Client.to(state) as mine:
                for _ in range(count):
                    mine.submit_specs([command(":")])

        began = time.monotonic()
        threads = [
            threading.Thread(target=hand_in, args=(NULLS // CLIENTS,)) for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        handed_in_s = time.monotonic() - began
        until(lambda: not client.page(states="open", limit=1), 0.5)
        took_s = time.monotonic() - began
        entries = list(journal_entries(home / JOURNAL))
        done = sum(isinstance(e, Finished) and e.outcome == "done" for e in entries)
        first = next(e.at_s for e in entries if isinstance(e, Submitted))
        last = max(e.at_s for e in entries if isinstance(e, Finished))
        rate = done / (last - first)
        yield Row(
            f"{done} null jobs, {CLIENTS} clients, one by one",
            f"{rate:.0f} jobs/s ({took_s:.1f} s; handed in after {handed_in_s:.1f} s)",
            ">= 200 jobs/s",
            rate >= 200,
        )
        began = time.monotonic()
        rows = client.submit_specs([command(":") for _ in range(NULLS)])
        wait_done(client, [str(row["id"]) for row in rows], pause_s=0.2)
        took_s = time.monotonic() - began
        yield Row(f"{NULLS} null jobs handed in together", f"{NULLS / took_s:.0f} jobs/s")
        began = time.monotonic()
        rows = client.submit_specs([command("true") for _ in range(TRUES)])
        wait_done(client, [str(row["id"]) for row in rows])
        took_s = time.monotonic() - began
        yield Row(
            f"{TRUES} jobs `true` with real children", f"{TRUES / took_s:.1f} jobs/s, 2 boards"
        )


def queue() -> Iterator[Row]:
    """Ten thousand jobs wait: how fast is a screen, and how large the service."""
    with local_cluster("xavier-nx:0.2") as (home, client):
        client.pause("bench-live")
        began = time.monotonic()
        for first in range(0, LONG_QUEUE, 500):
            client.submit_specs(
                command(f"echo {n}", priority=n % 100) for n in range(first, first + 500)
            )
        took_s = time.monotonic() - began
        times = []
        for _ in range(20):
            asked = time.monotonic()
            assert client.page(states="open", order="queue", limit=50)
            times.append(time.monotonic() - asked)
        state = read_state(home)
        assert state is not None
        (service,) = state.of_role("service")
        memory = psutil.Process(service.pid).memory_full_info()
    slow = p90(times)
    yield Row(f"{LONG_QUEUE} jobs handed in", f"{took_s:.1f} s")
    yield Row("first page of the queue", spread(times, "s", 3), "< 300 ms", slow < 0.3)
    yield Row(
        "service's memory then",
        f"PSS {memory.pss / 1e6:.0f} MB, RSS {memory.rss / 1e6:.0f} MB",
        "< 400 MB",
        memory.rss < 400e6,
    )


def same() -> Iterator[Row]:
    """The same training live and under `profile`, in turn, on one emulated board."""
    emulate = "orin-nano:0.4"
    with local_cluster(emulate) as (home, _):
        agreed = same_as_profile(home, emulate, device="orin-1", repeat=PAIRS)
    yield Row(
        f"live against profile, quickest of {PAIRS}",
        f"{min(agreed.live_s):.2f} s against {min(agreed.profile_s):.2f} s: {agreed.off:+.1%}",
        "within 3 %",
        abs(agreed.off) <= SAME_AS_PROFILE,
    )
    yield Row(
        "  medians; the work alone", f"{agreed.median_off:+.1%}; {agreed.rate_off:+.1%} (quickest)"
    )


def makespan() -> Iterator[Row]:
    """Twenty live jobs, and the same in the simulator."""
    with local_cluster("xavier-nx:0.2,orin-nano:0.2") as (home, _):
        report = twenty_jobs(home)
    free = report.free
    assert free is not None
    yield Row(
        f"simulated makespan of {free.jobs} live jobs",
        f"{free.simulated_makespan_s:.1f} s against {free.live_makespan_s:.1f} s: {free.off:+.1%}",
        "within 10 %",
        abs(free.off) <= SAME_MAKESPAN,
    )
    yield Row(
        "  the same decisions", f"{free.starts} starts, in the same order: {free.same_starts}"
    )


# ------------------------------------------------------------------------------------- helpers


def submit(client: Client, spec: dict[str, Any]) -> str:
    return str(client.submit_specs([spec])[0]["id"])


def wait_done(client: Client, ids: list[str], pause_s: float = 0.02) -> None:
    """Wait until these jobs have ended. Raises RuntimeError if one is not done."""
    for job_id in reversed(ids):
        job = until(lambda id=job_id: ended_row(client, id), pause_s)  # type: ignore[misc]
        if job["state"] != "done":
            raise RuntimeError(f"job {job_id} is {job['state']}: {job['attempts'][-1:]}")


def ended_row(client: Client, job_id: str) -> dict[str, Any] | None:
    job = client.job(job_id)
    return job if job["state"] in FINAL_STATES else None
