"""The job file as pydantic models: every field with its bounds, its default and its explanation.

`jetsched schema` prints them as a JSON schema, so the descriptions here are what an editor shows.
Fields of other kinds, files that are missing and devices that nobody has are refused here too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticKnownError

from jetsched.checks import BRANCH, Duration, Size, Strict, kind_name, mistake
from jetsched.errors import InputError
from jetsched.inputs import NOWHERE, Place, count_prompts, find_dataset, find_model, find_path
from jetsched.problems import did_you_mean, listed, quoted

#: How many tokens a model can look at: see :class:`Surroundings`.
Positions = Callable[[str], "int | None"]
RetryOutcome = Literal["failed", "killed_memory", "killed_time", "killed_heat", "lost", "preempted"]


@dataclass(frozen=True)
class Surroundings:
    """What a job file is checked against: its folder, and the devices there are (None: unknown).

    ``positions`` tells how many tokens a model can look at, None where that is not known, and
    raises InputError for a model that cannot be understood. ``roots`` are the folders whose files
    may be named (None: any), ``commands`` whether programs may be run, ``secrets`` the names of
    those that the head has (None: unknown), ``advice`` how else files get here.
    """

    folder: Path | None = None
    devices: Sequence[str] | None = None
    positions: Positions | None = None
    roots: tuple[Path, ...] | None = None
    commands: bool = True
    secrets: Sequence[str] | None = None
    advice: str = ""

    @property
    def place(self) -> Place:
        """Where its paths lead."""
        return Place(self.folder, self.roots, self.advice)


# ---------------------------------------------------------------------------- checks of one value


def _place(info: ValidationInfo) -> Place:
    return info.context.place if info.context else NOWHERE


def _model(text: str, info: ValidationInfo) -> str:
    try:
        return find_model(text, _place(info))
    except InputError as error:
        mistake(str(error), error.hint)


def _dataset(text: str, info: ValidationInfo) -> str:
    try:
        find_dataset(text, _place(info))
    except InputError as error:
        mistake(str(error), error.hint)
    return text


def _prompts(value: Any, info: ValidationInfo) -> Any:
    """A number of prompts, or a file with them."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        mistake("needs a file of prompts or their number", "e.g. prompts.jsonl, or 32")
    if isinstance(value, int):
        if not 1 <= value <= 10_000_000:
            mistake(f"{value} is not between 1 and 10,000,000")
        return value
    try:
        count_prompts(find_path(value, _place(info)))
    except InputError as error:
        mistake(str(error), error.hint)
    return value


def _device(name: str, info: ValidationInfo) -> str:
    devices = info.context.devices if info.context else None
    if devices is not None and name not in devices:
        here = listed(devices) if devices else "none"
        mistake(
            f"unknown device {quoted(name)} (devices here: {here})", did_you_mean(name, devices)
        )
    return name


def _run(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        mistake(f"is not a command: {str(error).lower()}", "a closing quote is missing")
    if not words:
        mistake("is empty", "write e.g. run: python train.py")
    return text


def _line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        mistake("holds line breaks, odd characters or spaces at an end", "one plain line of text")
    return text


def _env_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text, re.ASCII):
        mistake(f"{quoted(text)} is not the name of a variable", "letters, digits and _")
    return text


class SecretName(Strict):
    """A value that the head keeps; `jetsched secret set NAME` puts it there."""

    secret: str = Field(description="The secret's name.", examples=["hf"])


def _env_value(value: Any, info: ValidationInfo) -> Any:
    """A text, or the name of a secret."""
    if isinstance(value, SecretName):
        return value
    if isinstance(value, dict):
        name = value.get("secret")
        if len(value) != 1 or not isinstance(name, str):
            mistake("needs a text or the name of a secret", "write e.g. {secret: hf}")
        known = info.context.secrets if info.context else None
        if known is not None and name not in known:
            hint = did_you_mean(name, known) or f"on the head: jetsched secret set {name}"
            mistake(f"there is no secret {quoted(name)}", hint)
        return SecretName(secret=name)
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    if "\0" in value:
        mistake("holds a NUL character")
    return value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Line = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_line)]
Model = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_model)]
DatasetName = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_dataset)]
PositiveInt = Annotated[int, Field(ge=1)]

# --------------------------------------------------------------------------------- the work section


