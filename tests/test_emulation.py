"""Emulated boards: what `--emulate` takes, and what it makes of it."""

from __future__ import annotations

import os

import pytest

from jetsched.errors import InputError
from jetsched.profiler.devices import device_model
from jetsched.profiler.emulation import parse


def test_two_boards_with_their_names_memory_and_slowness() -> None:
    nx, orin = parse("xavier-nx:0.5, orin-nano")
    assert (nx.id, orin.id) == ("nx-1", "orin-1")
    assert nx.limits.memory_mib == nx.device.device_class.memory_mib
    assert nx.limits.memory_mib == device_model("xavier-nx").usable_mib / 2
    assert (nx.limits.slowdown, orin.limits.slowdown) == (2.0, 1.0)
    assert "0.5 of the real board's" in nx.title and "emulated" in nx.title
    for board in (nx, orin):
        assert board.device.device_class.emulated
        assert board.device.device_class.power_mode == "emulated"


def test_boards_are_numbered_per_model() -> None:
    assert [b.id for b in parse("xavier-nx,orin-nano,xavier-nx")] == ["nx-1", "orin-1", "nx-2"]


def test_each_board_has_a_cpu_of_its_own_where_there_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    assert [b.limits.cpus for b in parse("xavier-nx,orin-nano")] == [(3,), (5,)]
    assert [b.limits.cpus for b in parse("xavier-nx,orin-nano,orin-nano")] == [(), (), ()]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no board"),
        ("xavier-nx,,orin-nano", "no name"),
        ("xavier-nz", "unknown device model 'xavier-nz'"),
        ("cpu", "no board"),
        ("xavier-nx:half", "not a memory scale"),
        ("xavier-nx:0", "not a memory scale"),
        ("xavier-nx:1.5", "not a memory scale"),
        ("xavier-nx:nan", "not a memory scale"),
    ],
)
def test_a_mistake_is_an_input_error_with_a_hint(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        parse(text)
    assert caught.value.hint
