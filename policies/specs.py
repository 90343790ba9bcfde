"""What a person writes to name a policy: where it is, and options for its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from jetsched.errors import InputError
from jetsched.policies.finding import decides, file_and_name
from jetsched.problems import did_you_mean
from jetsched.scheduler.view import Policy

#: What may stand for a yes or a no.
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Spec:
    """``where[:option=value,...]``; the values are still text."""

    text: str
    where: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Spec:
        """Raises :class:`InputError` for options that are not of the form ``name=value``."""
        where, colon, tail = text.rpartition(":")
        if not colon or "=" not in tail:
            return cls(text, text)
        options: dict[str, str] = {}
        for part in tail.split(","):
            name, equals, value = (word.strip() for word in part.partition("="))
            if not (name and equals and value):
                raise InputError(
                    f"{text!r}: the option {part!r} is not of the form name=value",
                    hint=f"e.g. {where}:name=value,other=value",
                )
            if name in options:
                raise InputError(f"{text!r}: the option {name!r} is given twice")
            options[name] = value
        return cls(text, where, options)

    @property
    def absolute(self) -> str:
        """The spec with the whole path of its file, if it names one: for another process."""
        file, _ = file_and_name(self.where)
        if not file or not Path(file).exists():
            return self.text
        return str(Path(file).absolute()) + self.text[len(file) :]

    @classmethod
    def several(cls, text: str) -> list[Spec]:
        """The specs of a list. What has an ``=`` and no colon before it goes on with the last."""
        found: list[str] = []
        for part in (part.strip() for part in text.split(",")):
            if not part:
                raise InputError(f"there is a policy without a name in {text!r}")
            if found and "=" in found[-1] and "=" in part and ":" not in part.partition("=")[0]:
                found[-1] += f",{part}"
            else:
                found.append(part)
        return [cls.of(part) for part in found]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a policy's constructor; ``type`` as it stands in its source."""

    name: str
    type: str
    default: str  # as it would be written behind the policy's name
    required: bool = False


def options_of(found: Any) -> tuple[Option, ...]:
    """The options that may stand behind the policy's name."""
    empty = inspect.Parameter.empty
    return tuple(
        Option(
            name,
            "" if parameter.annotation is empty else _type_name(parameter.annotation),
            "" if parameter.default is empty else str(parameter.default),
            parameter.default is empty,
        )
        for name, parameter in parameters(found).items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    )


def _type_name(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def made(spec: Spec, found: Any, options: Mapping[str, Any]) -> Policy:
    """Call what was found, with the options of the spec and then those of the caller."""
    if not callable(found) or (inspect.isclass(found) and not decides(found)):
        raise InputError(f"{spec.where} is no policy", hint="it has no method decide(view)")
    takes = parameters(found)
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    given = {**options, **spec.options}
    for name in given:
        if name not in takes and not anything and (name != "seed" or name in spec.options):
            known, guess = f"its options: {', '.join(takes) or 'none'}", did_you_mean(name, takes)
            raise InputError(
                f"the policy {spec.where} takes no option {name!r}",
                hint=f"{guess} ({known})" if guess else known,
            )
    hints = _hints(found)
    values = {
        **{name: value for name, value in options.items() if name in takes or anything},
        **{
            name: _value(spec, name, text, hints.get(name), takes.get(name))
            for name, text in spec.options.items()
        },
    }
    try:
        policy = found(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"the policy {spec.text} cannot be made: {error}") from error
    if not decides(policy):
        raise InputError(f"{spec.where} is no policy", hint="it has no method decide(view)")
    if spec.options:
        with suppress(AttributeError, TypeError):  # two variants of one must not look the same
            policy.name = _called(policy, spec)
    return cast(Policy, policy)


def parameters(found: Any) -> dict[str, inspect.Parameter]:
    """The options that a policy's constructor takes, by name."""
    try:
        return dict(inspect.signature(found).parameters)
    except (TypeError, ValueError):
        return {}


def _called(policy: Any, spec: Spec) -> str:
    name = str(getattr(policy, "name", "") or type(policy).__name__)
    return f"{name}:{','.join(f'{key}={value}' for key, value in spec.options.items())}"


def _hints(found: Any) -> dict[str, Any]:
    """The types of the options. Annotations that cannot be resolved are as good as none."""
    try:
        return get_type_hints(found.__init__ if inspect.isclass(found) else found)
    except Exception:  # of somebody else's annotations, which may be anything
        return {}


def _value(spec: Spec, name: str, text: str, hint: Any, parameter: inspect.Parameter | None) -> Any:
    """The value that a text stands for: by the option's type, else by that of its default."""
    kinds = _kinds(hint)
    default = parameter.default if parameter is not None else None
    if not kinds and type(default) in (bool, int, float, str):
        kinds = [type(default)]
    if type(None) in kinds and text.lower() == "none":
        return None
    allowed = [kind for kind in kinds if not isinstance(kind, type)]
    if allowed and text not in allowed:
        raise InputError(
            f"{spec.text}: {name}={text} is none of {', '.join(map(str, allowed))}",
            hint=did_you_mean(text, [str(a) for a in allowed]),
        )
    if allowed:
        return text
    for kind in (bool, int, float, str):
        if kind in kinds or not kinds:
            with suppress(ValueError, KeyError):
                return _BOOLS[text.lower()] if kind is bool else kind(text)
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    expected = " or ".join(words[kind] for kind in words if kind in kinds)
    raise InputError(f"{spec.text}: {name}={text} is not {expected or 'possible here'}")


def _kinds(hint: Any) -> list[Any]:
    """The types that an annotation allows, and of a ``Literal`` its texts."""
    if hint is None or hint is Any:
        return []
    if get_origin(hint) in (Union, UnionType):
        return [kind for part in get_args(hint) for kind in _kinds(part) or [type(None)]]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [hint]
