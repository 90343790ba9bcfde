"""Where in a policy's own source something went wrong: file, line and function."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType, FrameType, GeneratorType

_PACKAGE = "jetsched"
_UNKNOWN = object()


class PolicyError(Exception):
    """What a policy did, as the rest of a sentence that begins with its name."""


def where_raised(error: BaseException, policy: object, choices: object = _UNKNOWN) -> str:
    """``file:line in function``: the innermost place of the policy's own source.

    That is the file of its class and of those it inherits from, but ours only for our own policies.
    Where the error passed none of them: what was wrong is what ``choices`` yielded last, if they
    are given, or else something that the policy called.
    """
    own = _own_files(_bare(policy))
    places = list(_places(error))
    inner = [place for place in places if place[0].co_filename in own]
    if not inner and error.__cause__ is not None:  # a StopIteration that came out of a generator
        inner = [place for place in _places(error.__cause__) if place[0].co_filename in own]
    if not inner and choices is not _UNKNOWN:
        return where_yielded(choices, policy)
    return _words(*(inner or places)[-1]) if places else _home(policy)


def _places(error: BaseException) -> Iterator[tuple[CodeType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next


def where_yielded(choices: object, policy: object) -> str:
    """``file:line in function``: where a generator has just yielded from, as :func:`where_raised`.

    For a list, or a generator that is not the policy's own: where its ``decide`` or ``score`` is.
    """
    own, found = _own_files(_bare(policy)), ""
    inner = _bare(choices)
    while isinstance(inner, GeneratorType):
        frame: FrameType | None = inner.gi_frame
        if frame is not None and frame.f_code.co_filename in own:
            found = _words(frame.f_code, frame.f_lineno)
        inner = inner.gi_yieldfrom
    return found or _home(policy)


def _bare(wrapper: object) -> object:
    """What a wrapper wraps; itself for what is none."""
    return getattr(wrapper, "__wrapped__", wrapper)


def _own_files(policy: object) -> set[str]:
    return {str(getattr(sys.modules[c.__module__], "__file__", "")) for c in _own_classes(policy)}


def _own_classes(policy: object) -> Iterator[type]:
    kind = policy if isinstance(policy, type) else type(policy)
    ours = _is_ours(kind)
    for base in kind.__mro__:
        if base is not object and base.__module__ in sys.modules and (ours or not _is_ours(base)):
            yield base


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _PACKAGE


def _home(policy: object) -> str:
    """Where the policy's own part of a decision begins; the name of its class if unknown."""
    bare = _bare(policy)
    for base in _own_classes(bare):
        functions = [value for value in vars(base).values() if hasattr(value, "__code__")]
        functions.sort(key=lambda function: function.__name__ not in ("decide", "score"))
        if functions:
            code = functions[0].__code__
            return _words(code, code.co_firstlineno)
    return type(bare).__name__


def _words(code: CodeType, line: int) -> str:
    return f"{code.co_filename}:{line} in {code.co_name}"
