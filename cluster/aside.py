"""One piece of long work beside the service: in a process of its own, of low priority.

The child says how it goes in JSON lines: ``{"done": 3, "total": 24}`` as often as it likes, at the
end ``{"result": ...}`` or ``{"error": "...", "hint": "..."}``. It ends by itself when the service
does, by whatever it is ended.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jetsched.errors import InputError, JetschedError
from jetsched.profiler.procfs import available_mib
from jetsched.units import format_duration, format_size

#: The child runs when nothing else wants the core.
NICE = 15
#: Against hanging and growing without end.
LIMIT_S, MOST_MIB = 900.0, 4096
#: The child gets at most this part of what is free. With less than the least it would not get far:
#: Python and numpy reserve addresses that they never use.
SHARE, LEAST_MIB = 0.5, 1024
#: A line of the child is no longer than this: a result has a bound.
_MOST_LINE = 64 << 20
#: How often it is looked whether the service wants to end.
_LOOK_S = 0.5
_MIB = "JETSCHED_ASIDE_MIB"
#: Where children stand: Python looks for modules there first, and in it are our own only.
_PLACE = Path(__file__).parents[2]

log = logging.getLogger(__name__)


class BusyError(InputError):
    """Another piece of work is being done, or there is no memory for this one."""


@dataclass(frozen=True)
class Going:
    """How a piece of work is doing. ``mark`` is what it was started for."""

    mark: Any
    done: int = 0
    total: int = 0
    running: bool = True
    result: Any = None
    error: str = ""  # why there is no result
    hint: str = ""
    took_s: float | None = None


class Turn:
    """What several :class:`Aside` share so that only one of all works at a time: each may take as
    much memory as a small head has."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last: Aside | None = None  # who had it last; under the lock


class Aside:
    """Does one piece of work at a time. Methods may be called from any thread.

    ``closing`` says that the service wants to end: then what is being done is stopped. Of those
    with the same ``turn`` one works at a time.
    """

    def __init__(
        self,
        limit_s: float = LIMIT_S,
        most_mib: int = MOST_MIB,
        closing: Callable[[], bool] = lambda: False,
        turn: Turn | None = None,
    ) -> None:
        self._turn = turn or Turn()
        self._limit_s, self._most_mib, self._closing = limit_s, most_mib, closing
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._going: Going | None = None

    @property
    def going(self) -> Going | None:
        """The work at hand, or the last one that was; None before the first."""
        return self._going

    def start(
        self,
        mark: Any,
        module: str,
        args: Sequence[str],
        given: Any = None,
        *,
        read: Callable[[Any], Any] = lambda result: result,
    ) -> Going:
        """Have ``python -m module args`` do it; ``given`` is its first line of standard input.

        ``read`` makes the result of what the child has said. The same mark again, while it is being
        done, starts nothing. Raises :class:`BusyError` while something else is being done, and
        where too little memory is free.
        """
        with self._turn.lock, self._lock:
            now, other = self._going, self._turn.last
            if now is not None and now.running and now.mark == mark:
                return now
            if other is not None and other.going is not None and other.going.running:
                raise BusyError(
                    "the head works on something else for now", hint="cancel it, or wait for it"
                )
            most_mib = room_mib(self._most_mib, available_mib())
            self._turn.last = self
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1", _MIB: str(most_mib)},
                cwd=_PLACE,
                start_new_session=True,
            )
            self._going = found = Going(mark)
            process = self._process
            threading.Thread(target=self._follow, args=(process, mark, read), daemon=True).start()
            threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        line = json.dumps(given).encode() + b"\n"
        with suppress(OSError, ValueError):  # it has ended already, and says why
            stdin = _pipe(process.stdin)
            stdin.write(line)
            stdin.flush()
        return found

    def cancel(self) -> bool:
        """Stop what is being done; False where nothing is."""
        return self._stop("it was cancelled")

    def _stop(self, why: str) -> bool:
        with self._lock:
            process, now = self._process, self._going
            if process is None or now is None or not now.running:
                return False
            self._going = Going(now.mark, now.done, now.total, running=False, error=why)
        process.kill()
        return True

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Against hanging, and against outliving the service's server."""
        ends = time.monotonic() + self._limit_s
        while process is self._process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_S)
                return
            if self._closing():
                self._stop("the service ends")
            elif time.monotonic() > ends:
                self._stop(f"it took longer than {format_duration(self._limit_s)}")

    def _follow(
        self, process: subprocess.Popen[bytes], mark: Any, read: Callable[[Any], Any]
    ) -> None:
        """Read what the child says, to its end; whatever it says, it is over then."""
        began, said = time.monotonic(), _Tail(_pipe(process.stderr))
        told: dict[str, Any] = {}
        try:
            told = self._listen(process, mark)
            if "result" in told:
                told = {"result": read(told["result"])}
        except Exception:
            log.exception("what process %d says cannot be taken", process.pid)
            told = {"error": "what it said cannot be taken", "hint": "see logs/service.log"}
            process.kill()
        for pipe in (_pipe(process.stdin), _pipe(process.stdout)):
            with suppress(OSError):  # it did not read what it was given
                pipe.close()
        code = process.wait()
        took_s = time.monotonic() - began
        if "result" in told:
            self._note(process, mark, running=False, result=told["result"], took_s=took_s)
            return
        error = str(told.get("error") or f"it ended with code {code}: {said.last()}")
        hint = str(told.get("hint") or "")
        self._note(process, mark, running=False, error=error, hint=hint, took_s=took_s)

    def _listen(self, process: subprocess.Popen[bytes], mark: Any) -> dict[str, Any]:
        """Note how far it is; returns its last word, or nothing where it ends without."""
        out = _pipe(process.stdout)
        while line := out.readline(_MOST_LINE):
            told = _told(line)
            if "result" in told or "error" in told:
                return told
            done, total = told.get("done"), told.get("total")
            if isinstance(done, int) and isinstance(total, int):
                self._note(process, mark, done=done, total=total)
        return {}

    def _note(self, process: subprocess.Popen[bytes], mark: Any, **told: Any) -> None:
        with self._lock:
            now = self._going
            if process is self._process and now is not None and now.running:
                if "done" not in told:
                    told = {"done": now.done, "total": now.total, **told}
                self._going = Going(mark, **told)


