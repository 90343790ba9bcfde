"""Whether a board was profiled, and whether that still speaks of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jetsched.cluster.profiled import Profiles
from jetsched.records import Device, DeviceClass, Measurement, Workload

NX = Device("nx-1", DeviceClass("xavier-nx", "20W_6CORE", "jetpack-5.1.2", 6144.0))
WAS = {"title": "Xavier NX", "power_mode": "20W_6CORE", "software": {"torch": "2.1.0"}}


def a_row(device: Device = NX, **changes: Any) -> Measurement:
    """A row of a profile."""
    row = Measurement(
        Workload("infer", "gpt2"),
        device.device_class,
        "done",
        device=device.id,
        identity=WAS,
        at="2026-11-20T10:00:00+00:00",
        emulated=device.device_class.emulated,
    )
    return replace(row, **changes)


def test_a_board_that_is_as_it_was_has_a_fresh_profile() -> None:
    profiles = Profiles()
    assert profiles.of(NX, WAS).verdict == "none"
    assert "jetsched profile" in profiles.of(NX, WAS).text
    profiles.note(a_row())
    found = profiles.of(NX, WAS)
    assert (found.verdict, found.measured_at) == ("fresh", "2026-11-20T10:00:00+00:00")
    assert profiles.of(replace(NX, id="nx-2"), WAS).verdict == "none"


def test_what_has_changed_makes_a_profile_stale_and_is_named() -> None:
    profiles = Profiles()
    profiles.note(a_row())
    found = profiles.of(NX, {**WAS, "software": {"torch": "2.3.0"}})
    assert (found.verdict, found.changes) == ("stale", ("torch 2.1.0 > 2.3.0",))
    assert "torch 2.1.0 > 2.3.0" in found.text


def test_of_a_board_that_does_not_answer_nothing_is_said_to_have_changed() -> None:
    profiles = Profiles()
    profiles.note(a_row())
    assert profiles.of(NX, None).verdict == "fresh"


def test_the_last_profile_counts() -> None:
    profiles = Profiles()
    profiles.note(a_row(identity={**WAS, "software": {"torch": "1.13.0"}}, at="2026-11-01"))
    profiles.note(a_row())
    assert profiles.of(NX, WAS).verdict == "fresh"


def test_rows_that_tell_nothing_of_the_board_are_no_profile() -> None:
    """Those of the paper, and those of before the identity was written down."""
    profiles = Profiles()
    profiles.note(a_row(identity={"source": "paper"}))
    profiles.note(a_row(source="estimated"))
    profiles.note(a_row(device=NX, identity={}))
    assert profiles.of(NX, WAS).verdict == "none"


def test_an_emulated_board_has_the_profile_of_its_class() -> None:
    """`jetsched profile --emulate` knows no name of the fleet."""
    kind = DeviceClass("xavier-nx", "emulated", "", 3072.0, emulated=True)
    profiles = Profiles()
    profiles.note(a_row(Device("xavier-nx-emulated", kind)))
    assert profiles.of(Device("nx-1", kind), {}).verdict == "fresh"
    smaller = replace(kind, memory_mib=1536.0)
    assert profiles.of(Device("nx-2", smaller), {}).verdict == "none"
