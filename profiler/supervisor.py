"""Stands between whoever starts a workload and the workload itself, and outlives neither.

Run by path, ``python supervisor.py ORDER.json LIFELINE_FD``: standard library only, Python >= 3.8.
It forks twice into its own session and becomes the reaper of everything the workload starts, so
that nothing escapes it; it ends the workload when its lifeline (a pipe from the starter) is closed,
however the starter died. Each line that arrives on the lifeline is a wish to stop:
``{"stop": "preempted", "grace_s": 10}``.

What it does to the workload is in the order: environment, memory cap, CPUs, slow-down, and when it
is to end: at its time limit, when the board is too hot, when it has shown no sign of life for long
(supervising.py).
What became of it is in ``exit.json``, written at the very end, when no process is left.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
import types
from contextlib import suppress
from typing import Any, Mapping

if "jetsched" not in sys.modules:  # run by path, where nothing of ours can be imported
    _package = types.ModuleType("jetsched")
    _package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules["jetsched"] = _package

from jetsched.profiler import procfs, supervising

#: The kernel takes the workload before the node's agent when memory ends.
OOM_SCORE_ADJ = 800
#: The attempt's own folder is closed to others; what a job writes elsewhere is as one would expect.
UMASK = 0o022
#: How long processes that do not die of SIGKILL (stuck in the kernel) are waited for.
KILL_PATIENCE_S = 10.0
#: Room on the disk that was set aside for ``exit.json``, should the workload fill the rest.
RESERVE = ".reserve"

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

#: Set by Ray or a virtual environment for *their* process; they falsify a benchmark.
FOREIGN = ("RAY_", "PYTHON", "JETSCHED_", "VIRTUAL_ENV", "__PYVENV", "SPT_")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(argv: list[str]) -> int:
    """Detach from the starter, then supervise; the starter only waits for our pid on stdout."""
    with open(argv[1], encoding="utf-8") as file:
        order = json.load(file)
    if order.get("secrets"):
        order["env"] = {**(order.get("env") or {}), **json.loads(sys.stdin.buffer.read())}
    lifeline = int(argv[2])
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return 0
    os.setsid()
    pid = os.fork()
    if pid:
        os.write(1, str(pid).encode())
        os._exit(0)
    os.dup2(2, 1)  # the starter reads our pid until the pipe is closed
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.set_inheritable(lifeline, False)
    supervisor = Supervisor(order, lifeline)
    try:
        supervisor.run()
    except BaseException as error:
        supervisor.end_descendants()
        remove_group(order["cap"].get("group"))
        remove_temporary(order.get("tmp"))
        text = f"{type(error).__name__}: {error}"  # the file is the only way to tell anybody
        write_exit(order["folder"], {"version": 1, "error": text})
        raise
    os._exit(0)


class Supervisor:
    """One workload, from its start until nothing of it is left."""

    def __init__(self, order: dict[str, Any], lifeline: int) -> None:
        self.order = order
        self.folder: str = order["folder"]
        self.lifeline = lifeline
        self.grace_s = float(order.get("grace_s", 10.0))
        self.pid = 0  # of the workload; also its process group and session
        self.status: int | None = None  # of the workload, as wait() gives it
        self.alive = True  # whether any child is left
        self.cpu_s = 0.0
        self.maxrss_mib = 0.0
        self.stop: dict[str, Any] | None = None
        self.kill_at = float("inf")
        self.killed = False
        self.terminated = False  # somebody sent SIGTERM to the supervisor itself
        self.received = b""
        self.duty = supervising.Duty(float(order.get("slowdown") or 1.0))

    def run(self) -> None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        clean_priorities(0)
        wake = self._signals()
        write_json(
            os.path.join(self.folder, "supervisor.json"),
            {
                "pid": os.getpid(),
                "ticks": procfs.start_ticks(os.getpid()),
                "boot": procfs.boot_id(),
            },
        )
        oom_kills, available = procfs.oom_kills_since_boot(), procfs.available_mib()
        started_s, start = time.time(), time.monotonic()
        self.pid = spawn(self.order)
        self.duty.begin(self.pid)
        watch = supervising.Watch(self.order, start)
        self._loop(wake, watch)
        watch.see_disk()
        left = self.end_descendants()
        group = self.order["cap"].get("group")
        names = self.order["cap"]["counters"]
        counters = {name: procfs.read(os.path.join(group, name)) for name in names}
        remove_group(group)
        remove_temporary(self.order.get("tmp"))
        ended, time_s = self.status, time.monotonic() - start
        write_exit(
            self.folder,
            {
                "version": 1,
                "started_s": started_s,
                "time_s": time_s,
                "clock_step_s": time.time() - started_s - time_s,
                "exit_code": None if ended is None or os.WIFSIGNALED(ended) else ended >> 8,
                "signal": os.WTERMSIG(ended) if ended is not None and ended & 0x7F else None,
                "stop": self.stop,
                "killed_after_grace": self.killed,
                "left_behind": left,
                "maxrss_mib": self.maxrss_mib,
                "cpu_s": self.cpu_s,
                "own_cpu_s": time.process_time(),
                "rested_s": self.duty.rested_s,
                "counters": counters,
                "system_oom_kills": procfs.oom_kills_since_boot() - oom_kills,
                "available_before_mib": available,
                "available_after_mib": procfs.available_mib(),
                "disk_least_mib": watch.disk_least_mib,
                "nice": os.getpriority(os.PRIO_PROCESS, 0),
                "boot": procfs.boot_id(),
            },
        )

    def _signals(self) -> int:
        """Let SIGCHLD and SIGTERM wake the poll; terminal signals are not for us."""
        read_end, write_end = os.pipe()
        for end in (read_end, write_end):
            os.set_blocking(end, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "terminated", True))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        return read_end

    def _loop(self, wake: int, watch: supervising.Watch) -> None:
        """Sleep until a signal, a word on the lifeline or the next deadline; return at the end."""
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self.lifeline, select.POLLIN)
        while True:
            now = time.monotonic()
            if self.terminated:
                self._begin_stop("lost", "sigterm", self.grace_s)
            if self.stop is None:
                wish = watch.look(now)
                if wish is not None:
                    self._begin_stop(wish[0], wish[1], self.grace_s, wish[2])
            if now >= self.kill_at:
                self.killed = True
                return
            deadline = self.kill_at
            if self.stop is None:
                deadline = min(self.duty.turn(now), watch.next_at)
            timeout = None if deadline == float("inf") else max(0.0, deadline - now) * 1000
            for fd, _ in poll.poll(timeout):
                if fd == wake:
                    drain(wake)
                elif not self._hear():
                    poll.unregister(self.lifeline)
            self._reap()
            if self.status is not None and (self.stop is None or not self.alive):
                return  # when it is being stopped, what it started may use the grace to the end

    def _hear(self) -> bool:
        """Read the lifeline; False when it is closed."""
        data = os.read(self.lifeline, 4096)
        if not data:
            self._begin_stop("lost", "lifeline", self.grace_s)
            return False
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            wish = json.loads(line)
            self._begin_stop(wish["stop"], "asked", wish["grace_s"])
        return True

    def _begin_stop(self, outcome: str, why: str, grace_s: float, text: str = "") -> None:
        """Ask the workload to end; the first reason counts, a later one can shorten the grace."""
        self.kill_at = min(self.kill_at, time.monotonic() + grace_s)
        if self.stop is not None:
            return
        self.stop = {"outcome": outcome, "why": why, "text": text}
        self.duty.end()
        if self.pid and self.status is None:
            supervising.send(self.pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Collect everything that has ended, the orphans of the workload included."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.alive = False
                return
            if pid == 0:
                return
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.maxrss_mib = max(self.maxrss_mib, usage.ru_maxrss / 1024)
            if pid == self.pid:
                self.status = status

    def end_descendants(self) -> list[int]:
        """SIGKILL whatever is left, sessions of their own included; returns what did not die."""
        patience = time.monotonic() + KILL_PATIENCE_S
        while True:
            for pid in procfs.descendants(os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            if not self.alive:
                return []
            if time.monotonic() > patience:
                return procfs.descendants(os.getpid())
            time.sleep(0.005)


def spawn(order: dict[str, Any]) -> int:
    """Start the workload in a session of its own under the order's limits; returns its pid.

    When it returns the process group is there and hears SIGTERM, though it may not have begun.
    """
    parent = os.getpid()
    ready, not_ready = os.pipe()
    pid = os.fork()
    if pid:
        os.close(not_ready)
        os.read(ready, 1)  # until the other end is closed
        os.close(ready)
        return pid
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for name in ("SIGCHLD", "SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.close(not_ready)
        os.umask(UMASK)
        clean_priorities(OOM_SCORE_ADJ)
        apply_limits(order)
        os.chdir(order["folder"])
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        argv = order["argv"]
        os.execvpe(argv[0], argv, environment(order, os.environ))
    except BaseException as error:
        text = f"supervisor: cannot start {order.get('argv')}: {error}\n"
        os.write(2, text.encode())
    os._exit(127)


def apply_limits(order: dict[str, Any]) -> None:
    """Memory cap and CPUs, on the calling process."""
    cap = order["cap"]
    if cap.get("group"):
        with open(os.path.join(cap["group"], "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))
    if cap.get("address_space"):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = cap["address_space"]
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, wanted))
    if order.get("cpus"):
        os.sched_setaffinity(0, order["cpus"])


def environment(order: dict[str, Any], inherited: Mapping[str, str]) -> dict[str, str]:
    """The workload's environment: ours without what was meant for our own process, then the job's.

    Under Ray, CUDA_VISIBLE_DEVICES is Ray's idea of the GPUs (none, for an actor that asked for
    none), so it goes too.
    """
    under_ray = any(name.startswith("RAY_") for name in inherited)
    env = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(FOREIGN)
        and name not in THREADS
        and not (under_ray and name == "CUDA_VISIBLE_DEVICES")
    }
    if order.get("threads"):
        env.update({name: str(order["threads"]) for name in THREADS})
    if order.get("tmp"):
        env["TMPDIR"] = order["tmp"]
    env.update(order.get("env") or {})
    return env


def clean_priorities(oom_score_adj: int) -> None:
    """Undo a niceness and an OOM score that were inherited (Ray's workers: 15 and 1000)."""
    with suppress(OSError):  # lowering it takes a privilege; exit.json tells what it was
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(oom_score_adj))


