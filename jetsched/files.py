"""Files and JSON: the data folder, records as JSON values, writing that a power cut cannot spoil.

Nothing here imports pydantic or platformdirs before it is needed: every verb imports this module.
"""

from __future__ import annotations

import json
import math
import os
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, overload

from jetsched.errors import InputError

_T = TypeVar("_T")

# ------------------------------------------------------------------------------------ the data home


def home() -> Path:
    """The folder of jetsched's own data, as an absolute path; it need not exist yet.

    ``JETSCHED_HOME`` names it; else it is the platform's data folder for users.
    :func:`write_atomically` and :func:`append_json_line` create it, readable by its owner only.
    """
    named = os.environ.get("JETSCHED_HOME", "").strip()
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("jetsched", appauthor=False)


def make_folder(path: Path) -> Path:
    """Create a folder with its parents and return it; the data home gets mode 700."""
    base = home()
    if path == base or base in path.parents:
        base.parent.mkdir(parents=True, exist_ok=True)
        base.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(parents=True, exist_ok=True)
    return path


# ------------------------------------------------------------------------------------------ writing


def write_atomically(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a whole file so that a reader, or a power cut, sees the old one or the new one.

    ``mode`` holds for the new file, less the umask; say 0o600 for secrets.
    """
    folder = make_folder(path.parent)
    draft = folder / f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    try:
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: it is an entry of the folder, not of the file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems cannot; the rename itself is still atomic
        pass
    finally:
        os.close(handle)


def append_json_line(path: Path, *values: Any) -> None:
    """Append a line of JSON for each value to a file, in one write, and put it on the disk.

    Where the last writer died within a line, that line is closed first, so only it is lost.
    """
    make_folder(path.parent)
    lines = b"".join(json_bytes(value) + b"\n" for value in values)
    handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o666)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        while lines:  # more than 2 GiB, or a disk that is full, are not written at once
            lines = lines[os.write(handle, lines) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(value: Any) -> bytes:
    """Compact JSON in UTF-8; refuses NaN and infinity, which JSON does not have."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


# ------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class BadLine:
    """A line of a JSON lines file that could not be read. ``line`` counts from 1."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def read_json_lines(
    path: Path, on_bad: Callable[[BadLine], None] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value) for each line of a JSON lines file; blank lines are skipped.

    A line that is not JSON goes to ``on_bad`` and is left out; without ``on_bad`` it raises
    :class:`InputError`. A file that does not exist has no lines.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                text = "the line is cut off" if not raw.endswith(b"\n") else f"not JSON: {error}"
                bad = BadLine(path, number, text)
                if on_bad is None:
                    raise InputError(str(bad)) from None
                on_bad(bad)
                continue
            yield number, value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON has")


# ---------------------------------------------------------------------------------- records as JSON

_PLAIN = frozenset({str, int, bool, type(None)})


@cache
def _shape(cls: type) -> tuple[tuple[str, ...], Callable[[Any], Any]]:
    """Field names of a dataclass, and what fetches the values: fast, it runs for every event."""
    names = tuple(field.name for field in fields(cls))
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda record: tuple(getattr(record, name) for name in names)


def to_json(record: Any, *, tag: bool = False) -> Any:
    """A record (or a tuple, mapping... of records) as JSON values: keys are the field names.

    With ``tag`` the record's class name is added under "type": write members of a union, such as
    events, that way, so that :func:`from_json` with the union finds the class again.
    Raises ValueError for NaN and infinity, and TypeError for what has no JSON form.
    """
    cls = type(record)
    if cls in _PLAIN:
        return record
    if cls is float:
        if math.isfinite(record):
            return record
        raise ValueError(f"{record} has no JSON form; a record must hold finite numbers")
    if is_dataclass(cls):
        names, values = _shape(cls)
        result = {"type": cls.__name__} if tag else {}
        for name, value in zip(names, values(record), strict=True):
            result[name] = value if type(value) in _PLAIN else to_json(value)
        return result
    if isinstance(record, tuple | list):
        return [to_json(item) for item in record]
    if isinstance(record, frozenset | set):
        return [to_json(item) for item in sorted(record)]
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, Path):
        return str(record)
    raise TypeError(f"{cls.__name__} has no JSON form")


@overload
def from_json(kind: type[_T], data: Any) -> _T: ...
@overload
def from_json(kind: Any, data: Any) -> Any: ...
def from_json(kind: Any, data: Any) -> Any:
    """The record that :func:`to_json` wrote: of a class, or of a union of classes.

    Of a union (``Arrived | Finished | ...``) the class is told by the key "type". Keys that the
    class does not know are ignored, so that an older version reads what a newer one wrote.
    Raises :class:`InputError` that names the class and the field.
    """
    from pydantic import ValidationError

    _refuse_nan(data, "")
    try:
        return _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        name = getattr(kind, "__name__", "record")
        raise InputError(f"not a valid {name}: {where}: {first['msg']}") from None


@cache
def _adapter(kind: Any) -> Any:
    """The pydantic reader of a type; building one costs milliseconds, so it is kept."""
    from typing import Annotated

    from pydantic import Discriminator, Tag, TypeAdapter

    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()
    if len(members) > 1 and all(is_dataclass(member) for member in members):
        tagged = tuple(Annotated[m, Tag(m.__name__)] for m in members)
        kind = Annotated[Union[tagged], Discriminator(_tag_of)]  # noqa: UP007
    return TypeAdapter(kind)


def _tag_of(data: Any) -> str | None:
    return data.get("type") if isinstance(data, dict) else None


def _refuse_nan(data: Any, where: str) -> None:
    """JSON has no NaN, but Python's parser reads it; a record must never hold one."""
    if isinstance(data, float):
        if not math.isfinite(data):
            raise InputError(f"{where.lstrip('.') or 'value'}: {data} is not a finite number")
    elif isinstance(data, dict):
        for key, value in data.items():
            _refuse_nan(value, f"{where}.{key}")
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            _refuse_nan(value, f"{where}.{index}")
