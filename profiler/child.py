"""The workload itself: one training or inference run, in a process of its own.

Started **by path**, ``PYTHON profiler/child.py spec.json``, by whatever interpreter the board has
for it: Python 3.8 and later, torch 1.12 and later, transformers 4.46 and later. It imports nothing
of jetsched. It reads ``spec.json`` and appends one JSON object a line to ``events.jsonl`` in the
spec's folder, each with ``event`` and ``t`` (seconds since the Unix epoch):

- ``started``: pid, python, torch, transformers, device, gpu_name, cuda, threads
- ``loaded``: load_s (since the process was started), parameters, random_weights, weights,
  tokenizer (hub | path | bytes), data (file | hub | shipped), samples or prompts
- ``progress``: done, amount, step, steps, loss, tokens, and for a run that is cut short what the
  result would say: worked (its amount), work_s, warmup_s (twice a second at most, and the last one)
- ``checkpoint``: path, step, done
- ``result``: what child_train.Trainer.run and child_infer.run return, with memory and, where any
  were asked for, artefacts (paths below the folder), artefact_bytes and saving_s;
  of kind *calibrate*, what child_calibrate.run returns as ``calibration``
- ``failed``: error (class name), text, memory (it looks like running out of it)

Exit codes: 0 done, 1 failed, 143 stopped by SIGTERM (training writes a checkpoint first).
"""

from __future__ import annotations

import errno
import gc
import importlib.util
import json
import math
import os
import platform
import re
import signal
import sys
import time
import traceback
from types import ModuleType
from typing import Any, Callable, NamedTuple

#: Shorter values of secrets are not replaced in what is told of a failure.
SHORTEST_REDACTED = 6
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRESS_EVERY_S = 0.5
LINE_EVERY_S = 5.0  # in the log, for people

#: How running out of memory announces itself, beside MemoryError and torch's own class.
MEMORY_SIGNS = re.compile(
    r"out of memory|can't allocate memory|unable to allocate"
    r"|cannot allocate memory(?! in static TLS)"  # that is a loader's quirk on Arm
    r"|bad_alloc|CUBLAS_STATUS_ALLOC_FAILED|NvMapMemAlloc|CUDACachingAllocator"
    r"|failed to map segment",
    re.IGNORECASE,
)


class SpecError(Exception):
    """The spec asks for something that cannot be run."""


class Stopped(BaseException):
    """SIGTERM was received; not an Exception, so that nothing on the way swallows it."""


class Stop:
    """What SIGTERM does: ends the run at once, or sets a flag where the loop looks for it."""

    def __init__(self) -> None:
        self.requested = False
        self.deferred = False  # the loop asks ``requested`` itself and calls ``now``

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.requested = True
        if not self.deferred:
            raise Stopped

    def now(self) -> None:
        raise Stopped


class Events:
    """``events.jsonl``, one line at a time and each complete."""

    def __init__(self, folder: str) -> None:
        self._file = open(  # noqa: SIM115  # open as long as the process lives
            os.path.join(folder, "events.jsonl"), "a", encoding="utf-8", buffering=1
        )
        self._progress_at = -math.inf
        self._line_at = -math.inf

    def emit(self, event: str, **values: Any) -> None:
        if event == "progress" and values["step"] != values["steps"]:
            now = time.monotonic()
            if now - self._progress_at < PROGRESS_EVERY_S:
                return
            self._progress_at = now
        line = {"event": event, "t": time.time(), **values}
        self._file.write(json.dumps(_finite(line)) + "\n")
        self._tell(event, values)

    def _tell(self, event: str, values: dict[str, Any]) -> None:
        """The same for people who read the log, seldom enough for a run of days."""
        if event == "progress":
            now = time.monotonic()
            if now - self._line_at < LINE_EVERY_S and values["step"] != values["steps"]:
                return
            self._line_at = now
        words = _words(event, values)
        if words:
            print(words, flush=True)


def _words(event: str, values: dict[str, Any]) -> str:
    """An event in one line; nothing for those that a reader of the log can do without."""
    if event == "started":
        where = values["gpu_name"] or values["device"]
        return "torch {} on {}".format(values["torch"], where)
    if event == "loaded":
        weights = "random weights" if values["random_weights"] else "weights: " + values["weights"]
        return "loaded after {:.1f} s, {}".format(values["load_s"], weights)
    if event == "progress":
        loss = "" if values["loss"] is None else ", loss {:.4g}".format(values["loss"])
        return "step {} of {}, {:.0f} of {:.0f} done{}".format(
            values["step"], values["steps"], values["done"], values["amount"], loss
        )
    if event == "checkpoint":
        return "checkpoint at step {}".format(values["step"])
    return ""


