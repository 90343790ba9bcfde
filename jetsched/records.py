"""The words that every folder speaks: workloads, jobs, devices, estimates, measurements.

Frozen dataclasses, units in the names: ``_s`` seconds, ``_mib`` mebibytes, ``_pct`` per cent,
``_j`` joules, ``_w`` watts, ``_c`` degrees Celsius. Where a record is written as JSON its keys are
these field names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import blake2b
from typing import Any, Literal

from jetsched.quick import quick

Kind = Literal["train", "infer", "command"]
Precision = Literal["fp32", "fp16", "bf16"]
Source = Literal["measured", "estimated", "assumed"]
Method = Literal["table", "fitted", "datasheet"]
Fit = Literal["fits", "tight"]

#: How one attempt ended.
Outcome = Literal[
    "done",
    "failed",
    "killed_memory",
    "killed_time",
    "killed_heat",
    "lost",
    "preempted",
    "cancelled",
]

#: Where a job is in its life. The last five are final.
State = Literal[
    "waiting", "held", "starting", "running", "done", "failed", "killed", "lost", "cancelled"
]
FINAL_STATES: frozenset[State] = frozenset({"done", "failed", "killed", "lost", "cancelled"})

#: Why a job is not running, or why a device will not do. A closed list.
Code = Literal[
    "DeviceBusy",  # every device that fits is busy, and the policy chose to wait for one
    "Behind",  # jobs ahead of it get the devices first
    "BetterSoon",  # something is free, but the policy waits for a better device
    "NeverFits",  # memory: it needs more than the device has, or it was killed there
    "NotProfiled",  # nothing is known about this workload or device
    "DeviceOffline",
    "Draining",
    "FetchingFiles",
    "NoDisk",
    "TooHot",
    "WrongPowerMode",
    "EnvMissing",  # the device lacks something: a precision, an interpreter, a label
    "Held",
]


class _Hashed:
    """Keeps the hash of a record that is the key of many look-ups. Not pickled: it is salted."""

    __slots__ = ("_hash",)
    _hash: int


@dataclass(frozen=True, slots=True)
class Workload(_Hashed):
    """What is run: everything that changes the cost of one unit of work, and nothing else.

    It is the key of every measurement and estimate. The unit is one training sample, one prompt,
    or one run of a command; how many there are is :attr:`Job.amount`.
    """

    kind: Kind
    model: str
    dataset: str = ""
    batch_size: int = 1
    seq_len: int = 0  # training: tokens per sample
    prompt_tokens: int = 0  # inference: tokens per prompt
    max_new_tokens: int = 0  # inference: tokens generated per prompt
    precision: Precision = "fp32"
    method: Literal["full", "lora"] = "full"
    head: Literal["qa", "lm"] = "lm"
    gradient_checkpointing: bool = False
    accumulation_steps: int = 1
    lora_rank: int = 0
    command: str = ""  # kind "command": what is run; the other fields say what it is like
    like: Literal["", "train", "infer"] = ""

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            values = tuple(getattr(self, f.name) for f in fields(self))
            object.__setattr__(self, "_hash", hash(values))
            return self._hash

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits, the same for equal workloads on any machine and Python."""
        text = json.dumps(asdict(self), sort_keys=True)
        return blake2b(text.encode(), digest_size=6).hexdigest()

    @property
    def label(self) -> str:
        """A few words for a person, e.g. ``train distilgpt2 b8x384 fp32``."""
        words = [self.kind, self.model.rsplit("/", 1)[-1]]
        if self.kind == "train" or self.like == "train":
            words.append(f"b{self.batch_size}x{self.seq_len}")
        elif self.kind == "infer" or self.like == "infer":
            words.append(f"b{self.batch_size} {self.prompt_tokens}+{self.max_new_tokens}")
        words.append(self.precision)
        return " ".join(words + ([self.method] if self.method == "lora" else []))


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job asks of the device it runs on. Empty means: anything will do."""

    device: tuple[str, ...] = ()  # device models, ids or labels; one of them must match
    memory_mib: float | None = None  # the device must have at least this much for jobs
    disk_mib: float | None = None  # so much must be free there when it starts

    @property
    def picky(self) -> bool:
        """Whether some devices of a class may do and others not."""
        return bool(self.device) or self.disk_mib is not None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job is started again, and after which outcomes."""

    times: int = 2
    on: tuple[Outcome, ...] = ("killed_memory", "lost")


