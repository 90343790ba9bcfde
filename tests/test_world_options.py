"""The options of a world on the command line: all of them, with the defaults of the record."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from jetsched.cluster.worldchecks import arguments
from jetsched.cluster.worldoptions import ARRIVALS, WorldOptions
from jetsched.options import Json
from jetsched.world_options import takes_world

seen: list[tuple[WorldOptions, int, bool]] = []
app = typer.Typer()


@app.callback()
def group() -> None:
    """A group, so that the verb keeps its name."""


@app.command()
@takes_world
def look(world: WorldOptions, more: int = 3, as_json: Json = False) -> None:
    """Look at a world."""
    seen.append((world, more, as_json))


def asked(*words: str) -> WorldOptions:
    seen.clear()
    result = CliRunner().invoke(app, ["look", *words])
    assert result.exit_code == 0, result.output
    return seen[0][0]


def test_without_options_a_world_is_the_records_default() -> None:
    assert asked() == WorldOptions()


def test_a_verb_keeps_its_own_options_and_its_text() -> None:
    assert CliRunner().invoke(app, ["look", "--more", "5", "--json"]).exit_code == 0
    assert seen[-1][1:] == (5, True)
    assert "Look at a world." in CliRunner().invoke(app, ["look", "--help"]).output


whole = st.integers(0, 10**6)
values: dict[str, st.SearchStrategy[Any]] = {
    "trace": st.just(Path("a trace.csv")),
    "generate": whole,
    "replay": st.sampled_from(["all", "7d"]),
    "history": st.just(Path("journal.db")),
    "load": st.floats(1e-6, 1e6),
    "arrivals": st.sampled_from(ARRIVALS),
    "burstiness": st.floats(0.05, 100),
    "period_s": st.floats(1e-3, 1e9),
    "mix": st.just("paper"),
    "fleet": st.sampled_from(["f.yaml", "orin-nano:4,xavier-nx:4"]),
    "counts": st.lists(st.integers(0, 99), max_size=3).map(tuple),
    "outages": st.just("24h,30m"),
    "link": st.just("50MiB"),
    "cache": st.just("16GiB"),
    "disk": st.just("400MiB"),
    "share": st.integers(1, 4),
    "model": st.just("phi-2"),
    "window_s": st.floats(1e-3, 1e9),
    "batch": st.integers(1, 64),
    "seed": whole,
    "estimate_error": st.floats(0, 3),
    "skip_bad_rows": st.booleans(),
}


@given(st.data())
def test_the_command_line_of_a_world_asks_for_that_world(data: st.DataObject) -> None:
    """Every field has its option, and ``arguments`` writes all of them."""
    assert set(values) == {field.name for field in fields(WorldOptions)}
    given_ones = data.draw(st.sets(st.sampled_from(sorted(values)), max_size=6))
    options = replace(WorldOptions(), **{name: data.draw(values[name]) for name in given_ones})
    assert asked(*arguments(options)) == options


def test_numbers_of_a_command_line_are_exact_and_have_no_exponent() -> None:
    """Not `1.2096e+06s`, which is no duration."""
    fortnight = WorldOptions(period_s=14 * 86_400.0, window_s=1_234_567.891, load=1e-6)
    words = arguments(fortnight)
    assert words[words.index("--period") + 1] == "1209600s"
    assert words[words.index("--window") + 1] == "1234567.891s"
    assert words[words.index("--load") + 1] == "0.000001"
    assert asked(*words) == fortnight


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--window", "60"], "needs a unit"),
        (["--period", "soon"], "not a duration"),
        (["--counts", "4,x"], "whole numbers"),
        (["--arrivals", "often"], "poisson"),
    ],
)
def test_values_that_are_none_end_with_2(words: list[str], text: str) -> None:
    result = CliRunner().invoke(app, ["look", *words])
    assert result.exit_code == 2 and text in result.output
