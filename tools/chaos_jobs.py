"""The jobs of `make chaos`, drawn from a seed: what each does, and how it may end by its rules."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

#: In the environment of everything that a job starts, so that it is recognised in a process table.
MARK = "CHAOS_JOB"
#: What the cost model goes on for a command.
LIKE = {"kind": "infer", "model": "tiny-gpt2", "prompt_tokens": 8, "max_new_tokens": 4}
#: Faults use up retries; these are not to run out by bad luck.
PATIENT = {"times": 8, "on": ["killed_memory", "lost", "failed"]}
STEP_S = 0.25
#: How many are cancelled, of which kinds, and how long after they were handed in at most.
CANCEL_SHARE, CANCEL_S = 0.06, 16.0
CANCELLED = {"work", "once", "train", "infer"}


@dataclass(frozen=True)
class ChaosJob:
    """A job of a chaos run. ``seconds``: how long its work takes about, by itself.

    ``ends`` are the outcomes that its last attempt may have without any fault. ``last_word`` is
    what its log ends with where it is done; "" where it has none. ``cancel_s``: so long after it
    was handed in somebody wants it stopped; None: nobody does.
    """

    number: int
    kind: str
    spec: dict[str, Any]
    seconds: float
    ends: frozenset[str] = frozenset({"done"})
    last_word: str = ""
    cancel_s: float | None = None


def draw_jobs(count: int, seed: int, prompts: str = "prompts.jsonl") -> list[ChaosJob]:
    """So many jobs, the same for the same seed; every kind is there if there are enough.

    ``prompts`` is the file that inference works on, on the head.
    """
    draw = random.Random(f"jobs {seed}")
    kinds = [kind for kind, share in KINDS.items() for _ in range(round(share * count))]
    kinds = (kinds + ["work"] * count)[:count]
    draw.shuffle(kinds)
    jobs = [MAKERS[kind](number, draw) for number, kind in enumerate(kinds, start=1)]
    for job in jobs:
        if job.kind == "infer":
            job.spec["work"]["prompts"] = prompts
    return _with_cancels(jobs, random.Random(f"cancels {seed}"))


def _with_cancels(jobs: list[ChaosJob], draw: random.Random) -> list[ChaosJob]:
    """Some of those that take a while are to be cancelled: as they wait, run, or are done.

    From a draw of its own: a seed means the same jobs as before there were any.
    """
    able = [job.number for job in jobs if job.kind in CANCELLED]
    chosen = set(draw.sample(able, min(len(able), max(1, round(CANCEL_SHARE * len(jobs))))))
    return [
        replace(job, cancel_s=draw.uniform(0.0, CANCEL_S)) if job.number in chosen else job
        for job in jobs
    ]


def _job(
    number: int, kind: str, work: dict[str, Any], seconds: float, **more: Any
) -> tuple[dict[str, Any], float]:
    spec = {
        "name": f"{kind}-{number}",
        "work": work,
        "env": {MARK: str(number)},
        "retry": PATIENT,
        **more,
    }
    return spec, seconds


def _command(run: str) -> dict[str, Any]:
    return {"kind": "command", "run": run, "like": LIKE}


def _steps(number: int, steps: int) -> str:
    """Says that it goes on, four times a second, and at the end that it is done."""
    count = f"i=0; while [ $i -lt {steps} ]; do i=$((i+1)); echo step $i; sleep {STEP_S}; done"
    return f"{count}; echo end-{number}"


def _work(number: int, draw: random.Random) -> ChaosJob:
    steps = draw.randint(4, 32)
    spec, seconds = _job(number, "work", _command(_steps(number, steps)), steps * STEP_S)
    spec["priority"] = draw.choice((20, 50, 50, 80))
    return ChaosJob(number, "work", spec, seconds, last_word=f"end-{number}")


def _null(number: int, draw: random.Random) -> ChaosJob:
    return ChaosJob(number, "null", *_job(number, "null", _command(":"), 0.0))


def _train(number: int, draw: random.Random) -> ChaosJob:
    work = {
        "kind": "train",
        "model": "tiny-gpt2",
        "dataset": "squad",
        "samples": draw.choice((400, 800, 1600)),
        "batch_size": 8,
        "seq_len": 64,
    }
    spec, seconds = _job(number, "train", work, 12.0, checkpoint={"every": "2s", "keep": 1})
    return ChaosJob(number, "train", spec, seconds)


def _infer(number: int, draw: random.Random) -> ChaosJob:
    work = {
        "kind": "infer",
        "model": "tiny-gpt2",
        "prompt_tokens": 16,
        "max_new_tokens": draw.choice((8, 16, 32)),
    }
    return ChaosJob(number, "infer", *_job(number, "infer", work, 6.0))


def _fails(number: int, draw: random.Random) -> ChaosJob:
    """Its program says that it went wrong, and nobody asked to try that again."""
    run = f"sleep {draw.uniform(0.2, 2.0):.2f}; echo broken-{number}; exit 3"
    retry = {"times": 8, "on": ["killed_memory", "lost"]}
    spec, seconds = _job(number, "fails", _command(run), 1.0)
    return ChaosJob(number, "fails", {**spec, "retry": retry}, seconds, frozenset({"failed"}))


def _overtime(number: int, draw: random.Random) -> ChaosJob:
    spec, seconds = _job(number, "overtime", _command("sleep 600"), 3.0, time_limit="3s")
    return ChaosJob(number, "overtime", spec, seconds, frozenset({"killed_time"}))


def _hog(number: int, draw: random.Random) -> ChaosJob:
    """Holds more than the NX has, and less than the Orin has."""
    hold = f"exec python3 -S -c 'import time; x = b\"x\" * ({HOG_MIB} << 20); time.sleep(1)'"
    return ChaosJob(number, "hog", *_job(number, "hog", _command(hold), 2.0))


def _once(number: int, draw: random.Random) -> ChaosJob:
    """One that may be lost: it is never tried again."""
    steps = draw.randint(8, 32)
    spec, seconds = _job(number, "once", _command(_steps(number, steps)), steps * STEP_S)
    retry = {"times": 0, "on": ["lost"]}
    return ChaosJob(number, "once", {**spec, "retry": retry}, seconds, last_word=f"end-{number}")


HOG_MIB = 1700
#: The NX has 1,230 MiB, the Orin 2,763.
BOARDS = {"nx": "xavier-nx:0.2", "orin": "orin-nano:0.4"}
KINDS = {
    "null": 0.15,
    "train": 0.12,
    "infer": 0.08,
    "fails": 0.05,
    "overtime": 0.04,
    "hog": 0.04,
    "once": 0.06,
    "work": 0.46,
}
MAKERS: dict[str, Callable[[int, random.Random], ChaosJob]] = {
    "null": _null,
    "train": _train,
    "infer": _infer,
    "fails": _fails,
    "overtime": _overtime,
    "hog": _hog,
    "once": _once,
    "work": _work,
}