@quick
@dataclass(frozen=True, slots=True)
class Job:
    """One request to run a workload.

    ``amount`` counts units of work: samples times epochs, prompts, or 1 for a command.
    Times are seconds on the cluster's clock (simulated: from 0; live: since the Unix epoch).
    """

    id: str
    workload: Workload
    amount: float = 1.0
    submitted_s: float = 0.0
    name: str = ""
    user: str = ""
    priority: int = 50  # 0..100, higher first
    deadline_s: float | None = None  # clock time; soft: policies see it, metrics count it
    time_limit_s: float | None = None  # run time of an attempt; hard: ends in killed_time
    needs: Needs = Needs()
    retry: Retry = Retry()
    checkpoint_every_s: float | None = None
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    #: The validated ``work`` section of the job file, handed to the child as it is. JSON values.
    work: Mapping[str, Any] = field(default_factory=dict, hash=False)
    #: Variables whose values the head keeps: (variable, name of the secret). Never a value.
    secrets: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DeviceModel:
    """One row of a data sheet. Peaks are what the vendor says, not what programs reach."""

    name: str  # as in job and fleet files, e.g. "xavier-nx"
    title: str
    architecture: str  # of the GPU, e.g. "Volta"; "" for a CPU
    compute_capability: str  # e.g. "7.2"; "" for a CPU
    cuda_cores: int
    peak_gflops: Mapping[Precision, float]  # dense, without sparsity
    bandwidth_gb_s: float
    memory_mib: float  # MemTotal as the operating system shows it
    usable_mib: float  # assumed left for jobs on a headless board
    cpu: str
    cpu_cores: int
    cpu_ghz: float
    idle_w: float
    max_w: float
    bf16: bool
    power_modes: tuple[str, ...] = ()
    default_power_mode: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class DeviceClass(_Hashed):
    """Devices that cost the same: same model, power mode, software and memory for jobs.

    An estimate is made once per (workload, device class), however many boards there are.
    """

    model: str
    power_mode: str = ""
    software: str = ""  # e.g. "jetpack-5.1.2 torch-2.1.0"
    memory_mib: float = 0.0  # usable by jobs, measured where possible
    emulated: bool = False

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            values = (self.model, self.power_mode, self.software, self.memory_mib, self.emulated)
            object.__setattr__(self, "_hash", hash(values))
            return self._hash

    @property
    def label(self) -> str:
        """A few words for a person, e.g. ``xavier-nx @ 15W_6CORE``."""
        if self.emulated:
            return f"{self.model} (emulated)"
        return self.model + (f" @ {self.power_mode}" if self.power_mode else "")


@dataclass(frozen=True, slots=True)
class Device:
    """One board of the fleet."""

    id: str
    device_class: DeviceClass
    labels: tuple[str, ...] = ()
    disk_free_mib: float | None = None  # as it was last told; None: not known

    @property
    def model(self) -> str:
        return self.device_class.model

    def named_by(self, needs: Needs) -> bool:
        """Whether the job's wish for devices names this one: by model, id or label."""
        return not needs.device or any(
            wish in (self.model, self.id) or wish in self.labels for wish in needs.device
        )

    def has_room_for(self, needs: Needs) -> bool:
        """Whether as much disk is free as the job asks for, as far as that is known."""
        free_mib, needed_mib = self.disk_free_mib, needs.disk_mib
        return free_mib is None or needed_mib is None or free_mib >= needed_mib

    def satisfies(self, needs: Needs) -> bool:
        """Whether the device is named by the job, and has the disk for it."""
        return self.named_by(needs) and self.has_room_for(needs)


@quick
@dataclass(frozen=True, slots=True)
class Estimate:
    """What running a job on a device would cost, how sure that is, and where it comes from.

    ``time_s`` is the p50 of the whole attempt, loading included: ``load_s + amount * rate``.
    ``peak_memory_mib`` is live bytes, those in tensors; a process holds ``runtime_mib`` beside them
    in any case, and ``admitted_mib`` is both with the device's allocator headroom (p95).
    """

    time_s: float
    time_p90_s: float
    load_s: float
    peak_memory_mib: float
    admitted_mib: float
    gpu_util_pct: float | None
    energy_j: float | None
    source: Source
    method: Method
    fit: Fit = "fits"
    measurements: int = 0  # how many stand behind it
    emulated: bool = False
    runtime_mib: float = 0.0
    note: str = ""  # what the time was extrapolated over: nothing measured in that precision, ...


