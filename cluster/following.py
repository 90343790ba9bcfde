"""A live history decided once more: every event as it came, and what is decided on it now.

The scheduler that follows is the live one's class, with a policy and a cost model of its own that
hear what the live ones heard. What was really decided takes effect, not what is decided now: so
each decision is compared in the very state in which it was made, also behind one that differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import inf
from typing import Any, NamedTuple

from jetsched import policies
from jetsched.cluster.livepolicy import live_policy
from jetsched.errors import JetschedError
from jetsched.records import Decision
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.costs import Costs
from jetsched.scheduler.events import (
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DeviceRemoved,
    Entry,
    Event,
    Finished,
    GivenUp,
    Learned,
    PolicyChanged,
    Remarked,
    ServiceStarted,
    Start,
    Stop,
    Submitted,
)
from jetsched.scheduler.journal import NoJournal

#: What the scheduler decides; everything else in a journal happened to it.
Decided = Start | Stop | GivenUp


@dataclass(frozen=True)
class Step:
    """A decision in short. Two that are equal are the same decision."""

    what: str  # start | stop | give up
    job_id: str
    device: str | None = None
    attempt: int | None = None

    @classmethod
    def of(cls, entry: Decided) -> Step:
        match entry:
            case Start():
                placement = entry.placement
                return cls("start", placement.job.id, placement.device.id, entry.attempt)
            case Stop():
                return cls("stop", entry.job_id, entry.device_id, entry.attempt)
            case GivenUp():
                return cls("give up", entry.job_id)

    def __str__(self) -> str:
        where = f" on {self.device}" if self.device else ""
        number = f" (attempt {self.attempt})" if self.attempt else ""
        return f"{self.what} {self.job_id}{where}{number}"


@dataclass(frozen=True)
class Difference:
    """Where the two schedulers differ. ``number`` counts the live one's decisions, from 1.

    None stands for a decision that only the other one took. The two decisions hold what each policy
    saw, where that is known.
    """

    number: int
    at_s: float
    event: str  # what was decided on
    live: Step | None
    replayed: Step | None
    live_decision: Decision | None
    replayed_decision: Decision | None
    policy: str
    live_policy: str
    #: What the followed scheduler's policy did wrong just then.
    errors: tuple[str, ...] = ()


class Pair(NamedTuple):
    """A live decision and the one taken now; None where there is no counterpart.

    ``seen`` is what is seen now of the job of a live decision that is not taken.
    """

    live: Decided | None
    mine: Decided | None
    seen: Decision | None = None


@dataclass(frozen=True)
class Moment:
    """An event of a history, with what was decided on it before the next one."""

    event: Event
    decided: tuple[Entry, ...]


def moments(entries: Iterable[Entry]) -> Iterator[Moment]:
    """The entries of a journal, each event with what followed from it. Streams."""
    event: Event | None = None
    decided: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Start | Stop | GivenUp | Remarked):
            decided.append(entry)
            continue
        if event is not None:
            yield Moment(event, tuple(decided))
        event, decided = entry, []
    if event is not None:
        yield Moment(event, tuple(decided))


class Follower(Scheduler):
    """A scheduler that decides for itself, and goes on with what was really decided."""

    def __init__(self, costs: Costs) -> None:
        fallback = policies.load(policies.FALLBACK)
        super().__init__(fallback, costs, fallback=fallback, journal=NoJournal())
        self._live: deque[Entry] = deque()
        self._pairs: list[Pair] = []

    def follow(self, moment: Moment) -> list[Pair]:
        """Decide on an event, then do what was done; returns the decisions of both."""
        self._live.extend(moment.decided)
        self._pairs = []
        self.handle(moment.event)
        while self._live:
            entry = self._live.popleft()
            if not isinstance(entry, Remarked):
                self._pairs.append(Pair(_decided(entry), None, self._seen(entry)))
            super().enter(entry)
        return self._pairs

    def enter(self, entry: Entry) -> None:
        """Instead of what is decided now, what was decided then takes effect."""
        if isinstance(entry, Remarked):
            return  # no decision: the live ones are entered as they stand
        while self._live and isinstance(self._live[0], Remarked):
            super().enter(self._live.popleft())
        mine = _decided(entry)
        if self._live and Step.of(_decided(self._live[0])) == Step.of(mine):
            live = self._live.popleft()
            self._pairs.append(Pair(_decided(live), mine))
            super().enter(live)
            return
        self._pairs.append(Pair(None, mine))

    def _seen(self, entry: Entry) -> Decision | None:
        """What was seen of the job of a live decision that is not taken now."""
        if not isinstance(entry, Start):
            return None
        return self.why(entry.placement.job.id, entry.at_s)


def _decided(entry: Entry) -> Decided:
    assert isinstance(entry, Start | Stop | GivenUp)
    return entry


@dataclass
class Followed:
    """What came of following a history. ``decisions`` are those of the live scheduler."""

    decisions: int = 0
    events: int = 0
    starts: int = 0
    differences: int = 0
    #: (from when, policy) as they decided.
    policies: tuple[tuple[float, str], ...] = ()
    #: Policies of the history that cannot be loaded here, and why.
    missing: dict[str, str] = field(default_factory=dict)
    #: Times at which a scheduler began on the journal.
    restarts: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "decisions": self.decisions,
            "starts": self.starts,
            "events": self.events,
            "differences": self.differences,
            "policies": [{"from_s": at_s, "policy": spec} for at_s, spec in self.policies],
            "missing": self.missing,
            "restarts": list(self.restarts),
        }


class Following:
    """Follows a history from one event to the next. ``found`` hears of each difference.

    Counted and compared is what happened from ``from_s`` on. ``policy`` decides instead of those
    that did; ``first_policy`` where the journal does not say. ``news`` is asked before each event
    what else had been told to the cost model by then.
    """

    def __init__(
        self,
        costs: Costs,
        *,
        found: Callable[[Difference], None],
        policy: str | None = None,
        first_policy: str = "",
        from_s: float = -inf,
        news: Callable[[Event], Learned | None] = lambda event: None,
    ) -> None:
        self.scheduler = Follower(costs)
        self.result = Followed()
        self._found = found
        self._forced = policy
        self._news = news
        self._from_s = from_s
        self._start_s: float | None = None
        self._spec = ""
        self._use(policy or first_policy or policies.FALLBACK, 0.0)

    def replay(self, entries: Iterable[Entry]) -> None:
        """Take in what was before, without deciding anything."""

        def told() -> Iterator[Entry]:
            for entry in entries:
                if not isinstance(entry, Start | Stop | GivenUp | Remarked):
                    if (news := self._news(entry)) is not None:
                        yield news
                    self._note_policy(entry)
                yield entry

        self.scheduler.replay(told())

    def follow(self, moment: Moment) -> None:
        """Decide on the next event, and compare."""
        event, result = moment.event, self.result
        if (news := self._news(event)) is not None:
            self.scheduler.apply(news)
        self._note_policy(event)
        self._believe(moment.decided)
        result.events += event.at_s >= self._from_s
        if self._is_of_start(event) and not moment.decided:
            self.scheduler.apply(event)
            return
        told = len(self.scheduler.policy_errors)
        try:
            pairs = self.scheduler.follow(moment)
        except JetschedError as error:
            raise type(error)(f"{words(event)}: {error}", hint=error.hint) from None
        errors = tuple(self.scheduler.policy_errors[told:])
        self._compare(event, _paired(pairs), errors)

    def _is_of_start(self, event: Event) -> bool:
        """Whether a scheduler that starts takes this in before it decides anything."""
        if isinstance(event, ServiceStarted):
            self._start_s = event.at_s
        elif not isinstance(event, Learned | DeviceClosed):
            self._start_s = None
        return event.at_s == self._start_s

    def _compare(self, event: Event, pairs: Sequence[Pair], errors: tuple[str, ...]) -> None:
        result = self.result
        if event.at_s < self._from_s:
            return
        for live, mine, seen in pairs:
            result.decisions += live is not None
            result.starts += isinstance(live, Start)
            if live is not None and mine is not None and Step.of(live) == Step.of(mine):
                continue
            result.differences += 1
            live_decision = live.decision if isinstance(live, Start) else None
            decision = seen
            if decision is None and isinstance(mine, Start):
                decision = mine.decision
            self._found(
                Difference(
                    max(1, result.decisions + (live is None)),
                    event.at_s,
                    words(event),
                    None if live is None else Step.of(live),
                    None if mine is None else Step.of(mine),
                    live_decision,
                    decision,
                    policy_name(self.scheduler.policy),
                    self._spec if live_decision is None else live_decision.policy,
                    errors,
                )
            )

    # ---------------------------------------------------------------------------- what was known

    def _note_policy(self, event: Event) -> None:
        if isinstance(event, ServiceStarted):
            self.result.restarts += (event.at_s,)
            self.scheduler.age_by(event.aging_s)
            self._use(event.policy, event.at_s)
        elif isinstance(event, PolicyChanged):
            self._use(event.policy, event.at_s)

    def _believe(self, decided: Sequence[Entry]) -> None:
        """An old journal does not say which policy a cluster was started with; decisions do."""
        for entry in decided:
            if isinstance(entry, Start) and entry.decision is not None:
                if entry.decision.policy != policy_name(self.scheduler.policy):
                    self._use(entry.decision.policy, entry.at_s)
                return

    def _use(self, spec: str, at_s: float) -> None:
        """Have a new policy decide, one that remembers nothing."""
        if self._forced is not None:
            if self._spec:
                return
            spec = self._forced
        elif spec in self.result.missing:
            return
        try:
            self.scheduler.policy = live_policy(spec)
        except (Exception, SystemExit) as error:  # somebody else's code, which may be anything
            if self._forced is not None:
                raise
            self.result.missing[spec] = str(error)
            return
        if spec != self._spec:
            self.result.policies += ((at_s, spec),)
        self._spec = spec


def _paired(pairs: Sequence[Pair]) -> list[Pair]:
    """Decisions that only one of them took stand beside each other, first to first."""
    both = [pair for pair in pairs if pair.live is not None and pair.mine is not None]
    live = [pair for pair in pairs if pair.mine is None]
    mine = [pair.mine for pair in pairs if pair.live is None]
    for there, here in zip_longest(live, mine):
        both.append(Pair(None, here) if there is None else there._replace(mine=here))
    return both


def words(event: Event) -> str:
    """An event in a few words."""
    match event:
        case Submitted():
            ids = [job.id for job in event.jobs]
            many = f"{len(ids)} jobs" if len(ids) > 3 else "job " + ", ".join(ids)
            return f"{many} came"
        case Finished():
            return f"attempt {event.attempt} of job {event.job_id} ended: {event.outcome}"
        case DeviceJoined():
            return f"{event.device.id} joined"
        case DeviceLost():
            return f"{event.device_id} was lost"
        case DeviceClosed() | DeviceOpened():
            verb = "closed" if isinstance(event, DeviceClosed) else "opened"
            return f"{event.device_id} was {verb}: {event.code}"
        case DeviceRemoved():
            return f"{event.device_id} was removed"
        case Learned():
            return f"{len(event.measurements)} measurements were learnt"
        case PolicyChanged() | ServiceStarted():
            return f"policy {event.policy} began"
    job_id = getattr(event, "job_id", "")
    return f"{type(event).__name__}{' ' + job_id if job_id else ''}"
