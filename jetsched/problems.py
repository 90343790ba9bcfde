"""What is wrong with a file, told so that it can be put right: place, reason, picture, hint."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from jetsched.errors import InputError

_LINE_ENDS = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # the ones that YAML counts
_WIDEST = 88  # columns of a source line in a frame: with the margin it fits in 100


@dataclass(frozen=True)
class Problem:
    """One mistake in a file. ``line`` and ``column`` count from 1; 0 means the whole file.

    ``path`` names the field (``work.epochs``), ``frame`` is the line with a caret below the place.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    frame: str = ""

    @property
    def place(self) -> str:
        """The place as editors understand it, ``bad.yaml:6:3``."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class FileProblems(InputError):
    """Everything that is wrong with one or more files, sorted by file and position.

    ``str()`` is the whole text for a person, and :meth:`text` adds what follows from it.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = list(dict.fromkeys(problems))
        files = {file: rank for rank, file in enumerate(dict.fromkeys(p.file for p in found))}
        found.sort(key=lambda p: (files[p.file], p.line, p.column, p.path))
        self.problems = tuple(found)
        super().__init__(self.text())

    def text(self, consequence: str = "") -> str:
        """All problems for a person; ``consequence`` is e.g. "Nothing was submitted."."""
        files = list(dict.fromkeys(p.file for p in self.problems))
        who = f"{printable(files[0])} has" if len(files) == 1 else f"{len(files)} files have"
        count = len(self.problems)
        lines = [f"✗ {who} {count} problem{'s' if count != 1 else ''}. {consequence}".rstrip()]
        places = [printable(problem.place) for problem in self.problems]
        width = max(map(len, places), default=0)
        for place, problem in zip(places, self.problems, strict=True):
            path = f"{problem.path}: " if problem.path else ""
            place = place.ljust(width) if problem.line else place + ":"
            lines.append(f"  {place} {path}{problem.message}")
            if problem.frame:
                lines += problem.frame.split("\n")
            elif problem.hint:
                lines.append(f"          {problem.hint}")
        return "\n".join(lines)

    def to_json(self) -> list[dict[str, Any]]:
        """The problems as JSON values, one object each, with the fields of :class:`Problem`."""
        return [asdict(problem) for problem in self.problems]


def lines_of(text: str) -> list[str]:
    """The lines of a text, split where YAML counts a new one."""
    return _LINE_ENDS.split(text)


def frame(lines: Sequence[str], line: int, column: int, hint: str) -> str:
    """The source line, and below it a caret under the column with the hint. Both count from 1."""
    if not 1 <= line <= len(lines):
        return ""
    source, before = lines[line - 1], column - 1
    start = 0
    if len(source) > _WIDEST:  # show the part around the place
        start = max(0, min(before - _WIDEST // 3, len(source) - _WIDEST))
        source = source[start : start + _WIDEST]
    shown = printable(source.replace("\t", " "))
    indent = " " * sum(map(_width, shown[: before - start]))
    return f"{line:>7} │ {shown}".rstrip() + f"\n{'':>7} │ {indent}^ {hint}".rstrip()


def printable(text: str) -> str:
    """The text without what could move the cursor or colour the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def quoted(value: object) -> str:
    """A value from the file as a short, printable, quoted word."""
    shown = printable(str(value))
    return f"'{shown[:40]}…'" if len(shown) > 40 else f"'{shown}'"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the known word that was probably meant, or ""."""
    names = {name.lower(): name for name in known}
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower().replace("-", "_")  # batchSize
    for attempt in (word.lower(), plain):
        close = [attempt] if attempt in names else get_close_matches(attempt, names, 1, 0.6)
        if close:
            return f"did you mean '{names[close[0]]}'?"
    return ""


def listed(words: Iterable[object], most: int = 10) -> str:
    """``a, b, c and 7 more``."""
    shown = [printable(str(word)) for word in words]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")


def _width(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def dotted(path: Iterable[object]) -> str:
    """``work.epochs`` or ``needs.device[1]`` from the keys and indices that lead there."""
    result = ""
    for part in path:
        if isinstance(part, int):
            result += f"[{part}]"
        else:
            result += ("." if result else "") + printable(str(part))[:60]
    return result
