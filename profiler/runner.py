"""Runs one attempt of a job on this machine, for `jetsched profile` and the live agent alike.

A benchmark is a job that is run under measurement, and every finished job is a measurement.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jetsched.files import json_bytes, to_json, write_atomically
from jetsched.profiler.attempts import Attempt, Story, is_running, measure, measured_phase
from jetsched.profiler.heat import Zone, zones_of
from jetsched.profiler.limits import Limits, make_cap, make_temporary, remove_stale, to_order
from jetsched.profiler.models import spec_fields
from jetsched.profiler.procfs import boot_id
from jetsched.profiler.supervisor import RESERVE, remove_group, remove_temporary
from jetsched.profiler.telemetry import Telemetry, telemetry_for
from jetsched.records import Device, Job, Measurement, Outcome

CHILD = Path(__file__).with_name("child.py")
SUPERVISOR = Path(__file__).with_name("supervisor.py")
#: Set aside for how it ended, which must find room on a disk that the workload has filled.
RESERVE_BYTES = 256 * 1024
#: Where an attempt leaves what is to be kept of it, below its folder; a command is told by the
#: variable.
OUT = "out"
OUT_VARIABLE = "JETSCHED_OUT"


@dataclass(frozen=True)
class RunOrder:
    """What to run, where, and under which limits.

    ``folder`` is the attempt's own and is created; ``python`` runs the child; ``max_steps`` cuts
    the amount short (a benchmark needs a rate, not the whole job); ``identity`` is the board's.
    ``files`` says where on this machine things lie that the job names by where they lie elsewhere,
    or by a hub id: ``model_path``, ``dataset_path``, ``prompts_path``, ``resume_from``. Without
    ``artefacts`` the run leaves none, as for a benchmark. ``secrets`` are variables that the
    workload gets and that no file of the attempt holds.
    """

    job: Job
    device: Device
    folder: Path
    python: str = sys.executable
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    max_steps: int | None = None
    resume_from: Path | None = None
    offline: bool = True
    grace_s: float = 10.0  # from SIGTERM to SIGKILL at the time limit, or when the starter dies
    identity: Mapping[str, Any] = field(default_factory=dict)
    child: Path = CHILD
    root: Path = Path("/")  # where /sys is; another one has the sensors of an emulated board
    files: Mapping[str, str] = field(default_factory=dict)
    artefacts: bool = True
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Progress:
    """How far a run is. None: not known (yet)."""

    phase: Literal["starting", "running", "ended"]
    done: float = 0.0  # units of work
    amount: float = 1.0
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    memory_mib: float | None = None
    gpu_util_pct: float | None = None
    checkpoint: str = ""  # the name of the newest, e.g. "step-0000010"


class Run:
    """A running attempt. It ends with the process that holds it: the supervisor sees to that."""

    def __init__(
        self,
        order: RunOrder,
        supervisor: int,
        lifeline: int,
        left: tuple[str | None, str | None],
        telemetry: Telemetry,
    ) -> None:
        self.order = order
        self._supervisor = supervisor
        self._lifeline = os.fdopen(lifeline, "wb", buffering=0)
        self._left = left  # its cgroup and its folder for temporary files, should it die
        self._telemetry = telemetry
        self._story = Story(order.folder / "events.jsonl")
        self._measurement: Measurement | None = None
        self._pidfd = _pidfd(supervisor)

    @classmethod
    def start(cls, order: RunOrder, telemetry: Telemetry | None = None) -> Run:
        """Start the attempt and return at once (after two forks, some 50 ms).

        A workload that cannot be started is not an error here: it is an outcome, *failed*.
        Raises OSError where the folder cannot be written, or holds an attempt already, and
        subprocess.SubprocessError where there is no supervisor to be had.
        """
        folder = order.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (folder / "order.json").exists():
            raise FileExistsError(f"{folder} holds an attempt already")
        if order.artefacts:
            (folder / OUT).mkdir(exist_ok=True)
        _set_aside(folder / RESERVE)
        write_atomically(folder / "spec.json", json_bytes(child_spec(order)))
        telemetry = telemetry or telemetry_for(order.device.device_class, order.root)
        remove_stale()
        cap = make_cap(order.limits.memory_mib)
        temporary = None
        heard, lifeline = os.pipe()
        try:
            temporary = make_temporary()
            data = json_bytes(_supervisor_order(order, folder, to_order(cap), temporary))
            # The job's environment may hold secrets.
            write_atomically(folder / "order.json", data, mode=0o600)
            with (folder / "log.txt").open("ab") as log:
                started = subprocess.run(
                    [sys.executable, "-I", "-S", SUPERVISOR, folder / "order.json", str(heard)],
                    pass_fds=(heard,),
                    input=json_bytes(dict(order.secrets)),
                    stdout=subprocess.PIPE,
                    stderr=log,
                    check=True,
                )
        except BaseException:
            os.close(lifeline)
            remove_group(cap.group)
            remove_temporary(temporary)
            raise
        finally:
            os.close(heard)
        supervisor = int(started.stdout)
        telemetry.start(supervisor)
        return cls(order, supervisor, lifeline, (cap.group, temporary), telemetry)

    def poll(self) -> Progress:
        """How far it is, from what the child has written; cheap and never blocks."""
        self._look()
        progress, sample = self._story.progress or {}, self._telemetry.latest()
        phase: Literal["starting", "running", "ended"] = "starting"
        if self._measurement is not None:
            phase = "ended"
        elif self._story.loaded is not None or self.order.job.workload.kind == "command":
            phase = "running"
        return Progress(
            phase=phase,
            done=float(progress.get("done") or 0.0),
            amount=float(progress.get("amount") or self.order.job.amount),
            step=progress.get("step"),
            steps=progress.get("steps"),
            loss=progress.get("loss"),
            memory_mib=sample.memory_mib if sample else None,
            gpu_util_pct=sample.gpu_util_pct if sample else None,
            checkpoint=os.path.basename(str((self._story.checkpoint or {}).get("path", ""))),
        )

    def stop(self, outcome: Outcome, grace_s: float = 10.0) -> None:
        """Ask it to end: SIGTERM (training writes a checkpoint), after ``grace_s`` SIGKILL.

        Returns at once; the result has ``outcome``, unless the work was done by then.
        """
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended already
            self._lifeline.write(json_bytes({"stop": outcome, "grace_s": grace_s}) + b"\n")

    def result(self) -> Measurement | None:
        """What it cost and how it ended; None while it runs, afterwards always the same object."""
        self._look()
        return self._measurement

    def release(self) -> None:
        """Let go of it, as if the process that holds it had died: its supervisor ends it."""
        with contextlib.suppress(OSError):
            self._lifeline.close()

    def wait(self, timeout_s: float | None = None) -> Measurement:
        """Wait for the end without using the CPU. Raises TimeoutError; the run then goes on."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (measurement := self.result()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"attempt in {self.order.folder} runs after {timeout_s} s")
            self._sleep(left)
        return measurement

    def _sleep(self, limit_s: float | None) -> None:
        if self._pidfd is None:
            time.sleep(min(0.1, limit_s or 0.1))
            return
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll(None if limit_s is None else limit_s * 1000)

    def _look(self) -> None:
        if self._measurement is not None:
            return
        self._story.read_on()
        if is_running(self.order.folder):
            return
        if not (self.order.folder / "exit.json").exists():
            group, temporary = self._left  # its supervisor was killed
            _kill_group(group)
            remove_temporary(temporary)
        phase = measured_phase(self.order.folder, self._story, self.order.job.workload.kind)
        summary = self._telemetry.stop(*phase)
        self._measurement = measure(
            self.order.folder, self._story, summary, tuple(self.order.secrets.values())
        )
        self._lifeline.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def child_spec(order: RunOrder) -> dict[str, Any]:
    """What the child is told: ``spec.json``. Unknown keys are ignored there."""
    job = order.job
    names = {key: value for key, value in to_json(job.workload).items() if value not in ("", 0)}
    work = {**names, **job.work}
    return {
        "version": 1,
        "work": work,
        "amount": job.amount,
        "folder": str(order.folder.absolute()),
        **(spec_fields(job.workload.model) if job.workload.model else {}),
        "dataset_path": work.get("dataset_path") or _file_of(str(work.get("dataset") or "")),
        "prompts_path": work.get("prompts_path") or _file_of(str(work.get("prompts") or "")),
        "offline": order.offline,
        "seed": order.seed,
        "max_steps": order.max_steps,
        "warmup_steps": 1,
        "checkpoint_every_s": job.checkpoint_every_s,
        "resume_from": str(order.resume_from) if order.resume_from else None,
        "artefacts": order.artefacts,
        "device": "auto",
        "secrets": sorted(order.secrets),  # variables whose values must not be in its events
        **order.files,
    }


