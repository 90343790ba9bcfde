"""Frozen records that are made quickly.

A frozen dataclass sets each field through ``object.__setattr__``, which is most of what it costs to
make one. Where a simulation makes a million of them, that is most of what the simulation costs.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

_Record = TypeVar("_Record")


def quick(cls: type[_Record]) -> type[_Record]:
    """Give a dataclass with ``frozen=True, slots=True`` a faster ``__init__``; it stays frozen.

    While its fields are set, the new object is of a twin class with the same slots, in which
    setting them is allowed. Fields are positional, as in any dataclass; give them by position where
    it matters, for keywords cost as much again. Raises TypeError for a class that is not like that.
    """
    known = fields(cls)  # type: ignore[arg-type]
    slots = tuple(field.name for field in known)
    if cls.__bases__ != (object,) or getattr(cls, "__slots__", None) != slots:
        raise TypeError(f"{cls.__name__} is no frozen dataclass with slots and without a base")
    twin = type(f"_{cls.__name__}InTheMaking", (), {"__slots__": slots})
    names: dict[str, Any] = {"_cls": cls, "_twin": twin, "_set": object.__setattr__}
    parameters, lines = ["self"], ["_set(self, '__class__', _twin)"]
    for field in known:
        name, value = field.name, field.name
        if field.default_factory is not MISSING:
            names[f"_make_{name}"] = field.default_factory
            names["_missing"] = MISSING
            parameters.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        elif field.default is not MISSING:
            names[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f"self.{name} = {value}")
    lines.append("self.__class__ = _cls")
    source = f"def __init__({', '.join(parameters)}):\n    " + "\n    ".join(lines)
    made: dict[str, Any] = {}
    exec(source, names, made)
    init = made["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = cls.__init__.__annotations__
    cls.__init__ = init  # type: ignore[method-assign]
    return cls
