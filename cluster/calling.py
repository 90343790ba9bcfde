"""Calls to the agents: when which one is made, with what, and what becomes of one that hangs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from jetsched.cluster.boards import Board, Call, Roster, Timing, is_wanted
from jetsched.cluster.exchange import Wishes
from jetsched.cluster.inbox import Inbox, Reply
from jetsched.cluster.joblogs import JobLogs
from jetsched.cluster.link import AgentGone, Link
from jetsched.cluster.protocol import Key
from jetsched.errors import UnreachableError
from jetsched.scheduler.control import ControlledBook

log = logging.getLogger(__name__)


class RayGone(UnreachableError):
    """Ray itself does not answer: nothing can be done from this process any more."""


class Calls:
    """For the loop's thread. Answers come back through the inbox."""

    def __init__(
        self,
        link: Link,
        inbox: Inbox,
        roster: Roster,
        book: ControlledBook,
        logs: JobLogs,
        timing: Timing,
    ) -> None:
        self._link = link
        self._inbox = inbox
        self._roster = roster
        self._book = book
        self._logs = logs
        self._timing = timing
        self._number = 0
        self._next_scan = 0.0
        self._scan: Call | None = None
        self._ray_heard = time.monotonic()

    def sleep_s(self, now: float) -> float:
        """For how long nothing is to be done, if nothing comes."""
        due = [when for board in self._roster for when in board.due()]
        due.append(self._next_scan if self._scan is None else now + self._timing.scan_s)
        return max(0.0, min(due) - now)

    def make_due(self, now: float) -> None:
        """Make the calls whose time has come. Raises :class:`RayGone`."""
        self._look_for_nodes(now)
        for board in self._roster:
            if not board.is_asked:
                continue
            if board.info is not None and board.stored_call is None and now >= board.next_stored:
                board.stored_call = self._call(board, "stored", now, board.stored)
            if board.call is None and now >= board.next_poll:
                if board.info is None:
                    board.call = self._call(board, "info", now)
                else:
                    wishes = self._wishes(board, now)
                    board.call = self._call(board, "exchange", now, wishes, wishes=wishes)

    def late(self, now: float) -> Iterator[Reply]:
        """An answer for each call that has hung for too long; its own one will have no effect."""
        for board in self._roster:
            for call in (board.call, board.stored_call):
                if call is not None and now - call.since > self._timing.call_s:
                    gone: Future[Any] = Future()
                    text = f"no answer to {call.method} for {self._timing.call_s:.0f} s"
                    gone.set_exception(AgentGone(text))
                    yield Reply(board, call.number, gone)

    def keep_leases(self, now: float) -> None:
        """Let the agents hear from the head, and nothing else: they stop what runs if it is silent.

        The answers are not looked at.
        """
        for board in self._roster:
            if board.is_asked and board.info is not None:
                board.call = self._call(board, "poll", now, {})

    def resume(self, now: float) -> None:
        """Nobody was listened to for a while: that neither Ray nor an agent was heard says nothing,
        and what was asked is asked again."""
        self._ray_heard = now
        for board in self._roster:
            board.call = board.stored_call = board.unanswered = None
            board.heard = now

    # -------------------------------------------------------------------------------- what is said

    def _call(
        self, board: Board, method: str, now: float, *args: Any, wishes: Wishes | None = None
    ) -> Call:
        self._number += 1
        number = self._number
        future = self._link.call(board.id, method, *args)
        future.add_done_callback(lambda done: self._inbox.put(Reply(board, number, done)))
        return Call(number, method, now, wishes or Wishes())

    def _wishes(self, board: Board, now: float) -> Wishes:
        """All that is to be said to an agent; what is started and forgotten is so once."""
        look = now >= board.next_look
        if look:
            board.next_look = now + self._timing.look_s
        stops = [(w.key, w.stop) for w in board.attempts.values() if w.stop and w.ordered]
        stops += [(key, "lost") for key in board.unwanted]
        offsets: dict[Key, int | None] = {key: self._wanted_log(key) for key in board.foreign}
        offsets.update({w.key: w.log_bytes for w in board.attempts.values() if w.ordered})
        starts, forget = tuple(board.starts.values()), tuple(board.forget)
        drop = tuple(board.drop)
        for said in (board.starts, board.forget, board.drop):
            said.clear()
        for order in starts:
            board.attempts[order.key].ordered = True  # if it came through tells the next report
        return Wishes(forget, tuple(stops), starts, offsets, look, drop)

    def _wanted_log(self, key: Key) -> int | None:
        """How much is here of the log of an attempt that may still count."""
        return self._logs.size(key) if is_wanted(self._book, key) else None

    def when_next(self, board: Board, now: float, error: BaseException | None) -> float:
        """When an agent that has just answered, or has not, is to be asked again."""
        timing = self._timing
        if error is not None:
            return now + min(1.0, timing.idle_poll_s)
        if board.starts or any(w.stop for w in board.attempts.values()):
            return now
        if not (board.attempts or board.foreign):
            return now + (timing.poll_s if not board.ready else timing.idle_poll_s)
        newest = max((w.since for w in board.attempts.values()), default=0.0)
        quick = now - newest < timing.quick_s
        return now + (min(timing.quick_poll_s, timing.poll_s) if quick else timing.poll_s)

    # ---------------------------------------------------------------------------------------- Ray

    def _look_for_nodes(self, now: float) -> None:
        if now - self._ray_heard > self._timing.ray_s:
            raise RayGone(f"Ray has not answered for {now - self._ray_heard:.0f} s")
        if self._scan is None and now >= self._next_scan:
            self._scan = Call(0, "nodes", now)
            self._link.nodes().add_done_callback(lambda done: self._inbox.put(Reply(None, 0, done)))

    def take_nodes(self, answer: Future[Any], now: float) -> dict[str, str] | None:
        """The nodes, if Ray has told them."""
        self._scan = None
        self._next_scan = now + self._timing.scan_s
        error = answer.exception()
        if error is not None:
            log.warning("Ray does not say which nodes there are: %s", error)
            return None
        self._ray_heard = now
        nodes: dict[str, str] = answer.result()
        return nodes
