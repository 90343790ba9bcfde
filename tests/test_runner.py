"""One attempt, from order to measurement: small children that speak the protocol, and the real."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from attempt_worlds import BOARD, SOON_S, a_command, a_training, cgroups_of, processes_in, until

from jetsched.files import to_json
from jetsched.profiler.attempts import Story, is_running, read_attempt, read_object, read_result
from jetsched.profiler.costs import CostModel
from jetsched.profiler.limits import Limits
from jetsched.profiler.runner import Run, RunOrder, child_spec
from jetsched.records import Device, DeviceClass, Estimate, Job, Measurement, Workload

WELL = """
    tell("started", pid=os.getpid(), torch="9.9", device="cpu")
    tell("loaded", load_s=0.25, parameters=3, random_weights=True, weights="random")
    for step in range(1, 5):
        tell("progress", done=2 * step, amount=8, step=step, steps=4, loss=9.0 - step)
    tell("result", outcome="done", amount=6, load_s=0.25, warmup_s=0.5, work_s=1.5,
         tokens_per_s=256.0, phases_s={"optimizer": 0.5}, loss_first=8.0, loss_last=5.0,
         peak_memory_mib=5.0)
"""
STUCK = """
    tell("loaded", load_s=0.015625)
    tell("progress", done=4, amount=8, step=2, steps=4, loss=7.0)
    time.sleep(600)
"""


def code(text: str) -> str:
    return text.replace("\n    ", "\n")


def test_a_measurement_holds_what_child_and_supervisor_saw(tmp_path: Path) -> None:
    identity = {"model": "xavier-nx"}
    run = Run.start(a_training(tmp_path, code(WELL), identity=identity))
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "done" and measurement.evidence == ()
    assert (measurement.amount, measurement.work_s, measurement.rate_s) == (6, 1.5, 0.25)
    assert (measurement.load_s, measurement.warmup_s) == (0.25, 0.5)
    assert (measurement.loss_first, measurement.loss_last) == (8.0, 5.0)
    assert measurement.phases_s == {"optimizer": 0.5}
    assert measurement.random_weights and measurement.emulated
    assert measurement.device_class == BOARD.device_class
    assert (measurement.device, measurement.job_id) == ("nx-1", "1")
    assert measurement.identity["model"] == "xavier-nx"
    of_this_run = measurement.identity["run"]
    assert of_this_run["torch"] == "9.9"
    assert of_this_run["workload_hash"] == measurement.workload.key
    assert of_this_run["memory_available_before_mib"] > 0
    assert measurement.time_s is not None and measurement.time_s > 0
    assert measurement.peak_memory_mib is not None and measurement.peak_memory_mib > 5
    assert run.result() is measurement
    assert run.poll().phase == "ended"
    assert read_result(run.order.folder) == measurement


def test_poll_tells_how_far_it_is_and_the_result_waits_for_the_end(tmp_path: Path) -> None:
    run = Run.start(a_training(tmp_path, code(STUCK)))
    until(lambda: run.poll().step == 2)
    progress = run.poll()
    assert progress.phase == "running"
    assert (progress.done, progress.amount, progress.steps, progress.loss) == (4, 8, 4, 7.0)
    # The first look may find a cgroup that is still empty.
    assert until(lambda: (run.poll().memory_mib or 0) > 1)
    assert run.result() is None
    with pytest.raises(TimeoutError):
        run.wait(0.05)
    run.stop("preempted")
    measurement = run.wait(SOON_S)
    assert measurement.outcome == "preempted"
    assert measurement.amount == 4  # what it had done by then
    assert measurement.work_s is None
    assert processes_in(tmp_path) == []
    assert cgroups_of(os.getpid()) == []


CUT = """
    tell("loaded", load_s=0.015625)
    tell("progress", done=6, amount=8, step=3, steps=4, loss=7.0,
         worked=4, work_s=0.03125, warmup_s=9.0)
"""


@pytest.mark.parametrize(
    ("end", "outcome"), [("time.sleep(600)", "cancelled"), ("sys.exit(3)", "failed")]
)
def test_a_run_that_was_cut_short_tells_its_rate(tmp_path: Path, end: str, outcome: str) -> None:
    """Of what it had done after its warm-up, by the child's own clock."""
    run = Run.start(a_training(tmp_path, code(CUT) + end))
    if outcome == "cancelled":
        until(lambda: run.poll().step == 3)
        run.stop("cancelled")
    measurement = run.wait(SOON_S)
    assert measurement.outcome == outcome
    assert (measurement.amount, measurement.work_s, measurement.warmup_s) == (4, 0.03125, 9.0)
    assert measurement.rate_s == 0.0078125
    estimate = CostModel([measurement]).verdict(run.order.job, BOARD.device_class)
    assert isinstance(estimate, Estimate)
    assert (estimate.source, estimate.time_s) == ("measured", 0.015625 + 8 * 0.0078125)