class TrainShape(Strict):
    """What training costs per sample."""

    kind: Literal["train"] = Field(description="fine-tune a model", examples=["train"])
    model: Model = Field(
        description="A known name, an id on the hub, or a folder with a config.json.",
        examples=["distilgpt2", "gpt2", "openai-community/gpt2", "./my-model"],
    )
    batch_size: int = Field(8, ge=1, le=4096, description="Samples per step.", examples=[8])
    seq_len: int = Field(
        384, ge=8, le=131_072, description="Tokens per sample, padded or cut.", examples=[384]
    )
    precision: Literal["fp32", "fp16", "bf16"] = Field(
        "fp32",
        description="Number format; bf16 is refused on boards without it (Xavier NX: Volta).",
    )
    method: Literal["full", "lora"] = Field(
        "full", description="Train all weights, or low-rank adapters only."
    )
    head: Literal["qa", "lm"] = Field(
        "qa",
        description="Answer span (qa) or next token (lm). Memory differs a lot: lm has logits.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Less memory for about a third more time."
    )
    accumulation_steps: int = Field(
        1, ge=1, le=4096, description="Batches per optimizer step.", examples=[1]
    )
    lora_rank: int | None = Field(
        None, ge=1, le=1024, description="For method lora; 8 if it is not given.", examples=[8]
    )


class TrainWork(TrainShape):
    """Fine-tuning on question answering data."""

    dataset: DatasetName = Field(
        "squad",
        description="An id on the hub or a .json file in SQuAD v1.1 form; NAME[:N] takes N.",
        examples=["squad", "squad[:2000]", "mine.json"],
    )
    epochs: int = Field(1, ge=1, le=10_000, description="Passes over the data.", examples=[2])
    samples: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="How many samples of the data set, where it has no slice.",
        examples=[2000],
    )


class InferShape(Strict):
    """What inference costs per prompt."""

    kind: Literal["infer"] = Field(description="generate text for prompts", examples=["infer"])
    model: Model = Field(
        description="A known name, an id on the hub, or a folder with a config.json.",
        examples=["TinyLlama/TinyLlama-1.1B-Chat-v1.0", "phi-2", "./my-model"],
    )
    prompt_tokens: int = Field(
        64,
        ge=1,
        le=131_072,
        description="Tokens per prompt: longer ones are cut, shorter ones padded.",
        examples=[64],
    )
    max_new_tokens: int = Field(
        64, ge=1, le=131_072, description="Tokens generated per prompt.", examples=[64]
    )
    batch_size: int = Field(1, ge=1, le=4096, description="Prompts at a time.", examples=[1])
    precision: Literal["fp32", "fp16", "bf16"] = Field(
        "fp32",
        description="Number format; bf16 is refused on boards without it (Xavier NX: Volta).",
    )


class InferWork(InferShape):
    """Generation over a batch of prompts."""

    prompts: Annotated[
        int | str,
        BeforeValidator(_prompts),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": 10_000_000},
                    {"type": "string", "minLength": 1},
                ]
            }
        ),
    ] = Field(
        description='A .jsonl file of {"prompt": ...}, a .txt file of lines, or just how many.',
        examples=["prompts.jsonl", 32],
    )


class LikeTrain(TrainShape):
    """A command that costs about what training this would."""


class LikeInfer(InferShape):
    """A command that costs about what inference with this would."""


def _branch_of(*models: type[Strict]) -> Discriminator:
    """Tells which kind of section was meant, also from one whose kind is wrong or missing."""
    kinds = {kind_name(model): model for model in models}

    def tell(value: Any) -> str:
        if isinstance(value, Strict):  # asked again when it is written
            return BRANCH + kind_name(type(value))
        fields: Mapping[str, Any] = value if isinstance(value, dict) else {}
        kind = str(fields.get("kind", ""))
        if kind not in kinds:
            close = did_you_mean(kind, kinds)
            kind = next((known for known in kinds if f"'{known}'" in close), "")
        if not kind:  # all problems at once: check it as the kind it looks most like
            kind = max(kinds, key=lambda known: len(fields.keys() & kinds[known].model_fields))
        return BRANCH + kind

    return Discriminator(tell)


Like = Annotated[
    Annotated[LikeTrain, Tag(BRANCH + "train")] | Annotated[LikeInfer, Tag(BRANCH + "infer")],
    _branch_of(LikeTrain, LikeInfer),
]


