"""What the live loop keeps in mind of boards and of the attempts that run on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jetsched.cluster.checkup import CheckUp
from jetsched.cluster.exchange import Wishes
from jetsched.cluster.health import Health
from jetsched.cluster.protocol import Info, Key, Order, Reading
from jetsched.cluster.recent import Recent
from jetsched.profiler.findings import Finding
from jetsched.profiler.runner import Progress
from jetsched.records import Device, Outcome
from jetsched.scheduler.control import ControlledBook


@dataclass(frozen=True)
class Timing:
    """How often the agents are asked, and when they are given up. Seconds."""

    poll_s: float = 0.2  # a board that runs something
    quick_poll_s: float = 0.05  # one whose attempt has just been started
    quick_s: float = 3.0  # ... for so long
    idle_poll_s: float = 2.0
    look_s: float = 3.0  # how a board is doing: memory, heat, power
    scan_s: float = 1.0  # which nodes Ray knows
    begin_s: float = 30.0  # after a start of the scheduler, nodes are waited for so long
    suspect_s: float = 4.0  # a board whose agent leaves a call unanswered for so long gets no job
    silence_s: float = 30.0  # and after so long it is lost
    call_s: float = 15.0  # a call that is not answered by then is made again
    renew_s: float = 120.0  # an agent that is silent for so long on a living node is replaced
    ray_s: float = 20.0  # Ray does not say for so long which nodes there are: it is gone
    stored_s: float = 5.0  # what was measured without the scheduler, here and on the boards
    rest_s: float = 5.0  # a board on which an attempt was lost gets none for so long
    lone_rest_s: float = 2.0  # ... while no other board is open; more losses in a row double it
    longest_rest_s: float = 300.0


DEFAULT_TIMING = Timing()


def timing_for(health: Health) -> Timing:
    """When agents are given up that Ray has not given up yet: about as soon as Ray would.

    A link that is cut shows itself by silence long before Ray's own connections end.
    """
    silence_s = (health.period_ms + health.timeout_ms) * health.failures / 1000
    return Timing(suspect_s=min(silence_s / 2, 4.0), silence_s=silence_s)


@dataclass
class Watched:
    """An attempt that the scheduler holds to be running."""

    key: Key
    device_id: str
    ordered: bool = False  # its agent may have been told to start it
    stop: Outcome | None = None  # it is to end so, and its agent has not confirmed that it knows
    started: bool = False  # its own work has begun
    progress: Progress | None = None
    log_bytes: int = 0  # how much of its log is on the head
    since: float = 0.0  # monotonic: when it was decided


@dataclass(frozen=True)
class Call:
    """A call to an agent that is under way; one that nobody waits for any more has no effect."""

    number: int
    method: str
    since: float  # monotonic
    wishes: Wishes = field(default_factory=Wishes)  # of an exchange


@dataclass(frozen=True)
class Examined:
    """What the doctor found on a board, and when by the cluster's clock."""

    at_s: float
    check_up: CheckUp

    @property
    def to_do(self) -> list[Finding]:
        """The findings about which there is something to be done."""
        return [finding for finding in self.check_up.findings if finding.level != "ok"]


