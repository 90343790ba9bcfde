"""A workload's short hash: what measurements of the same work are found by, anywhere."""

from __future__ import annotations

from dataclasses import replace

from builders import a_workload

from jetsched.records import Workload


def test_equal_workloads_have_one_key_and_others_another() -> None:
    workload = a_workload()
    assert workload.key == a_workload().key
    assert replace(workload, batch_size=workload.batch_size + 1).key != workload.key
    assert replace(workload, precision="bf16").key != workload.key


def test_the_key_is_the_same_on_every_machine() -> None:
    """It is stored: a change here would make all stored measurements look like other work."""
    assert Workload("train", "x").key == "8544a0e2fd77"
