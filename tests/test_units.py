"""Durations and sizes, as people write and read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetsched.errors import InputError
from jetsched.units import (
    NOTHING,
    format_duration,
    format_energy,
    format_size,
    parse_duration_s,
    parse_size_mib,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h30m", 9000.0),
        ("90s", 90.0),
        ("10m", 600.0),
        ("10min", 600.0),
        ("1d", 86400.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        (" 1h 2m 3s ", 3723.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("5GiB", 5120.0),
        ("512MiB", 512.0),
        ("5GB", 5e9 / 2**20),
        ("1.5 GiB", 1536.0),
        ("64kib", 0.0625),
        ("1TiB", 2.0**20),
        ("1048576B", 1.0),
    ],
)
def test_a_size_is_read_in_mebibytes(text: str, mib: float) -> None:
    assert parse_size_mib(text) == pytest.approx(mib)


@pytest.mark.parametrize("text", ["5", "0", "-5", "+5", "1.5", "1e3", " 7 "])
def test_a_bare_number_is_ambiguous(text: str) -> None:
    with pytest.raises(InputError, match=r"^needs a unit, e\.g\. 5GiB \(a bare number is ambig"):
        parse_size_mib(text)
    with pytest.raises(InputError, match=r"^needs a unit, e\.g\. 10m \(a bare number is ambig"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "is empty", "write e.g. 2h30m or 90s"),
        ("5x", "'x' is not a unit of time", "the units are ms, s, m, h, d, e.g. 2h30m"),
        ("30m2h", "'30m2h' is not a duration", "the larger unit first, each once"),
        ("1h1h", "'1h1h' is not a duration", "the larger unit first, each once"),
        ("-5m", "'-5m' is not a duration", "write e.g. 2h30m or 90s"),
        ("5H", "'H' is not a unit of time", "the units are ms, s, m, h, d, e.g. 2h30m"),
        ("½h", "'½h' is not a duration", "write e.g. 2h30m or 90s"),
        ("\x1b[2J", "'�[2J' is not a duration", "write e.g. 2h30m or 90s"),
    ],
)
def test_a_bad_duration_is_explained(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_duration_s(text)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("5G", "'5G' is ambiguous", "write 5GiB (1024-based) or 5GB (1000-based)"),
        ("5Gi", "'5Gi' is ambiguous", "write 5GiB (1024-based) or 5GB (1000-based)"),
        ("5apples", "'apples' is not a unit of size", "the units are KiB, MiB, GiB, TiB"),
        ("lots", "'lots' is not a size", "write e.g. 5GiB or 512MiB"),
        ("", "'' is not a size", "write e.g. 5GiB or 512MiB"),
    ],
)
def test_a_bad_size_is_explained(text: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_size_mib(text)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parsers raise anything but InputError, or return what is not a number."""
    for parse in (parse_duration_s, parse_size_mib):
        try:
            assert math.isfinite(parse(text))
        except InputError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, NOTHING),
        (math.inf, NOTHING),
        (0, "0 s"),
        (0.35, "350 ms"),
        (0.9996, "1 s"),
        (3.25, "3.2 s"),
        (12, "12 s"),
        (59.6, "1m"),
        (372, "6m 12s"),
        (360, "6m"),
        (2460, "41m"),
        (3599, "1h 00m"),
        (3840, "1h 04m"),
        (97200, "1d 03h"),
        (-12, "-12 s"),
    ],
)
def test_a_duration_for_a_person(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("mib", "text"),
    [
        (None, NOTHING),
        (0.5, "512 KiB"),
        (1.5, "1.5 MiB"),
        (512, "512 MiB"),
        (1023.6, "1.0 GiB"),
        (6041.6, "5.9 GiB"),
        (3 * 2**20, "3.0 TiB"),
        (-512, "-512 MiB"),
    ],
)
def test_a_size_for_a_person(mib: float | None, text: str) -> None:
    assert format_size(mib) == text


@pytest.mark.parametrize(
    ("joules", "text"),
    [(None, NOTHING), (350, "350 J"), (4320, "1.2 Wh"), (61200, "17 Wh"), (7.2e7, "20.0 kWh")],
)
def test_an_energy_for_a_person(joules: float | None, text: str) -> None:
    assert format_energy(joules) == text


@given(st.floats(0.001, 1e7))
def test_what_is_shown_is_near_what_it_was(seconds: float) -> None:
    """A formatted duration that is read again is within 5 per cent."""
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds, rel=0.05, abs=6e-4)
