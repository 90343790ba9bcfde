"""The doctor at the desk: has boards examined from here, and remembers what was found."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import Any

from jetsched.cluster.boards import Board, Examined
from jetsched.cluster.desk_base import DeskBase, UnknownDeviceError
from jetsched.cluster.link import AgentGone
from jetsched.errors import UnreachableError
from jetsched.files import to_json
from jetsched.scheduler.events import Event

#: How long who asks waits for an examination. What takes longer is there the next time.
PATIENCE_S = 25.0
#: So many may wait at the same time: each holds a thread, of which the service has few.
MOST_WAITING = 4


class DoctorDesk(DeskBase):
    """Examines boards. Methods may be called from any thread."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._examining: dict[str, Future[Any]] = {}
        self._doctors = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)

    def doctor(self, device_id: str, *, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Examine a board; returns ``device``, ``at_s``, ``note`` and ``findings``, all of them.

        Raises :class:`UnknownDeviceError`, and :class:`UnreachableError` where the board does not
        answer in time, or where too many wait for such answers already.
        """
        if not self._waiting.acquire(blocking=False):
            raise UnreachableError(
                f"{device_id} is not examined now: {MOST_WAITING} wait for the doctor already",
                hint=f"ask again in {PATIENCE_S:.0f} s",
            )
        try:
            return self._doctor(device_id, patience_s)
        finally:
            self._waiting.release()

    def _doctor(self, device_id: str, patience_s: float) -> dict[str, Any]:
        board = self._asked_board(device_id)
        asking = self._ask_doctor(board)
        try:
            asking.result(patience_s)
        except TooLate:
            raise UnreachableError(
                f"the doctor has been at work on {device_id} for {patience_s:.0f} s",
                hint="what it finds is kept: ask what is known of it in a minute",
            ) from None
        except AttributeError:
            raise UnreachableError(
                f"the agent of {device_id} is an older one, without a doctor",
                hint="install the same jetsched there as here",
            ) from None
        except AgentGone as error:
            raise UnreachableError(
                f"{device_id} does not answer the doctor: {error}", hint="jetsched devices"
            ) from None
        return self._cluster.ask(lambda now_s: _told(board, _keep(board, asking, now_s)))

    def last_doctor(self, device_id: str) -> dict[str, Any] | None:
        """What :meth:`doctor` found last; None where it has not looked since the head began."""

        def answer(now_s: float) -> dict[str, Any] | None:
            board = self._board_named(device_id)
            return _told(board, board.examined) if board.examined is not None else None

        return self._cluster.ask(answer)

    def _asked_board(self, device_id: str) -> Board:
        def answer(now_s: float) -> Board:
            board = self._board_named(device_id)
            if not board.is_asked or board.info is None:
                raise UnreachableError(
                    f"{device_id} cannot be examined: {board.text or 'its agent is silent'}",
                    hint="on the board itself: jetsched doctor",
                )
            return board

        return self._cluster.ask(answer)

    def _board_named(self, device_id: str) -> Board:
        board = self._cluster.boards.get(device_id)
        if board is None:
            raise UnknownDeviceError(f"there is no device {device_id!r}", hint="jetsched devices")
        return board

    def _ask_doctor(self, board: Board) -> Future[Any]:
        """Several who ask at the same time wait for one answer: the board has other work."""

        def ended(done: Future[Any]) -> None:
            """Also where nobody waits for it any more."""

            def take() -> Iterable[Event]:
                if done.exception() is None:
                    _keep(board, done, self._cluster.now_s())
                return ()

            self._cluster.tell(take)

        with self._doctors:
            asking = self._examining.get(board.id)
            if asking is not None and not asking.done():
                return asking
            asking = self._cluster.call(board.id, "doctor", platform.python_version())
            self._examining[board.id] = asking
        asking.add_done_callback(ended)
        return asking


def _keep(board: Board, done: Future[Any], now_s: float) -> Examined:
    """Remember an answer with the moment at which it became known first."""
    if board.examined is None or board.examined.check_up is not done.result():
        board.examined = Examined(now_s, done.result())
    return board.examined


def _told(board: Board, examined: Examined) -> dict[str, Any]:
    return {
        "device": board.id,
        "at_s": examined.at_s,
        "note": examined.check_up.note,
        "findings": to_json(examined.check_up.findings),
    }
