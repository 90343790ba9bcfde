"""One run in simulation: a scenario under a policy."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import process_time

from jetsched import policies
from jetsched.cluster.guard import SIMULATED_S, guarded
from jetsched.cluster.moves import DISK_MIB_S, Transfer
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.truth import Truth
from jetsched.policies.interference import Interference
from jetsched.records import Device, DeviceClass, Job, Needs
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Action, DeviceJoined, Event, Finished
from jetsched.scheduler.journal import Journal, NoJournal
from jetsched.scheduler.loop import run
from jetsched.scheduler.metrics import Metrics, measure
from jetsched.scheduler.view import Costs, Policy


@dataclass(frozen=True)
class Scenario:
    """A world to simulate: what comes, on what it runs, how it really goes, and what is believed.

    ``estimates`` makes a cost model that has learnt nothing yet; it is called once per run.
    ``also`` is what else happens: a :class:`DeviceJoined` switches a board to another power mode,
    or brings a new one. With a ``transfer`` boards fetch models before they use them.
    ``disk_mib_s`` is how fast checkpoints are written and read; None: they cost nothing. Estimates
    know of neither. ``share`` is how many jobs a board may run at a time, where a policy puts them
    together, and ``interference`` how much they really slow each other.
    """

    jobs: Sequence[Job]
    devices: Sequence[Device]
    truth: Truth
    estimates: Callable[[], Costs]
    seed: int = 0
    outages: Sequence[Outage] = ()
    also: Sequence[Event] = ()
    transfer: Transfer | None = None
    disk_mib_s: float | None = DISK_MIB_S
    share: int = 1
    interference: Interference | None = None


@dataclass(frozen=True)
class SimulationRun:
    """What came of a scenario under a policy.

    Everything but ``loop_cpu_s`` is the same each time: CPU seconds of the loop alone.
    """

    policy: str
    seed: int
    metrics: Metrics
    scheduler: Scheduler
    devices: Sequence[Device]
    events: int
    loop_cpu_s: float
    warmup: float = 0.0

    @property
    def jobs_per_cpu_s(self) -> float:
        return self.metrics.jobs / self.loop_cpu_s if self.loop_cpu_s > 0 else 0.0


def simulate(
    policy: str | Policy,
    scenario: Scenario,
    *,
    journal: Journal | None = None,
    explain: bool = False,
    warmup: float = 0.0,
    watch: Callable[[int, int], None] | None = None,
) -> SimulationRun:
    """Run a scenario to its end under a policy: a spec for :func:`jetsched.policies.load`, or one.

    The fallback steps in where this one breaks its contract; ``scheduler.policy_errors`` of
    the result says so. Who neither explains nor keeps a journal is not told when runs have loaded,
    which changes nothing but the number of events.
    ``warmup`` is for :func:`~jetsched.scheduler.metrics.measure`; ``watch`` hears now and then how
    many runs have ended and how many jobs there are.
    """
    chosen = policies.load(policy, seed=scenario.seed) if isinstance(policy, str) else policy
    chosen = guarded(chosen, SIMULATED_S, built_in=False)
    scheduler = Scheduler(
        chosen,
        scenario.estimates(),
        fallback=policies.load(policies.FALLBACK),
        journal=journal if journal is not None else NoJournal(),
        explain=explain,
        share=scenario.share,
    )
    cluster = SimulatedCluster(
        scenario.devices,
        scenario.jobs,
        scenario.truth,
        seed=scenario.seed,
        outages=scenario.outages,
        also=scenario.also,
        transfer=scenario.transfer,
        disk_mib_s=scenario.disk_mib_s,
        interference=scenario.interference,
        reports_started=explain or journal is not None,
    )
    with _seldom_collected(never=_ours(chosen)):
        started_s = process_time()
        steps = run(scheduler, cluster)
        if watch is not None:
            steps = _watched(steps, len(scenario.jobs), watch)
        events = sum(1 for _ in steps)
        loop_cpu_s = process_time() - started_s
    known = {device.id for device in scenario.devices}
    new = {device.id: device for device in _joined(scenario) if device.id not in known}
    devices = [*scenario.devices, *new.values()]
    metrics = measure(
        scheduler,
        devices,
        fastest_s=_fastest_s(scenario),
        energy_j=cluster.energy_j if cluster.energy_known else None,
        warmup=warmup,
    )
    return SimulationRun(
        policy_name(chosen),
        scenario.seed,
        metrics,
        scheduler,
        devices,
        events,
        loop_cpu_s,
        warmup,
    )


#: A progress bar is told after so many events.
_TELL_EVERY = 2_000


def _watched(
    steps: Iterator[tuple[Event, list[Action]]], jobs: int, watch: Callable[[int, int], None]
) -> Iterator[tuple[Event, list[Action]]]:
    ended = 0
    for number, step in enumerate(steps):
        ended += isinstance(step[0], Finished)
        if number % _TELL_EVERY == 0:
            watch(min(ended, jobs), jobs)
        yield step


#: Python's garbage collector looks at new objects after so many, and at what has survived then only
#: when the program ends or asks for it. What a simulation keeps are jobs, and it keeps them all.
_NEW_OBJECTS = (100_000, 20, 1_000_000)


@contextmanager
def _seldom_collected(*, never: bool) -> Iterator[None]:
    """Keep the garbage collector from looking through a million jobs time and again.

    ``never``: nothing that runs leaves cycles behind, so that there is nothing to look for.
    """
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.freeze()
    gc.set_threshold(*_NEW_OBJECTS)
    if never:
        gc.disable()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        if enabled:
            gc.enable()


def _ours(policy: Policy) -> bool:
    """Whether it is one of the built-in policies: those are known to leave no cycles."""
    return type(policy).__module__.startswith(f"{policies.__name__}.")


def _joined(scenario: Scenario) -> list[Device]:
    """Boards that come later, or become others."""
    return [event.device for event in scenario.also if isinstance(event, DeviceJoined)]


def _fastest_s(scenario: Scenario) -> Callable[[Job], float | None]:
    """The true run time of a job on its best device, of those where it is not killed."""
    devices = [*scenario.devices, *_joined(scenario)]
    kinds_for: dict[Needs, list[DeviceClass]] = {}

    def fastest_s(job: Job) -> float | None:
        kinds = kinds_for.get(job.needs)
        if kinds is None:
            suited = (d.device_class for d in devices if d.satisfies(job.needs))
            kinds = kinds_for[job.needs] = list(dict.fromkeys(suited))
        runs = ((kind, scenario.truth.run(job, kind)) for kind in kinds)
        return min(
            (r.time_s for kind, r in runs if r and r.peak_memory_mib <= kind.memory_mib),
            default=None,
        )

    return fastest_s
