"""YAML 1.2 files as plain values with the place of each, and everything odd refused by name.

The tree is built from ruamel's parse events rather than by its loaders: that keeps the place of
every key, finds duplicate keys, and never expands an alias before it is known to be small.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from jetsched.jobsource import MAX_BYTES, name_of, read_bytes
from jetsched.problems import FileProblems, Problem, did_you_mean, frame, lines_of, quoted

MAX_VALUES = 20_000  # in a file, aliases expanded
MAX_DEPTH = 20

# YAML 1.2, core schema: yes, no, on, off are text, and so are 08 and 1_000.
_NULL = re.compile(r"null|Null|NULL|~|", re.ASCII)
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE", re.ASCII)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})", re.ASCII)
_BASED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,20}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)


@dataclass
class Node:
    """A value of the file: where it stands (its key, if it has one) and how it was written."""

    value: Any
    line: int
    column: int
    children: dict[str, Node] | list[Node] | None = None
    source: str = ""  # of a scalar
    plain: bool = True  # not quoted
    size: int = 1  # values in it, aliases expanded
    origin: str = ""  # the option that set it; then it stands nowhere in the file

    def child(self, part: object) -> Node | None:
        """The node below a key or an index, if there is one."""
        if isinstance(self.children, dict):
            return self.children.get(part) if isinstance(part, str) else None
        if isinstance(self.children, list) and isinstance(part, int):
            return self.children[part] if 0 <= part < len(self.children) else None
        return None


@dataclass
class Document:
    """A file that was parsed: its name, its lines and its tree."""

    file: str
    lines: Sequence[str]
    root: Node = field(default_factory=lambda: Node(None, 1, 1))
    problems: list[Problem] = field(default_factory=list)
    path: Path | None = None  # where it was read from, if it was a file

    def report(self, node: Node, path: str, message: str, hint: str = "") -> None:
        """Note a problem at a node."""
        if node.origin:
            field = node.origin if f" {path}=" in node.origin else f"{node.origin}: {path}"
            self.problems.append(Problem(self.file, 0, 0, field, message, hint))
            return
        self.report_at(node.line, node.column, path, message, hint)

    def report_at(self, line: int, column: int, path: str, message: str, hint: str = "") -> None:
        """Note a problem at a place; both count from 1."""
        picture = frame(self.lines, line, column, hint)
        self.problems.append(Problem(self.file, line, column, path, message, hint, picture))


def read_document(path: Path, file: str = "") -> Document:
    """Read and parse a file. Raises :class:`FileProblems` where nothing can be made of it.

    What is wrong but leaves a tree (a duplicate key, say) is in the document's ``problems``.
    """
    name = file or name_of(path)
    try:
        data = read_bytes(path)
    except (OSError, ValueError) as error:
        raise FileProblems([_unreadable(path, name, error)]) from None
    document = parse_document(decode(data, name), name)
    document.path = path
    return document


def decode(data: bytes, file: str) -> str:
    """The text of a file. Raises :class:`FileProblems` for what is too large or not UTF-8."""
    if len(data) > MAX_BYTES:
        raise FileProblems([Problem(file, 0, 0, "", f"is larger than {MAX_BYTES // 1024} KiB")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileProblems([_not_utf8(data, file, error)]) from None


def _unreadable(path: Path, name: str, error: Exception) -> Problem:
    hint = ""
    if isinstance(error, FileNotFoundError):
        message = "no such file"
        if path.parent.is_dir():
            hint = did_you_mean(path.name, [p.name for p in path.parent.glob("*.y*ml")])
    elif isinstance(error, IsADirectoryError):
        message = "is a folder, not a file"
        hint = f"name the files in it: {name.rstrip('/')}/*.yaml"
    else:
        message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return Problem(name, 0, 0, "", message, hint)


def _not_utf8(data: bytes, name: str, error: UnicodeDecodeError) -> Problem:
    lines = lines_of(data[: error.start].decode("utf-8"))
    line, column = len(lines), len(lines[-1]) + 1
    hint = "save the file as UTF-8"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        hint = "it looks like UTF-16; save it as UTF-8"
    message = f"is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
    picture = frame(lines_of(data.decode("utf-8", "replace")), line, column, hint)
    return Problem(name, line, column, "", message, hint, picture)


def parse_document(text: str, file: str) -> Document:
    """Parse a text. Raises :class:`FileProblems` where nothing can be made of it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    text = text.removeprefix("\ufeff")
    document = Document(file, lines_of(text))
    builder = _Builder(document)
    if len(text) > MAX_BYTES:
        document.report_at(1, 1, "", f"is larger than {MAX_BYTES // 1024} KiB")
        raise FileProblems(document.problems)
    try:
        document.root = builder.build(YAML(typ="safe", pure=True).parse(text))
    except _Refused:
        raise FileProblems(document.problems) from None
    except MarkedYAMLError as error:
        _explain_syntax(document, error)
        raise FileProblems(document.problems) from None
    except (YAMLError, ValueError, LookupError, OverflowError, AttributeError, AssertionError) as e:
        _explain_character(document, text, e)  # ruamel's scanner lets some of these out
        raise FileProblems(document.problems) from None
    return document


