"""Durations and sizes, as people write them and as they like to read them.

In code a duration is seconds (``_s``) and a size mebibytes (``_mib``), both floats.
"""

from __future__ import annotations

import math
import re

from jetsched.errors import InputError

#: Shown where there is no value.
NOTHING = "\u2013"

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}

#: For JSON schemas: what the two parsers take (they also allow spaces, and sizes in any case).
DURATION_PATTERN = r"^(\d+(\.\d+)?\s*(ms|s|m|min|h|d)\s*)+$"
SIZE_PATTERN = r"^\d+(\.\d+)?\s*([KkMmGgTt][Ii]?)?[Bb]$"

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_DURATION_PART = re.compile(r"(\d{1,15}(?:\.\d{1,20})?)\s*([a-zA-Zµ]+)\s*", re.ASCII)
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([a-zA-Z]+)", re.ASCII)


def parse_duration_s(text: str) -> float:
    """Seconds of a duration such as ``2h30m``, ``90s``, ``1.5h`` or ``500ms``.

    Raises :class:`InputError` with a hint; a bare number is one (is it seconds? minutes?).
    """
    words = text.strip()
    if _NUMBER.fullmatch(words):
        raise InputError("needs a unit, e.g. 10m (a bare number is ambiguous)")
    total, position, smallest = 0.0, 0, math.inf
    while position < len(words):
        part = _DURATION_PART.match(words, position)
        if part is None:
            raise InputError(f"{_quoted(text)} is not a duration", hint="write e.g. 2h30m or 90s")
        unit = part[2]
        if unit not in _SECONDS:
            hint = "the units are ms, s, m, h, d, e.g. 2h30m"
            raise InputError(f"{_quoted(unit)} is not a unit of time", hint=hint)
        if _SECONDS[unit] >= smallest:
            raise InputError(
                f"{_quoted(text)} is not a duration", hint="the larger unit first, each once"
            )
        smallest = _SECONDS[unit]
        total += float(part[1]) * smallest
        position = part.end()
    if not words:
        raise InputError("is empty", hint="write e.g. 2h30m or 90s")
    return total


def parse_size_mib(text: str) -> float:
    """Mebibytes of a size such as ``5GiB`` (1024-based) or ``5GB`` (1000-based).

    Raises :class:`InputError` with a hint; a bare number is one, and so is ``5G``.
    """
    words = text.strip()
    if _NUMBER.fullmatch(words):
        raise InputError("needs a unit, e.g. 5GiB (a bare number is ambiguous)")
    match = _SIZE.fullmatch(words)
    if match is None:
        raise InputError(f"{_quoted(text)} is not a size", hint="write e.g. 5GiB or 512MiB")
    number, unit = match[1], match[2].lower()
    if unit in _BYTES:
        return float(number) * _BYTES[unit] / 2**20
    letter = unit[0].upper()
    if unit.rstrip("i") in ("k", "m", "g", "t"):
        raise InputError(
            f"{_quoted(text)} is ambiguous",
            hint=f"write {number}{letter}iB (1024-based) or {number}{letter}B (1000-based)",
        )
    raise InputError(
        f"{_quoted(match[2])} is not a unit of size", hint="the units are KiB, MiB, GiB, TiB"
    )


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number for a person, or a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}{unit}"


def counted(count: int, noun: str) -> str:
    """``1 job``, ``2,000 jobs``: a noun whose plural has an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_duration(seconds: float | None) -> str:
    """A duration for a person: ``350 ms``, ``12 s``, ``6m 12s``, ``41m``, ``1h 04m``, ``2d 03h``.

    From ten minutes on the seconds are left out. None gives a dash.
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if round(seconds * 1000) < 1000:
        return f"{round(seconds * 1000)} ms" if seconds else "0 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 9.95 else f"{seconds:.1f} s".replace(".0 s", " s")
    if whole < 600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}m {rest:02d}s" if rest else f"{minutes}m"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 24 * 60:
        return "{}h {:02d}m".format(*divmod(minutes, 60))
    return "{}d {:02d}h".format(*divmod(round(seconds / 3600), 24))


def format_rate(seconds: float | None) -> str:
    """The time of a unit of work; three digits of one that is short: it is multiplied by thousands.

    ``12 s``, ``43.1 ms``, ``0.5 µs``. None gives a dash.
    """
    if seconds is None or seconds >= 0.1:
        return format_duration(seconds)
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def format_size(mib: float | None) -> str:
    """A size for a person: ``5.9 GiB``, ``512 MiB``, ``20 KiB``. None gives a dash."""
    if mib is None or not math.isfinite(mib):
        return NOTHING
    if mib < 0:
        return "-" + format_size(-mib)
    if mib >= 1023.5:
        gib = mib / 1024
        return f"{gib:.1f} GiB" if gib < 1023.95 else f"{gib / 1024:.1f} TiB"
    if mib >= 9.95:
        return f"{mib:.0f} MiB"
    if mib >= 1:
        return f"{mib:.1f} MiB"
    return f"{mib * 1024:.0f} KiB"


def format_energy(joules: float | None) -> str:
    """An energy for a person: ``350 J``, ``1.2 Wh``, ``17 Wh``. None gives a dash."""
    if joules is None or not math.isfinite(joules):
        return NOTHING
    if abs(joules) < 999.5:
        return f"{joules:.0f} J"
    watt_hours = joules / 3600
    if abs(watt_hours) < 9.95:
        return f"{watt_hours:.1f} Wh"
    return f"{watt_hours:.0f} Wh" if abs(watt_hours) < 9999.5 else f"{watt_hours / 1000:.1f} kWh"


def _quoted(text: str) -> str:
    """A short, printable form of what somebody wrote."""
    shown = "".join(character if character.isprintable() else "�" for character in text)
    return f"'{shown[:40]}…'" if len(shown) > 40 else f"'{shown}'"
