"""Many independent computations at once: here, in child processes, or (cluster/onray.py) on Ray.

A task is a picklable callable without arguments, small: what it needs is made where it runs. What
comes back does not depend on where that was, nor on the order in which tasks end.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from jetsched.errors import JetschedError
from jetsched.units import format_duration

Task = Callable[[], Any]
Done = Callable[[int, Any], None]

#: No single run that makes sense takes longer; one that does is taken for an endless loop.
LIMIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A task gave nothing, and why: it raised, its process died, or it did not end."""

    text: str


class Engine(Protocol):
    """Where tasks run."""

    def run(self, tasks: Sequence[Task], done: Done) -> None:
        """Run them all, and tell the number and the result of each, or a :class:`Failed`.

        ``done`` is called in the calling thread, in whatever order tasks end.
        """
        ...


def fan_out(
    tasks: Sequence[Task],
    engine: Engine,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Any]:
    """The results in the order of the tasks, a :class:`Failed` where a task gave none.

    ``progress`` hears (done, total), first with 0 done.
    """
    results: list[Any] = [Failed("it was never run")] * len(tasks)
    ended = 0

    def done(number: int, result: Any) -> None:
        nonlocal ended
        results[number] = result
        ended += 1
        progress(ended, len(tasks))

    progress(0, len(tasks))
    if tasks:
        engine.run(tasks, done)
    return results


@dataclass(frozen=True)
class Here:
    """One after the other in this process. A task that never ends, or kills it, is not survived."""

    def run(self, tasks: Sequence[Task], done: Done) -> None:
        for number, task in enumerate(tasks):
            done(number, attempt(task))


def attempt(task: Task) -> Any:
    """The task's result, or a :class:`Failed` that says what was raised, and where."""
    try:
        return task()
    except JetschedError as error:
        return Failed(f"{error}. {error.hint}" if error.hint else str(error))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}".rstrip(": ")
        return Failed(f"{text} ({last.filename}:{last.lineno})")


# ---------------------------------------------------------------------------------- child processes


@dataclass(frozen=True)
class Children:
    """At most ``count`` fresh processes of this machine, each with one task after the other.

    A process that dies, or works on one task for more than ``limit_s``, costs that task alone:
    another process goes on with the rest.
    """

    count: int
    limit_s: float = LIMIT_S

    def run(self, tasks: Sequence[Task], done: Done) -> None:
        with Crew(self.count, self.limit_s) as crew:
            crew.run(tasks, done)


class Crew:
    """:class:`Children` that stay for the next tasks, until the block ends that they are for."""

    def __init__(self, count: int, limit_s: float = LIMIT_S) -> None:
        self.count = count
        self.limit_s = limit_s
        self._workers: list[_Worker] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.close()
        self._workers = []

    def run(self, tasks: Sequence[Task], done: Done) -> None:
        todo = deque(enumerate(tasks))
        workers = self._workers
        while todo or any(worker.number is not None for worker in workers):
            for worker in workers:
                if worker.number is None and todo:
                    worker.give(*todo.popleft())
            while todo and len(workers) < max(1, self.count):
                workers.append(_Worker.started())
                workers[-1].give(*todo.popleft())
            self._await(done)
            for worker in [w for w in workers if w.ended]:
                worker.close()
                workers.remove(worker)

    def _await(self, done: Done) -> None:
        """Wait until a worker says something, or has taken too long."""
        busy: dict[Any, _Worker] = {w.pipe: w for w in self._workers if w.number is not None}
        first_s = min(w.since_s for w in busy.values())
        ready = wait(list(busy), max(0.0, first_s + self.limit_s - time.monotonic()))
        for pipe in ready:
            worker = busy.pop(pipe)
            number = worker.number
            assert number is not None
            done(number, worker.take())
        for worker in busy.values():
            if worker.number is not None and time.monotonic() - worker.since_s >= self.limit_s:
                number, worker.ended = worker.number, True
                done(number, too_long(self.limit_s))


def too_long(limit_s: float) -> Failed:
    return Failed(f"it was stopped after {format_duration(limit_s)}: an endless loop?")


class _Worker:
    """A child process, from the parent's side. ``ended``: it takes no more tasks."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: Connection, lifeline: int) -> None:
        self.process = process
        self.pipe = pipe
        self.number: int | None = None
        self.since_s = 0.0
        self.ended = False
        self._lifeline = lifeline

    @classmethod
    def started(cls) -> _Worker:
        worker = cls(*start_child("jetsched.cluster.fanout", "serve"))
        try:
            worker._send((os.getcwd(), sys.path))
        except BaseException:
            worker.close()
            raise
        return worker

    def give(self, number: int, task: Task) -> None:
        self.number, self.since_s = number, time.monotonic()
        self._send(task)

    def take(self) -> Any:
        """What it says about its task; a :class:`Failed` if it is dead."""
        self.number = None
        try:
            return pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.ended = True
            return Failed(f"its process {how_it_ended(self.process.wait())}")

    def _send(self, what: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `take` says so
            self.pipe.send(what)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        os.close(self._lifeline)


def start_child(
    module: str, function: str, environment: dict[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], Connection, int]:
    """Start ``module.function(pipe, lifeline)`` in a process of its own, of this same Python.

    Returns the process, a connection to it, and the descriptor that keeps it alive: it ends when
    that is closed, as it is when this process dies, however it does. What it prints goes to stderr.
    """
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    code = f"import {module} as m; m.{function}({theirs.fileno()}, {reading})"
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            # As many threads as elsewhere: sums of floats depend on it in some libraries.
            env={**(os.environ if environment is None else environment), "OMP_NUM_THREADS": "1"},
            pass_fds=(theirs.fileno(), reading),
            stdin=subprocess.DEVNULL,
            stdout=2,
            cwd="/",  # Python looks for modules there first, and ours may hold an attr.py
            start_new_session=True,  # Ctrl-C is for the parent, which ends us
        )
    except BaseException:
        ours.close()
        os.close(writing)
        raise
    finally:
        theirs.close()
        os.close(reading)
    return process, Connection(ours.detach()), writing


def serve(descriptor: int, lifeline: int) -> None:
    """The child's side: tasks come in, what :func:`attempt` makes of them goes out."""
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    pipe = Connection(descriptor)
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        folder, paths = pipe.recv()
        os.chdir(folder)
        sys.path[:] = paths
        while True:
            pipe.send_bytes(answer(pipe.recv_bytes()))


def answer(task: bytes) -> bytes:
    """What becomes of a pickled task, pickled: never an exception."""
    result = attempt(lambda: pickle.loads(task)())
    try:
        return pickle.dumps(result)
    except Exception as error:
        return pickle.dumps(Failed(f"its result cannot be sent: {error}"))


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def how_it_ended(code: int) -> str:
    """In words; a negative code is a signal's number."""
    if code == -signal.SIGKILL:
        return "was killed (out of memory?)"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"died of {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
