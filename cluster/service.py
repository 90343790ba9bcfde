"""The scheduler's process: the loop, the journal and the API. ``up`` starts it, detached.

Its state is the journal: killed at any moment, the next one replays it and goes on. What ran goes
on meanwhile, and is adopted.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from jetsched import policies
from jetsched.cluster.api_gate import Guard
from jetsched.cluster.api_server import Tls, http_server
from jetsched.cluster.boards import DEFAULT_TIMING, Timing
from jetsched.cluster.desk import Desk
from jetsched.cluster.joining import Joining
from jetsched.cluster.knowledge import Calibrate, Knowledge
from jetsched.cluster.link import NAMESPACE, Link, RayLink
from jetsched.cluster.live import RayCluster
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.raynodes import stay_on_loopback
from jetsched.cluster.state import ClusterState, alone, read_state
from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.errors import InputError, JetschedError
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    DeviceJoined,
    Entry,
    Finished,
    PolicyChanged,
    Start,
    Submitted,
)
from jetsched.scheduler.journal import NoJournal
from jetsched.scheduler.loop import run
from jetsched.scheduler.view import Costs, Policy

LOGS = "logs"
#: How many of a policy's last mistakes are remembered.
POLICY_ERRORS = 100

log = logging.getLogger(__name__)


class Service:
    """A scheduler with its journal, on a cluster. For the thread that calls :meth:`run`.

    ``since_s`` is when the cluster was started, by the wall clock: attempts from before went down
    with an earlier one. ``policy`` decides where no other one was chosen since. ``calibrate`` tells
    ``costs`` what a board's constants are.
    """

    def __init__(
        self,
        home: Path,
        policy: str,
        link: Link,
        costs: Costs,
        *,
        timing: Timing = DEFAULT_TIMING,
        since_s: float = 0.0,
        ray_since_s: float = 0.0,
        aging_s: float = 0.0,
        calibrate: Calibrate = lambda calibration: False,
        courier: Callable[[Forget], Courier] = lambda forget: NoCourier(),
    ) -> None:
        self._store = Store(home / JOURNAL)
        self._journal = GroupJournal(self._store)
        self._measured: list[Measurement] = []  # since the last commit
        self._knowledge = Knowledge(home, calibrate)
        fallback = policies.load(policies.FALLBACK)
        self.scheduler = Scheduler(
            fallback, costs, fallback=fallback, journal=NoJournal(), aging_s=aging_s
        )
        chosen = self._replay(since_s)
        spec, self.scheduler.policy = self._first_that_loads(chosen, policy)
        self.scheduler.journal = self._journal
        running = [
            ((record.job.id, current.number), current.start_s)
            for record in self.scheduler.jobs.values()
            if (current := record.current) is not None
        ]
        self.cluster = RayCluster(
            link,
            home / LOGS,
            self._knowledge,
            self.scheduler,
            stopped=[key for key, start_s in running if start_s < (ray_since_s or since_s)],
            timing=timing,
            commit=self._commit,
            courier=courier,
        )
        self._errors_told = 0
        self._begin(ServiceStarted(self.cluster.now_s(), spec, aging_s, __version__))
        self.desk = Desk(self.scheduler, self.cluster, self._knowledge.drift)
        log.info(
            "%d jobs in the journal, %d attempts to adopt", len(self.scheduler.jobs), len(running)
        )

    def run(self) -> None:
        """Turn the loop until the cluster is closed."""
        try:
            for event, actions in run(self.scheduler, self.cluster):
                log.info("%s -> %s", _words(event), [_words(a) for a in actions] or "nothing")
                self._knowledge.remember(event, self.scheduler.jobs)
                if isinstance(event, Finished) and event.measurement is not None:
                    self._measured.append(event.measurement)
                self._tell_policy_errors()
        finally:
            self._store.close()

    def _commit(self) -> None:
        """Have all on the disk that was handled. Raises :class:`JournalError`."""
        self._journal.commit()
        if self._measured:
            self._knowledge.keep(*self._measured)
            self._measured.clear()

    def _tell_policy_errors(self) -> None:
        """Log what a policy did wrong, and forget the oldest of it."""
        errors = self.scheduler.policy_errors
        for text in errors[self._errors_told :]:
            log.warning("%s", text)
        del errors[:-POLICY_ERRORS]
        self._errors_told = len(errors)

    def _replay(self, since_s: float) -> str:
        """Rebuild the state, and what is known of how boards did.

        Returns the policy that was chosen last on this cluster, "" for none.
        """
        chosen = ""

        def noting() -> Iterator[Entry]:
            nonlocal chosen
            for entry in self._store.entries():
                if isinstance(entry, PolicyChanged) and entry.at_s >= since_s:
                    chosen = entry.policy
                yield entry  # and when the next one is asked for, this one has been applied
                self._knowledge.remember(entry, self.scheduler.jobs)

        self.scheduler.replay(noting())
        return chosen

    def _first_that_loads(self, *specs: str) -> tuple[str, Policy]:
        """A policy with its spec, whatever has become of its file meanwhile: jobs run, and they
        must be kept."""
        for spec in filter(None, dict.fromkeys((*specs, policies.FALLBACK))):
            try:
                return spec, live_policy(spec)
            except (
                Exception,
                SystemExit,
            ) as error:  # of somebody else's code, which may be anything
                log.warning("policy %s is not used: %s", spec, error)
        raise AssertionError(f"{policies.FALLBACK} is ours, and loads")

    def _begin(self, event: ServiceStarted) -> None:
        """Write down that this scheduler began, what was measured since the last one ended, and that
        no board takes jobs before its agent has answered.

        Nothing is decided on it: which boards are there is not known yet, and nobody would perform
        what was decided. The first board that is opened brings a decision.
        """
        self._enter(event)
        self._knowledge.look()
        while (learned := self._knowledge.news(event.at_s)) is not None:
            self._enter(learned)
        text = "the scheduler has just been started"
        for device_id in self.scheduler.fleet.devices:
            self._enter(DeviceClosed(event.at_s, device_id, "DeviceOffline", text))
        self._commit()

    def _enter(self, event: Event) -> None:
        self.scheduler.enter(event)
        self._knowledge.remember(event, self.scheduler.jobs)


def main(argv: list[str] | None = None) -> int:
    """Serve the cluster that the state file describes, until SIGTERM."""
    parser = argparse.ArgumentParser(prog="jetsched.cluster.service")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of a bound socket")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.umask(0o077)  # the journal and the logs hold what jobs say, their environment included
    os.set_inheritable(options.socket, False)
    try:
        with only_one(options.home):
            serve(options.home, socket.socket(fileno=options.socket))
    except JetschedError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


def serve(home: Path, listener: socket.socket) -> None:
    """Connect to Ray, run the loop in this thread and the API in another."""
    state = read_state(home)
    if state is None:
        raise InputError(f"no cluster was started in {home}")
    connect_ray(state)
    stay_on_one_thread()
    from jetsched.profiler.costs import CostModel

    costs = CostModel()
    since_s = datetime.fromisoformat(state.started_at).timestamp()
    service = Service(
        home, state.policy, RayLink(), costs, since_s=since_s, calibrate=costs.calibrate
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray, which sets its own
        signal.signal(number, lambda *_: service.cluster.close())
    guard = Guard(state.api_token, Tokens(home / TOKENS_FILE))
    server = http_server(
        service.desk,
        guard,
        tls=tls_of(state),
        joining=Joining(home, state, service.desk.devices),
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True
    )
    thread.start()
    try:
        service.run()
    finally:
        server.should_exit = True
        thread.join(5)
    log.info("stopped")


def tls_of(state: ClusterState) -> Tls | None:
    """What the API is encrypted with, None for nothing."""
    cert, key = state.options.tls_cert, state.options.tls_key
    return Tls(Path(cert), Path(key)) if cert else None


def stay_on_one_thread() -> None:
    """Have linear algebra use one thread, in this process only.

    Its matrices are small, and where jobs use the cores, threads that wait for each other spin.
    Jobs may inherit the environment, so it says nothing of this.
    """
    import scipy.optimize  # noqa: F401  # what is to be limited must be loaded, numpy's as well
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)


def connect_ray(state: ClusterState) -> None:
    """Become a driver of the cluster's Ray."""
    import ray

    stay_on_loopback()
    ray.init(
        address=state.ray_address,
        namespace=NAMESPACE,
        _node_ip_address=state.host,
        log_to_driver=False,
        configure_logging=False,
    )


def only_one(home: Path) -> AbstractContextManager[None]:
    """Hold the data home's journal. Raises :class:`InputError` where another service has it."""
    return alone(home / LOGS, f"another scheduler uses {home}")


def _words(entry: Entry) -> str:
    """An entry in a few words, for the service's log."""
    parts = [type(entry).__name__]
    for name in ("job_id", "attempt", "device_id", "outcome", "text", "policy"):
        if getattr(entry, name, None):
            parts.append(str(getattr(entry, name)))
    if isinstance(entry, DeviceJoined):
        parts.append(entry.device.id)
    if isinstance(entry, Submitted):
        parts += [job.id for job in entry.jobs]
    if isinstance(entry, Start):
        parts += [entry.placement.job.id, "on", entry.placement.device.id]
    return " ".join(parts)


if __name__ == "__main__":
    # Not `__main__`'s own copies: Ray pickles classes by the name of their module.
    from jetsched.cluster import service

    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(service.main())
