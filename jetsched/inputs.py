"""The files and names that a job file points to: are they there, and how much work is in them?

Relative paths are meant from the job file's folder and may not lead out of it, not through ``..``
and not through a link: a job file that was sent to somebody must not reach into their home. A file
elsewhere is named by its absolute path. Everything here raises :class:`InputError` with a hint.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jetsched.errors import InputError
from jetsched.problems import quoted

#: Samples in data sets that are known by name: the questions of SQuAD v1.1's train split.
KNOWN_DATASETS = {"squad": 87_599, "rajpurkar/squad": 87_599}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_SLICE = re.compile(r"([^\[\]]*)\[:(\d{1,12})\]", re.ASCII)
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Dataset:
    """What ``dataset:`` names: a file or a name on the hub, and how much of it is used.

    ``samples`` is None where only the hub knows.
    """

    name: str
    path: Path | None
    samples: int | None


@dataclass(frozen=True)
class Place:
    """Where the paths of a job file lead: relative ones from ``folder``.

    Without a folder (a job that came over HTTP) only absolute paths mean anything. ``roots``: all
    that may be named, whatever links say; None: what the reader may read, the submitter may.
    ``advice`` is how else a file gets to the reader, for those who cannot put it there.
    """

    folder: Path | None = None
    roots: tuple[Path, ...] | None = None
    advice: str = ""

    def check(self, text: str, path: Path) -> None:
        """Raises :class:`InputError` for a path outside, whether there is anything or not."""
        if self.roots is None:
            return
        found = path.resolve()
        for root in self.roots:
            base = root.resolve()
            if found == base or base in found.parents:
                return
        inside = ", ".join(str(root) for root in self.roots)
        hint = f"files below {inside}" if inside else "name models and data by their hub id"
        raise InputError(
            f"{quoted(text)} is not a file that the head lets others name", hint=self._and(hint)
        )

    def missing(self, text: str, path: Path) -> InputError:
        """The error where there is nothing at a path."""
        hint = self._and(f"looked at {path}")
        return InputError(f"{quoted(text)}: no such file or folder", hint=hint)

    def nowhere(self, text: str) -> InputError:
        """The error for a relative path where there is no folder."""
        return InputError(
            f"{quoted(text)} is relative, and this job did not come from a folder",
            hint=self.advice or "name the file by its absolute path",
        )

    def _and(self, hint: str) -> str:
        return f"{hint}; {self.advice}" if self.advice else hint


#: Nothing is known of where a job file came from.
NOWHERE = Place()


def looks_like_path(text: str) -> bool:
    """Whether a model or data set is meant as a path and not as a name on the hub."""
    return text.startswith(("/", "./", "../", "~")) or text.endswith(".json") or text in (".", "..")


def find_path(text: str, place: Place = NOWHERE) -> Path:
    """The absolute path of a file or folder that a job file names."""
    folder = place.folder
    try:
        path = Path(text).expanduser()
        if path.is_absolute():
            found = path
        elif folder is None:
            raise place.nowhere(text)
        else:
            found, base = (folder / path).resolve(), folder.resolve()
            if found != base and base not in found.parents:
                raise InputError(
                    f"{quoted(text)} leads out of the job file's folder",
                    hint="name files elsewhere by their absolute path",
                )
        place.check(text, found)
        if not found.exists():
            raise place.missing(text, found)
        return found
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a loop of links
        raise InputError(f"{quoted(text)} is not a usable path: {error}") from None


def find_model(text: str, place: Place = NOWHERE) -> str:
    """The model as the rest of the program knows it: a name, or an absolute folder."""
    if not looks_like_path(text):
        if not _HUB_ID.fullmatch(text):
            raise InputError(
                f"{quoted(text)} is not the name of a model",
                hint="a known name (gpt2), a hub id (org/name), or a folder (./my-model)",
            )
        return text
    path = find_path(text, place)
    if not (path / "config.json").is_file():
        raise InputError(f"{quoted(text)} holds no model", hint="a folder with a config.json in it")
    return str(path)


def find_dataset(text: str, place: Place = NOWHERE) -> Dataset:
    """The data set behind ``squad``, ``squad[:2000]``, ``org/name[:500]`` or ``mine.json``."""
    name, most = text, None
    if "[" in text or "]" in text:
        match = _SLICE.fullmatch(text)
        if match is None:
            raise InputError(
                f"{quoted(text)} has a slice that is not understood",
                hint="the first N samples are name[:N], e.g. squad[:2000]",
            )
        name, most = match[1], int(match[2])
        if most == 0:
            raise InputError(f"{quoted(text)} asks for no sample at all")
    if looks_like_path(name):
        path = find_path(name, place)
        return Dataset(name, path, min(count_questions(path), most or sys.maxsize))
    if not _HUB_ID.fullmatch(name):
        raise InputError(
            f"{quoted(text)} is not the name of a data set",
            hint="a hub id (squad, org/name) or a .json file in SQuAD form",
        )
    known = KNOWN_DATASETS.get(name)
    return Dataset(name, None, most if known is None else min(known, most or known))


def count_questions(path: Path) -> int:
    """How many questions with an answer a file in SQuAD v1.1 form holds."""
    return _count(_count_questions, path)


def count_prompts(path: Path) -> int:
    """How many prompts a file holds: lines of text, or for ``.jsonl`` objects with "prompt"."""
    return _count(_count_prompts, path)


def _count(how: Any, path: Path) -> int:
    try:
        status = path.stat()
        if not path.is_file():
            raise InputError(f"{quoted(path)} is not a file")
        if status.st_size > _MOST_BYTES:
            raise InputError(f"{quoted(path)} is larger than 1 GiB", hint="split it")
        return int(how(path, status.st_mtime_ns, status.st_size))
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be read: {error.strerror or error}") from None


@lru_cache(maxsize=256)  # a hundred job files often name the same file of 30 MB
def _count_questions(path: Path, mtime_ns: int, size: int) -> int:
    del mtime_ns, size  # they tell a changed file from the one that was counted
    where = "the file"
    try:
        count = 0
        where = "'data'"
        for i, article in enumerate(_load_json(path)["data"]):
            where = f"data[{i}].paragraphs"
            for j, paragraph in enumerate(article["paragraphs"]):
                where = f"data[{i}].paragraphs[{j}].qas"
                for k, qa in enumerate(paragraph["qas"]):
                    where = f"data[{i}].paragraphs[{j}].qas[{k}]"
                    if not isinstance(qa["question"], str):
                        raise TypeError
                    where += ".answers"
                    count += bool(qa["answers"][:1])  # SQuAD 2 has questions without
                where = f"data[{i}].paragraphs[{j}].context"
                if not isinstance(paragraph["context"], str):
                    raise TypeError
    except (TypeError, KeyError):
        raise InputError(
            f"{quoted(path.name)} is not in SQuAD form: {where} is missing or odd",
            hint="data: [{paragraphs: [{context, qas: [{question, answers}]}]}]",
        ) from None
    if not count:
        raise InputError(f"{quoted(path.name)} holds no question with an answer")
    return count


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except UnicodeDecodeError as error:
        raise InputError(f"{quoted(path.name)} is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{quoted(path.name)} is not JSON: {error.msg} at line {error.lineno}:{error.colno}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{quoted(path.name)} is not JSON: {error}") from None


@lru_cache(maxsize=256)
def _count_prompts(path: Path, mtime_ns: int, size: int) -> int:
    del mtime_ns, size
    count = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            count += 1
            try:
                line = raw.decode("utf-8")
                good = path.suffix != ".jsonl" or _is_prompt(json.loads(line))
            except (ValueError, RecursionError):
                good = False
            if not good:
                raise InputError(
                    f"{quoted(path.name)}, line {number}: not a prompt",
                    hint='one JSON object a line, {"prompt": "..."}; or lines of text in a .txt',
                )
    if not count:
        raise InputError(f"{quoted(path.name)} holds no prompts")
    return count


def _is_prompt(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("prompt"), str)
