"""How a board is doing, in one word and in sentences: what `devices` shows.

*ready*, *busy*; *degraded*: it works, but not as it should; *draining*: a person closed it;
*suspect*: its agent leaves calls unanswered; *offline*: it is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jetsched.cluster.boards import Board
from jetsched.cluster.profiled import Profile
from jetsched.profiler.drift import Drift
from jetsched.records import Code
from jetsched.scheduler.closed import closed_reason

BoardState = Literal["ready", "busy", "degraded", "draining", "suspect", "offline"]

#: Closings that say nothing against the board itself.
_NOT_ITS_FAULT: frozenset[Code] = frozenset({"Draining", "DeviceOffline"})


def state_of(
    board: Board, closings: Mapping[Code, str], troubles: list[str], busy: bool
) -> BoardState:
    """The word for a board: the first that holds of offline, suspect, draining, degraded, busy."""
    if not board.known:
        return "offline"
    if not board.ready:
        return "suspect"
    if "Draining" in closings:
        return "draining"
    if troubles:
        return "degraded"
    return "busy" if busy else "ready"


def troubles_of(
    board: Board,
    closings: Mapping[Code, str],
    drift: Drift,
    profile: Profile | None,
) -> list[str]:
    """What is wrong with a board, a sentence each."""
    found: list[str] = []
    own = {code: text for code, text in closings.items() if code not in _NOT_ITS_FAULT}
    closed = closed_reason(own)
    if closed is not None:
        found.append(closed.text)
    if board.reading is not None and board.reading.throttled:
        found.append("it is throttled: heat or its supply holds it back")
    if drift.verdict == "slower" and drift.text:
        found.append(drift.text)
    if board.info is None or board.device is None or board.device.device_class.emulated:
        return found
    identity = board.info.identity
    if identity.get("torch_cpu_only") and identity.get("kind") != "cpu":
        found.append("its torch is CPU-only: jobs do not use the GPU")
    if profile is not None and profile.verdict == "stale":
        found.append(profile.text)
    return found


def words_of(board: Board, closings: Mapping[Code, str], troubles: list[str]) -> str:
    """Why a board is in its state; empty where there is nothing to say."""
    if not board.ready:
        return board.text
    rests = closings.get("DeviceOffline")  # of one that answers
    troubles = [*([rests] if rests else []), *troubles]
    draining = closings.get("Draining")
    if draining is not None:
        troubles = [f"drained: {draining}" if draining else "drained", *troubles]
    return "; ".join(troubles)
