"""Does to a hosted cluster what a fault says: kills a process, pulls a cable, fills a disk."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_faults import HITS_ATTEMPT, Fault
from chaos_jobs import MARK
from chaos_watch import JournalWatch
from hosted_cluster import HostedCluster
from loopback_cluster import LoopbackCluster, Part
from multihost import Host

Key = tuple[str, int]
Cluster = HostedCluster | LoopbackCluster
#: What has processes: a host, or on the loopback a board or the head.
Place = Host | Part
#: How long something to be hit is waited for; the cluster may still be getting over the last fault.
TARGET_S = 60.0
#: How long the moment that was drawn is waited for.
MOMENT_S = 15.0
#: How long a child that tells its progress is waited for, before a command is stopped instead.
HANG_WAIT_S = 40.0


@dataclass
class Done:
    """What came of a fault. ``at`` is monotonic; ``hit``: the attempts that ran where it struck."""

    fault: Fault
    at: float = 0.0
    hit: list[Key] = field(default_factory=list)
    text: str = ""  # what was done, or why nothing could be
    was_done: bool = False
    healed: float = 0.0
    hung_s: float | None = None  # of a child

    def to_json(self) -> dict[str, Any]:
        return {
            **self.fault.to_json(),
            "done": self.was_done,
            "at_s": round(self.at, 1),
            "text": self.text,
            "hit": self.hit,
        }


class Injector:
    """Injects faults one after the other."""

    def __init__(self, cluster: Cluster, watch: JournalWatch, stop: threading.Event) -> None:
        self._cluster, self._watch, self._stop = cluster, watch, stop
        #: Attempts whose child was killed by us: they fail, and are right to.
        self.killed: set[Key] = set()

    def inject(self, fault: Fault, seconds_of: Callable[[str], float]) -> Done:
        """Wait for the fault's moment, do it, and make it good again after its time."""
        done = Done(fault)
        self._wait_for_moment(fault, seconds_of)
        time.sleep(fault.delay_s)
        host: Any = self._cluster.hosts[fault.host]
        with self._watch.news:
            devices = None if fault.host == "head" else [fault.host]
            done.hit = [key for _, key in self._watch.ledger.running(devices)]
        done.at = time.monotonic()
        getattr(self, f"_{fault.kind}")(host, fault, done)
        done.healed = time.monotonic()
        return done

    def _wait_for_moment(self, fault: Fault, seconds_of: Callable[[str], float]) -> None:
        ledger, watch = self._watch.ledger, self._watch
        devices = None if fault.host == "head" else [fault.host]

        def running() -> Iterator[tuple[str, float]]:
            for job, key in ledger.running(devices):
                attempt = ledger.attempt(key)
                assert attempt is not None
                yield job.id, time.monotonic() - (attempt.started or attempt.start)

        def starts(after: float) -> bool:
            return any(
                e.type == "Start"
                and e.at >= after
                and (devices is None or e.data["placement"]["device"]["id"] in devices)
                for e in watch.entries[-20:]
            )

        since = time.monotonic()
        facts: dict[str, Callable[[], Any]] = {
            "start": lambda: starts(since),
            "finish": lambda: any(age > seconds_of(job) - 0.4 for job, age in running()),
            "middle": lambda: any(age > 1.0 for _, age in running()),
            "any": lambda: True,
        }
        watch.wait_for(facts[fault.moment], MOMENT_S)
        if fault.kind in HITS_ATTEMPT:
            watch.wait_for(lambda: any(running()), TARGET_S)

    # ------------------------------------------------------------------------------- processes

    def _kill(self, host: Place, done: Done, what: str, is_it: Callable[[int], bool]) -> list[int]:
        """SIGKILL the processes of a kind on a host, as soon as there are any."""
        end = time.monotonic() + TARGET_S
        while not (found := [pid for pid in host.processes() if is_it(pid)]):
            if time.monotonic() > end or self._stop.is_set():
                done.text = f"no {what} there"
                return []
            time.sleep(0.05)
        done.at = time.monotonic()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done.was_done, done.text = True, f"{len(found)} {what} killed"
        return found

    def _kill_child(self, host: Place, fault: Fault, done: Done) -> None:
        keys: dict[int, Key] = {}

        def is_it(pid: int) -> bool:
            if is_workload(pid) and is_supervisor(parent_of(pid)) and not keys:
                keys[pid] = attempt_of(pid)
            return pid in keys

        self._kill(host, done, "child", is_it)
        done.hit = list(keys.values()) if done.was_done else []
        self.killed.update(done.hit)

    def _kill_supervisor(self, host: Place, fault: Fault, done: Done) -> None:
        self._kill(host, done, "supervisor", is_supervisor)

    def _kill_agent(self, host: Place, fault: Fault, done: Done) -> None:
        self._kill(host, done, "agent", lambda pid: words_of(pid)[:1] == ["ray::Agent"])

    def _kill_raylet(self, host: Place, fault: Fault, done: Done) -> None:
        self._kill(host, done, "raylet", lambda pid: program_of(pid) == "raylet")

    def _kill_service(self, host: Place, fault: Fault, done: Done) -> None:
        service = "jetsched.cluster.service"
        self._kill(host, done, "scheduler", lambda pid: service in words_of(pid))

    def _kill_gcs(self, host: Place, fault: Fault, done: Done) -> None:
        self._kill(host, done, "GCS", lambda pid: program_of(pid) == "gcs_server")

    def _hang_child(self, host: Place, fault: Fault, done: Done) -> None:
        """Stop a child until something ends it. A command may hang for long: it is let go."""
        found, began = 0, time.monotonic()
        while not found and not self._stop.is_set():
            waited_s = time.monotonic() - began
            if waited_s > TARGET_S:
                done.text = "no child there"
                return
            found = self._child_to_hang(host, any_kind=waited_s > HANG_WAIT_S)
            time.sleep(0.05)
        done.hit, done.was_done, done.at = [attempt_of(found)], True, time.monotonic()
        until = done.at + (fault.lasts_s if tells_progress(found) else 5.0)
        while Path(f"/proc/{found}").exists() and time.monotonic() < until:
            with contextlib.suppress(ProcessLookupError):  # again: a slowed-down one is continued
                os.killpg(found, signal.SIGSTOP)
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(found, signal.SIGCONT)
        ended = not Path(f"/proc/{found}").exists()
        done.hung_s = time.monotonic() - done.at
        done.text = f"a child hung for {done.hung_s:.0f} s, " + (
            "and was ended" if ended else "then went on"
        )

    def _child_to_hang(self, host: Place, *, any_kind: bool) -> int:
        """A child that tells how far it is, so that its silence is noticed, at best one on this
        board, and the youngest; with ``any_kind`` also a command. 0: there is none."""
        found = [
            pid
            for place in (host, *self._cluster.hosts.values())
            for pid in sorted(place.processes(), reverse=True)
            if is_workload(pid) and is_supervisor(parent_of(pid))
        ]
        best = [pid for pid in found if tells_progress(pid)] or (found if any_kind else [])
        return best[0] if best else 0

    # ------------------------------------------------------------------------------------ hosts

    def _power_node(self, host: Host, fault: Fault, done: Done) -> None:
        host.power_loss()
        self._wait(fault.lasts_s)
        host.power_on()
        done.was_done, done.text = True, f"off for {fault.lasts_s:.1f} s"

    _power_head = _power_node

    def _cut(self, host: Host, fault: Fault, done: Done) -> None:
        host.cut()
        self._wait(fault.lasts_s)
        host.heal()
        done.was_done, done.text = True, f"cut off for {fault.lasts_s:.1f} s"

    _cut_short = _cut_long = _cut

    def _disk_full(self, host: Host, fault: Fault, done: Done) -> None:
        host.fill_disk()
        self._wait(fault.lasts_s)
        host.free_disk()
        done.was_done, done.text = True, f"disk full for {fault.lasts_s:.1f} s"

    def _clock_step(self, host: Host, fault: Fault, done: Done) -> None:
        if not host.clock.works:
            done.text = "no C compiler here, so no clock can be stepped"
            return
        # Not further and further away: towards the true time where it is off.
        step_s = -abs(fault.step_s) if host.clock.offset_s > 0 else fault.step_s
        host.clock.step(step_s)
        done.was_done, done.text = True, f"clock stepped by {step_s:+.0f} s"

    def _wait(self, seconds: float) -> None:
        self._stop.wait(seconds)


# ------------------------------------------------------------------------------- process tables


def words_of(pid: int) -> list[str]:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [word for word in re.split(r"[\0 ]", line.decode("utf-8", "replace")) if word]


def program_of(pid: int) -> str:
    return os.path.basename(next(iter(words_of(pid)), ""))


def is_supervisor(pid: int) -> bool:
    return any(word.endswith("/supervisor.py") for word in words_of(pid))


def tells_progress(pid: int) -> bool:
    """Whether it trains or answers, instead of being a command."""
    return any(word.endswith("/child.py") for word in words_of(pid))


def is_workload(pid: int) -> bool:
    """Whether a process belongs to a job: it carries the job's mark."""
    try:
        return f"\0{MARK}=".encode() in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def attempt_of(pid: int) -> Key:
    """The attempt that a workload's process belongs to, by the folder in which it runs."""
    with contextlib.suppress(OSError):
        for part in reversed(Path(os.readlink(f"/proc/{pid}/cwd")).parts):
            if match := re.fullmatch(r"(\d+)-(\d+)", part):
                return match[1], int(match[2])
    return "", 0
