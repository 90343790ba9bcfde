"""The large fleet that other tests look at does what it says."""

from __future__ import annotations

from pathlib import Path

from many_boards import TROUBLES, fleet, job_specs, many_boards
from simulated_boards import SimulatedBoard

from jetsched.cluster.protocol import Order
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.costs import CostModel
from jetsched.records import Workload


def test_a_fleet_with_a_past_has_jobs_that_ended_run_and_wait(tmp_path: Path) -> None:
    """Its journal goes back, boards with a trouble say so, and sensors show what runs."""
    with many_boards(tmp_path, 20, 160, hours=6, within_s=4) as world:
        world.until(lambda s: {"done", "running", "waiting"} <= {r.state for r in s.jobs.values()})
        starts = world.look(lambda s: [a.start_s for r in s.jobs.values() for a in r.attempts])
        assert max(starts) - min(starts) > 4 * 3600
        words = [board["state"] for board in world.desk.devices()]
        # slow and crowded are no words of the board: they are to be found out by looking
        assert sum(word not in ("ready", "busy") for word in words) >= len(TROUBLES) - 3

        def busiest(now_s: float) -> float:
            readings = [board.reading for board in world.cluster.boards.values()]
            return max(r.gpu_util_pct or 0.0 for r in readings if r is not None)

        world.wait(lambda: world.cluster.ask(busiest) > 60)


def test_a_fleet_in_good_health_runs_what_it_is_given(tmp_path: Path) -> None:
    """Two hundred boards take what fits; a few jobs wait for the better kind of board."""
    with many_boards(tmp_path, 200, 200, troubles=()) as world:
        world.until(lambda s: sum(bool(r.attempts) for r in s.jobs.values()) > 120)


def test_only_work_that_is_counted_as_too_large_is_killed_and_always() -> None:
    """In the lab's mix that is one workload, on the smaller kind of board: a map has a red cell."""
    costs = CostModel(bundled_profile())
    ends: dict[tuple[Workload, str], set[str]] = {}
    for device in fleet(5):
        for number, spec in enumerate(job_specs(300)):
            board = SimulatedBoard(device, costs, lambda: 0.0)
            job = spec.to_job(f"{number}", 0.0)
            board.call("start", Order(job, 1))
            (attempt,) = board.attempts.values()
            ends.setdefault((job.workload, device.model), set()).add(attempt.outcome)
    killed = {key for key, outcomes in ends.items() if "killed_memory" in outcomes}
    assert {(work.label, model) for work, model in killed} == {
        ("train gpt2 b8x256 fp32", "xavier-nx")
    }
    assert all(ends[key] == {"killed_memory"} for key in killed)
