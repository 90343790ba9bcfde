"""Which boards are there: seen by Ray, answering, suspect, lost, back again, open for jobs.

A board whose agent leaves a call unanswered is *suspect* and closed at once, so that nothing is
placed there; what runs there goes on. It is *lost* when Ray says that its node is dead, or when it
has been silent for too long. It is always closed before it is lost and opened last when it is back:
so what survived there can be taken up again before anything else is placed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from jetsched.cluster.boards import Board, Roster, Timing, Watched, is_wanted
from jetsched.cluster.joblogs import JobLogs
from jetsched.cluster.link import Link
from jetsched.cluster.protocol import PROTOCOL, Closing, Info, Key, Reading
from jetsched.records import Code, Device
from jetsched.scheduler.control import ControlledBook
from jetsched.scheduler.events import (
    DeviceClosed,
    DeviceJoined,
    DeviceLost,
    DeviceOpened,
    DiskSeen,
    Event,
    Finished,
    Reattached,
)

log = logging.getLogger(__name__)

#: What a person closed, and what the loop itself closes; all other closings are the node's.
_NOT_OF_NODES: frozenset[Code] = frozenset({"Draining", "DeviceOffline"})


class Presence:
    """For the loop's thread; every event that it yields is handled before the next step.

    ``stopped`` are attempts that went down with an earlier cluster: they are *preempted*, which is
    no fault of a board and uses up no retry. ``rest`` says why a board that answers gets no job for
    a while; empty: it may.
    """

    def __init__(
        self,
        roster: Roster,
        book: ControlledBook,
        link: Link,
        logs: JobLogs,
        timing: Timing,
        now_s: Callable[[], float],
        stopped: Collection[Key],
        ready: Callable[[str], None],
        rest: Callable[[str], str],
    ) -> None:
        self._roster = roster
        self._book = book
        self._link = link
        self._logs = logs
        self._timing = timing
        self._now_s = now_s
        self._stopped = stopped
        self._on_ready = ready
        self._rest = rest
        self._began = time.monotonic()

    # -------------------------------------------------------------------------------- come and gone

    def see_nodes(self, nodes: dict[str, str]) -> Iterator[Event]:
        """Ray knows these nodes, by device, and no others."""
        again = [
            board
            for board in self._roster
            if board.node is not None and nodes.get(board.id) not in (None, board.node)
        ]
        yield from self.lose(again, "its node was started again")
        for device_id, node in nodes.items():
            board = self._roster.board(device_id)
            if board.node is None:
                board.node = node
                board.renewed = time.monotonic()  # its agent is being made, and has time for that
                board.hurry()
        gone = [b for b in self._roster if b.id not in nodes and (b.known or b.node is not None)]
        if time.monotonic() - self._began < self._timing.begin_s:
            # After a start the nodes may not have found the head yet; they are closed meanwhile.
            gone = [board for board in gone if board.node is not None]
        yield from self.lose(gone, "its node is gone")

    def look_for_silence(self, now: float) -> Iterator[Event]:
        """Close the boards that do not answer, and give those up that have not for too long."""
        lost: list[Board] = []
        for board in self._roster:
            if not board.is_asked:
                continue
            silent_s = board.silent_s(now)
            if board.known and silent_s > self._timing.silence_s:
                lost.append(board)
            elif board.ready and silent_s > self._timing.suspect_s:
                board.ready = False
                board.text = f"its agent has said nothing for {silent_s:.0f} s"
                log.warning("%s is suspect: %s", board.id, board.text)
                yield from self._close(board, board.text)
            last = max(board.heard, board.renewed, self._began)
            if now - last > self._timing.renew_s:
                log.warning("the agent of %s does not answer: it is replaced", board.id)
                board.renewed = now
                self._link.renew(board.id)
        yield from self.lose(lost, f"its agent has said nothing for {self._timing.silence_s:.0f} s")

    def lose(self, boards: Collection[Board], text: str) -> Iterator[Event]:
        """Give boards up, until their agents answer (again).

        All are closed first: what ran on one must not be placed on the other.
        """
        for board in boards:
            yield from self._close(board, text)
        for board in boards:
            log.warning("%s is lost: %s", board.id, text)
            was_known = board.known
            for key in list(board.attempts):
                self._roster.unwatch(key)
                board.foreign.add(key)
                if key in self._stopped:
                    down = "Ray's head ended while it ran"
                    yield Finished(self._now_s(), *key, "preempted", None, down)
            board.give_up(text)
            if was_known:
                yield DeviceLost(self._now_s(), board.id, f"{board.id} was lost: {text}")

    # --------------------------------------------------------------------------------- what it says

    def take_info(self, board: Board, info: Info) -> Iterator[Event]:
        """An agent has said who it is, for the first time in its life or again."""
        if info.protocol != PROTOCOL:
            text = (
                f"its agent speaks protocol {info.protocol}, the head {PROTOCOL}:"
                " install the same jetsched on both"
            )
            if board.known:  # from before one of them was upgraded
                yield from self.lose([board], text)  # at the next scan it is seen, and asked, again
            else:
                board.refused = board.text = text
                log.error("%s: %s", board.id, text)
            return
        board.info = info
        yield from self._take_device(board, info.device)

    def take_reading(self, board: Board, reading: Reading) -> Iterator[Event]:
        """A node has said how it is doing."""
        board.take_reading(reading, self._now_s())
        if reading.device is not None:
            yield from self._take_device(board, reading.device)
        if board.ready:
            yield from self._take_closings(board)
        free_mib = reading.disk_free_mib
        if free_mib is not None and self._book.disk_is_news(board.id, free_mib):
            yield DiskSeen(self._now_s(), board.id, free_mib)

    def _take_device(self, board: Board, device: Device) -> Iterator[Event]:
        changed, board.device = board.device != device, device
        if changed and board.ready:  # another power mode, or it was profiled
            yield DeviceJoined(self._now_s(), device)

    # ---------------------------------------------------------------------------- open and closed

    def _close(self, board: Board, text: str) -> Iterator[Event]:
        board.ready = False
        if board.known and "DeviceOffline" not in self._closings(board):
            yield DeviceClosed(self._now_s(), board.id, "DeviceOffline", text)

    def make_ready(self, board: Board) -> Iterator[Event]:
        """Let a board have jobs, once all is known and nothing runs there that nobody waits for.

        What survived on it is taken up again, where its job has not gone on elsewhere meanwhile.
        """
        device = board.device
        if board.ready or not board.told or board.info is None or device is None:
            return
        if any(key not in board.living or not is_wanted(self._book, key) for key in board.foreign):
            return
        yield from self._take_closings(board)
        if self._book.fleet.devices.get(board.id) != device:
            board.known = True
            yield DeviceJoined(self._now_s(), device)
        board.known = True
        for key in sorted(board.living):
            if not self._book.may_reattach(*key):
                return  # its job was started elsewhere by now: it is stopped
            board.living.discard(key)
            board.foreign.discard(key)
            log.info("%s-%d lives on %s: it goes on", *key, board.id)
            self._roster.watch(Watched(key, board.id, ordered=True, log_bytes=self._logs.size(key)))
            yield Reattached(self._now_s(), *key)
        board.ready, board.text = True, ""
        self._on_ready(board.id)
        if "DeviceOffline" in self._closings(board):
            rest = self._rest(board.id)
            if rest:
                yield DeviceClosed(self._now_s(), board.id, "DeviceOffline", rest)
            else:
                yield DeviceOpened(self._now_s(), board.id, "DeviceOffline")

    def _closings(self, board: Board) -> Collection[Code]:
        return self._book.fleet.closings.get(board.id, ())

    def _take_closings(self, board: Board) -> Iterator[Event]:
        """What the node itself knows against new jobs, as far as the scheduler does not know it."""
        told: Iterable[Closing] = ()
        if board.reading is not None:
            told = board.reading.closings
        elif board.info is not None:
            told = board.info.closings
        new, old = dict(told), set(self._closings(board)) - _NOT_OF_NODES
        for code, text in new.items():
            if code not in old:
                yield DeviceClosed(self._now_s(), board.id, code, text)
        for code in sorted(old - set(new)):
            yield DeviceOpened(self._now_s(), board.id, code)
