"""Job files: read, checked as a whole, and turned into jobs.

The form is in `jobmodel`, and an example of every kind in ``examples/``. All problems of all files
are reported at once and nothing is built unless there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic_core import ErrorDetails

from jetsched.checks import validate
from jetsched.errors import InputError
from jetsched.inputs import Place, count_prompts, find_dataset, find_path
from jetsched.jobmodel import (
    WORK_KINDS,
    CommandWork,
    InferShape,
    InferWork,
    JobFile,
    LikeTrain,
    Positions,
    SecretName,
    Surroundings,
    TrainShape,
    TrainWork,
)
from jetsched.jobsource import folder_of
from jetsched.overrides import override
from jetsched.problems import FileProblems, Problem, quoted
from jetsched.records import Job, Needs, Retry, Workload
from jetsched.yamlfile import Document, Node, parse_document, plain_document, read_document

__all__ = [
    "FileProblems",
    "JobSpec",
    "Problem",
    "job_of",
    "job_of_json",
    "job_of_text",
    "json_schema",
    "load_job",
    "load_jobs",
    "parse_job",
]


@dataclass(frozen=True)
class JobSpec:
    """A job as its file describes it: everything but its id and when it was submitted.

    ``work`` is the work section with all defaults filled in, as JSON values; paths in it are
    absolute: ``dataset_path`` and ``prompts_path`` are null where no file is named, ``samples``
    are those of one epoch. ``deadline_s`` counts from submission.
    """

    name: str
    workload: Workload
    amount: float
    work: dict[str, Any] = field(hash=False)
    needs: Needs
    deadline_s: float | None
    time_limit_s: float | None
    priority: int
    retry: Retry
    checkpoint_every_s: float | None
    env: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    user: str
    file: str
    secrets: tuple[tuple[str, str], ...] = ()

    def to_job(
        self,
        id: str,
        now_s: float,
        user: str = "",
        *,
        canonical: Callable[[str], str] = str,
    ) -> Job:
        """The job, submitted at ``now_s`` on the cluster's clock.

        ``canonical`` gives the one name of a model with several, so that they share their
        measurements. The file's own ``user`` goes before the one given here.
        """
        model = self.workload.model
        return Job(
            id=id,
            workload=replace(self.workload, model=canonical(model) if model else ""),
            amount=self.amount,
            submitted_s=now_s,
            name=self.name,
            user=self.user or user,
            priority=self.priority,
            deadline_s=None if self.deadline_s is None else now_s + self.deadline_s,
            time_limit_s=self.time_limit_s,
            needs=self.needs,
            retry=self.retry,
            checkpoint_every_s=self.checkpoint_every_s,
            env=self.env,
            secrets=self.secrets,
            labels=self.labels,
            work=self.work,
        )


def load_jobs(
    paths: Iterable[Path | str],
    *,
    known_devices: Sequence[str] | None = None,
    positions: Positions | None = None,
) -> list[JobSpec]:
    """Read job files. Raises :class:`FileProblems` with all problems of all files.

    ``known_devices`` are the models, ids and labels that ``needs.device`` may name, ``positions``
    tells how many tokens a model can look at; None leaves that unchecked.
    """
    specs: list[JobSpec] = []
    problems: list[Problem] = []
    for path in map(Path, paths):
        try:
            document = read_document(path)
            around = Surroundings(folder_of(path), known_devices, positions)
            specs.append(job_of(document, around, _stem(document.file)))
        except FileProblems as found:
            problems += found.problems
    if problems:
        raise FileProblems(problems)
    return specs


def load_job(
    path: Path, changes: Sequence[str] = (), *, positions: Positions | None = None
) -> JobSpec:
    """Read one job file with some of its fields changed, each as ``work.batch_size=4``.

    The result is checked as if the file said so; a problem with a change names its ``--set``.
    """
    document = read_document(path)
    override(document, changes)
    around = Surroundings(folder_of(path), positions=positions)
    return job_of(document, around, _stem(document.file))


def parse_job(
    text: str,
    file: str = "<job>",
    *,
    folder: Path | None = None,
    known_devices: Sequence[str] | None = None,
    positions: Positions | None = None,
) -> JobSpec:
    """A job from a text in YAML or JSON.

    Paths in it are relative to ``folder``; without one they must be absolute.
    """
    return job_of_text(text, file, Surroundings(folder, known_devices, positions))


def job_of_text(text: str, file: str, around: Surroundings) -> JobSpec:
    """A job from a text in YAML or JSON, such as a part of a request."""
    return job_of(parse_document(text, file), around, _stem(file))


def job_of_json(value: Mapping[str, Any], file: str, around: Surroundings) -> JobSpec:
    """A job from JSON values; as :func:`job_of_text` of the same as JSON, in a tenth of the time.

    Only what is wrong is read once more as a text, which has places to be named.
    """
    try:
        return job_of(plain_document(value, file), around, _stem(file))
    except FileProblems:
        text = json.dumps(value, indent=1, ensure_ascii=False)
    return job_of_text(text, file, around)


def _stem(file: str) -> str:
    return Path(file).stem.strip("<>")


def json_schema() -> dict[str, Any]:
    """The JSON schema of job files, for editors and other programs."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **JobFile.model_json_schema(),
    }


