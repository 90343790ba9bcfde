"""Many computations at once on Ray: on a private one of this machine, or on somebody's cluster.

A driver process of ours talks to Ray, so that nothing of Ray, nor of its settings, gets into the
process that asks. A private Ray has its own folder, token and free ports, listens on the loopback
only, and ends with the driver; the driver ends with the process that asked, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import shutil
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from jetsched import __version__
from jetsched.cluster.fanout import (
    LIMIT_S,
    Done,
    Engine,
    Failed,
    Task,
    answer,
    how_it_ended,
    start_child,
    too_long,
)
from jetsched.cluster.guard import VARIABLE as POLICY_BUDGET
from jetsched.cluster.processes import end, family
from jetsched.cluster.raynodes import (
    PATIENCE_S,
    free_port,
    start_head,
    stay_on_loopback,
    wait_for_head,
)
from jetsched.cluster.rayplace import RayPlace
from jetsched.errors import JetschedError, UnreachableError
from jetsched.files import home, write_atomically

#: How long a driver gets to end its Ray.
_GRACE_S = 20.0
#: How long a port that is there takes to answer.
_PORT_S = 10.0


@dataclass(frozen=True)
class OnRay:
    """At most ``count`` tasks at a time on Ray; None: as many as the cluster has processors.

    With ``address`` on that cluster, whose nodes must have this version of jetsched and see the
    same files, by the RAY_ settings of this process. A task that kills its worker, or does not end
    within ``limit_s`` of being handed to Ray, costs that task alone. If Ray does not start, it is
    ``otherwise`` that runs them, and ``say`` hears why; without it :class:`JetschedError` is
    raised.
    """

    count: int | None
    limit_s: float = LIMIT_S
    address: str | None = None
    otherwise: Engine | None = None
    say: Callable[[str], None] = lambda text: None

    def run(self, tasks: Sequence[Task], done: Done) -> None:
        try:
            with _driver(self) as (pipe, wait):
                _expect_start(pipe, wait)
                pipe.send_bytes(pickle.dumps([pickle.dumps(task) for task in tasks]))
                for _ in tasks:
                    number, result = _received(pipe, wait)
                    done(number, pickle.loads(result))
        except _NotStarted as error:
            if self.otherwise is None:
                raise UnreachableError(str(error), hint=error.hint) from None
            self.say(f"Ray does not start, so child processes it is: {error}")
            self.otherwise.run(tasks, done)


class _NotStarted(JetschedError):
    """There is no Ray to run anything on."""


# --------------------------------------------------------------------------------------- the parent


@contextlib.contextmanager
def _driver(engine: OnRay) -> Iterator[tuple[Connection, Callable[[], int]]]:
    """The driver's connection, and a function that waits for its end."""
    place = _new_place() if engine.address is None else None
    environment = dict(os.environ)
    try:
        if place is not None:
            _make_folder(place)
            environment = place.environment()
        process, pipe, lifeline = start_child("jetsched.cluster.onray", "drive", environment)
        try:
            pipe.send((place, engine.count, engine.address, engine.limit_s, os.getcwd(), sys.path))
            yield pipe, process.wait
        finally:
            os.close(lifeline)
            with contextlib.suppress(Exception):
                process.wait(_GRACE_S)
            process.kill()
            process.wait()
            pipe.close()
    finally:
        if place is not None:
            _end_ray(place)  # what a driver that was killed has left


def _new_place() -> RayPlace:
    """Of a private Ray. Its folder is only named, so that whoever makes it can take it away."""
    # Ray puts sockets below it, whose whole path may have 107 characters.
    temp = f"/tmp/jsr-{secrets.token_hex(6)}"
    return RayPlace(secrets.token_hex(8), str(home()), "", "127.0.0.1", temp)


def _make_folder(place: RayPlace) -> None:
    """The folder of a private Ray, with its token; for nobody else to look into."""
    os.mkdir(place.temp, 0o700)
    write_atomically(place.token_file, secrets.token_hex(32).encode(), mode=0o600)


def _expect_start(pipe: Connection, wait: Callable[[], int]) -> None:
    if not pipe.poll(PATIENCE_S):
        raise _NotStarted(f"Ray did not answer within {PATIENCE_S:.0f} s")
    try:
        text, hint = pickle.loads(pipe.recv_bytes())
    except (EOFError, OSError):
        raise _NotStarted(f"Ray's driver {how_it_ended(wait())}") from None
    if text:
        raise _NotStarted(text, hint=hint)


def _received(pipe: Connection, wait: Callable[[], int]) -> tuple[int, bytes]:
    try:
        number, result = pickle.loads(pipe.recv_bytes())
    except (EOFError, OSError):
        raise JetschedError(f"Ray's driver {how_it_ended(wait())}") from None
    return number, result


def _end_ray(place: RayPlace) -> None:
    """End every process of a private Ray, and remove its folder."""
    for _ in range(3):  # what was being started while we looked
        left = family(place.mark, ())
        if not left:
            break
        end(left, 1.0)
    shutil.rmtree(place.temp, ignore_errors=True)


