"""Placement policies: the table below, the entry-point group ``jetsched.policies``, and files."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from jetsched.errors import InputError
from jetsched.problems import did_you_mean
from jetsched.scheduler.view import Policy

#: Name -> module and class. One file, one idea.
BUILT_IN: Mapping[str, str] = {
    "random": "jetsched.policies.random_choice:RandomChoice",
    "round_robin": "jetsched.policies.round_robin:RoundRobin",
    "fastest_device": "jetsched.policies.fastest_device:FastestDevice",
    "least_loaded": "jetsched.policies.least_loaded:LeastLoaded",
    "earliest_finish": "jetsched.policies.earliest_finish:EarliestFinish",
    "comparative_advantage": "jetsched.policies.comparative_advantage:ComparativeAdvantage",
}

#: Decides where nobody names another one, and where another one breaks its contract.
DEFAULT = "earliest_finish"

#: Where installed packages offer theirs: name = "module:Class".
ENTRY_POINTS = "jetsched.policies"


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A line of `jetsched policies`."""

    name: str
    summary: str
    source: Literal["built-in", "entry point"]
    default: bool = False


def load(spec: str, **options: Any) -> Policy:
    """Make a policy: ``name``, ``module:Class``, ``file.py`` or ``file.py:Class``.

    ``options`` go to its constructor; ``seed`` is offered to every policy, and left out where the
    constructor does not take it. Raises :class:`InputError` for an unknown name or option, and,
    with file and line, for code that does not load or holds no policy.
    """
    return _make(spec, _class_of(spec), options)


def describe() -> list[PolicyInfo]:
    """All policies that have a name: the built-in ones, then the installed ones by name."""
    rows = [
        PolicyInfo(name, _summary(_named(where)), "built-in", name == DEFAULT)
        for name, where in BUILT_IN.items()
    ]
    for name, point in sorted(_installed().items()):
        try:
            summary = _summary(point.load())
        except Exception as error:  # somebody else's package must not hide the others
            summary = f"cannot be loaded: {type(error).__name__}: {error}"
        rows.append(PolicyInfo(name, summary, "entry point"))
    return rows


def _installed() -> dict[str, EntryPoint]:
    """The entry points; a built-in name cannot be taken by one."""
    points = entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in points if point.name not in BUILT_IN}


def _summary(found: object) -> str:
    return (inspect.getdoc(found) or "").partition("\n")[0]


# ------------------------------------------------------------------------------- finding the class


def _class_of(spec: str) -> Any:
    path, colon, name = spec.rpartition(":")
    if spec.endswith(".py"):
        return _in_file(Path(spec), "")
    if colon and path.endswith(".py"):
        return _in_file(Path(path), name)
    if spec in BUILT_IN:
        return _named(BUILT_IN[spec])
    installed = _installed()
    if spec in installed:
        try:
            return installed[spec].load()
        except Exception as error:
            where = installed[spec].value
            raise _broken(f"the policy {spec!r} of {where}", error) from error
    if colon:
        return _named(spec)
    known = [*BUILT_IN, *sorted(installed)]
    there_are = f"there are: {', '.join(known)}"
    guess = did_you_mean(spec, known)
    raise InputError(f"no policy {spec!r}", hint=f"{guess} ({there_are})" if guess else there_are)


def _named(where: str) -> Any:
    """The class at ``module:Class``."""
    path, _, name = where.partition(":")
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (path + ".").startswith(error.name + "."):
            raise _broken(f"module {path!r}", error) from error
        raise InputError(f"there is no module {path!r}") from error
    except Exception as error:
        raise _broken(f"module {path!r}", error) from error
    return _member(module, name, path)


def _in_file(path: Path, name: str) -> Any:
    """The class of that name in a Python file, or the only policy in it.

    The source is compiled afresh each time: an edited file counts at once, and no bytecode is left
    beside it.
    """
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    module = ModuleType(f"jetsched_policy_file_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        raise _broken(str(path), error, in_file=str(path)) from error
    if name:
        return _member(module, name, str(path))
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and member.__module__ == module.__name__ and _decides(member)
    ]
    if len(found) > 1:
        raise InputError(
            f"{path} has {len(found)} policies",
            hint=f"name one, e.g. {path}:{found[0].__name__}",
        )
    if found:
        return found[0]
    almost = [m for m in vars(module).values() if inspect.isclass(m) and inspect.isabstract(m)]
    almost = [m for m in almost if m.__module__ == module.__name__]
    if almost:
        line = inspect.getsourcelines(almost[0])[1]
        missing = ", ".join(sorted(getattr(almost[0], "__abstractmethods__", ())))
        raise InputError(f"{path}:{line}: {almost[0].__name__} lacks the method {missing}")
    raise InputError(
        f"{path}:1: there is no policy in it",
        hint="a policy is a class with a method decide(view), or a Greedy with score()",
    )


def _member(module: ModuleType, name: str, where: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        known = [n for n, member in vars(module).items() if inspect.isclass(member)]
        raise InputError(f"there is no {name!r} in {where}", hint=did_you_mean(name, known))
    return found


def _decides(found: object) -> bool:
    return callable(getattr(found, "decide", None)) and not inspect.isabstract(found)


def _broken(what: str, error: Exception, in_file: str = "") -> InputError:
    """Says where the code of a policy failed while it was loaded."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return InputError(f"{error.filename}:{error.lineno}: {error.msg}")
    at, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == in_file or (not in_file and "importlib" not in code.co_filename):
            at = f"{code.co_filename}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return InputError(f"{at}{text}" if at and in_file else f"{what} cannot be loaded: {at}{text}")


# ------------------------------------------------------------------------------------- making it


def _make(spec: str, found: Any, options: Mapping[str, Any]) -> Policy:
    if not callable(found) or (inspect.isclass(found) and not _decides(found)):
        raise InputError(f"{spec} is no policy", hint="it has no method decide(view)")
    try:
        takes = inspect.signature(found).parameters
    except (TypeError, ValueError):
        takes = {}  # type: ignore[assignment]
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    given = {k: v for k, v in options.items() if k in takes or anything or k != "seed"}
    unknown = [name for name in given if name not in takes and not anything]
    if unknown:
        raise InputError(
            f"the policy {spec} takes no option {unknown[0]!r}",
            hint=f"its options: {', '.join(takes) or 'none'}",
        )
    try:
        policy = found(**given)
    except (TypeError, ValueError) as error:
        raise InputError(f"the policy {spec} cannot be made: {error}") from error
    if not _decides(policy):
        raise InputError(f"{spec} is no policy", hint="it has no method decide(view)")
    return cast(Policy, policy)