def job_of(document: Document, around: Surroundings, name: str) -> JobSpec:
    """The job of a document; ``name`` is for one that names none.

    Raises :class:`FileProblems` with all problems of the document.
    """
    model = validate(document, JobFile, context=around, explain=_explain)
    _check_together(document, around)
    if model is None or document.problems:
        raise FileProblems(document.problems)
    workload, amount, work = _work(model, around.place)
    if around.positions is not None:
        _check_model(document, workload, around.positions)
    checkpoint = model.checkpoint
    if checkpoint is not None:
        work["checkpoint_keep"] = checkpoint.keep
    if model.artefacts is not None:
        work["artefacts"] = {"weights": model.artefacts.weights}
    return JobSpec(
        name=model.name or name,
        workload=workload,
        amount=amount,
        work=work,
        needs=Needs(tuple(model.needs.device), model.needs.memory, model.needs.disk),
        deadline_s=model.deadline,
        time_limit_s=model.time_limit,
        priority=model.priority,
        retry=Retry(model.retry.times, tuple(dict.fromkeys(model.retry.on))),
        checkpoint_every_s=checkpoint.every if checkpoint is not None else None,
        env=tuple(sorted((k, v) for k, v in model.env.items() if isinstance(v, str))),
        secrets=tuple(
            sorted((k, v.secret) for k, v in model.env.items() if isinstance(v, SecretName))
        ),
        labels=tuple(sorted(model.labels.items())),
        user=model.user or "",
        file=document.file,
    )


# ------------------------------------------------------------------------------- mistakes, in words


def _explain(detail: ErrorDetails, path: Sequence[Any], node: Node) -> tuple[str, str] | None:
    """Unknown fields that are known elsewhere: of another kind of work, or a level up or down."""
    if detail["type"] != "extra_forbidden":
        return None
    name = path[-1]
    if len(path) == 1:
        if any(name in m.model_fields for m in WORK_KINDS.values()):
            return _misplaced(name, "work", f"work.{name}", node)
        return None
    if path[0] != "work" or len(path) != 2:
        return None
    kind = str(detail["loc"][1]).partition("=")[2]
    others = [k for k, m in WORK_KINDS.items() if k != kind and name in m.model_fields]
    if others:
        return f"{quoted(name)} is a field of kind {others[0]}; this is kind {kind}", ""
    if name in JobFile.model_fields:
        return _misplaced(name, "the job itself, one level up", name, node)
    return None


def _misplaced(name: str, place: str, key: str, node: Node) -> tuple[str, str]:
    hint = f"write {key}=…" if node.origin else f"it belongs to {place}: indent it to suit"
    return f"unknown field {quoted(name)} here", hint


def _check_together(document: Document, around: Surroundings) -> None:
    """What no field can tell alone. Looks at the tree: it must not need a file without mistakes."""
    work = document.root.child("work")
    if work is None or not isinstance(work.value, dict):
        return
    given = work.value
    rank, checkpoint = work.child("lora_rank"), document.root.child("checkpoint")
    if rank is not None and rank.value is not None and given.get("method", "full") == "full":
        document.report(rank, "work.lora_rank", "is for method lora only", "add method: lora")
    if given.get("kind") == "infer" and checkpoint is not None and checkpoint.value is not None:
        document.report(checkpoint, "checkpoint", "kind infer has nothing to save", "leave it out")
    if given.get("kind") == "train":
        _check_samples(document, work, around.place)
    if given.get("kind") == "command" and not around.commands:
        text = "this head runs no commands"
        hint = "train and infer it does; on the head: jetsched up --allow-commands"
        document.report(work.child("kind") or work, "work.kind", text, hint)