def test_a_stop_after_the_end_changes_nothing(tmp_path: Path) -> None:
    run = Run.start(a_command(tmp_path, "exit 0"))
    until(lambda: not is_running(run.order.folder))
    run.stop("cancelled")
    assert run.wait(SOON_S).outcome == "done"
    run.stop("cancelled")


def test_a_child_that_says_it_failed_for_memory_was_killed_by_memory(tmp_path: Path) -> None:
    child = 'tell("failed", error="OutOfMemoryError", text="no room", memory=True)\nsys.exit(1)'
    measurement = Run.start(a_training(tmp_path, child)).wait(SOON_S)
    assert measurement.outcome == "killed_memory"
    assert "child: OutOfMemoryError: no room" in measurement.evidence


def test_a_child_that_dies_while_it_writes_spoils_no_event_before(tmp_path: Path) -> None:
    child = 'tell("progress", done=2, amount=8)\nevents.write("{\\"event\\": \\"pro")\nos._exit(5)'
    child = child.replace("os._exit", "events.flush(); os._exit")
    measurement = Run.start(a_training(tmp_path, child)).wait(SOON_S)
    assert (measurement.outcome, measurement.amount) == ("failed", 2)


def test_the_jobs_time_limit_holds(tmp_path: Path) -> None:
    order = a_command(tmp_path, "sleep 600", limits=Limits(time_s=900))
    order = replace(order, job=replace(order.job, time_limit_s=0.2))
    assert Run.start(order).wait(SOON_S).outcome == "killed_time"


def test_a_cpu_run_on_a_gpu_board_is_not_a_profile_of_its_gpu(tmp_path: Path) -> None:
    """The torch of PyPI on a real board: its rates must not pass for the GPU's."""
    real = Device("nx-7", DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 6144.0))
    measurement = Run.start(a_training(tmp_path, code(WELL), device=real)).wait(SOON_S)
    assert measurement.device_class.model == "cpu"
    assert "torch ran on the CPU: this is no profile of nx-7" in measurement.evidence


def test_a_folder_holds_one_attempt_only(tmp_path: Path) -> None:
    order = a_command(tmp_path, "exit 0")
    Run.start(order).wait(SOON_S)
    with pytest.raises(FileExistsError):
        Run.start(order)


def test_a_folder_without_an_attempt_has_no_result(tmp_path: Path) -> None:
    assert read_result(tmp_path) is None
    assert read_attempt(tmp_path) is None


def test_an_attempt_is_told_by_its_folder_alone(tmp_path: Path) -> None:
    """An agent that was restarted has nothing else."""
    order = a_command(tmp_path, "echo $$; sleep 600")
    run = Run.start(order)
    assert is_running(order.folder) and read_result(order.folder) is None
    attempt = read_attempt(order.folder)
    assert attempt is not None
    assert (attempt.job, attempt.device) == (order.job, order.device)
    del run  # as when the agent dies
    measurement = until(lambda: read_result(order.folder))
    assert (measurement.outcome, measurement.job_id) == ("lost", "1")
    assert measurement.text == "what had started it died"


def test_an_attempt_that_a_restart_of_the_machine_ended_was_lost(tmp_path: Path) -> None:
    """No exit.json, and the boot id in the order is another one."""
    order = a_training(tmp_path, code(STUCK))
    run = Run.start(order)
    until(lambda: run.poll().step == 2)
    run.stop("cancelled", grace_s=0)
    run.wait(SOON_S)
    for name in ("exit.json", "measurement.json"):
        (order.folder / name).unlink()
    for name in ("order.json", "supervisor.json"):
        path = order.folder / name
        path.write_text(json.dumps({**read_object(path), "boot": "the-boot-before"}))
    measurement = read_result(order.folder)
    assert measurement is not None
    assert measurement.outcome == "lost"
    assert measurement.evidence == ("boot id changed",)
    assert measurement.amount == 4
    assert measurement.time_s is not None and measurement.time_s > 0