def _finite(value: Any) -> Any:
    """The same without infinities and NaN (a loss can be one), which JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def sibling(name: str) -> ModuleType:
    """A module from this file's folder, found by path.

    The folder itself must not be on ``sys.path``: it has modules whose names others use too.
    """
    full = "jetsched_" + name
    if full not in sys.modules:
        where = importlib.util.spec_from_file_location(full, os.path.join(HERE, name + ".py"))
        assert where is not None and where.loader is not None
        module = importlib.util.module_from_spec(where)
        sys.modules[full] = module
        where.loader.exec_module(module)
    return sys.modules[full]


class Run(NamedTuple):
    """What one run works with; ``amount`` in samples or prompts."""

    spec: dict[str, Any]
    work: dict[str, Any]
    amount: int
    device: Any
    events: Events
    stop: Stop

    @property
    def seed(self) -> int:
        return int(self.spec.get("seed") or 0)

    @property
    def offline(self) -> bool:
        return bool(self.spec.get("offline", True))

    @property
    def artefacts(self) -> bool:
        """Whether the run is to leave what it made; a benchmark is not."""
        return bool(self.spec.get("artefacts", True))

    def number(self, name: str, default: int) -> int:
        """A whole number of the work section, 1 at least."""
        return max(int(self.work.get(name) or default), 1)


def run(spec: dict[str, Any], events: Events, stop: Stop) -> None:
    """Do what the spec says; raises whatever goes wrong, and Stopped on SIGTERM."""
    if spec["work"].get("kind") == "calibrate":
        _calibrate(spec, events)
        return
    work, amount = _work(spec)
    _environment(bool(spec.get("offline", True)))
    _find_model(spec)
    trains = work["kind"] == "train"
    read = _samples if trains else _prompts  # first: a bad file is found before slow imports
    material, origin = read(spec, work)
    now = Run(spec, work, amount, _start(events, spec.get("device") or "auto"), events, stop)
    loaded = _load(now)
    gc.enable()
    gc.freeze()  # what is here by now stays
    load_s = _process_age_s()
    events.emit(
        "loaded",
        load_s=load_s,
        parameters=loaded.parameters,
        random_weights=loaded.weights == "random",
        weights=loaded.weights,
        tokenizer=loaded.tokenizer_from,
        data=origin,
        **{"samples" if trains else "prompts": len(material)},
    )
    stop.deferred = True
    result = (_train if trains else _infer)(now, loaded, material)
    rate = result["tokens"] / result["work_s"] if result["work_s"] > 0 else None
    memory = _memory(now.device)
    events.emit("result", outcome="done", load_s=load_s, tokens_per_s=rate, **result, **memory)


def _calibrate(spec: dict[str, Any], events: Events) -> None:
    device = _start(events, spec.get("device") or "auto")
    load_s = _process_age_s()
    events.emit("loaded", load_s=load_s, parameters=0, random_weights=False, weights="")
    start = time.monotonic()
    found = sibling("child_calibrate").run(device, spec["folder"], events.emit)
    events.emit(
        "result",
        outcome="done",
        amount=1,
        load_s=load_s,
        work_s=time.monotonic() - start,
        calibration=found,
        **_memory(device),
    )


def _find_model(spec: dict[str, Any]) -> None:
    """Whether there is anything to make the model of, before slow imports. Raises SpecError."""
    cache, hub_id = sibling("hub_cache"), spec.get("hub_id")
    elsewhere = spec.get("model_config") or spec.get("model_path")
    if hub_id and spec.get("offline", True) and not elsewhere and not cache.describes(hub_id):
        raise SpecError(cache.absent(hub_id))


def _samples(spec: dict[str, Any], work: dict[str, Any]) -> tuple[Any, str]:
    data, offline = sibling("child_data"), bool(spec.get("offline", True))
    found: tuple[Any, str] = data.load_samples(
        work.get("dataset") or "", spec.get("dataset_path"), offline
    )
    return found


def _prompts(spec: dict[str, Any], work: dict[str, Any]) -> tuple[Any, str]:
    found: tuple[Any, str] = sibling("child_data").load_prompts(spec.get("prompts_path"))
    return found


def _load(now: Run) -> Any:
    """The model with its tokenizer, where need be the one that works on bytes."""
    models, spec, work = sibling("child_model"), now.spec, now.work
    precision = work.get("precision") or "fp32"
    models.check_precision(precision, work["kind"], now.device)
    loaded = models.load(
        model=work["model"],
        hub_id=spec.get("hub_id"),
        model_path=spec.get("model_path"),
        model_config=spec.get("model_config"),
        head=(work.get("head") or "lm") if work["kind"] == "train" else "lm",
        # In mixed precision the weights stay fp32; inference holds them in the precision itself.
        precision="fp32" if work["kind"] == "train" else precision,
        offline=now.offline,
        seed=now.seed,
        device=now.device,
    )
    if loaded.tokenizer is None:
        own = sibling("child_data").ByteTokenizer(loaded.model.config.vocab_size)
        loaded = loaded._replace(tokenizer=own)
    return loaded


def _train(now: Run, loaded: Any, samples: Any) -> dict[str, Any]:
    data, models, train = sibling("child_data"), sibling("child_model"), sibling("child_train")
    model, tokenizer, work = loaded.model, loaded.tokenizer, now.work
    seq_len = now.number("seq_len", 384)
    if seq_len < 8:
        raise SpecError(f"seq_len {seq_len} leaves no room for question and answer: 8 or more")
    _check_length(seq_len, models.positions(model.config), "seq_len")
    method = work.get("method") or "full"
    if method == "lora":
        sibling("child_lora").adapt(model, int(work.get("lora_rank") or 0))
    if work.get("gradient_checkpointing"):
        models.checkpoint_activations(model)
    batch = data.qa_batch if (work.get("head") or "lm") == "qa" else data.lm_batch
    rates = train.LEARNING_RATE
    plan = train.Plan(
        batch=lambda numbers: batch([samples[n] for n in numbers], tokenizer, seq_len),
        numbers=lambda done: data.order(len(samples), now.seed, done, now.amount),
        amount=now.amount,
        batch_size=now.number("batch_size", 1),
        accumulation_steps=now.number("accumulation_steps", 1),
        seq_len=seq_len,
        precision=work.get("precision") or "fp32",
        learning_rate=max(rates[method], rates["random"] if loaded.weights == "random" else 0.0),
        max_steps=now.spec.get("max_steps"),
        warmup_steps=int(now.spec.get("warmup_steps") or 0),
        checkpoint_every_s=now.spec.get("checkpoint_every_s"),
        resume_from=now.spec.get("resume_from"),
        folder=now.spec["folder"],
        keep=int(work.get("checkpoint_keep") or 1),
        adapter=method == "lora",
    )
    trainer = train.Trainer(model, plan, now.device, now.seed)
    result: dict[str, Any] = trainer.run(now.events.emit, now.stop)
    if now.artefacts:
        metrics = {**result, "learning_rate": plan.learning_rate, "seed": now.seed, "work": work}
        weights = (work.get("artefacts") or {}).get("weights", True)
        result.update(_timed(lambda: trainer.save(_finite(metrics), weights), now.spec["folder"]))
    return result


def _infer(now: Run, loaded: Any, prompts: list[str]) -> dict[str, Any]:
    models, infer = sibling("child_model"), sibling("child_infer")
    plan = infer.Plan(
        prompts=prompts,
        tokenizer=loaded.tokenizer,
        amount=now.amount,
        batch_size=now.number("batch_size", 1),
        prompt_tokens=int(now.work.get("prompt_tokens") or 0),
        max_new_tokens=now.number("max_new_tokens", 64),
        max_steps=now.spec.get("max_steps"),
        warmup_steps=int(now.spec.get("warmup_steps") or 0),
        folder=now.spec["folder"],
        keep=now.artefacts,
    )
    longest = plan.prompt_tokens + plan.max_new_tokens
    _check_length(longest, models.positions(loaded.model.config), "prompt_tokens + max_new_tokens")
    result: dict[str, Any] = infer.run(
        loaded.model, plan, now.device, models.takes, now.events.emit, now.stop
    )
    if now.artefacts:
        metrics = _finite({**result, "seed": now.seed, "work": now.work})
        result.update(_timed(lambda: infer.save(metrics, now.spec["folder"]), now.spec["folder"]))
    return result


def _timed(save: Callable[[], list[str]], folder: str) -> dict[str, Any]:
    """What was written, how large it is, and how long that took: no part of the work's time."""
    start = time.perf_counter()
    paths = save()
    size = sum(os.path.getsize(os.path.join(folder, path)) for path in paths)
    return {
        "artefacts": paths,
        "artefact_bytes": size,
        "saving_s": time.perf_counter() - start,
    }