# --------------------------------------------------------------------------------------- the driver


def drive(descriptor: int, lifeline: int) -> None:
    """The driver's process: connect to Ray, run the tasks that come in, say what comes of them."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)  # Ray tells a terminal what we tell in our own words
    pipe = Connection(descriptor)
    place, count, address, limit_s, folder, paths = pipe.recv()
    threading.Thread(target=_end_with, args=(lifeline, place), daemon=True).start()
    try:
        slots = _connect(place, count, address)
    except Exception as error:
        where = f"no Ray at {address}" if address else "a private Ray"
        text = str(error) if isinstance(error, JetschedError) else f"{where}: {_first_line(error)}"
        pipe.send_bytes(pickle.dumps((text, getattr(error, "hint", ""))))
        threading.Event().wait()  # the lifeline's thread ends us
    pipe.send_bytes(pickle.dumps(("", "")))
    tasks = pickle.loads(pipe.recv_bytes())
    _run(pipe, tasks, slots, limit_s, folder, paths)
    threading.Event().wait()


def _end_with(lifeline: int, place: RayPlace | None) -> None:
    os.read(lifeline, 1)
    if place is not None:
        _end_ray(place)
    os._exit(0)


def _connect(place: RayPlace | None, count: int | None, address: str | None) -> int:
    """Connect to Ray, starting it first if there is none; returns how many tasks it takes."""
    import ray

    if place is None:
        _try_port(address or "")
        ray.init(address=address, log_to_driver=False, configure_logging=False)
        _check_version()
        return count or max(1, int(_resources(ray).get("CPU", 1)))
    assert count is not None
    stay_on_loopback()
    place = replace(place, address=f"127.0.0.1:{free_port()}")
    head = start_head(place, cpus=count)
    wait_for_head(place, head)
    ray.init(
        address=place.address,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        configure_logging=False,
    )
    return count


def _resources(ray: Any) -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()
    return found


def _try_port(address: str) -> None:
    """Raise where nothing listens at ``host:port``; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if "//" in address or not colon or not port.isdigit():
        return  # auto, local, ray://...: Ray's own business
    if host in ("127.0.0.1", "localhost"):
        stay_on_loopback()
    try:
        socket.create_connection((host, int(port)), timeout=_PORT_S).close()
    except OSError as error:
        raise UnreachableError(
            f"no Ray at {address}: {error.strerror or error}",
            hint="give the HOST:PORT that `ray start --head` has printed",
        ) from None


def _check_version() -> None:
    """Raise where the nodes have another jetsched, or none: results would differ, or not come."""
    import ray

    theirs = ray.get(ray.remote(num_cpus=1)(_version).remote())
    if theirs != __version__:
        raise JetschedError(
            f"the Ray cluster has jetsched {theirs}, here is {__version__}",
            hint="install the same version on all its nodes",
        )


def _version() -> str:
    return __version__


def _run(
    pipe: Connection,
    tasks: Sequence[bytes],
    slots: int,
    limit_s: float,
    folder: str,
    paths: Sequence[str],
) -> None:
    """Keep ``slots`` tasks with Ray until all have ended."""
    import ray

    budget = os.environ.get(POLICY_BUDGET)
    remote = ray.remote(num_cpus=1, max_retries=0)(_on_worker)
    todo = deque(enumerate(tasks))
    there: dict[Any, tuple[int, float]] = {}  # a call -> its task's number, and since when

    def say(number: int, result: bytes) -> None:
        pipe.send_bytes(pickle.dumps((number, result)))

    while todo or there:
        while todo and len(there) < slots:
            number, task = todo.popleft()
            there[remote.remote(task, folder, paths, budget)] = number, time.monotonic()
        ready, _ = ray.wait(list(there), timeout=1.0)
        for call in ready:
            say(there.pop(call)[0], _result_of(call))
        for call, (number, since_s) in list(there.items()):
            if time.monotonic() - since_s >= limit_s:
                ray.cancel(call, force=True)
                del there[call]
                say(number, pickle.dumps(too_long(limit_s)))


def _result_of(call: Any) -> bytes:
    import ray

    try:
        result: bytes = ray.get(call)
    except ray.exceptions.WorkerCrashedError:
        return pickle.dumps(Failed("its process died (out of memory?)"))
    except Exception as error:
        return pickle.dumps(Failed(f"Ray did not run it: {_first_line(error)}"))
    return result


def _on_worker(task: bytes, folder: str, paths: Sequence[str], budget: str | None) -> bytes:
    """On a worker of Ray: what becomes of a task, with the modules and files of who asked.

    And with the time budget of policies, which a cluster of somebody's has not inherited.
    """
    os.environ.pop(POLICY_BUDGET, None)
    if budget is not None:
        os.environ[POLICY_BUDGET] = budget
    if os.getcwd() != folder and os.path.isdir(folder):
        os.chdir(folder)
    sys.path += [path for path in paths if path not in sys.path]
    return answer(task)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else ''}".rstrip(": ")
