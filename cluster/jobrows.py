"""The jobs of a trace as its rows are read: checked, and small where they are alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from jetsched.cluster.runtimes import RunTimes
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.tracerows import MOST_AMOUNT, MOST_S, Rows
from jetsched.records import Job, Workload

_T = TypeVar("_T")

#: Run times are told on no more device models than these: a file with as many is of another kind.
MOST_MODELS = 100
#: So many different parts of jobs are kept to be shared by those that come later.
_MOST_SHARED = 100_000
_MOST_COUNT = 10_000_000  # tokens, samples in a batch...


class JobRows:
    """Takes in the jobs of a file, one after the other."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._jobs: list[Job] = []
        self._lines: list[int] = []
        self._times = RunTimes()
        self._line_of: dict[str, int] = {}
        self._shared: dict[object, object] = {}
        self._sound: set[Workload] = set()

    def shared(self, part: _T) -> _T:
        """An equal part that another job has already, so that it is kept once."""
        if len(self._shared) >= _MOST_SHARED:
            self._shared.clear()
        return self._shared.setdefault(part, part)  # type: ignore[return-value]

    def add(
        self, line: int, job: Job, times_s: Mapping[str, float], *, arrives: bool = True
    ) -> None:
        """Take a job in, if nothing is wrong with it; all that is wrong is reported.

        What was reported of the line before counts too: such a job is checked, and left out.
        ``arrives`` is False where it is not known when, which was reported.
        """
        rows = self.rows
        rows.new_id(line, job.id, self._line_of)
        if not times_s and not len(self._times):
            self._check(job.workload, line)
        rows.above_0(line, "amount", job.amount, MOST_AMOUNT)
        if not 0 <= job.priority <= 100:
            rows.report(line, "priority", f"{job.priority} is not between 0 and 100")
        if job.deadline_s is not None and not 0 <= job.deadline_s - job.submitted_s <= MOST_S:
            rows.report(line, "deadline_s", f"is not within {MOST_S:g} s from arrival")
        if job.time_limit_s is not None:
            rows.above_0(line, "time_limit_s", job.time_limit_s)
        if job.checkpoint_every_s is not None:
            rows.above_0(line, "checkpoint_every_s", job.checkpoint_every_s)
        if not 0 <= job.retry.times <= 1000:
            rows.report(line, "retry.times", f"{job.retry.times} is not between 0 and 1000")
        for model, time_s in times_s.items():
            rows.above_0(line, f"run_s_{model}", time_s)
        if len({*self._times.models, *times_s}) > MOST_MODELS:
            rows.report(line, "", f"run times on more than {MOST_MODELS} device models")
        if arrives:
            rows.arrival(line, job.submitted_s)
        if not rows.is_bad(line):
            self._jobs.append(job)
            self._lines.append(line)
            if times_s:
                self._times.add(job.id, times_s)
        elif rows.skip and self._line_of.get(job.id) == line:
            del self._line_of[job.id]  # a row that is left out has no say about those after it

    def trace(self) -> Trace:
        """The trace. Raises :class:`FileProblems` where something is wrong with it."""
        jobs, lines, rows = self._jobs, self._lines, self.rows
        good = [
            number
            for number, (job, line) in enumerate(zip(jobs, lines, strict=True))
            if self._has_times(job, line)
        ]
        if len(good) < len(jobs):
            jobs, lines = [jobs[n] for n in good], [lines[n] for n in good]
        rows.check(empty=not jobs)
        return Trace(jobs, self._times, str(rows.path), lines, rows.skipped, rows.left_out)

    def _has_times(self, job: Job, line: int) -> bool:
        """Whether the file gives a job's run times, where it gives those of others."""
        if len(self._times) and job.id not in self._times:
            self.rows.report(line, "", "has no run time, and other jobs have")
            return False
        return True

    def _check(self, work: Workload, line: int) -> None:
        """Whether the cost model can do anything with a workload."""
        if work in self._sound:
            return
        wrong = list(_wrong(work))
        for column, message in wrong:
            self.rows.report(line, column, message)
        if not wrong:
            self._sound.add(work)


def _wrong(work: Workload) -> Iterator[tuple[str, str]]:
    """(field, message) of all that keeps the cost model from doing anything with a workload."""
    kind = work.like or work.kind
    if kind == "command":
        return
    if not work.model:
        yield "model", "is empty"
    counts = {"batch_size": work.batch_size, "accumulation_steps": work.accumulation_steps}
    if kind == "train":
        counts["seq_len"] = work.seq_len
    else:
        counts["prompt_tokens"] = work.prompt_tokens
        counts["max_new_tokens"] = work.max_new_tokens
    for name, count in counts.items():
        if not 1 <= count <= _MOST_COUNT:
            yield name, f"{count} is not between 1 and {_MOST_COUNT:,}"
    if not 0 <= work.lora_rank <= _MOST_COUNT:
        yield "lora_rank", f"{work.lora_rank} is not between 0 and {_MOST_COUNT:,}"