@dataclass
class Board:
    """What is known of one device and its agent. Moments are monotonic seconds."""

    id: str
    known: bool = False  # the scheduler believes that it is there
    ready: bool = False  # its agent answers, and nothing runs there that nobody waits for
    node: str | None = None  # Ray's id of its living node
    info: Info | None = None
    reading: Reading | None = None  # the last one
    device: Device | None = None
    #: Attempts that had been given up, and that may not be over there, or not be told yet.
    foreign: set[Key] = field(default_factory=set)
    #: Those of them that live; and those that are to be stopped, for the job has gone on elsewhere.
    living: set[Key] = field(default_factory=set)
    unwanted: set[Key] = field(default_factory=set)
    refused: str = ""  # why its agent is not spoken to
    text: str = "its agent has not answered yet"  # why it is not ready
    heard: float = 0.0  # when its agent answered last
    unanswered: float | None = None  # since when calls fail
    next_poll: float = 0.0
    next_look: float = 0.0
    renewed: float = 0.0  # when its agent was last replaced
    call: Call | None = None
    #: How much is known of what was measured on it without the scheduler; when to ask again, and
    #: whether an answer is under way. It gets no job before all of it is known.
    stored: tuple[int, int] = (0, 0)
    next_stored: float = 0.0
    stored_call: Call | None = None
    told: bool = False
    #: What its agent is to be told with the next call.
    starts: dict[Key, Order] = field(default_factory=dict)
    forget: set[Key] = field(default_factory=set)
    drop: set[str] = field(default_factory=set)  # jobs that ended for good
    #: Attempts of which the head has the result and not yet all files.
    kept: set[Key] = field(default_factory=set)
    #: The attempts that the scheduler holds to be running on it.
    attempts: dict[Key, Watched] = field(default_factory=dict)
    #: What its node has said in the last minutes.
    recent: Recent = field(default_factory=Recent)
    examined: Examined | None = None  # by the doctor, since this head began

    @property
    def jobs_mib(self) -> float | None:
        """What its jobs hold: as each poll tells it, or else the last reading."""
        held = [w.progress.memory_mib for w in self.attempts.values() if w.progress is not None]
        known = [mib for mib in held if mib is not None]
        if known:
            return sum(known)
        return self.reading.jobs_mib if self.reading is not None else None

    @property
    def gpu_util_pct(self) -> float | None:
        """How busy its GPU is: as its node says, else as its job's own measurement says."""
        if self.reading is not None and self.reading.gpu_util_pct is not None:
            return self.reading.gpu_util_pct
        progress = [w.progress for w in self.attempts.values() if w.progress is not None]
        return next((p.gpu_util_pct for p in progress if p.gpu_util_pct is not None), None)

    def take_reading(self, reading: Reading, now_s: float) -> None:
        """Its node has said how it is doing; ``now_s`` is the cluster's clock."""
        self.reading = reading
        values = (self.gpu_util_pct, self.jobs_mib, reading.power_w, reading.temperature_c)
        self.recent.add(now_s, values)

    @property
    def is_asked(self) -> bool:
        """Whether there is an agent that is spoken to."""
        return self.node is not None and not self.refused

    def due(self) -> list[float]:
        """When its agent is to be asked again (monotonic); nothing while an answer is awaited."""
        found = [] if self.call is not None else [self.next_poll]
        if self.info is not None and self.stored_call is None:
            found.append(self.next_stored)
        return found if self.is_asked else []

    def silent_s(self, now: float) -> float:
        """For how long it has owed an answer."""
        since = self.unanswered
        if since is None:
            since = self.call.since if self.call is not None else now
        return now - since

    def hurry(self) -> None:
        """Ask its agent as soon as may be."""
        self.next_poll = 0.0

    def give_up(self, text: str) -> None:
        """Its agent is gone, and all that it has said with it; ``text`` is why.

        Orders that were not sent never will be. What it is to forget it can still be told when it
        is back.
        """
        self.known = self.ready = self.told = False
        self.stored, self.refused, self.text = (0, 0), "", text
        self.node = self.info = self.reading = self.unanswered = None
        self.call = self.stored_call = None
        self.starts.clear()
        self.living.clear()
        self.unwanted.clear()


class Roster:
    """All boards, and all attempts that the scheduler holds to be running."""

    def __init__(self) -> None:
        self.boards: dict[str, Board] = {}
        self._watched: dict[Key, Watched] = {}

    @property
    def watched(self) -> Mapping[Key, Watched]:
        """The attempts, on whatever board."""
        return self._watched

    def board(self, device_id: str) -> Board:
        """The board of a device, seen or not."""
        found = self.boards.get(device_id)
        if found is None:
            found = self.boards[device_id] = Board(device_id)
        return found

    def watch(self, watched: Watched) -> None:
        self._watched[watched.key] = self.board(watched.device_id).attempts[watched.key] = watched

    def unwatch(self, key: Key) -> Watched:
        """The scheduler does not hold it to be running any more."""
        watched = self._watched.pop(key)
        board = self.boards[watched.device_id]
        board.attempts.pop(key, None)
        board.starts.pop(key, None)
        return watched

    def remove(self, device_id: str) -> None:
        """Forget a board on which nothing runs."""
        board = self.boards.get(device_id)
        if board is not None and not board.attempts:
            del self.boards[device_id]

    def __iter__(self) -> Iterator[Board]:
        return iter(list(self.boards.values()))


def is_wanted(book: ControlledBook, key: Key) -> bool:
    """Whether an attempt that was given up as lost may go on, should it live."""
    record = book.given_up(*key)
    return record is not None and not record.kept
