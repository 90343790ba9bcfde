"""What must be true of a scheduler after every event, whatever happened."""

from __future__ import annotations

from jetsched.records import FINAL_STATES, Estimate
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Action, Start


def check_invariants(scheduler: Scheduler) -> None:
    """Each job is in exactly one state and one place; no device runs more jobs than it may."""
    queued = [record.job.id for record in scheduler.queue]
    on_device = [i for d in scheduler.fleet.job_on for i in scheduler.fleet.jobs_on(d)]
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
        if record.kept:
            assert places["held"]
            assert record.reason is not None
            assert record.reason.code == "Held"
    check_fleet(scheduler)


def check_fleet(scheduler: Scheduler) -> None:
    """What takes jobs is in the kinds that policies see, and nothing else is."""
    fleet = scheduler.fleet
    assert set(fleet.job_on) == set(fleet.finish_s) <= set(fleet.devices)
    free = [i for state in fleet.classes for i in state.free]
    busy = [i for state in fleet.classes for i in state.busy]
    assert sorted(free + busy) == sorted(fleet.open)
    assert sorted(busy) == sorted(set(fleet.job_on) & set(fleet.open))
    assert fleet.free_count == len(free)
    assert fleet.kinds == [state for state in fleet.classes if state.devices]
    for state in fleet.classes:
        assert set(state.devices) == set(state.free) | set(state.busy)
        assert set(state.devices) <= set(state.known)
    assert all(fleet.closings.values())
    assert set(fleet.open) == set(fleet.devices) - set(fleet.closings)
    assert not set(fleet.away) & set(fleet.devices)
    assert set(fleet.job_on) <= {d for d in fleet.devices if fleet.jobs_on(d)}
    for device_id, device in fleet.devices.items():
        check_shared(scheduler, device_id, device.device_class.memory_mib)


def check_shared(scheduler: Scheduler, device_id: str, memory_mib: float) -> None:
    """Who shares a device fits its memory together; nobody does unless it was allowed."""
    sharing = scheduler.fleet.sharing
    together = scheduler.fleet.jobs_on(device_id)
    assert len(together) <= (sharing.limit if sharing is not None else 1)
    if sharing is not None and len(together) > 1:
        board = sharing.on(device_id)
        assert sum(o.admitted_mib for o in board.values()) <= memory_mib
        assert scheduler.fleet.finish_s[device_id] == max(o.finish_s for o in board.values())


def check_starts(scheduler: Scheduler, actions: list[Action]) -> None:
    """Nothing is started where it *never* fits, on a closed device, or in a paused queue."""
    for action in actions:
        if isinstance(action, Start):
            assert scheduler.paused is None
            assert action.placement.device.id in scheduler.fleet.open
            placement = action.placement
            record = scheduler.jobs[placement.job.id]
            kind = placement.device.device_class
            verdict = scheduler.verdict(record, kind)
            assert isinstance(verdict, Estimate)
            assert placement.device.satisfies(placement.job.needs)
            assert placement.job.id in scheduler.fleet.jobs_on(placement.device.id)
