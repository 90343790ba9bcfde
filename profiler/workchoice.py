"""A choice of work that models are compared by: what is done with them, and how much of it.

The fields and their bounds are those of the ``work`` section of a job file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jetsched.errors import InputError
from jetsched.jobfile import job_of_json
from jetsched.jobmodel import Surroundings
from jetsched.problems import quoted
from jetsched.profiler.models import find, positions
from jetsched.records import Workload

#: What a choice is of, and what stands there where nothing is chosen.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "train": {
        "batch_size": "8",
        "seq_len": "384",
        "precision": "fp32",
        "method": "full",
        "head": "qa",
        "gradient_checkpointing": "",
        "samples": "1000",
    },
    "infer": {
        "batch_size": "1",
        "prompt_tokens": "64",
        "max_new_tokens": "64",
        "precision": "fp16",
        "prompts": "100",
    },
}
#: Of each kind, the field with the amount of work.
AMOUNTS = {"train": "samples", "infer": "prompts"}
_FLAGS = frozenset({"gradient_checkpointing"})
_ANY_MODEL = "gpt2"  # for the check of a choice that names no model


@dataclass(frozen=True)
class WorkChoice:
    """What is done with a model, whichever it is. ``fields`` are its texts, as in an address."""

    workload: Workload  # of a model that does not matter
    amount: float
    fields: Mapping[str, str]
    model: str = ""  # one more that is asked for by name

    @property
    def kind(self) -> str:
        return self.workload.kind

    def of(self, model: str) -> Workload:
        """The work with this model."""
        return replace(self.workload, model=model)

    @property
    def tokens(self) -> int:
        """How many tokens the model has to look at."""
        if self.kind == "train":
            return self.workload.seq_len
        return self.workload.prompt_tokens + self.workload.max_new_tokens

    def most_tokens(self, model: str) -> int | None:
        """How many tokens the model can look at, if that is fewer; None where they are enough."""
        most = positions(model)
        return most if most is not None and most < self.tokens else None

    def job_file(self, model: str) -> str:
        """A job file of this work with a model."""
        kept = {name: text for name, text in self.fields.items() if text and name not in _APART}
        name = model.rsplit("/", 1)[-1]
        lines = [f"name: {self.kind}-{name}", "work:", f"  kind: {self.kind}", f"  model: {model}"]
        return "\n".join([*lines, *(f"  {name}: {text}" for name, text in kept.items())]) + "\n"


#: Not of the work with a model: which kind it is, and which model.
_APART = frozenset({"kind", "model"})


def work_choice(params: Mapping[str, str]) -> WorkChoice:
    """The choice that an address or a form makes; what it leaves out is as usual.

    ``kind`` is train or infer, ``model`` one more model that is wanted. Fields of no kind are
    passed over. Raises :class:`InputError`, of all that is wrong with it at once.
    """
    kind = params.get("kind", "").strip() or "train"
    usual = FIELDS.get(kind)
    if usual is None:
        raise InputError(
            f"kind is {quoted(kind)}: that is nothing to be done with a model",
            hint=f"one of: {', '.join(FIELDS)}",
        )
    fields = {name: params.get(name, "").strip() or text for name, text in usual.items()}
    for name in _FLAGS & usual.keys():
        fields[name] = "true" if params.get(name, "") in ("true", "on", "1") else ""
    model = params.get("model", "").strip()
    work = {name: _value(name, text) for name, text in fields.items() if text}
    work |= {"kind": kind, "model": model or _ANY_MODEL}
    # No roots: nobody asks here which folders the head has.
    spec = job_of_json({"name": "choice", "work": work}, "the choice", Surroundings(roots=()))
    known = find(model) if model else None
    name = known.name if known is not None else spec.workload.model
    chosen = {"kind": kind, **fields} | ({"model": name} if model else {})
    workload = replace(spec.workload, model="")
    return WorkChoice(workload, spec.amount, chosen, name if model else "")


def _value(name: str, text: str) -> Any:
    """As a job file has it: numbers are numbers, what is none is said to be none."""
    if name in _FLAGS:
        return text == "true"
    return int(text) if re.fullmatch(r"-?[0-9]{1,11}", text) else text