def remove_group(group: str | None) -> None:
    """Remove the empty cgroup; the kernel may need a moment after the last exit."""
    for _ in range(40):
        if not group or not os.path.isdir(group):
            return
        with suppress(OSError):
            os.rmdir(group)
            return
        time.sleep(0.025)


def remove_temporary(folder: str | None) -> None:
    """Remove the workload's own folder for temporary files, with all that it left there."""
    if folder:
        import shutil  # it is not needed before

        shutil.rmtree(folder, ignore_errors=True)


def drain(fd: int) -> None:
    with suppress(BlockingIOError):
        while os.read(fd, 4096):
            pass


def write_json(path: str, value: dict[str, Any]) -> None:
    """Write a file that is there whole or not at all, also after a power cut."""
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


def write_exit(folder: str, value: dict[str, Any]) -> None:
    """Write ``exit.json``, for which room was set aside, as the workload may have filled the disk.

    Where others have taken that room too, the attempt is *lost*, which needs no file.
    """
    with suppress(OSError):
        os.unlink(os.path.join(folder, RESERVE))
    for pause_s in (0.1, 0.5, 0.0):
        with suppress(OSError):
            write_json(os.path.join(folder, "exit.json"), value)
            return
        time.sleep(pause_s)


def prctl(option: int, value: int) -> None:
    """Best effort: the C library is there on every Linux that runs Python."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
