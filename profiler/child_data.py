"""What the child works on: question answering samples, prompts, and bytes for a tokenizer.

Needs only the standard library. The data set is SQuAD v1.1 or a file in its form; where neither is
to be had, the small one that is shipped is used, and the caller is told so.
"""

from __future__ import annotations

import glob
import json
import os
import random
import re
from typing import Any, Callable, Iterator, NamedTuple, Sequence

_DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
SHIPPED_SQUAD = os.path.join(_DATA, "squad-small.json")
SHIPPED_PROMPTS = os.path.join(_DATA, "prompts.jsonl")

#: Names under which a job file may ask for SQuAD; only for these the shipped file may stand in.
SQUAD_NAMES = ("", "squad", "rajpurkar/squad")
IGNORED_LABEL = -100  # what torch's cross entropy leaves out

Encode = Callable[[str], "list[int]"]


class DatasetError(Exception):
    """The data set or the prompts cannot be read, or are not in the form they should have."""


class Sample(NamedTuple):
    """One question; ``start`` is where the answer begins in the context, in characters."""

    context: str
    question: str
    answer: str
    start: int


class Row(NamedTuple):
    """A sample as the model takes it: ``seq_len`` token ids, padded on the right.

    ``length`` of them are real. ``start`` and ``end`` are the answer's first and last token, for
    the head that looks for spans.
    """

    ids: list[int]
    length: int
    start: int
    end: int


# --- reading -------------------------------------------------------------------------------------


def load_samples(dataset: str, path: str | None, offline: bool) -> tuple[Sequence[Sample], str]:
    """The samples, and where they come from: ``file``, ``hub`` or ``shipped``.

    ``dataset`` is a hub id, ``squad`` or empty, each with an optional slice ``[:2000]``; ``path``
    a file that goes before it. Raises DatasetError.
    """
    match = re.fullmatch(r"([^\[\]]*)(?:\[:(\d+)\])?", dataset.strip())
    if match is None:
        raise DatasetError(f"dataset {dataset!r} is neither a name nor a slice like squad[:2000]")
    name, limit = match.group(1), int(match.group(2) or 0)
    if limit == 0 and match.group(2):
        raise DatasetError(f"dataset {dataset!r} asks for no sample at all")
    samples: Sequence[Sample]
    if path:
        samples, origin = read_squad(path), "file"
    else:
        found = _from_hub(name or "squad", offline)
        if found is not None:
            samples, origin = found, "hub"
        elif name in SQUAD_NAMES:
            samples, origin = read_squad(SHIPPED_SQUAD), "shipped"
        else:
            raise DatasetError(f"data set {name!r} is not on this machine and cannot be fetched")
    return samples[:limit] if limit else samples, origin