def _check_length(tokens: int, positions: int | None, name: str) -> None:
    if positions is not None and tokens > positions:
        raise SpecError(f"{name} is {tokens}, but the model has only {positions} positions")


def _work(spec: dict[str, Any]) -> tuple[dict[str, Any], int]:
    work = spec["work"]
    if work.get("kind") not in ("train", "infer"):
        raise SpecError(f"kind {work.get('kind')!r} is neither train nor infer")
    if not work.get("model"):
        raise SpecError("no model is named")
    for name, allowed in (("method", ("full", "lora")), ("head", ("qa", "lm"))):
        if work.get(name) and work[name] not in allowed:
            raise SpecError(f"{name} {work[name]!r} is none of {', '.join(allowed)}")
    amount = round(float(spec["amount"]))
    if amount < 1:
        raise SpecError(f"amount {spec['amount']!r} is no work at all")
    return work, amount


def _environment(offline: bool) -> None:
    """What the libraries read from the environment when they are imported."""
    if offline:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
            os.environ[name] = "1"
    # A job may set these otherwise.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _start(events: Events, wish: str) -> Any:
    """Import torch, choose the device, and say what is there."""
    import torch

    cuda = torch.cuda.is_available()
    if wish == "cuda" and not cuda:
        raise SpecError(f"no CUDA device: torch {torch.__version__} sees none")
    device = torch.device("cuda" if cuda and wish != "cpu" else "cpu")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    events.emit(
        "started",
        pid=os.getpid(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        transformers=_version("transformers"),
        device=device.type,
        gpu_name=torch.cuda.get_device_name() if device.type == "cuda" else None,
        cuda=torch.version.cuda,
        threads=torch.get_num_threads(),
    )
    return device


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _process_age_s() -> float:
    """Seconds since this process was started, the interpreter's own start included."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        after_name = file.read().rpartition(")")[2].split()
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), since boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def _memory(device: Any) -> dict[str, float | None]:
    """The most this process ever held, and the most in tensors (None where nobody counts)."""
    with open("/proc/self/status", encoding="utf-8") as file:
        match = re.search(r"VmHWM:\s+(\d+) kB", file.read())
    peak = int(match.group(1)) / 1024 if match else None
    if device.type != "cuda":
        return {"peak_memory_mib": peak, "live_memory_mib": None}
    import torch

    # On a Jetson the GPU's allocations come out of the same memory but are not in the process's.
    return {
        "peak_memory_mib": (peak or 0.0) + torch.cuda.max_memory_reserved() / 2**20,
        "live_memory_mib": torch.cuda.max_memory_allocated() / 2**20,
    }


def _looks_like_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return MEMORY_SIGNS.search(str(error)) is not None


def main(arguments: list[str]) -> int:
    with open(arguments[0], encoding="utf-8") as file:
        spec = json.load(file)
    events, stop = Events(spec["folder"]), Stop()
    stop.install()
    # A quarter of the imports' time would go into collecting what is not garbage.
    gc.disable()
    try:
        run(spec, events, stop)
    except Stopped:
        return 128 + signal.SIGTERM
    except Exception as error:
        traceback.print_exc()
        text = str(error) or type(error).__name__
        for name in spec.get("secrets") or ():
            value = os.environ.get(name, "")
            if len(value) >= SHORTEST_REDACTED:
                text = text.replace(value, "*" * len(value))
        events.emit(
            "failed", error=type(error).__name__, text=text, memory=_looks_like_memory(error)
        )
        return 1
    return 0


if __name__ == "__main__":
    # Python puts the script's folder first; its modules (store, models, ...) would hide others'.
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    sys.exit(main(sys.argv[1:]))
