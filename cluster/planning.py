"""What would become of a job: asked of the running scheduler, or of an idle fleet from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jetsched import policies
from jetsched.cluster.client import Client
from jetsched.cluster.desk_jobs import canonical_model
from jetsched.cluster.fleet import load_fleet
from jetsched.cluster.guard import LIVE_S, guarded
from jetsched.cluster.suggestions import suggestions
from jetsched.errors import InputError
from jetsched.files import from_json
from jetsched.jobfile import load_jobs
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.costs import CostModel
from jetsched.profiler.judged import read_and_say
from jetsched.profiler.models import positions
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Decision
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined


@dataclass(frozen=True)
class Plan:
    """A decision about a job that was not submitted, and what the job is."""

    name: str
    work: str
    decision: Decision
    #: What would make it fit the boards that it does not fit surely, by device id.
    changes: Mapping[str, Sequence[str]]
    #: What is to be brought to boards first, by device id: ``bytes``, ``transfer_s`` if known.
    files: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def plan_live(file: Path, policy: str | None = None) -> Plan:
    """Ask the running scheduler. Raises UnreachableError (exit 5) where there is none."""
    load_jobs([file], positions=positions)
    if policy is not None:
        raise InputError(
            "the running scheduler has its policy already",
            hint="--policy goes with --fleet; to change it: jetsched policies use NAME",
        )
    with Client.connect() as client:
        found = client.plan(file)
    name, work, changes = found.pop("name"), found.pop("work"), found.pop("changes")
    files = found.pop("files", {})
    return Plan(name, work, from_json(Decision, found), changes, files)


def plan_file(
    file: Path,
    fleet: Path,
    policy: str | None = None,
    *,
    say: Callable[[str], object] = lambda text: None,
) -> Plan:
    """Plan for the idle boards of a fleet file, with everything that was measured so far.

    ``say`` hears of measurements that are left out.
    """
    boards = load_fleet(fleet)
    names = {name for board in boards for name in (board.id, board.model, *board.labels)}
    spec = load_jobs([file], known_devices=sorted(names), positions=positions)[0]
    costs = CostModel(read_and_say(MeasurementStore(), say), CalibrationStore().read())
    chosen = guarded(policies.load(policy or policies.DEFAULT), LIVE_S, built_in=False)
    scheduler = Scheduler(chosen, costs, fallback=policies.load(policies.FALLBACK))
    for device in boards:
        scheduler.handle(DeviceJoined(0.0, device))
    job = spec.to_job("plan", 0.0, canonical=canonical_model)
    decision = scheduler.plan(job, 0.0)
    return Plan(job.name, job.workload.label, decision, suggestions(costs, job, boards))
