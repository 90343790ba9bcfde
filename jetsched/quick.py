"""Frozen records that are made quickly.

A frozen dataclass sets each field through ``object.__setattr__``, which is most of what it costs to
make one. Where a simulation makes a million of them, that is most of what the simulation costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, cast

import msgspec

_Record = TypeVar("_Record")

#: What a dataclass has made and msgspec makes as well, in C.
_MADE_IN_C = frozenset(
    [
        "__slots__",
        "__init__",
        "__setattr__",
        "__delattr__",
        "__repr__",
        "__eq__",
        "__getstate__",
        "__setstate__",
    ]
)


def quick(cls: type[_Record]) -> type[_Record]:
    """Make a dataclass with ``frozen=True, slots=True`` a struct of msgspec, which is made in C.

    It stays frozen, compares, hashes and copies as before, and is a dataclass to
    :mod:`dataclasses`. Give fields by position where it matters. The garbage collector does not
    look at it: what a record is made of was there before it, so that it is in no cycle. Raises
    TypeError for a class that is not like that.
    """
    known = fields(cls)  # type: ignore[arg-type]
    names = tuple(field.name for field in known)
    if cls.__bases__ != (object,) or getattr(cls, "__slots__", None) != names:
        raise TypeError(f"{cls.__name__} is no frozen dataclass with slots and without a base")
    kept = {k: v for k, v in vars(cls).items() if k not in _MADE_IN_C and k not in names}
    made = msgspec.defstruct(
        cls.__name__,
        [_told(field) for field in known],
        namespace=kept,
        module=cls.__module__,
        frozen=True,
        gc=False,
    )
    made.__qualname__ = cls.__qualname__
    # Pydantic fills an object that it has made with `__new__`; a struct is complete or not there.
    made.__get_pydantic_core_schema__ = classmethod(  # type: ignore[attr-defined]
        lambda _, source, handler: _after(
            handler(cls), lambda plain: made(*[getattr(plain, name) for name in names])
        )
    )
    return cast(type[_Record], made)


def _after(schema: Any, make: Callable[[Any], Any]) -> Any:
    from pydantic_core.core_schema import no_info_after_validator_function

    return no_info_after_validator_function(make, schema)


def _told(field: Field[Any]) -> tuple[str, Any] | tuple[str, Any, Any]:
    """A field as msgspec is told it; its type is only for those who read the annotations."""
    if field.default_factory is not MISSING:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    if field.default is not MISSING:
        return field.name, field.type, field.default
    return field.name, field.type
