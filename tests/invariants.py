"""What must be true of a scheduler after every event, whatever happened."""

from __future__ import annotations

from jetsched.records import FINAL_STATES, Estimate
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Action, Start


def check_invariants(scheduler: Scheduler) -> None:
    """Each job is in exactly one state and one place; no device runs more than one job."""
    queued = [record.job.id for record in scheduler.queue]
    on_device = list(scheduler.fleet.job_on.values())
    assert len(set(queued)) == len(queued)
    assert len(set(on_device)) == len(on_device)
    for job_id, record in scheduler.jobs.items():
        places = {
            "queue": job_id in queued,
            "held": job_id in scheduler.held,
            "device": job_id in on_device,
            "final": record.state in FINAL_STATES,
        }
        assert sum(places.values()) == 1, (job_id, record.state, places)
        assert places["queue"] == (record.state == "waiting")
        assert places["held"] == (record.state == "held")
        assert places["device"] == (record.state in ("starting", "running"))
        running = [a for a in record.attempts if a.outcome is None]
        assert len(running) == places["device"]
        assert [a.number for a in record.attempts] == list(range(1, len(record.attempts) + 1))
    check_fleet(scheduler)


def check_fleet(scheduler: Scheduler) -> None:
    fleet = scheduler.fleet
    assert set(fleet.job_on) == set(fleet.finish_s) <= set(fleet.devices)
    free = [i for state in fleet.classes for i in state.free]
    busy = [i for state in fleet.classes for i in state.busy]
    assert sorted(free + busy) == sorted(fleet.devices)
    assert sorted(busy) == sorted(fleet.job_on)
    assert fleet.free_count == len(free)


def check_starts(scheduler: Scheduler, actions: list[Action]) -> None:
    """Nothing is started where it *never* fits, or where it is *tight* and need not be."""
    for action in actions:
        if isinstance(action, Start):
            placement = action.placement
            record = scheduler.jobs[placement.job.id]
            kind = placement.device.device_class
            verdict = scheduler.verdict(record, kind)
            assert isinstance(verdict, Estimate)
            assert placement.device.satisfies(placement.job.needs)
            assert scheduler.fleet.job_on[placement.device.id] == placement.job.id
