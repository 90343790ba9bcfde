"""Whatever happens in a simulated world, under every policy: the books are right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import TableCosts, a_job, nx, orin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invariants import check_invariants, check_starts

from jetsched import policies
from jetsched.cluster.noise import Perturbed
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.truth import TrueRun
from jetsched.files import to_json
from jetsched.records import FINAL_STATES, Device, DeviceClass, Job, Needs
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.draws import uniform
from jetsched.scheduler.events import CancelAsked, DeviceLost, Event, Finished, Start
from jetsched.scheduler.journal import MemoryJournal
from jetsched.scheduler.loop import run

MODELS = ("tiny-gpt2", "distilgpt2", "gpt2", "unknown")
SMALL_NX = DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 3000.0)
FLEET = (nx(1), nx(2), orin(1), Device("nx-small", SMALL_NX, ("spare",)))


class OddTruth:
    """Runs that differ from the estimates, and now and then need too much memory."""

    def run(self, job: Job, device_class: DeviceClass) -> TrueRun | None:
        key = (job.workload.model, device_class.model)
        if uniform("cannot start", job.id, device_class.model) < 0.05:
            return None
        peak_mib = 8000.0 * uniform("memory", *key, job.id)
        return TrueRun(20 * uniform("time", job.id, *key), 1.0, peak_mib, energy_j=100.0)


def costs() -> TableCosts:
    return TableCosts(
        {
            ("tiny-gpt2", "xavier-nx"): 5.0,
            ("tiny-gpt2", "orin-nano"): 3.0,
            ("distilgpt2", "xavier-nx"): 20.0,
            ("distilgpt2", "orin-nano"): 8.0,
            ("gpt2", "xavier-nx"): 15.0,
            ("gpt2", "orin-nano"): 10.0,
        },
        tight={("gpt2", "xavier-nx")},
    )


jobs = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(MODELS),
            "submitted_s": st.integers(0, 60).map(float),
            "priority": st.sampled_from([50, 50, 80]),
            "time_limit_s": st.sampled_from([None, None, 5.0]),
            "checkpoint_every_s": st.sampled_from([None, 3.0]),
            "needs": st.sampled_from(
                [Needs(), Needs(), Needs(device=("spare",)), Needs(device=("orin-nano",))]
            ),
        }
    ),
    max_size=25,
)
outages = st.lists(
    st.builds(
        lambda device, from_s, lasts_s: Outage(device.id, float(from_s), float(from_s + lasts_s)),
        st.sampled_from(FLEET),
        st.integers(0, 80),
        st.integers(1, 40),
    ),
    max_size=4,
)
cancels = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 24)), max_size=4)
world = st.fixed_dictionaries(
    {"jobs": jobs, "outages": outages, "cancels": cancels, "seed": st.integers(0, 99)}
)


def play(name: str, drawn: dict[str, Any]) -> tuple[Scheduler, MemoryJournal, list[Event]]:
    """Run a world to its end, with all that must hold checked after every event."""
    trace = [a_job(str(n), **fields) for n, fields in enumerate(drawn["jobs"])]
    cluster = SimulatedCluster(
        FLEET,
        trace,
        OddTruth(),
        seed=drawn["seed"],
        outages=drawn["outages"],
        also=[CancelAsked(float(at_s), str(n)) for at_s, n in drawn["cancels"]],
    )
    journal = MemoryJournal()
    scheduler = Scheduler(
        policies.load(name, seed=drawn["seed"]),
        Perturbed(costs(), 0.5, drawn["seed"]),
        journal=journal,
    )
    heard = []
    for event, actions in run(scheduler, cluster):
        heard.append(event)
        check_invariants(scheduler)
        check_starts(scheduler, actions)
        check_one_at_a_time(scheduler, actions)
    return scheduler, journal, heard


def check_one_at_a_time(scheduler: Scheduler, actions: list[Any]) -> None:
    """Nothing is started on a device where something runs."""
    started = [a.placement.device.id for a in actions if isinstance(a, Start)]
    assert len(set(started)) == len(started)
    running = [a.device for r in scheduler.jobs.values() for a in r.attempts if a.outcome is None]
    assert len(set(running)) == len(running)


bounded = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.data_too_large]
)


@pytest.mark.parametrize("name", policies.BUILT_IN)
@bounded
@given(drawn=world)
def test_the_books_are_right_under_every_policy(name: str, drawn: dict[str, Any]) -> None:
    """Through losses, kills, cancellations, time limits and wrong estimates, to the end."""
    scheduler, _, events = play(name, drawn)
    assert scheduler.policy_errors == []
    assert len(scheduler.jobs) == len(drawn["jobs"])
    for record in scheduler.jobs.values():
        assert record.current is None  # nothing is forgotten on a device
        if record.state not in FINAL_STATES:
            assert not scheduler.view(scheduler.now_s).options(record.job)
    ended = sum(isinstance(e, Finished) for e in events)
    lost = sum(a.outcome == "lost" for r in scheduler.jobs.values() for a in r.attempts)
    assert ended + lost == sum(len(r.attempts) for r in scheduler.jobs.values())
    assert lost <= sum(isinstance(e, DeviceLost) for e in events)


@pytest.mark.parametrize("name", policies.BUILT_IN)
@settings(bounded, max_examples=25)
@given(drawn=world)
def test_the_same_seed_gives_the_same_journal(name: str, drawn: dict[str, Any]) -> None:
    """Byte for byte, decisions and their explanations included."""
    first, second = (
        json.dumps([to_json(entry, tag=True) for entry in play(name, drawn)[1]]) for _ in range(2)
    )
    assert first == second
