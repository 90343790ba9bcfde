"""Finds the class of a policy: built in, installed, in a module or in a file."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from jetsched.errors import InputError
from jetsched.problems import did_you_mean

#: Where installed packages offer theirs: name = "module:Class".
ENTRY_POINTS = "jetsched.policies"


def class_of(where: str, built_in: Mapping[str, str]) -> Any:
    """What stands at ``name``, ``module:Class``, ``file.py`` or ``file.py:Class``.

    Raises :class:`InputError` where there is nothing, or nothing that loads.
    """
    file, name = file_and_name(where)
    if file:
        return in_file(Path(file), name)
    if where in built_in:
        return named(built_in[where])
    others = installed(built_in)
    if where in others:
        try:
            return others[where].load()
        except Exception as error:
            text = f"the policy {where!r} of {others[where].value} cannot be loaded"
            raise InputError(f"{text}: {broken(error)}") from error
    if ":" in where:
        return named(where)
    known = [*built_in, *sorted(others)]
    there_are = f"there are: {', '.join(known)}"
    guess = did_you_mean(where, known)
    if Path(f"{where}.py").exists():
        guess = f"did you mean '{where}.py'?"
    raise InputError(f"no policy {where!r}", hint=f"{guess} ({there_are})" if guess else there_are)


def file_and_name(where: str) -> tuple[str, str]:
    """The path in ``file.py`` or ``file.py:Class``, and the class; two empty texts for no file."""
    path, colon, name = where.rpartition(":")
    if where.endswith(".py"):
        return where, ""
    return (path, name) if colon and path.endswith(".py") else ("", "")


def installed(built_in: Mapping[str, str]) -> dict[str, EntryPoint]:
    """The entry points; a built-in name cannot be taken by one."""
    points = entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in points if point.name not in built_in}


def named(where: str) -> Any:
    """The class at ``module:Class``."""
    path, _, name = where.partition(":")
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (path + ".").startswith(error.name + "."):
            raise InputError(f"module {path!r} cannot be loaded: {broken(error)}") from error
        raise InputError(f"there is no module {path!r}") from error
    except Exception as error:
        raise InputError(f"module {path!r} cannot be loaded: {broken(error)}") from error
    return _member(module, name, path)


def in_file(path: Path, name: str) -> Any:
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
    # One name for each file, also where two are called the same: blame looks the file up by it.
    digest = blake2b(os.fsencode(f"{path.absolute()}\n{path}"), digest_size=6).hexdigest()
    module = ModuleType(f"jetsched_policy_file_{path.stem}_{digest}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise InputError(broken(error, str(path))) from error
    if name:
        return _member(module, name, str(path))
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and member.__module__ == module.__name__ and decides(member)
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


def decides(found: object) -> bool:
    """Whether it has what makes a policy: a method ``decide``."""
    return callable(getattr(found, "decide", None)) and not inspect.isabstract(found)


def broken(error: BaseException, in_file: str = "") -> str:
    """Where the code of a policy failed while it was loaded, and how: ``file:line: what``.

    The line is that in the file if one is named, else the innermost one outside the import system.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    at, trace = f"{in_file}: " if in_file else "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        own = file == in_file if in_file else "importlib" not in file and file != __file__
        if own:
            at = f"{file}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return f"{at}{type(error).__name__}: {error}"
