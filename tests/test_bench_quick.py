"""What is said of jobs that the quick suite has not seen, against how they ran (recorded)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """The benchmark, which is a program and not part of the package."""
    spec = importlib.util.spec_from_file_location("bench_quick", ROOT / "tools/bench_quick.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def found(bench: Any) -> list[Any]:
    with bench.record() as known:
        return list(bench.guesses(known))


def test_runs_of_unseen_jobs_are_within_15_per_cent_of_what_was_said(
    bench: Any, found: list[Any]
) -> None:
    assert len(found) >= 30
    assert bench.error_pct([guess.off for guess in found]) <= 15
    assert bench.error_pct([guess.rate_off for guess in found]) <= 15


def test_the_p90_covers_most_of_them(found: list[Any]) -> None:
    within = sum(guess.time_s <= guess.predicted_p90_s for guess in found)
    assert within / len(found) >= 0.85


def test_none_of_them_is_in_the_quick_suite(bench: Any) -> None:
    with bench.record() as known:
        assert not {run.workload for run in known.quick} & {run.workload for run in known.unseen}
