"""What reaches the live loop from other threads: questions, answers of agents, ends of transfers.

The loop takes all that is there at once, handles it, and writes it down together; only then is
anybody answered.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # the built-in one from 3.11 on
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from jetsched.cluster.boards import Board
from jetsched.errors import UnreachableError
from jetsched.scheduler.events import Event

#: So much is handled before it is written down and answered.
AT_ONCE = 500
AT_ONCE_S = 0.1


@dataclass(frozen=True)
class Reply:
    """An answer of an agent, or of Ray (no board)."""

    board: Board | None
    number: int  # of the call
    future: Future[Any]


@dataclass(frozen=True)
class Notice:
    """Something else that the loop's thread is to do: take in what another thread has done."""

    take: Callable[[], Iterable[Event]]


def _nothing(now_s: float) -> Iterable[Event]:
    return ()


@dataclass
class Question:
    """Something to be done on the loop's thread, between two events.

    Its answer is given once what it led to is on the disk.
    """

    answer: Callable[[float], Any]
    before: Callable[[float], Iterable[Event]] = _nothing
    future: Future[Any] = field(default_factory=Future)
    _value: Any = None
    _error: BaseException | None = None

    @property
    def is_wish(self) -> bool:
        """Whether it may change something."""
        return self.before is not _nothing

    def take(self, now_s: Callable[[], float]) -> Iterator[Event]:
        """Yield what is to happen before, and find the answer once that was handled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            events = list(self.before(now_s()))
        except Exception as error:
            self._error = error
            return
        yield from events
        try:
            self._value = self.answer(now_s())
        except Exception as error:
            self._error = error
        else:
            self._error = None

    def settle(self) -> None:
        """Tell whoever asked what was found."""
        if not self.future.running():
            return  # cancelled, or refused
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._value)

    def refuse(self, error: Exception | None = None) -> None:
        """Nobody answers any more; nothing where it has been answered."""
        if not self.future.done():
            self.future.set_exception(error or UnreachableError("the scheduler has stopped"))


Item = Reply | Notice | Question | None  # None: the loop is to end


class Inbox:
    """Filled from any thread, emptied by the loop's."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._back: deque[Item] = deque()
        self._closed = False

    def put(self, item: Item) -> None:
        """Safe in a signal handler."""
        self._queue.put(item)

    def put_back(self, items: Iterable[Item]) -> None:
        """For the loop's thread: these come first."""
        self._back.extendleft(reversed(list(items)))

    def take(self, timeout_s: float) -> Item:
        """The next one. Raises :class:`queue.Empty` where none comes in time."""
        return self._back.popleft() if self._back else self._queue.get(timeout=timeout_s)

    def batch(self, timeout_s: float) -> Iterator[Item]:
        """Wait for the next one, and give it with all others that are there by then."""
        try:
            yield self.take(timeout_s)
            end = time.monotonic() + AT_ONCE_S
            for _ in range(AT_ONCE):
                yield self.take(0.0)
                if time.monotonic() > end:
                    return
        except Empty:
            return

    def ask(self, question: Question, timeout_s: float) -> Any:
        """Have a question answered by the loop. Raises what it raises, or UnreachableError."""
        self.put(question)
        if self._closed:
            self.refuse_all()
        try:
            return question.future.result(timeout_s)
        except FutureTimeout:
            question.future.cancel()  # where it has not begun, it never will
            raise UnreachableError("the scheduler is too busy to answer") from None

    def close(self) -> None:
        """Nobody empties it any more: who asks is refused from now on."""
        self._closed = True
        self.refuse_all()

    def refuse_all(self) -> None:
        while True:
            try:
                item = self.take(0.0)
            except Empty:
                return
            if isinstance(item, Question):
                item.refuse()
