"""Boards that are computed: what an agent would say, as a function of time. No process, no thread.

A board runs what it is told for as long as the cost model says, give or take, and its sensors show
that. Everything that varies comes from the board's name, so that a world repeats.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from random import Random
from typing import Any

from jetsched.cluster.bundles import FileEntry
from jetsched.cluster.checkup import CheckUp
from jetsched.cluster.exchange import Answers, Wishes
from jetsched.cluster.nodefiles import Outputs
from jetsched.cluster.protocol import (
    PROTOCOL,
    Closing,
    Info,
    Key,
    Order,
    Reading,
    Report,
    Stored,
)
from jetsched.profiler.devices import sheet_of
from jetsched.profiler.findings import Finding
from jetsched.profiler.runner import Progress
from jetsched.records import (
    Code,
    Device,
    DeviceClass,
    DeviceModel,
    Job,
    Measurement,
    Never,
    Outcome,
)
from jetsched.scheduler.view import Costs

#: What may be wrong with a board: reason codes that it closes itself with, and other ways to fail.
CLOSINGS: Mapping[str, Closing] = {
    "hot": ("TooHot", "tj-thermal is at 96 C; it takes jobs again below 85 C"),
    "full": ("NoDisk", "212 MiB free in /var/lib/jetsched, 500 are needed"),
    "mode": ("WrongPowerMode", "it is in power mode 15W, and is to be in 25W"),
    "python": ("EnvMissing", "the workload's interpreter is gone: /opt/work/bin/python"),
}
#: Beside those: throttled, slower than its estimates, memory held by others, silent (never heard).
OTHERS = ("throttled", "slow", "crowded", "silent")
#: What is left to jobs on a Jetson of 8 GB, and in which mode.
KINDS = {
    "xavier-nx": DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 6150.0),
    "orin-nano": DeviceClass("orin-nano", "25W", "jetpack-6", 6900.0),
}
#: A step of the work, for the log: one line in so many seconds.
LOG_EVERY_S = 5.0
MOST_LINES = 2000
IDLE_C = 41.0
#: How long an attempt takes of which the cost model knows nothing.
UNKNOWN_S = 30.0


@dataclass
class Attempt:
    """An attempt that was started, with the end that it will have. Seconds of the world's clock."""

    job: Job
    start_s: float
    load_s: float
    work_s: float
    share: float  # of its work that it will have done
    outcome: Outcome
    held_mib: float
    gpu_pct: float
    outputs: bool

    @property
    def end_s(self) -> float:
        return self.start_s + self.load_s + self.work_s * self.share

    def stop(self, outcome: Outcome, now_s: float) -> None:
        """It ends now, if it has not yet."""
        if now_s < self.end_s:
            worked_s = max(0.0, now_s - self.start_s - self.load_s)
            self.load_s = min(self.load_s, now_s - self.start_s)
            self.share, self.outcome = worked_s / self.work_s if self.work_s else 1.0, outcome

    def done(self, now_s: float) -> float:
        """The share of its work that is done."""
        if not self.work_s:
            return self.share
        return max(0.0, min(self.share, (now_s - self.start_s - self.load_s) / self.work_s))

    def log(self, now_s: float) -> bytes:
        """All that it has said so far."""
        began = f"{self.job.workload.label}: loading\n"
        if now_s < self.start_s + self.load_s:
            return began.encode()
        worked_s = min(now_s, self.end_s) - self.start_s - self.load_s
        count = min(MOST_LINES, int(worked_s / LOG_EVERY_S))
        lines = [began, f"loaded in {self.load_s:.1f} s\n"]
        steps = max(1, round(self.job.amount))
        for number in range(1, count + 1):
            share = min(1.0, number * LOG_EVERY_S / self.work_s) if self.work_s else 1.0
            lines.append(f"step {share * steps:.0f}/{steps} loss {_loss(share):.3f}\n")
        if now_s >= self.end_s:
            lines.append(f"{self.outcome}\n")
        return "".join(lines).encode()