class CommandWork(Strict):
    """Any program."""

    kind: Literal["command"] = Field(description="run a program", examples=["command"])
    run: Annotated[str, Field(max_length=20_000), AfterValidator(_run)] = Field(
        description="The command line; it runs in the job's own folder on the device.",
        examples=["python train.py"],
    )
    like: Like | None = Field(
        None, description="What it costs about as much as, so that it can be placed well."
    )


Work = Annotated[
    Annotated[TrainWork, Tag(BRANCH + "train")]
    | Annotated[InferWork, Tag(BRANCH + "infer")]
    | Annotated[CommandWork, Tag(BRANCH + "command")],
    _branch_of(TrainWork, InferWork, CommandWork),
]

# ---------------------------------------------------------------------------------- the other parts


class NeedsSection(Strict):
    """What the job asks of the device it runs on."""

    device: Annotated[
        list[Annotated[Line, AfterValidator(_device)]],
        Field(min_length=1, max_length=1000),
        BeforeValidator(_one_or_more),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                ]
            }
        ),
    ] = Field(
        default=[],
        description="Device models, ids or labels; one of them must match. None: any device.",
        examples=[["orin-nano", "xavier-nx"]],
    )
    memory: Size | None = Field(
        default=None, description="The device must have this much for jobs.", examples=["5GiB"]
    )
    disk: Size | None = Field(
        default=None, description="The device must have this much disk free.", examples=["6GiB"]
    )


class RetrySection(Strict):
    """When the job is tried again."""

    times: int = Field(default=2, ge=0, le=100, description="How often, at most.", examples=[2])
    on: list[RetryOutcome] = Field(
        default=["killed_memory", "lost"],
        description="After which ends. After a memory kill another kind of device is taken.",
        examples=[["killed_memory", "lost"]],
    )


class CheckpointSection(Strict):
    """How often training saves what it has."""

    every: Duration | None = Field(
        None, description="None: only when it is stopped.", examples=["10m"]
    )
    keep: int = Field(1, ge=1, le=100, description="How many are kept.", examples=[1])


class ArtefactsSection(Strict):
    """What is kept of a job beside its log and its figures."""

    weights: bool = Field(
        default=True,
        description="Whether training keeps the weights (safetensors); of LoRA the adapters.",
        examples=[False],
    )


class JobFile(Strict):
    """One job: what to run, and what it asks of the fleet."""

    model_config = ConfigDict(title="jetsched job file")

    name: Line | None = Field(
        None, description="For people; the file's name if not given.", examples=["squad-distilgpt2"]
    )
    work: Work = Field(
        description="What is run.", examples=[{"kind": "train", "model": "distilgpt2"}]
    )
    needs: NeedsSection = Field(
        default_factory=NeedsSection, description="What the job asks of the device it runs on."
    )
    deadline: Duration | None = Field(
        None,
        description="From submission. Soft: policies see it; time_limit is the hard one.",
        examples=["2h30m"],
    )
    time_limit: Duration | None = Field(
        None,
        description="The longest an attempt may run; then it ends in killed_time.",
        examples=["1h"],
    )
    priority: int = Field(50, ge=0, le=100, description="Higher first.", examples=[50])
    retry: RetrySection = Field(
        default_factory=RetrySection, description="When the job is tried again."
    )
    checkpoint: CheckpointSection | None = Field(
        None, description="How often training saves what it has."
    )
    artefacts: ArtefactsSection | None = Field(
        None, description="What is kept of it beside its log and its figures."
    )
    env: dict[
        Annotated[str, AfterValidator(_env_name)],
        Annotated[
            Any,
            BeforeValidator(_env_value),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "object",
                            "properties": {"secret": {"type": "string"}},
                            "required": ["secret"],
                            "additionalProperties": False,
                        },
                    ]
                }
            ),
        ],
    ] = Field(
        {},
        description="Environment variables of the program; {secret: NAME} for what nobody may see.",
        examples=[{"TOKENIZERS_PARALLELISM": "false", "HF_TOKEN": {"secret": "hf"}}],
    )
    user: Line | None = Field(None, description="Who the job is for.", examples=["ada"])
    labels: dict[Line, Line] = Field(
        {}, description="Words of your own, kept with the job.", examples=[{"project": "thesis"}]
    )


WORK_KINDS: Mapping[str, type[Strict]] = {
    "train": TrainWork,
    "infer": InferWork,
    "command": CommandWork,
}
