"""The live cluster: what the boards' agents and the API report, in real time.

One thread runs the loop and touches the scheduler; whatever comes from elsewhere arrives through
one inbox, on which the loop sleeps. A turn of it takes all that is there, lets the scheduler handle
it, writes everything down at once, and only then answers questions and calls agents.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, cast

from jetsched.cluster.boards import DEFAULT_TIMING, Board, Call, Roster, Timing, Watched
from jetsched.cluster.calling import Calls, RayGone
from jetsched.cluster.clock import LiveClock
from jetsched.cluster.inbox import Inbox, Item, Notice, Question, Reply
from jetsched.cluster.joblogs import UNREDACTED, JobLogs, Redactor
from jetsched.cluster.journalling import JournalError
from jetsched.cluster.knowledge import Knowledge
from jetsched.cluster.link import AgentGone, Link
from jetsched.cluster.overdue import Overdue
from jetsched.cluster.presence import Presence
from jetsched.cluster.profiled import Profiles
from jetsched.cluster.protocol import Key, Order, Stored
from jetsched.cluster.reports import Reports
from jetsched.cluster.resting import Resting
from jetsched.cluster.stuck import Stuck
from jetsched.cluster.transfers import Courier, NoCourier, Transfers
from jetsched.scheduler.control import ControlledBook
from jetsched.scheduler.events import (
    Action,
    CancelAsked,
    DeviceRemoved,
    Event,
    FilesSeen,
    Finished,
    Start,
    Tick,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Says that the files of an attempt are on the head; from any thread.
Forget = Callable[[str, Key], None]


class RayCluster:
    """The :class:`~jetsched.scheduler.loop.Cluster` in real time.

    ``book`` is what the scheduler believes after a replay: attempts that still live on their boards
    are adopted, the others are reported as they ended, or as lost. Those in ``stopped`` went down
    with an earlier cluster. ``commit`` has everything on the disk that the scheduler was told and
    has decided, and raises :class:`JournalError` where that cannot be. ``knowledge`` makes events
    of what was measured without the scheduler, here and on the boards.
    """

    def __init__(
        self,
        link: Link,
        logs: Path,
        knowledge: Knowledge,
        book: ControlledBook,
        *,
        stopped: Collection[Key] = (),
        timing: Timing = DEFAULT_TIMING,
        clock: Callable[[], float] | None = None,
        commit: Callable[[], None] = lambda: None,
        courier: Callable[[Forget], Courier] = lambda forget: NoCourier(),
        redactor: Redactor = UNREDACTED,
    ) -> None:
        self._link, self._knowledge, self._book, self._timing = link, knowledge, book, timing
        self._commit = commit
        self.now_s = clock if clock is not None else LiveClock(book.now_s).now_s
        self.inbox = Inbox()
        self.courier = courier(self.forget)
        self.logs = JobLogs(logs, redactor)
        self.roster = roster = Roster()
        self._calls = Calls(link, self.inbox, roster, book, self.logs, timing)
        stopped = frozenset(stopped)
        self._resting = Resting(book, roster, timing, self.now_s)
        self._presence = Presence(
            roster,
            book,
            link,
            self.logs,
            timing,
            self.now_s,
            stopped,
            self.courier.seen,
            self._resting.why,
        )
        self._reports = Reports(
            roster, book, self.logs, self.courier, knowledge.knows, self.now_s, stopped
        )
        self._transfers = Transfers(roster, self.courier, self.tell, self.now_s)
        self._stuck = Stuck(self.inbox, commit, self._calls.keep_leases, self.now_s)
        self._overdue = Overdue()
        self._next_look = 0.0
        self._asked: list[Question] = []  # in this turn
        _remember(book, roster, self.logs)

    @property
    def boards(self) -> Mapping[str, Board]:
        """All boards that were ever seen, by device. For the loop's thread."""
        return self.roster.boards

    @property
    def watched(self) -> Mapping[Key, Watched]:
        """The attempts that run. For the loop's thread."""
        return self.roster.watched

    def log_path(self, key: Key) -> Path:
        """Where the head keeps the log of an attempt."""
        return self.logs.path(key)

    @property
    def stuck(self) -> JournalError | None:
        """Why the journal cannot be written, as long as that is so."""
        return self._stuck.why

    @property
    def profiles(self) -> Profiles:
        """Which boards were profiled, and how they were then. For the loop's thread."""
        return self._knowledge.profiles

    # ------------------------------------------------------------------------ for other threads

    def ask(
        self,
        answer: Callable[[float], T],
        *,
        before: Callable[[float], Iterable[Event]] | None = None,
        timeout_s: float = 30.0,
    ) -> T:
        """Run ``answer(now_s)`` on the loop's thread and return what it returns.

        The events of ``before(now_s)`` are handled first, and what follows from them is decided and
        on the disk when this returns. Both may raise; nothing has happened when ``before`` did.
        Raises :class:`UnreachableError` when the loop has ended, or does not get to it in time, and
        :class:`JournalError` for a wish that cannot be written down.
        """
        question = Question(answer) if before is None else Question(answer, before)
        return cast(T, self.inbox.ask(question, timeout_s))

    def tell(self, notice: Callable[[], Iterable[Event]]) -> None:
        """Have something done on the loop's thread; the events that it returns are handled."""
        self.inbox.put(Notice(notice))

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        """Ask an agent something that the loop need not know."""
        return self._link.call(device_id, method, *args)

    def forget(self, device_id: str, key: Key) -> None:
        """All files of an attempt that had to be kept are on the head."""

        def take() -> Iterable[Event]:
            board = self.roster.board(device_id)
            board.kept.discard(key)
            board.forget.add(key)
            return ()

        self.tell(take)

    def files_seen(self, device_id: str, names: Sequence[str], mib_s: float | None) -> None:
        """A board has these bundles of files now, and so fast a link."""

        def take() -> Iterable[Event]:
            fleet = self._book.fleet
            known = fleet.last_class(device_id) is not None
            if known and fleet.files.is_news(device_id, names, mib_s):
                yield FilesSeen(self.now_s(), device_id, tuple(names), mib_s)

        self.tell(take)

    def close(self) -> None:
        """End the loop after the turn at hand. What runs goes on. Safe in a signal handler."""
        self.inbox.put(None)

    # ------------------------------------------------------------------------------- the cluster

    def events(self) -> Iterator[Event]:
        """What happens, until :meth:`close`; sleeps while nothing does. Raises :class:`RayGone`."""
        with closing(self._happening()) as happening:
            for event in happening:
                yield from self._resting.before(event)
                yield event
                self._follow(event)

    def _happening(self) -> Generator[Event, None, None]:
        try:
            # First of all: a board that the journal knows and nobody sees must not get a job.
            yield from self._presence.see_nodes(self._first_nodes())
            going = True
            while going:
                yield from self._make_turn()
                if not self._settle():
                    return
                for item in self.inbox.batch(self._calls.sleep_s(time.monotonic())):
                    if item is None:
                        going = False
                        break
                    yield from self._take(item)
            self.close()  # nor does it wait for a journal that cannot be written
            self._settle()
        finally:
            self.inbox.close()
            for question in self._asked:
                question.refuse()

    def _follow(self, event: Event) -> None:
        """What an event that was handled means for boards, beside what was decided."""
        if isinstance(event, Finished | CancelAsked):
            record = self._book.jobs.get(event.job_id)
            if record is None or record.state != "done":  # others can be tried again
                return
            if record.job.workload.kind == "train":  # it leaves checkpoints, which nobody needs now
                for attempt in record.attempts:
                    board = self.roster.boards.get(attempt.device)
                    if board is not None:  # else it was removed
                        board.drop.add(event.job_id)
        elif isinstance(event, DeviceRemoved):
            self.roster.remove(event.device_id)
            self.courier.removed(event.device_id)

    def perform(self, action: Action) -> None:
        """Have the agent do it, once it is written down. What goes wrong comes back as an event."""
        if isinstance(action, Start):
            placement = action.placement
            order = Order(placement.job, action.attempt)
            self.logs.begin(order.key)
            device_id = placement.device.id
            self.roster.watch(Watched(order.key, device_id, since=time.monotonic()))
            self._transfers.order(device_id, order)
            return
        watched = self.watched.get((action.job_id, action.attempt))
        if watched is not None:
            watched.stop = action.outcome
            self.roster.board(watched.device_id).hurry()
            if not watched.ordered:
                self._transfers.withdraw(watched.key)

    def _first_nodes(self) -> dict[str, str]:
        try:
            return self._link.nodes().result(self._timing.ray_s)
        except Exception as error:
            raise RayGone(f"Ray does not say which nodes there are: {error}") from error

    # ------------------------------------------------------------------------ a turn of the loop

    def _make_turn(self) -> Iterator[Event]:
        """What is due by the clock alone."""
        now = time.monotonic()
        for reply in self._calls.late(now):
            yield from self._take_reply(reply)
        yield from self._presence.look_for_silence(now)
        yield from self._resting.over()
        yield from self._transfers.withdrawn()
        if now >= self._next_look:
            self._knowledge.look()
            yield from self._tell_news()
            self._next_look = now + (0.0 if self._knowledge.has_news else self._timing.stored_s)
        now_s = self.now_s()
        if self._overdue.is_due(self._book, now_s, now):
            yield Tick(now_s)

    def _settle(self) -> bool:
        """Write down what has happened, then do what was decided. False: the loop is to end."""
        try:
            self._commit()
        except JournalError as error:
            if not self._stuck.wait(error, self._asked):
                return False
            self._calls.resume(time.monotonic())
        asked, self._asked = self._asked, []
        for question in asked:
            question.settle()
        self._transfers.drop_lost()
        self._transfers.begin()
        self._calls.make_due(time.monotonic())
        return True

    def _take(self, item: Item) -> Iterator[Event]:
        if isinstance(item, Question):
            yield from item.take(self.now_s)
            self._asked.append(item)
        elif isinstance(item, Notice):
            yield from item.take()
        elif isinstance(item, Reply):
            yield from self._take_reply(item)

    # ---------------------------------------------------------------------------------- replies

    def _take_reply(self, reply: Reply) -> Iterator[Event]:
        board, now = reply.board, time.monotonic()
        if board is None:
            nodes = self._calls.take_nodes(reply.future, now)
            if nodes is not None:
                yield from self._presence.see_nodes(nodes)
        elif board.call is not None and board.call.number == reply.number:
            call, board.call = board.call, None
            yield from self._take_answer(board, call, reply.future, now)
        elif board.stored_call is not None and board.stored_call.number == reply.number:
            board.stored_call = None
            yield from self._take_stored(board, reply.future, now)

    def _take_answer(
        self, board: Board, call: Call, answer: Future[Any], now: float
    ) -> Iterator[Event]:
        error = answer.exception()
        if error is None:
            board.heard, board.unanswered = now, None
            if call.method == "info":
                board.next_stored = board.next_look = 0.0
                yield from self._presence.take_info(board, answer.result())
            elif call.method == "exchange":
                answers = answer.result()
                if answers.info is not None:
                    yield from self._presence.take_info(board, answers.info)
                if answers.reading is not None:
                    yield from self._presence.take_reading(board, answers.reading)
                board.next_poll = self._calls.when_next(board, now, None)
                yield from self._reports.take(board, call.wishes, answers)
                yield from self._presence.make_ready(board)
                board.next_poll = min(board.next_poll, self._calls.when_next(board, now, None))
        else:
            self._take_error(board, call, error)
            board.next_poll = self._calls.when_next(board, now, error)

    def _take_error(self, board: Board, call: Call, error: BaseException) -> None:
        board.info = None  # whoever answers next may be another one
        board.forget |= set(call.wishes.forget)
        board.drop |= set(call.wishes.drop)
        if board.unanswered is None:
            board.unanswered = call.since
        if not board.ready:
            board.text = f"its agent does not answer: {error}"
        if not isinstance(error, AgentGone):
            log.error("agent of %s, %s: %r", board.id, call.method, error)

    def _tell_news(self) -> Iterator[Event]:
        learned = self._knowledge.news(self.now_s())
        if learned is not None:
            yield learned

    def _take_stored(self, board: Board, answer: Future[Any], now: float) -> Iterator[Event]:
        """What the board knows that we do not; a board whose file cannot be read goes without."""
        board.next_stored = now + self._timing.stored_s
        error = answer.exception()
        if isinstance(error, AgentGone):
            return  # it is asked again, and gets no job meanwhile
        if error is not None:
            log.error("agent of %s, stored: %r", board.id, error)
        else:
            stored: Stored = answer.result()
            board.stored = stored.read
            self._knowledge.take(board.id, stored)
            if stored.more:  # the scheduler hears of it when all is here: each time costs a fit
                board.next_stored = 0.0
                return
        yield from self._tell_news()
        if self._knowledge.has_news:  # others may ask something first
            board.next_stored = 0.0
            return
        if not board.told:
            board.told = True
            board.hurry()


def _remember(book: ControlledBook, roster: Roster, logs: JobLogs) -> None:
    """What the scheduler believes after a replay: boards, and what ran on them at last."""
    for device in book.fleet.devices.values():
        board = roster.board(device.id)
        board.known, board.device = True, device
    for device in book.fleet.away.values():
        board = roster.board(device.id)
        board.device, board.text = device, "it is not there since the scheduler was started"
    for record in book.jobs.values():
        if not record.attempts:
            continue
        last = record.attempts[-1]
        key = record.job.id, last.number
        if last.outcome is None:
            size, stop = logs.size(key), record.wanted_end
            roster.watch(Watched(key, last.device, ordered=True, stop=stop, log_bytes=size))
        elif book.given_up(*key) is not None and book.fleet.last_class(last.device) is not None:
            roster.board(last.device).foreign.add(key)  # unless it was removed