def _file_of(name: str) -> str | None:
    """The file that a data set's name means, a slice like ``[:2000]`` apart; None for a hub id."""
    path = Path(re.sub(r"\[[^\]]*\]$", "", name)).expanduser()
    return str(path.absolute()) if name and path.is_file() else None


def _supervisor_order(
    order: RunOrder, folder: Path, cap: Mapping[str, Any], temporary: str
) -> dict[str, Any]:
    job, limits = order.job, order.limits
    if job.time_limit_s is not None:
        shorter = min(job.time_limit_s, limits.time_s or job.time_limit_s)
        limits = replace(limits, time_s=shorter)
    if job.workload.kind == "command":
        argv = ["sh", "-c", job.workload.command]
    else:
        argv = [order.python, str(order.child), str(folder / "spec.json")]
    return {
        "version": 1,
        "folder": str(folder),
        "argv": argv,
        "env": {**dict(job.env), **({OUT_VARIABLE: str(folder / OUT)} if order.artefacts else {})},
        "secrets": sorted(order.secrets),  # their values come through its stdin
        "threads": limits.threads,
        "cpus": list(limits.cpus),
        "cap": dict(cap),
        "tmp": temporary,
        "time_limit_s": limits.time_s,
        "stall_s": None if job.workload.kind == "command" else limits.stall_s,
        "heat": [[zone.name, str(zone.file), zone.limit_c] for zone in _zones(order)],
        "slowdown": limits.slowdown,
        "grace_s": order.grace_s,
        "ordered_s": time.time(),
        "ordered_monotonic_s": time.monotonic(),  # of this boot
        "boot": boot_id(),
        "attempt": to_json(Attempt(job, order.device, limits, order.identity)),
    }


def _zones(order: RunOrder) -> tuple[Zone, ...]:
    """An emulated board has no sensors, unless somebody has made it some."""
    if order.device.device_class.emulated and order.root == Path("/"):
        return ()
    return zones_of(order.root, order.limits.temperature_c)


def _set_aside(path: Path) -> None:
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)


def _pidfd(pid: int) -> int | None:
    """Something to wait on for a process that is not our child; None before Linux 5.3."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _kill_group(group: str | None) -> None:
    """End what a killed supervisor left in its cgroup, and remove that."""
    if group is None:
        return
    for _ in range(100):
        try:
            pids = (Path(group) / "cgroup.procs").read_text().split()
        except OSError:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.rmdir(group)
            return
        time.sleep(0.01)