def read_squad(path: str) -> list[Sample]:
    """All questions of a file in SQuAD v1.1 form; those without an answer are left out.

    Raises DatasetError that names the place of the first problem, e.g.
    ``data[0].paragraphs[2].qas[1]: ...``.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise DatasetError(f"data set {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # bad JSON, or not UTF-8
        raise DatasetError(f"data set {path} is not JSON in UTF-8: {error}") from error
    samples = []
    try:
        for a, article in enumerate(_list(document, "data", "the file")):
            where = f"data[{a}]"
            for p, paragraph in enumerate(_list(article, "paragraphs", where)):
                place = f"{where}.paragraphs[{p}]"
                context = _text(paragraph, "context", place)
                for q, qa in enumerate(_list(paragraph, "qas", place)):
                    samples += _answered(context, qa, f"{place}.qas[{q}]")
    except DatasetError as error:
        raise DatasetError(f"data set {path} is not in SQuAD v1.1 form: {error}") from None
    if not samples:
        raise DatasetError(f"data set {path} has no question with an answer")
    return samples


def _answered(context: str, qa: Any, place: str) -> list[Sample]:
    question = _text(qa, "question", place)
    answers = _list(qa, "answers", place)
    if not answers:
        return []
    place += ".answers[0]"
    answer = _text(answers[0], "text", place)
    start = answers[0].get("answer_start")
    if not isinstance(start, int) or isinstance(start, bool):
        raise DatasetError(f"{place}: answer_start should be a whole number, not {start!r}")
    if start < 0 or context[start : start + len(answer)] != answer:
        found = context[max(start, 0) : max(start, 0) + len(answer)]
        raise DatasetError(f"{place}: at {start} the context has {found!r}, not {answer!r}")
    return [Sample(context, question, answer, start)]


def _list(holder: Any, key: str, place: str) -> list[Any]:
    if not isinstance(holder, dict):
        raise DatasetError(f"{place} should be an object")
    value = holder.get(key)
    if not isinstance(value, list):
        raise DatasetError(f"{place} has no list {key!r}")
    return value


def _text(holder: Any, key: str, place: str) -> str:
    if not isinstance(holder, dict):
        raise DatasetError(f"{place} should be an object")
    value = holder.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DatasetError(f"{place} has no text {key!r}")
    return value


def _from_hub(name: str, offline: bool) -> list[Sample] | None:
    """The training split of a hub data set in SQuAD's columns, or None where it cannot be had."""
    if offline and not _cached(name):
        return None  # found out without importing datasets, which takes a second
    try:
        from datasets import load_dataset

        rows = load_dataset(name, split="train")
    except (ImportError, OSError, ValueError) as error:
        # datasets reports a hub that it cannot reach as ConnectionError, which is an OSError,
        # and a data set that is not there as FileNotFoundError or ValueError.
        print(f"data set {name!r} cannot be had: {type(error).__name__}: {error}", flush=True)
        return None
    missing = {"context", "question", "answers"} - set(rows.column_names)
    if missing:
        raise DatasetError(f"data set {name!r} lacks SQuAD's columns {sorted(missing)}")
    return [
        Sample(row["context"], row["question"], answers["text"][0], answers["answer_start"][0])
        for row in rows
        for answers in (row["answers"],)
        if answers["text"]
    ]


def _cached(name: str) -> bool:
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    cache = os.environ.get("HF_DATASETS_CACHE") or os.path.join(home, "datasets")
    folders = {name.replace("/", "___")}
    if name in SQUAD_NAMES:
        folders |= {"squad", "rajpurkar___squad"}
    return any(
        glob.glob(os.path.join(os.path.expanduser(cache), glob.escape(folder), "*"))
        for folder in folders
    )


