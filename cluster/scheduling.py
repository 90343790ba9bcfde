"""The scheduler of a live cluster, with its journal: rebuilt from it, and written down in it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from jetsched import __version__, policies
from jetsched.cluster.boards import DEFAULT_TIMING, Timing
from jetsched.cluster.clock import LiveClock
from jetsched.cluster.courier import Courier as FileCourier
from jetsched.cluster.courier import CourierOptions
from jetsched.cluster.desk import Desk
from jetsched.cluster.journalling import GroupJournal
from jetsched.cluster.knowledge import Calibrate, Knowledge
from jetsched.cluster.link import Link
from jetsched.cluster.live import Forget, RayCluster
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.protocol import Key
from jetsched.cluster.secretcourier import SecretCourier
from jetsched.cluster.secretstore import SECRETS, Secrets
from jetsched.cluster.shelf import BUNDLES, Shelf
from jetsched.cluster.store import JOURNAL, Store
from jetsched.cluster.transfers import Courier
from jetsched.records import FINAL_STATES, Measurement
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import (
    Action,
    DeviceClosed,
    DeviceJoined,
    Entry,
    Event,
    Finished,
    PolicyChanged,
    ServiceStarted,
    Start,
    Submitted,
)
from jetsched.scheduler.journal import NoJournal
from jetsched.scheduler.loop import run
from jetsched.scheduler.view import Costs, Policy

LOGS = "logs"
#: How many of a policy's last mistakes are remembered.
POLICY_ERRORS = 100
DEFAULT_FILES = CourierOptions()

#: The least time between two times that measurements are added to the data home.
KEEP_S = 0.5

log = logging.getLogger(__name__)


class Service:
    """A scheduler with its journal, on a cluster. For the thread that calls :meth:`run`.

    ``since_s`` is when the cluster was started, by the wall clock: ``policy`` decides where no
    other one was chosen since. ``ray_since_s`` is when its Ray was, if later: attempts from before
    went down with that. ``aging_s``: see :class:`~jetsched.scheduler.book.Book`. ``calibrate``
    tells ``costs`` what a board's constants are; ``courier`` makes whoever carries files, where
    it is not to be the one that ``files`` describes.
    """

    def __init__(
        self,
        home: Path,
        policy: str,
        link: Link,
        costs: Costs,
        *,
        timing: Timing = DEFAULT_TIMING,
        wall: Callable[[], float] = time.time,
        since_s: float = 0.0,
        ray_since_s: float = 0.0,
        aging_s: float = 0.0,
        calibrate: Calibrate = lambda calibration: False,
        courier: Callable[[Forget], Courier] | None = None,
        files: CourierOptions = DEFAULT_FILES,
    ) -> None:
        self._store = Store(home / JOURNAL)
        self._journal = GroupJournal(self._store)
        self._measured: list[Measurement] = []  # not yet in the data home
        self._next_keep = 0.0  # monotonic
        self._handled: list[tuple[Event, list[Action]]] = []  # the same
        self._knowledge = Knowledge(home, calibrate)
        self.secrets = Secrets(home / SECRETS)
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
        self.files: FileCourier | None = None
        make_courier = courier or self._courier(link, home, files)
        self.cluster = RayCluster(
            link,
            home / LOGS,
            self._knowledge,
            self.scheduler,
            stopped=[key for key, start_s in running if start_s < (ray_since_s or since_s)],
            timing=timing,
            clock=LiveClock(self.scheduler.now_s, wall).now_s,
            commit=self._commit,
            courier=lambda forget: SecretCourier(make_courier(forget), self.secrets),
            redactor=self.secrets,
        )
        if self.files is not None:
            self.files.on_files = self.cluster.files_seen
        self._errors_told = 0
        self._begin(ServiceStarted(self.cluster.now_s(), spec, aging_s, __version__))
        self.desk = Desk(self.scheduler, self.cluster, self._knowledge.drift)
        self.desk.files = self.files
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
                self._handled.append((event, actions))
                self._tell_policy_errors()
        finally:
            self.cluster.inbox.close()  # also where an error ended the loop
            self.cluster.courier.close()
            self._keep_measured()
            self._store.close()

    def _courier(
        self, link: Link, home: Path, options: CourierOptions
    ) -> Callable[[Forget], Courier]:
        jobs = self.scheduler.jobs

        def is_over(key: Key) -> bool:
            record = jobs.get(key[0])
            attempts = record.attempts if record is not None else []
            return key[1] > len(attempts) or attempts[key[1] - 1].outcome is not None

        def is_open(job_id: str) -> bool:
            record = jobs.get(job_id)
            return record is not None and record.state != "done"  # others can be tried again

        def is_ours(key: Key, submitted_s: float) -> bool:
            record = jobs.get(key[0])
            return record is not None and record.job.submitted_s == submitted_s

        def used() -> Iterator[str]:
            for record in list(jobs.values()):
                if record.state not in FINAL_STATES:
                    yield from (record.job.work.get(BUNDLES) or {}).values()

        def made(forget: Forget) -> Courier:
            self.files = FileCourier(
                link,
                home,
                forget,
                shelf=Shelf(home, used),
                is_over=is_over,
                is_open=is_open,
                is_ours=is_ours,
                options=options,
            )
            return self.files

        return made

    def _commit(self) -> None:
        """Have all on the disk that was handled. Raises :class:`JournalError`."""
        self._journal.commit()
        handled, self._handled = self._handled, []
        for event, actions in handled:
            self.desk.heard(event, actions)
        if self._measured and time.monotonic() > self._next_keep:
            self._keep_measured()

    def _keep_measured(self) -> None:
        """Measurements go to the data home as well, now and then: the journal has them."""
        self._knowledge.keep(*self._measured)
        self._measured.clear()
        self._next_keep = time.monotonic() + KEEP_S

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
        """Write down that this scheduler began, what was measured since the last one ended, and
        that no board takes jobs before its agent has answered.

        Nothing is decided on it: which boards are there is not known yet, and nobody would perform
        what was decided. The first board that is opened brings a decision.
        """
        self._enter(event)
        self._knowledge.look()
        while (learned := self._knowledge.news(event.at_s)) is not None:
            self._enter(learned)
        text = "the scheduler has just been started"
        for device_id in list(self.scheduler.fleet.devices):
            self._enter(DeviceClosed(event.at_s, device_id, "DeviceOffline", text))

    def _enter(self, entry: Entry) -> None:
        self.scheduler.enter(entry)
        self._knowledge.remember(entry, self.scheduler.jobs)


def _words(entry: Entry) -> str:
    """An entry in a few words, for the service's log."""
    parts = [type(entry).__name__]
    for name in ("job_id", "attempt", "device_id", "outcome", "text", "policy"):
        if getattr(entry, name, None):
            parts.append(str(getattr(entry, name)))
    if isinstance(entry, DeviceJoined):
        parts.append(entry.device.id)
    if isinstance(entry, Submitted):
        first, last = entry.jobs[0].id, entry.jobs[-1].id
        parts.append(first if first == last else f"{first} to {last}")
    if isinstance(entry, Start):
        parts += [entry.placement.job.id, "on", entry.placement.device.id]
    return " ".join(parts)