def room_mib(most_mib: int, free_mib: float | None) -> int:
    """How much a child may take where so much is free. Raises :class:`BusyError` for too little."""
    if free_mib is None:
        return most_mib
    if free_mib < LEAST_MIB:
        raise BusyError(
            f"the head has {format_size(free_mib)} of memory free, and this work may take"
            f" {format_size(LEAST_MIB)}",
            hint="try again when less runs on it",
        )
    return min(most_mib, max(LEAST_MIB, int(SHARE * free_mib)))


class _Tail:
    """Reads the errors of a child, so that it never waits for us, and keeps the last line."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._line = b""
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in iter(lambda: pipe.readline(4096), b""):
                self._line = line.strip() or self._line

    def last(self) -> str:
        self._thread.join(5)
        return self._line.decode(errors="replace") or "it said nothing"


def _told(line: bytes) -> dict[str, Any]:
    """What a line tells; nothing where it is not one of ours."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # all three are asked for
    return pipe


# ------------------------------------------------------------------------------------ in the child


def work_aside(work: Callable[[Any, Callable[[int, int], None]], Any]) -> int:
    """What the child's ``main`` is: do the work, and say how it goes.

    ``work`` gets what was given and whom to tell how far it is; what it returns is the result, a
    JSON value. Errors of ours are told with their hint.
    """
    os.nice(NICE)
    most = int(os.environ.get(_MIB, MOST_MIB)) << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    # What anybody's code prints, a policy's or a library's, goes to the errors instead.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    given = json.loads(sys.stdin.buffer.readline() or b"null")
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def said(done: int, total: int) -> None:
        print(json.dumps({"done": done, "total": total}), file=out, flush=True)

    try:
        told: dict[str, Any] = {"result": work(given, said)}
    except JetschedError as error:
        told = {"error": str(error), "hint": error.hint}
    except MemoryError:
        told = {"error": f"it needs more than {most >> 20:,} MiB", "hint": "ask for less"}
    print(json.dumps(told), file=out, flush=True)
    return 0 if "result" in told else 1


def _end_with_parent() -> None:
    """Its end of our standard input is closed when it dies."""
    while os.read(sys.stdin.fileno(), 4096):  # a buffer's lock must be free when Python ends
        pass
    os._exit(0)
