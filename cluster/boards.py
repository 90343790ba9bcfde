"""What the live loop keeps in mind: boards, running attempts, answers and questions to come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from jetsched.cluster.protocol import Info, Key
from jetsched.errors import UnreachableError
from jetsched.profiler.runner import Progress
from jetsched.records import Device, Outcome
from jetsched.scheduler.events import Event


@dataclass(frozen=True)
class Timing:
    """How often the agents are asked, and when they are given up. Seconds."""

    poll_s: float = 0.2  # a board that runs something
    idle_poll_s: float = 2.0
    scan_s: float = 1.0  # which nodes Ray knows
    silence_s: float = 30.0  # a board whose agent says nothing for so long is lost
    stored_s: float = 5.0  # what was measured without the scheduler, here and on the boards


DEFAULT_TIMING = Timing()


@dataclass
class Board:
    """What is known of one device and its agent."""

    id: str
    known: bool = False  # the scheduler believes that it is there
    ready: bool = False  # its agent has answered, and nothing foreign runs there
    node: str | None = None  # Ray's id of its living node
    info: Info | None = None
    device: Device | None = None
    #: Attempts that nobody waits for any more, and that may not be over there, or not be told yet.
    foreign: set[Key] = field(default_factory=set)
    refused: str = ""  # why its agent is not spoken to
    text: str = "its agent has not answered yet"  # why it is not ready
    heard: float = 0.0  # monotonic
    next_poll: float = 0.0  # monotonic
    asking: bool = False  # an answer is under way
    #: How much is known of what was measured on it without the scheduler; when to ask again, and
    #: whether an answer is under way. It gets no job before all of it is known.
    stored: tuple[int, int] = (0, 0)
    next_stored: float = 0.0  # monotonic
    asking_stored: bool = False
    told: bool = False
    life: int = 0  # answers from before it was lost do not count

    @property
    def is_asked(self) -> bool:
        """Whether there is an agent that is spoken to."""
        return self.node is not None and not self.refused

    def due(self) -> list[float]:
        """When its agent is to be asked again (monotonic); nothing while an answer is awaited."""
        found = [] if self.asking else [self.next_poll]
        if self.info is not None and not self.asking_stored:
            found.append(self.next_stored)
        return found if self.is_asked else []

    def give_up(self, text: str) -> None:
        """Its agent is gone, and all that it has said with it; ``text`` is why."""
        self.known = self.ready = self.asking = False
        self.told, self.asking_stored, self.stored = False, False, (0, 0)
        self.node = self.info = None
        self.refused = ""
        self.text = text
        self.life += 1


@dataclass
class Watched:
    """An attempt that the scheduler holds to be running."""

    key: Key
    device_id: str
    ordered: bool = False  # the call that starts it has come back
    stop: Outcome | None = None  # it is to end so, and its agent has not confirmed that it knows
    started: bool = False  # its own work has begun
    progress: Progress | None = None
    log_bytes: int = 0  # how much of its log is on the head


@dataclass(frozen=True)
class Reply:
    """An answer of an agent, or of Ray ("nodes")."""

    method: str
    board: Board | None
    life: int
    future: Future[Any]
    keys: tuple[Key, ...] = ()  # what was asked about


@dataclass(frozen=True)
class Question:
    """Something to be done on the loop's thread, between two events."""

    before: Callable[[float], Iterable[Event]]
    answer: Callable[[float], Any]
    future: Future[Any] = field(default_factory=Future)

    def take(self, now_s: Callable[[], float]) -> Iterator[Event]:
        """Yield what is to happen before, and answer once that was handled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            events = list(self.before(now_s()))
        except Exception as error:
            self.future.set_exception(error)
            return
        try:
            yield from events
            self.future.set_result(self.answer(now_s()))
        except Exception as error:
            self.future.set_exception(error)
        finally:
            self.refuse()  # the loop was ended by an error while it handled the events

    def refuse(self) -> None:
        """Nobody answers any more; nothing where it has been answered."""
        if not self.future.done():
            self.future.set_exception(UnreachableError("the scheduler has stopped"))
