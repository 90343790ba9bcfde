"""Sweeps: the same comparison at several points of one axis.

``load=0.5,0.7,0.9`` are loads, ``error=0,0.25,0.5`` sigmas of the estimates' error, and
``fleet=4:4,6:2,2:6`` how many devices each entry of the fleet has, in the order of the fleet file
or of ``--fleet orin-nano:4,xavier-nx:4``. Everything else stays as the options say: of several
sweeps each varies one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite

from jetsched.cluster.compare import Point
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.errors import InputError
from jetsched.problems import did_you_mean, quoted

#: Of one sweep. More cannot be told apart in a picture.
MOST_POINTS = 50


def points(world: WorldOptions, sweeps: Sequence[str]) -> list[Point]:
    """The points of all sweeps, one sweep after the other; without any, the world alone.

    Raises :class:`InputError` for what is no sweep.
    """
    if not sweeps:
        return [Point(world)]
    found: list[Point] = []
    for text in sweeps:
        name, equals, values = text.partition("=")
        name = name.strip()
        if name not in AXES or not equals:
            hint = did_you_mean(name, AXES) or "e.g. --sweep load=0.5,0.7,0.9"
            raise InputError(f"--sweep {quoted(text)}: there are {', '.join(AXES)}", hint=hint)
        if any(point.sweep == name for point in found):
            raise InputError(f"--sweep {name}= is here twice", hint="put all values behind one")
        found += _points(world, name, values.split(","))
    return found


def _points(world: WorldOptions, name: str, values: Sequence[str]) -> list[Point]:
    words = [value.strip() for value in values]
    where = f"--sweep {name}"
    if len(words) > MOST_POINTS:
        raise InputError(f"{where}: {len(words)} values; at most {MOST_POINTS} make sense")
    made = []
    for word in words:
        try:
            made.append(Point(AXES[name](world, word), name, word))
        except ValueError as error:
            raise InputError(f"{where}: {quoted(word)} {error}", hint=_HINTS[name]) from None
    if len({point.world for point in made}) < len(made):
        raise InputError(f"{where}: a value is here twice")
    lengths = {len(point.world.counts) for point in made}
    if name == "fleet" and len(lengths) > 1:
        raise InputError(f"{where}: all need as many numbers", hint=_HINTS[name])
    return made


def _number(word: str, least: float, most: float) -> float:
    try:
        value = float(word)
    except ValueError:
        raise ValueError("is not a number") from None
    if not isfinite(value) or not least <= value <= most:
        raise ValueError(f"is not between {least:g} and {most:g}")
    return value


def _load(world: WorldOptions, word: str) -> WorldOptions:
    return replace(world, load=_number(word, 0.001, 1000))


def _error(world: WorldOptions, word: str) -> WorldOptions:
    return replace(world, estimate_error=_number(word, 0, 3))


def _fleet(world: WorldOptions, word: str) -> WorldOptions:
    parts = word.split(":")
    if not all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts):
        raise ValueError("is not counts with colons between them")
    counts = tuple(int(part) for part in parts)
    if not any(counts):
        raise ValueError("leaves no device")
    return replace(world, counts=counts)


#: What each kind of sweep makes of a world and a value. They raise ValueError with the rest of a
#: sentence.
AXES: Mapping[str, Callable[[WorldOptions, str], WorldOptions]] = {
    "load": _load,
    "error": _error,
    "fleet": _fleet,
}
_HINTS = {
    "load": "--sweep load=0.5,0.7,0.9",
    "error": "--sweep error=0,0.25,0.5",
    "fleet": "--sweep fleet=4:4,6:2: one number for each entry of the fleet",
}
