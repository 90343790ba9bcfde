"""Checks a parsed file against a pydantic model, and says everything that is wrong, with places.

:func:`load_yaml` is the one call for a file with a model; the job file builds on the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from jetsched import units
from jetsched.errors import InputError
from jetsched.problems import FileProblems, did_you_mean, dotted, listed, quoted
from jetsched.yamlfile import Document, Node, read_document

_M = TypeVar("_M", bound=BaseModel)

#: Marks the part of an error's location that names a branch of a union, not a field.
BRANCH = "kind="

#: May answer for one error with (message, hint); None leaves it to the general text.
Explain = Callable[[ErrorDetails, Sequence[Any], Node], "tuple[str, str] | None"]


class Strict(BaseModel):
    """A section of a file: unknown fields and values of another type are mistakes."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


def mistake(message: str, hint: str = "") -> NoReturn:
    """Raise, inside a validator, a problem with this text."""
    raise PydanticCustomError("mistake", "{text}", {"text": message, "hint": hint})


def _duration(value: Any) -> Any:
    return _with_unit(value, units.parse_duration_s, "2h30m", "10m")


def _size(value: Any) -> Any:
    return _with_unit(value, units.parse_size_mib, "5GiB", "5GiB")


def _with_unit(value: Any, parse: Callable[[str], float], example: str, unit: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        mistake(f"needs a unit, e.g. {unit} (a bare number is ambiguous)")
    if not isinstance(value, str):
        mistake(f"needs a value with a unit, not {_kind_of(value)}", f"write e.g. {example}")
    try:
        result = parse(value)
    except InputError as error:
        mistake(str(error), error.hint)
    if result <= 0:
        mistake("must be more than 0")
    if result > 1e9:
        mistake(f"{quoted(value)} is too large")
    return result


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": units.DURATION_PATTERN}),
]
Size = Annotated[
    float,
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": units.SIZE_PATTERN}),
]


def load_yaml(
    path: Path, model: type[_M], *, context: Any = None, explain: Explain | None = None
) -> _M:
    """Read a YAML file into a model. Raises :class:`FileProblems` with all that is wrong."""
    document = read_document(path)
    result = validate(document, model, context=context, explain=explain)
    if result is None or document.problems:
        raise FileProblems(document.problems)
    return result


def validate(
    document: Document, model: type[_M], *, context: Any = None, explain: Explain | None = None
) -> _M | None:
    """Check a document; note its problems there and return the model, or None where it fails."""
    if not isinstance(document.root.value, dict):
        found = _kind_of(document.root.value)
        document.report(document.root, "", f"needs fields ('name: value'), not {found}")
        return None
    try:
        return model.model_validate(document.root.value, context=context)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _note(document, model, detail, explain)
        return None


def _note(
    document: Document, model: type[BaseModel], detail: ErrorDetails, explain: Explain | None
) -> None:
    node, path = document.root, list[Any]()
    info: FieldInfo | None = None
    section = parent = [model]
    kinds: list[str] = []
    for part in detail["loc"]:
        if isinstance(part, str) and part.startswith(BRANCH):
            kinds = [kind_name(m) for m in section]
            section = [m for m in section if part == BRANCH + kind_name(m)]
            continue
        if part == "[key]" or (isinstance(part, int) and node.child(part) is None):
            break  # pydantic means the key itself; or a single value that stands for a list
        path.append(part)
        if isinstance(part, str):
            parent = section
            fields = [m.model_fields[part] for m in parent if part in m.model_fields]
            info = fields[0] if fields else None
            section = [inner for known in fields for inner in _models(known.annotation)]
        child = node.child(part)
        if child is None:
            break
        node = child
    answer = explain(detail, path, node) if explain else None
    if not answer and detail["type"] == "literal_error" and path[-1:] == ["kind"]:
        answer = _not_one_of(node, kinds)
    message, hint = answer or _say(detail, node, parent, info)
    document.report(node, dotted(path), message, hint)


