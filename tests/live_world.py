"""A whole scheduler service over agents in this process, for tests: all real but Ray and HTTP."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from builders import TableCosts
from invariants import check_invariants
from local_agents import LocalAgents

from jetsched.cluster.boards import Timing
from jetsched.cluster.link import Link
from jetsched.cluster.scheduling import Service
from jetsched.cluster.store import JOURNAL, Store
from jetsched.profiler.limits import Limits
from jetsched.records import Device, DeviceClass, Job, Workload
from jetsched.scheduler.events import Entry, Event, Start, Submitted
from jetsched.scheduler.view import Costs

#: Against hanging only.
SOON_S = 180.0
FAST = Timing(
    poll_s=0.02,
    quick_poll_s=0.02,
    idle_poll_s=0.05,
    look_s=0.2,
    scan_s=0.05,
    suspect_s=20.0,
    begin_s=1.0,
    rest_s=0.3,
    lone_rest_s=0.2,
    longest_rest_s=1.0,
)

NX = Device("nx-1", DeviceClass("xavier-nx", "emulated", "", 150.0, emulated=True))
ORIN = Device("orin-1", DeviceClass("orin-nano", "emulated", "", 2000.0, emulated=True))
BOARDS = {
    "nx-1": (NX, Limits(memory_mib=150.0)),
    "orin-1": (ORIN, Limits(memory_mib=2000.0)),
}


def a_command(id: str, run: str, like: str = "short", **changes: Any) -> Job:
    """A job that runs a shell command; ``like`` is what the cost table knows it by."""
    return replace(Job(id, Workload("command", like, command=run)), **changes)


def allocating(mib: int, then_s: float) -> str:
    """A command that really holds so much memory for a while."""
    return (
        f"exec {sys.executable} -c 'import time; x = b\"x\" * ({mib} << 20); time.sleep({then_s})'"
    )


def table(**times_s: float) -> TableCosts:
    """A cost table in which a kind of job takes the same on both boards."""
    boards = (NX.model, ORIN.model)
    return TableCosts({(like, model): t for like, t in times_s.items() for model in boards})


class LiveWorld:
    """A running service. As a context it ends everything it started.

    With ``link`` it has other boards than the ``agents`` of this process.
    """

    def __init__(
        self,
        home: Path,
        costs: Costs | None = None,
        *,
        agents: LocalAgents | None = None,
        link: Link | None = None,
        timing: Timing = FAST,
        policy: str = "earliest_finish",
        since_s: float = 0.0,
        wall: Callable[[], float] = time.time,
        **node: Any,
    ) -> None:
        self.home = home
        self.agents = agents or LocalAgents(home / "nodes", BOARDS if link is None else {}, **node)
        self.costs = costs or table(short=1.0)
        calibrate = getattr(self.costs, "calibrate", lambda calibration: False)
        self.service = Service(
            home,
            policy,
            link if link is not None else self.agents,
            self.costs,
            timing=timing,
            since_s=since_s,
            wall=wall,
            calibrate=calibrate,
        )
        self.desk, self.cluster = self.service.desk, self.service.cluster
        self.scheduler = self.service.scheduler
        self._thread = threading.Thread(target=self.service.run, daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.agents.close()

    def stop(self) -> None:
        """End the scheduler; what runs goes on."""
        self.cluster.close()
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()

    def tell(self, *events: Event | Callable[[float], Event]) -> None:
        def made(now_s: float) -> Iterable[Event]:
            return [event(now_s) if callable(event) else event for event in events]

        self.cluster.ask(lambda now_s: None, before=made)

    def submit(self, *jobs: Job) -> None:
        self.tell(
            lambda now_s: Submitted(now_s, tuple(replace(j, submitted_s=now_s) for j in jobs))
        )

    def look(self, fact: Callable[[Any], Any]) -> Any:
        """A fact about the scheduler, with its invariants checked at the same instant."""

        def answer(now_s: float) -> Any:
            check_invariants(self.scheduler)
            return fact(self.scheduler)

        return self.cluster.ask(answer)

    def until(self, fact: Callable[[Any], Any]) -> Any:
        """Wait until a fact about the scheduler is true."""
        end = time.monotonic() + SOON_S
        while not (value := self.look(fact)):
            assert time.monotonic() < end, "it did not become true"
            time.sleep(0.02)
        return value

    def wait(self, fact: Callable[[], Any]) -> Any:
        """Wait until something is true that is not looked up on the loop's thread."""
        end = time.monotonic() + SOON_S
        while not (value := fact()):
            assert time.monotonic() < end, "it did not become true"
            time.sleep(0.02)
        return value

    def until_state(self, job_id: str, *states: str) -> list[tuple[str, str | None]]:
        """Wait for a job's state; returns (device, outcome) of its attempts."""
        self.until(lambda s: s.jobs[job_id].state in states)
        attempts = self.look(lambda s: list(s.jobs[job_id].attempts))
        return [(a.device, a.outcome) for a in attempts]

    def until_devices(self, *ids: str) -> None:
        self.until(lambda s: set(s.fleet.devices) == set(ids))

    def log(self, job_id: str) -> str:
        return str(self.desk.log(job_id)["text"])


def starts(entries: Iterable[Entry]) -> list[tuple[str, str, int]]:
    """The decisions in a journal: (job, device, attempt), in order."""
    return [
        (e.placement.job.id, e.placement.device.id, e.attempt)
        for e in entries
        if isinstance(e, Start)
    ]


def journal(home: Path) -> list[Entry]:
    """What is in the journal on disk; the service may be running."""
    store = Store(home / JOURNAL)
    try:
        return list(store.entries())
    finally:
        store.close()
