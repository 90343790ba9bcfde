"""The live cluster: what the boards' agents and the API report, in real time.

One thread runs the loop and touches the scheduler; whatever comes from elsewhere (answers of
agents, questions of the API) arrives through one inbox, on which the loop sleeps.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout  # the built-in one from 3.11 on
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from jetsched.cluster.boards import DEFAULT_TIMING, Board, Question, Reply, Timing, Watched
from jetsched.cluster.knowledge import Knowledge
from jetsched.cluster.link import AgentGone, Link
from jetsched.cluster.protocol import PROTOCOL, Info, Key, Order, Report, Stored, attempt_name
from jetsched.errors import UnreachableError
from jetsched.files import make_folder
from jetsched.records import Device, Measurement, Outcome
from jetsched.scheduler.events import (
    Action,
    DeviceJoined,
    DeviceLost,
    Event,
    Finished,
    Start,
    Started,
)

log = logging.getLogger(__name__)
T = TypeVar("T")


class RayCluster:
    """The :class:`~jetsched.scheduler.loop.Cluster` in real time.

    ``running`` and ``devices`` are what the scheduler believes after a replay: attempts that still
    live on their boards are adopted, the others are reported as they ended, or as lost. With each
    attempt comes the outcome with which it is to be stopped, if it is: whoever wanted that may have
    died before any agent heard of it. Those in ``stopped`` went down with an earlier cluster: what
    is lost of them is *preempted*, which is no fault of a board and uses up no retry.

    ``knowledge`` makes events of what was measured without the scheduler, here and on the boards.
    """

    def __init__(
        self,
        link: Link,
        logs: Path,
        knowledge: Knowledge,
        *,
        running: Iterable[tuple[Key, str, Outcome | None]] = (),
        devices: Iterable[Device] = (),
        stopped: Collection[Key] = (),
        timing: Timing = DEFAULT_TIMING,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._logs = make_folder(logs)
        self._knowledge = knowledge
        self._timing = timing
        self._clock = clock
        self._stopped = frozenset(stopped)
        self._last_s = 0.0
        self._inbox: SimpleQueue[Reply | Question | None] = SimpleQueue()
        self._closed = False
        self._next_scan = 0.0
        self._next_look = 0.0
        self._scanning = False
        self.boards = {d.id: Board(d.id, known=True, device=d) for d in devices}
        self.watched = {
            key: self._watch(key, device_id, ordered=True, stop=stop)
            for key, device_id, stop in running
        }

    # ------------------------------------------------------------------------ for other threads

    def ask(
        self,
        answer: Callable[[float], T],
        *,
        before: Callable[[float], Iterable[Event]] = lambda now_s: (),
        timeout_s: float = 30.0,
    ) -> T:
        """Run ``answer(now_s)`` on the loop's thread and return what it returns.

        The events of ``before(now_s)`` are handled first, and what follows from them. Both may
        raise; nothing has happened when ``before`` did. Raises :class:`UnreachableError` when the
        loop has ended, or does not get to it in time.
        """
        question = Question(before, answer)
        self._inbox.put(question)
        if self._closed:
            self._refuse_questions()
        try:
            return cast(T, question.future.result(timeout_s))
        except FutureTimeout:
            question.future.cancel()  # where it has not begun, it never will
            raise UnreachableError("the scheduler is too busy to answer") from None

    def close(self) -> None:
        """End the loop after the event at hand. What runs goes on. Safe in a signal handler."""
        self._inbox.put(None)

    # ------------------------------------------------------------------------------- the cluster

    def events(self) -> Iterator[Event]:
        """What happens, until :meth:`close`; sleeps while nothing does."""
        try:
            # First of all: a board that the journal knows and nobody sees must not get a job.
            yield from self._see_nodes(self._link.nodes().result())
            while True:
                yield from self._make_due_calls()
                try:
                    item = self._inbox.get(timeout=self._sleep_s())
                except Empty:
                    continue
                if item is None:
                    return
                if isinstance(item, Question):
                    yield from item.take(self.now_s)
                else:
                    yield from self._take_reply(item)
        finally:
            self._closed = True
            self._refuse_questions()

    def perform(self, action: Action) -> None:
        """Have the agent do it. What goes wrong comes back as an event."""
        if isinstance(action, Start):
            placement = action.placement
            order = Order(placement.job, action.attempt)
            self.log_path(order.key).unlink(missing_ok=True)  # of a history that was thrown away
            watched = self._watch(order.key, placement.device.id)
            self.watched[order.key] = watched
            board = self._board(watched.device_id)
            self._call(board, "start", order, keys=(order.key,))
        else:
            stopped = self.watched.get((action.job_id, action.attempt))
            if stopped is not None:
                stopped.stop = action.outcome
                if stopped.ordered:  # else its agent may not know it yet: with the next report
                    self._stop(stopped)

    def now_s(self) -> float:
        """The wall clock, but never going back."""
        self._last_s = max(self._last_s, self._clock())
        return self._last_s

    def _board(self, device_id: str) -> Board:
        return self.boards.setdefault(device_id, Board(device_id))

    def _watch(
        self, key: Key, device_id: str, *, ordered: bool = False, stop: Outcome | None = None
    ) -> Watched:
        path = self.log_path(key)
        have = path.stat().st_size if path.exists() else 0
        return Watched(key, device_id, ordered, stop, log_bytes=have)

    def _stop(self, watched: Watched) -> None:
        key = watched.key
        self._call(self._board(watched.device_id), "stop", key, watched.stop, keys=(key,))

    def log_path(self, key: Key) -> Path:
        """Where the head keeps the log of an attempt."""
        return self._logs / f"{attempt_name(key)}.log"

    # --------------------------------------------------------------------------------- questions

    def _refuse_questions(self) -> None:
        while True:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                return
            if isinstance(item, Question):
                item.refuse()

    # ------------------------------------------------------------------------------------- calls

    def _call(self, board: Board, method: str, *args: Any, keys: tuple[Key, ...] = ()) -> None:
        future, life = self._link.call(board.id, method, *args), board.life
        future.add_done_callback(
            lambda done: self._inbox.put(Reply(method, board, life, done, keys))
        )

    def _sleep_s(self) -> float:
        due = [self._next_look, *(when for b in self.boards.values() for when in b.due())]
        if not self._scanning:
            due.append(self._next_scan)
        return max(0.0, min(due) - time.monotonic())

    def _make_due_calls(self) -> Iterator[Event]:
        now = time.monotonic()
        if now >= self._next_scan and not self._scanning:
            self._scanning = True
            self._link.nodes().add_done_callback(
                lambda done: self._inbox.put(Reply("nodes", None, 0, done))
            )
            yield from self._notice_silence(now)
        if now >= self._next_look:
            self._knowledge.look()
            yield from self._tell_news()
            pause_s = 0.0 if self._knowledge.has_news else self._timing.stored_s
            self._next_look = now + pause_s
        for board in list(self.boards.values()):
            if not board.is_asked:
                continue
            if board.info is not None and not board.asking_stored and now >= board.next_stored:
                board.asking_stored = True
                self._call(board, "stored", board.stored)
            if not board.asking and now >= board.next_poll:
                board.asking = True
                if board.info is None:
                    self._call(board, "info")
                else:
                    mine = [w for w in self.watched.values() if w.device_id == board.id]
                    asked: dict[Key, int | None] = dict.fromkeys(board.foreign)
                    asked.update({w.key: w.log_bytes for w in mine if w.ordered})
                    self._call(board, "poll", asked, keys=tuple(asked))

    def _notice_silence(self, now: float) -> Iterator[Event]:
        for board in list(self.boards.values()):
            silent_s = now - board.heard
            if board.known and board.node is not None and silent_s > self._timing.silence_s:
                yield from self._lose(board, f"its agent has said nothing for {silent_s:.0f} s")

    # ----------------------------------------------------------------------------------- replies

    def _take_reply(self, reply: Reply) -> Iterator[Event]:
        board, error = reply.board, reply.future.exception()
        if board is None:
            self._scanning = False
            self._next_scan = time.monotonic() + self._timing.scan_s
            if error is None:
                yield from self._see_nodes(reply.future.result())
            else:
                log.warning("Ray does not say which nodes there are: %s", error)
            return
        if reply.life != board.life:
            return
        if reply.method in ("info", "poll"):
            board.asking = False
            pause_s = self._timing.poll_s if error is None else self._timing.idle_poll_s
            board.next_poll = time.monotonic() + pause_s
        if error is None:
            board.heard = time.monotonic()
        elif not board.ready:
            board.text = f"its agent does not answer: {error}"
        if error is not None and not isinstance(error, AgentGone):
            log.error("agent of %s, %s: %r", board.id, reply.method, error)
        if reply.method == "start":
            yield from self._take_start(reply.keys[0], error)
        elif reply.method == "stop":
            if error is None and reply.keys[0] in self.watched:
                self.watched[reply.keys[0]].stop = None
        elif reply.method == "info":
            if error is None:
                yield from self._take_info(board, reply.future.result())
        elif reply.method == "stored":
            yield from self._take_stored(board, reply.future)
        elif reply.method == "poll":
            if error is None:
                yield from self._take_reports(board, reply.future.result(), reply.keys)
            else:
                board.info = None  # whoever answers next may be another one

    def _see_nodes(self, nodes: dict[str, str]) -> Iterator[Event]:
        for device_id, node in nodes.items():
            board = self._board(device_id)
            if board.node not in (None, node):
                yield from self._lose(board, "its node was started again")
            if board.node is None:
                board.node, board.heard, board.next_poll = node, time.monotonic(), 0.0
        gone = [b for b in self.boards.values() if b.id not in nodes and (b.known or b.node)]
        # Idle ones first: what ran on the others must not be placed on one that is gone as well.
        busy = {watched.device_id for watched in self.watched.values()}
        for board in sorted(gone, key=lambda board: board.id in busy):
            yield from self._lose(board, "its node is gone")

    def _lose(self, board: Board, text: str) -> Iterator[Event]:
        """Give a board up, until its agent answers (again)."""
        log.warning("%s is lost: %s", board.id, text)
        was_known = board.known
        board.give_up(text)
        for key in [k for k, w in self.watched.items() if w.device_id == board.id]:
            del self.watched[key]
            board.foreign.add(key)
        if was_known:
            yield DeviceLost(self.now_s(), board.id, f"{board.id} was lost: {text}")

    def _take_info(self, board: Board, info: Info) -> Iterator[Event]:
        if info.protocol != PROTOCOL:
            text = (
                f"its agent speaks protocol {info.protocol}, the head {PROTOCOL}:"
                " install the same jetsched on both"
            )
            if board.known:  # from before one of them was upgraded
                yield from self._lose(board, text)  # at the next scan it is seen, and asked, again
            else:
                board.refused = board.text = text
                log.error("%s: %s", board.id, text)
            return
        board.info, board.device = info, info.device
        board.next_poll = board.next_stored = 0.0

    def _tell_news(self) -> Iterator[Event]:
        learned = self._knowledge.news(self.now_s())
        if learned is not None:
            yield learned

    def _take_stored(self, board: Board, answer: Future[Any]) -> Iterator[Event]:
        """What the board knows that we do not; a board whose file cannot be read goes without."""
        board.asking_stored = False
        board.next_stored = time.monotonic() + self._timing.stored_s
        error = answer.exception()
        if isinstance(error, AgentGone):
            return  # it is asked again, and gets no job meanwhile
        if error is None:
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
        board.told = True

    def _take_start(self, key: Key, error: BaseException | None) -> Iterator[Event]:
        watched = self.watched.get(key)
        if watched is None:
            return
        watched.ordered = True  # if it came through is told by the next report
        board = self.boards[watched.device_id]
        board.next_poll = min(board.next_poll, time.monotonic() + self._timing.poll_s)
        if error is not None and not isinstance(error, AgentGone):
            text = f"the agent could not start it: {type(error).__name__}: {error}"
            del self.watched[key]
            yield Finished(self.now_s(), *key, "failed", None, text)

    def _take_reports(
        self, board: Board, reports: dict[Key, Report], asked: tuple[Key, ...]
    ) -> Iterator[Event]:
        busy = any(w.device_id == board.id for w in self.watched.values())
        for key, report in reports.items():
            if key in self.watched:
                yield from self._take_report(board, self.watched[key], report)
            elif key in board.foreign or key not in asked:  # the board was given up before
                yield from self._take_foreign(board, key, report)
        if not (busy or board.foreign):
            board.next_poll = time.monotonic() + self._timing.idle_poll_s
        if not board.ready and board.told and not board.foreign and board.device is not None:
            board.known = board.ready = True
            board.text = ""
            yield DeviceJoined(self.now_s(), board.device)

    def _take_foreign(self, board: Board, key: Key, report: Report) -> Iterator[Event]:
        """An attempt that nobody waits for: it is stopped, but what it has cost is learnt."""
        board.foreign.add(key)
        if report.measurement is not None:
            measurement = report.measurement
            yield Finished(self.now_s(), *key, measurement.outcome, measurement, measurement.text)
            self._call(board, "forget", key, keys=(key,))
        elif report.phase != "unknown":
            self._call(board, "stop", key, "lost", keys=(key,))
            return
        board.foreign.discard(key)

    def _keep_log(self, watched: Watched, chunk: bytes) -> None:
        try:
            with self.log_path(watched.key).open("ab") as file:
                file.write(chunk)
        except OSError as error:  # a full disk must not stop the scheduler
            log.error("the log of %s-%d has a gap: %s", *watched.key, error)
        watched.log_bytes += len(chunk)

    def _take_report(self, board: Board, watched: Watched, report: Report) -> Iterator[Event]:
        key = watched.key
        if report.log:
            self._keep_log(watched, report.log)
        if report.more:
            board.next_poll = 0.0
        watched.progress = report.progress or watched.progress
        if report.phase == "unknown" and watched.ordered:
            del self.watched[key]
            text = report.text or "its agent was started again"
            text = f"{board.id} knows nothing of it: {text}"
            yield self._finished(key, "lost", None, text)
        elif report.measurement is not None:
            measurement = report.measurement
            del self.watched[key]
            yield self._finished(key, measurement.outcome, measurement, measurement.text)
            self._call(board, "forget", key, keys=(key,))  # the journal has it by now
        else:
            if watched.stop is not None and watched.ordered:
                self._stop(watched)  # it lives, so its agent may not have heard of the wish
            if report.phase == "running" and not watched.started:
                watched.started = True
                yield Started(self.now_s(), *key)

    def _finished(
        self, key: Key, outcome: Outcome, measurement: Measurement | None, text: str
    ) -> Finished:
        if outcome == "lost" and key in self._stopped:
            outcome, text = "preempted", "the cluster was taken down while it ran"
        return Finished(self.now_s(), *key, outcome, measurement, text)