def _say(
    detail: ErrorDetails, node: Node, models: Sequence[type[BaseModel]], info: FieldInfo | None
) -> tuple[str, str]:
    """The message and the hint for one of pydantic's errors."""
    kind, limits = detail["type"], detail.get("ctx", {})
    words = [str(part) for part in detail["loc"] if not str(part).startswith(BRANCH)]
    name = words[-1] if words else ""
    example = _flow(info.examples[0]) if info is not None and info.examples else ""
    if kind == "mistake":
        return str(limits["text"]), str(limits["hint"])
    if kind == "missing":
        return "is missing", f"add e.g. {name}: {example}" if example else f"add {name}: …"
    if kind == "extra_forbidden":
        known = list(dict.fromkeys(field for m in models for field in m.model_fields))
        hint = did_you_mean(name, known) or f"the fields here: {listed(known, 9)}"
        odd = next((c for c in name if not c.isprintable()), "")
        if odd:
            hint = f"the character U+{ord(odd):04X} is in it; was it pasted from somewhere?"
        return f"unknown field {quoted(name)}", hint
    if node.value is None:
        return "has no value", f"write e.g. {name}: {example}" if example else ""
    found = _kind_of(node.value, node)
    if kind == "literal_error":
        return _not_one_of(node, _words(info.annotation if info is not None else None))
    if kind.startswith("int_"):
        return f"needs a whole number, not {found}", _number_hint(node)
    if kind in ("float_type", "float_parsing"):
        return f"needs a number, not {found}", _number_hint(node)
    if kind == "finite_number":
        return f"needs a finite number, not {_shown(node)}", ""
    if kind.startswith("bool_"):
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        word = meant.get(str(node.value).lower(), "")
        return f"needs true or false, not {found}", f"write {word}" if word else ""
    if kind.startswith("string_type"):
        scalar = node.children is None
        return f"needs text, not {found}", f'put it in quotes: "{_shown(node)}"' if scalar else ""
    if kind == "string_too_short":
        return "is empty", f"write e.g. {name}: {example}" if example else ""
    if kind in ("string_too_long", "too_long", "too_short"):
        what = "characters" if kind == "string_too_long" else "entries"
        if kind == "too_short":
            return "is empty", ""
        return f"has more than {limits['max_length']} {what}", ""
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        word = "below" if kind.startswith("greater") else "above"
        return f"{_shown(node)} is {word} {next(iter(limits.values()))}", ""
    if kind in ("list_type", "tuple_type"):
        return f"needs a list, not {found}", f"write [{_shown(node)}]" if node.source else ""
    if kind in ("model_type", "model_attributes_type", "dict_type", "dict_attributes_type"):
        return f"needs fields ('name: value'), not {found}", ""
    return detail["msg"][:1].lower() + detail["msg"][1:], ""


def _not_one_of(node: Node, words: Sequence[str]) -> tuple[str, str]:
    hint = did_you_mean(node.value, words) if isinstance(node.value, str) else ""
    return f"{quoted(_shown(node))} is not one of {listed(words)}", hint


def _flow(value: Any) -> str:
    """An example value as it stands in a file, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)


def _number_hint(node: Node) -> str:
    """How to write the number that was meant, where that can be told."""
    text = node.source.strip().replace("_", "")
    try:
        value = float(text)
    except ValueError:
        return ""
    if value != value or abs(value) > 1e15 or value != int(value):
        return ""
    return f"write {int(value)}"


def _shown(node: Node) -> str:
    text = node.source if node.children is None else str(node.value)
    return text if len(text) <= 40 else text[:40] + "…"


def _kind_of(value: Any, node: Node | None = None) -> str:
    """What a value is, in the words of somebody who writes YAML."""
    if isinstance(value, dict):
        return "a group of fields"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    written = node.source if node is not None and node.source else value
    if isinstance(value, str):
        return f"the text {quoted(written)}"
    return quoted(written)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation holds: in unions, lists, optional..."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _words(annotation: Any) -> list[str]:
    """The words that an annotation with a Literal in it allows."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _words(part)]


def kind_name(model: type[BaseModel]) -> str:
    """The word that a branch of a union is told by: its literal ``kind``."""
    field = model.model_fields.get("kind")
    return next(iter(_words(field.annotation)), "") if field else ""
