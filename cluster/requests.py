"""Requests to a model, one by one, grouped into jobs of batch inference.

Requests that come within the same window and have about the same size become one job, handed in
when the window closes. Sizes are rounded up to powers of two: prompts are padded to that length,
and a batch goes on until its longest answer is done. A batch is as large as is allowed, as there
are requests, and as :data:`MOST_TOKENS` admits. A prompt that does not fit the model's positions
beside its answer loses its beginning, as a chat's history does; how many did is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jetsched.cluster.tracerows import Rows
from jetsched.errors import InputError
from jetsched.problems import Problem
from jetsched.profiler.models import find, positions, shape, suggest
from jetsched.records import Job, Workload

#: The shortest length that prompts and answers are padded to.
LEAST_PROMPT, LEAST_NEW = 128, 32
#: Tokens in a batch, of prompts and answers: assumed, so that the cache of a small model on a
#: board of 8 GB stays below a gigabyte or two.
MOST_TOKENS = 16_384
_MOST_REQUEST = 10_000_000


@dataclass(frozen=True)
class Requests:
    """Requests in the order of their arrival, with the tokens of prompts and of answers."""

    arrivals_s: Sequence[float]
    prompt_tokens: Sequence[int]
    new_tokens: Sequence[int]
    file: str = ""
    lines: Sequence[int] = field(default=(), compare=False)
    skipped: int = field(default=0, compare=False)
    left_out: Sequence[Problem] = field(default=(), compare=False)

    def group(self, model: str, *, window_s: float, batch: int) -> Grouped:
        """The jobs that the requests make. Raises :class:`InputError` for an unknown model."""
        name, most = _model(model)
        found: dict[tuple[int, int, int], list[int]] = {}
        cut = 0
        rows = zip(self.arrivals_s, self.prompt_tokens, self.new_tokens, strict=True)
        for number, (at_s, prompt, new) in enumerate(rows):
            size = _size(prompt, new, most)
            cut += size[0] < prompt or size[1] < new
            found.setdefault((int(at_s // window_s), *size), []).append(number)
        jobs, lines, work = list[Job](), list[int](), dict[str, Any]()
        for (window, prompt, new), members in sorted(found.items()):
            workload = Workload(
                "infer",
                name,
                batch_size=_batch(prompt + new, len(members), batch),
                prompt_tokens=prompt,
                max_new_tokens=new,
                precision="fp16",
            )
            jobs.append(
                Job(
                    id=str(len(jobs) + 1),
                    workload=workload,
                    amount=float(len(members)),
                    submitted_s=(window + 1) * window_s,
                    name=f"requests-{prompt}+{new}",
                    work=work,
                )
            )
            lines.append(self.lines[members[0]] if self.lines else 0)
        return Grouped(jobs, lines, cut)


@dataclass(frozen=True)
class Grouped:
    """Jobs that were made of requests, the line of each one's first, and how many were cut."""

    jobs: Sequence[Job]
    lines: Sequence[int]
    cut: int

    def note(self, requests: int) -> str:
        """What became of so many requests, in a sentence for people."""
        jobs, cut = len(self.jobs), self.cut
        return (
            f"{requests:,} {'request was' if requests == 1 else 'requests were'} grouped into"
            f" {jobs:,} {'job' if jobs == 1 else 'jobs'} of {self.jobs[0].workload.model};"
            f" {cut:,} {'was' if cut == 1 else 'were'} cut to its positions"
        )


def _model(model: str) -> tuple[str, int | None]:
    """The model's one name, and how many positions it has."""
    known = find(model)
    name = known.name if known is not None else model
    if known is None and shape(model) is None:
        close = suggest(model)
        hint = f"did you mean '{close}'?" if close else "a known name, or a folder with its config"
        raise InputError(f"--model {model}: this model is not known", hint=hint)
    return name, positions(name)


def _size(prompt: int, new: int, most: int | None) -> tuple[int, int]:
    """What a request is padded to, within the model's positions."""
    new, prompt = _padded(new, LEAST_NEW), _padded(prompt, LEAST_PROMPT)
    if most is not None and prompt + new > most:
        new = min(new, most // 2)
        prompt = min(prompt, most - new)
    return prompt, new


def _padded(tokens: int, least: int) -> int:
    """The next power of two that is not below the tokens, nor below ``least``."""
    return max(least, 1 << (tokens - 1).bit_length())


def _batch(tokens: int, requests: int, most: int) -> int:
    """The largest power of two that all three allow; at least 1."""
    allowed = max(1, min(most, requests, MOST_TOKENS // tokens))
    return 1 << (allowed.bit_length() - 1)


class RequestRows:
    """Reads the rows of such a trace from a CSV."""

    def __init__(self, rows: Rows, header: Sequence[str]) -> None:
        self._rows = rows
        new = "new_tokens" if "new_tokens" in header else "max_new_tokens"
        self._columns = [(name, header.index(name)) for name in ("arrival_s", "prompt_tokens", new)]
        self._found: list[tuple[float, int, int, int]] = []

    def row(self, line: int, cells: Sequence[str]) -> None:
        rows = self._rows
        values = [rows.number(line, name, cells[at].strip()) for name, at in self._columns]
        if rows.is_bad(line):
            return
        for (name, _), tokens in zip(self._columns[1:], values[1:], strict=True):
            if tokens != round(tokens) or not 1 <= tokens <= _MOST_REQUEST:
                rows.report(line, name, f"{tokens:g} is no number of tokens")
        rows.arrival(line, values[0])
        if not rows.is_bad(line):
            self._found.append((values[0], round(values[1]), round(values[2]), line))

    def done(self) -> Requests:
        rows = self._rows
        rows.check(empty=not self._found)
        arrivals_s, prompts, news, lines = zip(*self._found, strict=True)
        return Requests(
            arrivals_s, prompts, news, str(rows.path), lines, rows.skipped, rows.left_out
        )