@dataclass(frozen=True, slots=True)
class Never:
    """A job can never run on a device, and why. Data, not an exception.

    Memory as in :class:`Estimate`; after a kill ``admitted_mib`` is at least what the device had.
    """

    code: Code
    text: str
    peak_memory_mib: float | None = None
    admitted_mib: float | None = None
    source: Source | None = None


Verdict = Estimate | Never


@quick
@dataclass(frozen=True, slots=True)
class Placement:
    """A job on a device from ``start_s`` to (estimated) ``finish_s`` on the cluster's clock.

    A policy that returns one with ``start_s`` in the future holds the job for that device.
    """

    job: Job
    device: Device
    estimate: Estimate
    start_s: float
    finish_s: float


@dataclass(frozen=True, slots=True)
class Preempt:
    """A policy's wish to stop a running job; it goes back to the queue with its checkpoint."""

    job_id: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """What a policy has to say about a waiting job: that its deadline cannot be met, for one."""

    job_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job is not running now."""

    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `plan` and `why`: a device, and what was thought of it."""

    device: str
    verdict: Literal["fits", "tight", "never", "busy"]
    code: Code | None = None
    reason: str = ""
    peak_memory_mib: float | None = None
    admitted_mib: float | None = None
    has_mib: float | None = None
    start_s: float | None = None
    time_s: float | None = None
    time_p90_s: float | None = None
    finish_s: float | None = None  # start_s + fetch_s + time_s
    energy_j: float | None = None
    score: float | None = None
    source: Source | None = None
    chosen: bool = False
    fetch_s: float | None = None  # until the job's files are there; None: it has none, or unknown


@dataclass(frozen=True, slots=True)
class Decision:
    """What was chosen for a job, and everything that was considered: what `why` prints."""

    at_s: float
    job_id: str
    policy: str
    chosen: str | None  # a device id; None when the job went on waiting
    reason: Reason | None  # why it waits
    rows: tuple[Row, ...] = ()
    note: str = ""  # e.g. that the policy broke its contract and the default decided
    remark: str = ""  # what the policy had to say about the job


@quick
@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a job on a device; ``outcome`` is None while it runs."""

    number: int  # from 1
    device: str
    start_s: float
    estimate: Estimate
    end_s: float | None = None
    outcome: Outcome | None = None
    text: str = ""


@dataclass(frozen=True)
class Measurement:
    """What one run of a workload on a device cost, and how it ended. Never changed afterwards.

    None means: not measured. ``time_s`` is the whole attempt, ``load_s`` up to the model being
    ready (interpreter start and imports included), ``work_s`` the ``amount`` units after that.
    """

    workload: Workload
    device_class: DeviceClass
    outcome: Outcome
    amount: float = 0.0  # units of work that were done
    time_s: float | None = None
    load_s: float | None = None
    warmup_s: float | None = None
    work_s: float | None = None
    tokens_per_s: float | None = None
    peak_memory_mib: float | None = None  # what the process really held
    live_memory_mib: float | None = None  # bytes in tensors, where the allocator counts them
    swap_delta_mib: float | None = None
    gpu_util_pct: float | None = None
    cpu_util_pct: float | None = None
    power_w: float | None = None  # mean of the measured phase: warm-up and work
    energy_j: float | None = None  # of the same phase
    temperature_c: float | None = None  # highest
    loss_first: float | None = None
    loss_last: float | None = None
    phases_s: Mapping[str, float] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()  # for anything but done: what was seen
    text: str = ""  # one sentence for a person
    random_weights: bool = False
    identity: Mapping[str, Any] = field(default_factory=dict)  # of the board; no serial numbers
    device: str = ""  # the id in the fleet, where there was one
    job_id: str = ""
    at: str = ""  # wall time, ISO 8601, UTC
    source: Source = "measured"
    method: Method = "table"
    emulated: bool = False

    @property
    def rate_s(self) -> float | None:
        """Seconds per unit of work, or None."""
        return self.work_s / self.amount if self.work_s and self.amount else None