def test_events_are_read_once_and_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    story = Story(path)
    story.read_on()
    path.write_text('{"event": "progress", "done": 1, "loss": 3.0}\n{"event": "progress", "do')
    story.read_on()
    assert story.progress is not None and story.progress["done"] == 1
    with path.open("a") as file:
        file.write('ne": 2, "loss": 2.0}\n[1]\nnot json\n{"event": "unknown"}\n')
    story.read_on()
    assert story.progress["done"] == 2
    assert story.loss_first == 3.0


def test_the_spec_tells_the_child_what_to_do(tmp_path: Path) -> None:
    data = tmp_path / "squad.json"
    data.write_text("{}")
    workload = Workload("train", "distilgpt2", f"{data}[:20]", 8, 384, head="qa")
    job = Job("1", workload, 40, checkpoint_every_s=60, work={"epochs": 2})
    spec = child_spec(RunOrder(job, BOARD, tmp_path / "a", max_steps=3))
    assert spec["work"]["epochs"] == 2
    assert spec["work"]["batch_size"] == 8
    assert spec["dataset_path"] == str(data)
    assert Path(spec["model_config"]).name == "distilgpt2.json"
    assert (spec["amount"], spec["max_steps"], spec["checkpoint_every_s"]) == (40, 3, 60)
    assert child_spec(RunOrder(job, BOARD, Path("a")))["folder"] == str(Path("a").absolute())


def test_what_holds_secrets_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    order = a_command(tmp_path, "exit 0")
    order = replace(order, job=replace(order.job, env=(("HF_TOKEN", "secret"),)))
    Run.start(order).wait(SOON_S)
    assert (order.folder.stat().st_mode & 0o777) == 0o700
    assert ((order.folder / "order.json").stat().st_mode & 0o777) == 0o600


def real(
    folder: Path, model: str = "tiny-gpt2", amount: int = 8, memory_mib: float | None = None
) -> RunOrder:
    workload = Workload("train", model, "squad", batch_size=2, seq_len=64, head="qa")
    limits = Limits(memory_mib, threads=1)
    return RunOrder(Job("1", workload, amount), BOARD, folder / "attempt", limits=limits)


@pytest.mark.slow
def test_the_real_child_trains_tiny_gpt2(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    measurement = Run.start(real(tmp_path)).wait(300)
    assert measurement.outcome == "done", measurement.text
    assert 0 < measurement.amount <= 8
    assert measurement.rate_s is not None and measurement.rate_s > 0
    assert measurement.random_weights
    assert measurement.load_s is not None and measurement.time_s is not None
    assert measurement.load_s < measurement.time_s
    assert measurement.peak_memory_mib is not None and measurement.peak_memory_mib > 100
    assert measurement.identity["run"]["threads"] == 1
    again = Measurement(**{**vars(measurement)})
    assert to_json(again) == to_json(measurement)
    assert processes_in(tmp_path) == []


@pytest.mark.slow
def test_the_real_child_is_really_killed_by_the_cap(tmp_path: Path) -> None:
    """GPT-2 small needs four times its 500 MB in training."""
    pytest.importorskip("transformers")
    measurement = Run.start(real(tmp_path, "gpt2", memory_mib=900)).wait(300)
    assert measurement.outcome == "killed_memory"
    if measurement.identity["run"]["cap"].startswith("cgroup"):
        assert any("oom_kill" in line for line in measurement.evidence)
    assert measurement.peak_memory_mib is not None


@pytest.mark.slow
def test_the_real_child_saves_a_checkpoint_when_it_is_preempted(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    run = Run.start(real(tmp_path, amount=1_000_000))
    until(lambda: run.poll().done > 0, 300)
    run.stop("preempted", grace_s=60)
    measurement = run.wait(300)
    assert measurement.outcome == "preempted"
    assert measurement.amount > 0
    assert list((tmp_path / "attempt/checkpoint").iterdir())


def test_a_model_that_is_nowhere_fails_with_what_to_fetch(tmp_path: Path) -> None:
    """The text of a live job too: the agent runs it the same way. torch is not needed for it."""
    workload = Workload("train", "me/mine", "squad", batch_size=2, seq_len=64, head="qa")
    job = Job("1", workload, amount=8, env=(("HF_HUB_CACHE", str(tmp_path / "hub")),))
    measurement = Run.start(RunOrder(job, BOARD, tmp_path / "attempt")).wait(SOON_S)
    assert measurement.outcome == "failed"
    assert "run `hf download me/mine` here once" in measurement.text
    assert "torch" not in measurement.identity["run"]  # it was never imported