def plain_document(value: Any, file: str) -> Document:
    """A document of JSON values. All of it stands in line 1: there is no text to point into.

    Raises :class:`FileProblems` for what is too large or too deep, or no text.
    """
    document = Document(file, ("",))
    try:
        document.root = _plain_node(value, 0)
    except (ValueError, UnicodeError) as error:
        document.report_at(1, 1, "", str(error))
        raise FileProblems(document.problems) from None
    if document.root.size > MAX_VALUES:
        document.report_at(1, 1, "", f"holds more than {MAX_VALUES:,} values")
        raise FileProblems(document.problems)
    return document


def _plain_node(value: Any, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        children = {name: _plain_node(child, depth + 1) for name, child in value.items()}
        for name in children:
            name.encode()  # half a character is none
        size = 1 + sum(child.size for child in children.values())
        return Node(value, 1, 1, children, size=size)
    if isinstance(value, list):
        items = [_plain_node(item, depth + 1) for item in value]
        return Node(value, 1, 1, items, size=1 + sum(item.size for item in items))
    if isinstance(value, str):
        value.encode()
        if any(character in _REFUSED_CHARACTERS for character in value):
            raise ValueError("holds a character that is not allowed in a file")
        return Node(value, 1, 1, source=value, plain=False)
    return Node(value, 1, 1, source=str(value))


def _explain_syntax(document: Document, error: Any) -> None:
    """Turn the parser's complaint into one a person can act on."""
    tabs = [i for i, line in enumerate(document.lines, 1) if re.match(r" *\t\s*[^\s#]", line)]
    if tabs:
        for line in tabs[:10]:
            column = document.lines[line - 1].index("\t") + 1
            document.report_at(
                line, column, "", "a tab cannot indent in YAML", "indent with spaces"
            )
        return
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = str(error.problem or error.context)
    hint = ""
    if "mapping values are not allowed" in problem:
        problem = "a ':' cannot stand here"
        hint = "check the indentation, or put the text in quotes"
    elif "could not find expected ':'" in problem:
        problem, hint = "expected 'field: value'", "a ':' is missing"
    elif "cannot start any token" in problem:
        hint = "put the text in quotes"
    elif "expected <block end>" in problem:
        problem, hint = "does not belong here", "check the indentation and the '-' of lists"
    elif "end of stream" in problem or "<stream end>" in problem:
        start = error.context_mark or mark
        line, column = start.line + 1, start.column + 1
        problem, hint = "is never closed", "a closing quote or bracket is missing"
    document.report_at(line, column, "", f"not YAML: {problem}", hint)


def _explain_character(document: Document, text: str, error: Exception) -> None:
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        document.report_at(1, 1, "", f"not YAML: {str(error)[:200] or type(error).__name__}")
        return
    position = next((i for i, c in enumerate(text) if c in _REFUSED_CHARACTERS), position)
    before = lines_of(text[:position])
    code = ord(text[position]) if position < len(text) else 0
    document.report_at(
        len(before), len(before[-1]) + 1, "", f"the character U+{code:04X} is not allowed in a file"
    )


class _Controls:
    """The characters that YAML does not allow, as a container."""

    def __contains__(self, character: str) -> bool:
        code = ord(character)
        if code < 0x20:
            return code not in (0x09, 0x0A, 0x0D)
        if 0x7F <= code < 0xA0:
            return code != 0x85
        return 0xD800 <= code < 0xE000 or code in (0xFFFE, 0xFFFF)


_REFUSED_CHARACTERS = _Controls()


class _Refused(Exception):
    """Parsing cannot go on; the problem is noted."""


@dataclass
class _Builder:
    """Builds the tree from the parser's events."""

    document: Document
    anchors: dict[str, Node] = field(default_factory=dict)
    depth: int = 0

    def build(self, events: Iterator[Any]) -> Node:
        root = None
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                if root is not None:
                    self._refuse(event, "a second document starts here: one job, one file")
            elif kind not in ("StreamStartEvent", "StreamEndEvent", "DocumentEndEvent"):
                root = self._node(event, events)
        if root is None or (root.value is None and not root.source):
            raise FileProblems([Problem(self.document.file, 1, 1, "", "the file is empty")])
        return root

    def _node(self, event: Any, events: Iterator[Any]) -> Node:
        kind = type(event).__name__
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if kind == "AliasEvent":
            known = self.anchors.get(event.anchor)
            if known is None:
                self._refuse(event, f"nothing is named {quoted('&' + event.anchor)} before this")
            return Node(known.value, line, column, known.children, known.source, size=known.size)
        if getattr(event, "tag", None):
            self._refuse(event, "tags (words with '!') are not supported", "put text in quotes")
        if kind == "ScalarEvent":
            plain = bool(event.implicit[0])
            value = _scalar(event.value) if plain else event.value
            node = Node(value, line, column, None, event.value, plain)
            self._check_text(node)
        else:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                self._refuse(event, f"is nested more than {MAX_DEPTH} levels deep")
            if kind == "MappingStartEvent":
                node = self._mapping(line, column, events)
            else:
                node = self._sequence(line, column, events)
            self.depth -= 1
            if node.size > MAX_VALUES:
                self._refuse(event, f"expands to more than {MAX_VALUES:,} values")
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _sequence(self, line: int, column: int, events: Iterator[Any]) -> Node:
        items: list[Node] = []
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            items.append(self._node(event, events))
        size = 1 + sum(item.size for item in items)
        return Node([item.value for item in items], line, column, items, size=size)

    def _mapping(self, line: int, column: int, events: Iterator[Any]) -> Node:
        children: dict[str, Node] = {}
        size = 1
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            if type(event).__name__ != "ScalarEvent":
                self._refuse(event, "the name of a field must be a plain word")
            key = self._node(event, events)
            value = self._node(next(events), events)
            size += value.size
            name = key.source
            if name == "<<" and key.plain:
                self.document.report(
                    key, "", "merge keys ('<<') are not supported", "write the fields out"
                )
                continue
            if name in children:
                first = children[name].line
                self.document.report(
                    key, name, f"the field {quoted(name)} is here twice", f"first in line {first}"
                )
                continue
            # A field stands where its name stands; the value keeps what was written.
            children[name] = Node(
                value.value,
                key.line,
                key.column,
                value.children,
                value.source,
                value.plain,
                value.size,
            )
        values = {name: child.value for name, child in children.items()}
        return Node(values, line, column, children, size=size)

    def _check_text(self, node: Node) -> None:
        """Join escaped surrogate pairs, as in JSON, and refuse a half one."""
        if not isinstance(node.value, str) or node.value.isascii():
            return
        try:
            joined = node.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self.document.report(node, "", "holds half a character (a lone surrogate)")
            joined = node.value.encode("utf-8", "replace").decode("utf-8")
        node.value = node.source = joined

    def _refuse(self, event: Any, message: str, hint: str = "") -> NoReturn:
        mark = event.start_mark
        self.document.report_at(mark.line + 1, mark.column + 1, "", message, hint)
        raise _Refused


def _scalar(text: str) -> Any:
    """The value of an unquoted scalar in YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    if _FLOAT.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text):
        return float(text)
    return text