def load_prompts(path: str | None) -> tuple[list[str], str]:
    """The prompts and where they come from (``file`` or ``shipped``).

    A file holds one prompt a line: JSON lines with ``{"prompt": ...}``, or plain text. Empty lines
    are left out. Raises DatasetError with the number of the bad line.
    """
    source = path or SHIPPED_PROMPTS
    try:
        with open(source, encoding="utf-8") as file:
            lines = [(n, line.strip()) for n, line in enumerate(file, 1) if line.strip()]
    except OSError as error:
        raise DatasetError(f"prompts {source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"prompts {source} is not UTF-8: {error}") from error
    if not lines:
        raise DatasetError(f"prompts {source} has no prompt")
    if source.endswith(".jsonl") or lines[0][1].startswith("{"):
        prompts = [_json_prompt(line, f"{source}:{number}") for number, line in lines]
    else:
        prompts = [line for _, line in lines]
    return prompts, "file" if path else "shipped"


def _json_prompt(line: str, place: str) -> str:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DatasetError(f"{place}: not JSON: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
        raise DatasetError(f'{place}: should be {{"prompt": "..."}}')
    return str(value["prompt"])


# --- order ---------------------------------------------------------------------------------------


def order(count: int, seed: int, done: int, amount: int) -> Iterator[int]:
    """Which sample comes when: numbers below ``count``, shuffled anew in each epoch.

    Starts behind the first ``done`` of ``amount``, so that a resumed run goes on where it stopped.
    """
    shuffled: list[int] = []
    for position in range(done, amount):
        epoch, index = divmod(position, count)
        if index == 0 or not shuffled:
            shuffled = list(range(count))
            random.Random(f"{seed}-{epoch}").shuffle(shuffled)
        yield shuffled[index]


# --- tokens --------------------------------------------------------------------------------------


class ByteTokenizer:
    """Bytes as tokens, for models whose own tokenizer cannot be had.

    Id 0 pads, id 1 ends a text, and the rest are digits: with 258 ids or more one digit is a byte;
    a smaller vocabulary writes each byte with several. Every text comes back as it was. Decoding
    takes any id of a large vocabulary, so that what random weights say can be printed.
    """

    pad_id = 0
    eos_id = 1

    def __init__(self, vocab_size: int) -> None:
        if vocab_size < 4:
            raise DatasetError(f"a vocabulary of {vocab_size} is too small to write bytes with")
        self._base = min(256, vocab_size - 2)
        self._digits = 1
        while self._base**self._digits < 256:
            self._digits += 1

    def encode(self, text: str) -> list[int]:
        """Token ids, without an end mark."""
        ids = []
        for byte in text.encode("utf-8"):
            for place in range(self._digits - 1, -1, -1):
                ids.append(2 + byte // self._base**place % self._base)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; padding and end marks are left out, broken characters replaced."""
        digits = [(i - 2) % self._base for i in ids if i >= 2]
        octets = bytearray()
        for first in range(0, len(digits) - self._digits + 1, self._digits):
            value = 0
            for digit in digits[first : first + self._digits]:
                value = value * self._base + digit
            octets.append(value % 256)
        return octets.decode("utf-8", errors="replace")


def qa_batch(samples: Sequence[Sample], tokenizer: Any, seq_len: int) -> dict[str, Any]:
    """The arguments of a model that looks for answer spans, as lists of ``seq_len`` numbers."""
    rows = [qa_row(sample, tokenizer, seq_len) for sample in samples]
    return {
        **_inputs(rows, seq_len),
        "start_positions": [row.start for row in rows],
        "end_positions": [row.end for row in rows],
    }


def lm_batch(samples: Sequence[Sample], tokenizer: Any, seq_len: int) -> dict[str, Any]:
    """The arguments of a language model, as lists of ``seq_len``; padding is not learnt."""
    rows = [lm_row(sample, tokenizer, seq_len) for sample in samples]
    ignored = [IGNORED_LABEL] * seq_len
    labels = [row.ids[: row.length] + ignored[row.length :] for row in rows]
    return {**_inputs(rows, seq_len), "labels": labels}


def _inputs(rows: Sequence[Row], seq_len: int) -> dict[str, Any]:
    mask = [[1] * row.length + [0] * (seq_len - row.length) for row in rows]
    return {"input_ids": [row.ids for row in rows], "attention_mask": mask}


def qa_row(sample: Sample, tokenizer: Any, seq_len: int) -> Row:
    """Question, end mark, and as much context around the answer as there is room for.

    The context is encoded in three pieces, so the answer's tokens are known exactly from any
    tokenizer; an answer longer than the room keeps its beginning.
    """
    question = tokenizer.encode(sample.question)[: seq_len // 4]
    question.append(tokenizer.eos_id)
    before, answer, after = _window(sample, tokenizer.encode, seq_len - len(question))
    start = len(question) + len(before)
    ids = question + before + answer + after
    return Row(_padded(ids, seq_len, tokenizer), len(ids), start, start + len(answer) - 1)


def lm_row(sample: Sample, tokenizer: Any, seq_len: int) -> Row:
    """Context, question, answer and end mark as one text; a long context is cut round the answer.

    ``start`` and ``end`` are those of the answer behind the question.
    """
    question = tokenizer.encode("\nQuestion: " + sample.question + "\nAnswer:")[: seq_len // 2]
    answer = tokenizer.encode(" " + sample.answer)[: seq_len // 4]
    room = seq_len - len(question) - len(answer) - 1
    before, inside, after = _window(sample, tokenizer.encode, room)
    ids = before + inside + after + question + answer + [tokenizer.eos_id]
    first = len(ids) - 1 - len(answer)
    return Row(_padded(ids, seq_len, tokenizer), len(ids), first, len(ids) - 2)


def _window(sample: Sample, encode: Encode, room: int) -> tuple[list[int], list[int], list[int]]:
    """The context's tokens before, in and after the answer, ``room`` at most, the answer inside."""
    head, tail = sample.context[: sample.start], sample.context[sample.start + len(sample.answer) :]
    # Byte-pair tokenizers write a space at the beginning of the word behind it.
    space = " " if head.endswith(" ") else ""
    before, after = encode(head[:-1] if space else head), encode(tail)
    answer = encode(space + sample.answer)[:room]
    left = room - len(answer)
    lead = min(len(before), max(left // 2, left - len(after)))
    return before[len(before) - lead :], answer, after[: left - lead]


def _padded(ids: list[int], length: int, tokenizer: Any) -> list[int]:
    return ids + [tokenizer.pad_id] * (length - len(ids))