@dataclass
class SimulatedBoard:
    """One board. ``trouble`` is a word of :data:`CLOSINGS` or :data:`OTHERS`, "" for none."""

    device: Device
    costs: Costs
    now_s: Callable[[], float]
    trouble: str = ""
    began_s: float = 0.0
    attempts: dict[Key, Attempt] = field(default_factory=dict)
    idle_since_s: float = 0.0

    def __post_init__(self) -> None:
        self._sheet: DeviceModel = sheet_of(replace(self.device.device_class, emulated=False))
        self._random = Random(self.device.id)
        self._phase = self._random.uniform(0.0, 100.0)
        self._others_mib = self._random.uniform(420.0, 780.0)
        if self.trouble == "crowded":
            self._others_mib += 2600.0

    def call(self, method: str, *args: Any) -> Any:
        """What the agent's method would answer. Raises LookupError where there is none."""
        answer = getattr(self, f"_{method}", None)
        if answer is None:
            raise LookupError(f"a simulated board does not know {method!r}")
        return answer(*args)

    # --------------------------------------------------------------------------- the agent's words

    def _info(self) -> Info:
        now_s = self.now_s()
        living = tuple(key for key, attempt in self.attempts.items() if now_s < attempt.end_s)
        ended = tuple(key for key in self.attempts if key not in living)
        return Info(PROTOCOL, self.device, living, closings=self._closings(), ended=ended)

    def _doctor(self, head_python: str) -> CheckUp:
        fine = Finding("agent python", "ok", f"{head_python}, as the head's")
        found = [Finding("board", "ok", f"{self.device.model}: computed"), fine]
        for _, text in self._closings():
            found.append(Finding("disk" if "MiB" in text else "power", "fail", text, "see there"))
        if self.trouble == "crowded":
            text = "a desktop runs: it takes 0.8 to 2 GB that jobs could have"
            found.append(Finding("desktop", "warn", text, "sudo systemctl isolate multi-user"))
        return CheckUp(tuple(found), "computed, as the board is")

    def _exchange(self, wishes: Wishes) -> Answers:
        for key in wishes.forget:
            self._forget(key)
        for key, outcome in wishes.stops:
            self._stop(key, outcome)
        for order in wishes.starts:
            self._start(order)
        reports = self._poll({**wishes.offsets, **{order.key: 0 for order in wishes.starts}})
        if not wishes.look:
            return Answers(reports)
        return Answers(reports, {}, self._info(), self._reading())

    def _stored(self, read: tuple[int, int]) -> Stored:
        return Stored(read=read)

    def _start(self, order: Order) -> None:
        self.attempts.setdefault(order.key, self._attempt(order.job, order.attempt))

    def _poll(self, offsets: Mapping[Key, int | None]) -> dict[Key, Report]:
        keys = [*offsets, *(key for key in self.attempts if key not in offsets)]
        return {key: self._report(key, offsets.get(key)) for key in keys}

    def _stop(self, key: Key, outcome: Outcome, grace_s: float | None = None) -> None:
        if key in self.attempts:
            self.attempts[key].stop(outcome, self.now_s())

    def _forget(self, key: Key) -> None:
        attempt = self.attempts.pop(key, None)
        if attempt is not None:
            self.idle_since_s = attempt.end_s

    def _drop(self, job_ids: tuple[str, ...]) -> None:
        return None

    def _files(self, name: str, *args: Any) -> Any:
        """The node's files: a table of the losses of each training, and nothing else."""
        if name == "outputs":
            return _outputs(self.attempts.get(args[0]))
        if name == "read":
            key, _, offset, *size = args
            data = _losses(self.attempts[key])
            return data[offset : offset + size[0]] if size else data[offset:]
        if name in ("rows", "held", "prune_cache", "prune_attempts"):
            return []
        if name == "has_hub_model":
            return True
        if name == "newest_checkpoint":
            return -1
        raise LookupError(f"a simulated node has no files to {name!r}")

    # ------------------------------------------------------------------------------------- sensors

    def _reading(self) -> Reading:
        now_s = self.now_s()
        attempt = self._running(now_s)
        jobs_mib = sum(self._held(a, now_s) for a in self.attempts.values() if now_s < a.end_s)
        busy = attempt.gpu_pct if attempt is not None and attempt.done(now_s) > 0 else 0.0
        gpu = min(100.0, max(0.0, busy + self._wave(now_s, 7.0, 4.0) + self._wave(now_s, 1.9, 2.0)))
        total = self._sheet.memory_mib
        watts = self._sheet.idle_w + (self._sheet.max_w - self._sheet.idle_w) * 0.85 * gpu / 100
        closings = self._closings()
        return Reading(
            at_s=now_s,
            memory_total_mib=total,
            memory_free_mib=max(0.0, total - jobs_mib - self._others_mib),
            jobs_mib=jobs_mib,
            gpu_util_pct=gpu if busy else max(0.0, self._wave(now_s, 11.0, 1.5)),
            power_w=watts + self._wave(now_s, 5.0, 0.2),
            temperature_c=self._degrees(now_s, attempt),
            power_mode=self.device.device_class.power_mode or None,
            disk_free_mib=212.0 if self.trouble == "full" else 21_500.0,
            throttled=True if self.trouble == "throttled" else None,
            closings=closings,
            device=self.device,
        )

    def _closings(self) -> tuple[Closing, ...]:
        closing = CLOSINGS.get(self.trouble)
        return (closing,) if closing is not None else ()

    def _degrees(self, now_s: float, attempt: Attempt | None) -> float:
        """It warms up within minutes, and cools down as slowly."""
        if self.trouble == "hot":
            return 96.0 + self._wave(now_s, 9.0, 0.4)
        hot_c = 24.0 if self.trouble != "throttled" else 46.0
        if attempt is not None:
            above = hot_c * attempt.gpu_pct / 100 * (1 - math.exp(-(now_s - attempt.start_s) / 90))
        else:
            above = 0.6 * hot_c * math.exp(-max(0.0, now_s - self.idle_since_s) / 120)
        return IDLE_C + above + self._wave(now_s, 13.0, 0.7)

    def _wave(self, now_s: float, period_s: float, height: float) -> float:
        return height * math.sin(2 * math.pi * (now_s + self._phase) / period_s)

    # ------------------------------------------------------------------------------------ attempts

    def _running(self, now_s: float) -> Attempt | None:
        return next((a for a in self.attempts.values() if now_s < a.end_s), None)

    def _attempt(self, job: Job, number: int) -> Attempt:
        kind = self.device.device_class
        verdict = self.costs.verdict(job, kind)
        random = Random(f"{self.device.id} {job.id} {number}")
        spread = random.gauss(1.0, 0.06) * (1.35 if self.trouble == "slow" else 1.0)
        outcome: Outcome = "failed" if random.random() > 0.98 else "done"
        if isinstance(verdict, Never):
            time_s, load_s, held_mib, gpu_pct = UNKNOWN_S, 2.0, 900.0, 50.0
        else:
            time_s, load_s = verdict.time_s, verdict.load_s
            counted_mib = verdict.peak_memory_mib + verdict.runtime_mib
            held_mib = min(counted_mib * random.uniform(0.94, 1.04), kind.memory_mib)
            gpu_pct = verdict.gpu_util_pct or 82.0
            # The same work always: one kill, and no board of that kind is given such work again.
            if verdict.fit == "tight":
                outcome, held_mib = "killed_memory", kind.memory_mib
        return Attempt(
            job=job,
            start_s=self.now_s(),
            load_s=load_s * max(0.3, spread),
            work_s=max(0.0, time_s - load_s) * max(0.3, spread),
            share=1.0 if outcome == "done" else random.uniform(0.1, 0.6),
            outcome=outcome,
            held_mib=held_mib,
            gpu_pct=gpu_pct,
            outputs=job.workload.kind == "train" and outcome == "done",
        )

    def _held(self, attempt: Attempt, now_s: float) -> float:
        """Memory grows while it loads, and stays."""
        loaded = (now_s - attempt.start_s) / attempt.load_s if attempt.load_s else 1.0
        return attempt.held_mib * min(1.0, max(0.1, loaded))

    def _report(self, key: Key, offset: int | None) -> Report:
        attempt, now_s = self.attempts.get(key), self.now_s()
        if attempt is None:
            return Report("unknown")
        chunk = attempt.log(now_s)[offset:] if offset is not None else b""
        if now_s >= attempt.end_s:
            measured, progress = self._measured(key, attempt), self._progress(attempt, now_s)
            outputs = attempt.outputs and attempt.outcome == "done"
            return Report("ended", progress, chunk, measurement=measured, outputs=outputs)
        progress = self._progress(attempt, now_s)
        return Report("starting" if progress.phase == "starting" else "running", progress, chunk)

    def _progress(self, attempt: Attempt, now_s: float) -> Progress:
        share, amount = attempt.done(now_s), attempt.job.amount
        loading = now_s < attempt.start_s + attempt.load_s
        steps = max(1, round(amount))
        return Progress(
            "starting" if loading else "running" if now_s < attempt.end_s else "ended",
            done=share * amount,
            amount=amount,
            step=round(share * steps),
            steps=steps,
            loss=_loss(share) if attempt.job.workload.kind == "train" and not loading else None,
            memory_mib=self._held(attempt, now_s),
            gpu_util_pct=None if loading else attempt.gpu_pct,
        )

    def _measured(self, key: Key, attempt: Attempt) -> Measurement:
        job, outcome = attempt.job, attempt.outcome
        worked_s = attempt.work_s * attempt.share
        watts = self._sheet.idle_w + 0.8 * (self._sheet.max_w - self._sheet.idle_w)
        texts = {
            "killed_memory": "the kernel killed it: it wanted more memory than the board has",
            "failed": "it ended with exit code 1",
        }
        return Measurement(
            workload=job.workload,
            device_class=self.device.device_class,
            outcome=outcome,
            amount=job.amount * attempt.share,
            time_s=attempt.load_s + worked_s,
            load_s=attempt.load_s,
            work_s=worked_s,
            peak_memory_mib=attempt.held_mib,
            gpu_util_pct=attempt.gpu_pct,
            power_w=watts,
            energy_j=watts * worked_s,
            temperature_c=IDLE_C + 24.0,
            evidence=("oom_kill +1 in its cgroup",) if outcome == "killed_memory" else (),
            text=texts.get(outcome, ""),
            device=self.device.id,
            job_id=job.id,
            at=datetime.fromtimestamp(attempt.end_s, timezone.utc).isoformat(timespec="seconds"),
            emulated=self.device.device_class.emulated,
        )


def closing_codes() -> set[Code]:
    """The reason codes that a troubled board may be closed with."""
    return {closing[0] for closing in CLOSINGS.values()}


def _loss(share: float) -> float:
    return 3.4 * math.exp(-2.1 * share) + 0.4


def _losses(attempt: Attempt) -> bytes:
    rows = [f"{number / 20:.2f},{_loss(number / 20):.4f}" for number in range(21)]
    return "\n".join([f"share,loss of {attempt.job.id}", *rows, ""]).encode()


def _outputs(attempt: Attempt | None) -> Outputs | None:
    if attempt is None or not attempt.outputs:
        return None
    data = _losses(attempt)
    return Outputs((FileEntry("losses.csv", len(data), hashlib.sha256(data).hexdigest()),))