def _check_samples(document: Document, work: Node, place: Place) -> None:
    """Whether it is known how many samples there are, and whether there are enough."""
    text, given = work.value.get("dataset", "squad"), work.child("samples")
    samples = given.value if given is not None else None
    try:
        dataset = find_dataset(text, place) if isinstance(text, str) else None
    except InputError:
        return  # reported with the field
    if dataset is None:
        return
    if samples is None:
        if dataset.samples is None:
            message = f"how many samples {quoted(text)} has is not known here"
            hint = f"add samples: N, or take a part: {dataset.name}[:2000]"
            document.report(work.child("dataset") or work, "work.dataset", message, hint)
    elif given is not None and "[" in text:
        message = "the data set has a slice already"
        document.report(given, "work.samples", message, "give one of the two")
    elif given is not None and isinstance(samples, int) and samples > (dataset.samples or samples):
        message = f"{samples:,} are more than the {dataset.samples:,} of {quoted(text)}"
        document.report(given, "work.samples", message, "more passes over the data are epochs")


def _check_model(document: Document, workload: Workload, positions: Positions) -> None:
    """Whether the model can be made, and can look at so many tokens: a worker would refuse both.

    What a command does with a model that it is like is its own business.
    """
    work = document.root.child("work") or document.root
    if workload.kind != "command":
        try:
            most = positions(workload.model)
        except InputError as error:
            document.report(work.child("model") or work, "work.model", str(error), error.hint)
            most = None
        if most:
            _check_length(document, work, workload, most)
    if document.problems:
        raise FileProblems(document.problems)


def _check_length(document: Document, work: Node, workload: Workload, most: int) -> None:
    names = ("seq_len",) if workload.kind == "train" else ("max_new_tokens", "prompt_tokens")
    tokens = {name: getattr(workload, name) for name in names}
    total = sum(tokens.values())
    if total <= most:
        return
    # Said of the largest that is written; a default stands nowhere.
    written = [name for name in names if work.child(name) is not None]
    name = max(written or names, key=lambda name: tokens[name])
    room = most - (total - tokens[name])
    hint = f"at most {name}: {room}" if room >= 1 else "cut both"
    text = f"{' + '.join(sorted(names, reverse=True))} is {total:,}, but {quoted(workload.model)}"
    place = work.child(name) or work
    document.report(place, f"work.{name}", f"{text} has only {most:,} positions", hint)


# ------------------------------------------------------------------------------------ from the file


def _work(model: JobFile, place: Place) -> tuple[Workload, float, dict[str, Any]]:
    """The workload, the amount, and the work section as the child gets it."""
    work = model.work
    given: dict[str, Any] = work.model_dump()
    if isinstance(work, TrainWork):
        dataset = find_dataset(work.dataset, place)
        samples = work.samples or dataset.samples or 0
        path = None if dataset.path is None else str(dataset.path)
        given.update(samples=samples, dataset_path=path, lora_rank=_rank(work))
        name = dataset.name if dataset.path is None else dataset.path.name
        return _train(work, dataset=name), float(work.epochs * samples), given
    if isinstance(work, InferWork):
        count, path = work.prompts, None
        if isinstance(count, str):
            found = find_path(count, place)
            count, path = count_prompts(found), str(found)
        given.update(prompts_path=path)
        return _infer(work), float(count), given
    if isinstance(work.like, LikeTrain):
        given["like"]["lora_rank"] = _rank(work.like)
    return _command(work), 1.0, given


def _train(work: TrainShape, dataset: str = "") -> Workload:
    return Workload(
        kind="train",
        model=work.model,
        dataset=dataset,
        batch_size=work.batch_size,
        seq_len=work.seq_len,
        precision=work.precision,
        method=work.method,
        head=work.head,
        gradient_checkpointing=work.gradient_checkpointing,
        accumulation_steps=work.accumulation_steps,
        lora_rank=_rank(work),
    )


def _rank(work: TrainShape) -> int:
    return 0 if work.method == "full" else work.lora_rank or 8


def _infer(work: InferShape) -> Workload:
    return Workload(
        kind="infer",
        model=work.model,
        batch_size=work.batch_size,
        prompt_tokens=work.prompt_tokens,
        max_new_tokens=work.max_new_tokens,
        precision=work.precision,
    )


def _command(work: CommandWork) -> Workload:
    if work.like is None:
        return Workload(kind="command", model="", command=work.run)
    like = _train(work.like) if isinstance(work.like, LikeTrain) else _infer(work.like)
    return replace(like, kind="command", like=work.like.kind, command=work.run)
