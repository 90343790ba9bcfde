"""When a measurement no longer speaks of the board as it is, and what is said then."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import NX, a_workload
from test_identity import a_board, no_gpu

from jetsched.files import json_bytes
from jetsched.profiler.identity import identify
from jetsched.profiler.staleness import Here, changes
from jetsched.records import Measurement

NX_HERE: Mapping[str, Any] = {
    "kind": "jetson",
    "model": "xavier-nx",
    "title": "NVIDIA Jetson Xavier NX Developer Kit",
    "power_mode": "15W_6CORE",
    "jetpack": "5.1.2",
    "l4t": "35.4.1",
    "memory_total_mib": 6857.0,
    "memory_available_mib": 6100.0,
    "cpus_online": "0-5",
    "cpu_max_mhz": 1420.8,
    "gpu_mhz": 803.25,
    "clocks_locked": True,
    "headless": True,
    "storage": "sd-card",
    "workload_python": sys.executable,
    "software": {"torch": "2.1.0", "cuda": "11.4", "transformers": "4.46.3", "python": "3.8.10"},
}


def software(**changed: str) -> dict[str, Any]:
    return {"software": {**NX_HERE["software"], **changed}}


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"power_mode": "10W_2CORE"}, "power mode 15W_6CORE > 10W_2CORE"),
        ({"jetpack": "5.1.4"}, "JetPack 5.1.2 > 5.1.4"),
        ({"l4t": "35.6.0"}, "L4T 35.4.1 > 35.6.0"),
        ({"cpus_online": "0-1"}, "CPUs 0-5 > 0-1"),
        ({"memory_total_mib": 6200.0}, "memory 6857 > 6200 MiB"),
        (software(torch="2.3.0"), "torch 2.1.0 > 2.3.0"),
        (software(transformers="4.57.0"), "transformers 4.46.3 > 4.57.0"),
        (software(cuda="12.2"), "CUDA 11.4 > CUDA 12.2"),
        (software(cuda=""), "CUDA 11.4 > CPU-only"),
        (software(python="3.8.18"), "Python 3.8.10 > 3.8.18"),
        ({"clocks_locked": False}, "clocks locked: yes > no"),
        ({"headless": False}, "headless: yes > no"),
        ({"storage": "nvme"}, "storage of the models sd-card > nvme"),
    ],
)
def test_a_change_of_the_identity_is_said(changed: Mapping[str, Any], said: str) -> None:
    assert changes(NX_HERE, {**NX_HERE, **changed}) == [said]


def test_another_driver_is_a_change() -> None:
    assert changes({"driver": "550.54"}, {"driver": "560.1"}) == ["driver 550.54 > 560.1"]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"memory_available_mib": 900.0},  # of the moment
        {"memory_total_mib": 6850.0},  # another kernel
        {"gpu_mhz": 114.75},  # idle
        {"cpu_max_mhz": 1190.4},  # a hot board's kernel lowers it; the power mode tells the rest
        {"clocks_locked": None},
        {"power_mode": ""},  # not known proves nothing
        {"software": {}},
        {"python": "3.11.9"},  # jetsched's own
    ],
)
def test_these_are_no_change(changed: Mapping[str, Any]) -> None:
    assert changes(NX_HERE, {**NX_HERE, **changed}) == []
    assert changes({**NX_HERE, **changed}, NX_HERE) == []


def a_row(**identity: Any) -> Measurement:
    return Measurement(a_workload(), NX, "done", identity={**NX_HERE, **identity})


def here_with(now: Mapping[str, Any]) -> Here:
    return Here(lambda python: now)


def test_a_row_of_this_board_is_compared_and_one_of_another_is_not() -> None:
    here = here_with({**NX_HERE, "power_mode": "10W_2CORE"})
    assert here.changes(a_row()) == ["power mode 15W_6CORE > 10W_2CORE"]
    assert here.changes(a_row(model="orin-nano")) == []
    assert here.changes(replace(a_row(), identity={"source": "paper"})) == []


def test_a_row_is_compared_with_the_interpreter_that_made_it() -> None:
    """A profile made with --workload-python is not stale because jetsched's own torch differs."""
    asked = []

    def now(python: str) -> Mapping[str, Any]:
        asked.append(python)
        return NX_HERE

    here = Here(now)
    assert here.changes(a_row(workload_python="/bin/sh")) == []
    assert here.changes(a_row(workload_python="/bin/sh")) == []
    assert asked == ["/bin/sh"]


def test_an_interpreter_that_is_gone_makes_its_rows_stale() -> None:
    assert here_with(NX_HERE).changes(a_row(workload_python="/no/python")) == ["/no/python is gone"]


def test_software_is_not_compared_where_the_interpreter_is_not_known() -> None:
    assert here_with({**NX_HERE, **software(torch="9")}).changes(a_row(workload_python="")) == []


def test_the_scale_of_an_emulated_board_does_not_make_it_stale() -> None:
    row = a_row(emulated_scale=0.5)
    assert here_with(NX_HERE).changes(replace(row, emulated=True)) == []


def test_a_stored_identity_is_compared_with_the_same_words(tmp_path: Path) -> None:
    board = identify(a_board(tmp_path / "a"), ask=no_gpu).to_dict()
    other = a_board(tmp_path / "b", **{"var/lib/nvpmodel/status": "pmode:0008 fmode:cool"})
    assert changes(board, identify(other, ask=no_gpu).to_dict()) == [
        "power mode 15W_6CORE > 20W_6CORE"
    ]


def test_no_serial_number_is_in_an_identity(tmp_path: Path) -> None:
    serial = "1423221043432"
    root = a_board(
        tmp_path,
        **{
            "proc/device-tree/serial-number": serial + "\0",
            "proc/cpuinfo": f"model name : Carmel\nSerial : {serial}\n",
            "sys/class/dmi/id/product_serial": serial,
            "sys/class/net/eth0/address": "48:b0:2d:aa:bb:cc",
        },
    )
    stored = json_bytes(identify(root, ask=no_gpu).to_dict()).decode()
    assert serial not in stored and "48:b0:2d" not in stored
