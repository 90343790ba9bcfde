"""The workload side on a Xavier NX's own versions: Python 3.8, torch 1.12, transformers 4.46.

`make test-jetpack5` makes the interpreter (tools/jetpack5.py) and runs this; nothing else does.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from attempt_worlds import BOARD, SOON_S, processes_in, until
from child_worlds import GPT2, LLAMA, events_of

from jetsched.profiler.calibrating import calibrate
from jetsched.profiler.identity import software_of
from jetsched.profiler.limits import Limits
from jetsched.profiler.models import counted_shape, shape
from jetsched.profiler.runner import Run, RunOrder
from jetsched.profiler.shapes import ModelShape
from jetsched.records import Job, Workload

PYTHON = Path(__file__).resolve().parent.parent / ".venv-jetpack5/bin/python"
#: Samples of a training that is stopped on its way: 100 steps.
LONG = 400.0
pytestmark = [
    pytest.mark.jetpack5,
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test-jetpack5 makes the interpreter"),
]


def an_order(folder: Path, config: dict[str, Any], **work: Any) -> RunOrder:
    """A job with a tiny model that is given by its config alone."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(config))
    workload = Workload(model=str(model), **work)
    amount = 24.0 if workload.kind == "train" else 4.0
    return RunOrder(Job("1", workload, amount), BOARD, folder / "attempt", python=str(PYTHON))


def a_training(folder: Path, **changes: Any) -> RunOrder:
    work = {"dataset": "squad", "batch_size": 4, "seq_len": 48, "head": "qa", **changes}
    return an_order(folder, GPT2, kind="train", **work)


def long(order: RunOrder) -> RunOrder:
    return replace(order, job=replace(order.job, amount=LONG))


def test_the_stand_in_has_the_versions_of_jetpack_5() -> None:
    software = software_of(str(PYTHON))
    assert software.python.startswith("3.8.")
    assert software.torch.startswith("1.12.1")
    assert software.transformers == "4.46.3"


@pytest.mark.parametrize("changes", [{}, {"head": "lm"}, {"method": "lora", "lora_rank": 4}])
def test_it_trains(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = Run.start(a_training(tmp_path, **changes)).wait(SOON_S)
    assert (found.outcome, found.text, found.amount) == ("done", "", 20.0)  # without the warm-up
    assert found.random_weights
    assert found.loss_last is not None and found.tokens_per_s
    assert set(found.phases_s) >= {"forward_backward", "optimizer"}
    assert found.identity["run"]["python"].startswith("3.8.")
    assert found.identity["run"]["transformers"] == "4.46.3"
    assert (tmp_path / "attempt/out").is_dir()


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_it_infers(tmp_path: Path, config: dict[str, Any]) -> None:
    order = an_order(tmp_path, config, kind="infer", prompt_tokens=12, max_new_tokens=5)
    found = Run.start(order).wait(SOON_S)
    assert (found.outcome, found.text, found.amount) == ("done", "", 3.0)  # without the warm-up
    assert found.random_weights and found.tokens_per_s
    assert set(found.phases_s) >= {"prefill", "decode"}


def test_it_calibrates(tmp_path: Path) -> None:
    found = calibrate(BOARD, tmp_path / "calibration", python=str(PYTHON))
    assert found.gemm_gflops["fp32"] > 0 and "fp16" not in found.gemm_gflops  # not on that CPU
    assert found.launch_us > 0 and found.bandwidth_gb_s > 0 and found.load_mb_s
    assert found.identity["run"]["python"].startswith("3.8.")


@pytest.mark.parametrize("name", ["gpt2", "tinyllama-1.1b", "phi-2"])
def test_it_counts_a_model_without_its_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That torch's meta device lacks norms: weights that take no memory stand in for it."""
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    counted, formed = counted_shape(name, str(PYTHON)), shape(name)
    assert isinstance(counted, ModelShape) and counted.counted is not None and formed is not None
    for value in ("parameters", "head_parameters", "kv_values_per_token", "hidden", "layers"):
        assert getattr(counted, value) == getattr(formed, value)
    assert counted.block_matmul_parameters == pytest.approx(formed.block_matmul_parameters)
    assert counted.score_width == pytest.approx(formed.score_width, rel=1e-3)
    assert not counted.fuses  # transformers wants torch 2.1 for it
    (kept,) = (tmp_path / "counts").iterdir()
    printed = json.loads(kept.read_text())
    assert (printed["backing"], printed["transformers"]) == ("cpu", "4.46.3")
    assert printed["peak_mib"] < 1024


def test_training_stopped_by_sigterm_goes_on_from_its_checkpoint_to_the_same_loss(
    tmp_path: Path,
) -> None:
    whole = Run.start(long(a_training(tmp_path / "whole"))).wait(SOON_S)
    order = long(a_training(tmp_path / "cut"))
    run = Run.start(replace(order, limits=Limits(slowdown=4.0)))  # still in the middle when seen
    until(lambda: run.poll().step or run.poll().phase == "ended")
    run.stop("preempted", grace_s=60.0)
    stopped = run.wait(SOON_S)
    assert stopped.outcome == "preempted"
    assert 0 < stopped.amount < LONG
    (checkpoint,) = events_of(order.folder)["checkpoint"]
    again = replace(order, folder=tmp_path / "again", resume_from=Path(checkpoint["path"]))
    resumed = Run.start(again).wait(SOON_S)
    assert (resumed.outcome, resumed.text) == ("done", "")
    assert resumed.loss_last == pytest.approx(whole.loss_last, rel=1e-5)
    assert processes_in(tmp_path) == []
