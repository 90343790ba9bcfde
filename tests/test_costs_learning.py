"""What must hold whatever is learnt, in whatever order."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.profiler.devices import device_model
from jetsched.profiler.evidence import RECENT
from jetsched.records import DeviceClass, Estimate, Job, Measurement, Never, Precision, Workload

CLASSES = (
    DeviceClass("xavier-nx", "20W_6CORE", "jetpack-5", 6157.0),
    DeviceClass("xavier-nx", "15W_6CORE", "jetpack-5", 6100.0),
    DeviceClass("orin-nano", "25W", "jetpack-6", 6907.0),
    DeviceClass("xavier-nx", "emulated", "torch", 2300.0, emulated=True),
    DeviceClass("orin-nano", "emulated", "torch", 3400.0, emulated=True),
    DeviceClass("orin-nano", "25W", "jetpack-6"),  # its memory was not measured
    DeviceClass("box-without-a-sheet", memory_mib=4000.0),
)
WORKLOADS = (
    *(
        Workload("train", model, batch_size=batch, seq_len=128, head=head)
        for model in ("tiny-gpt2", "distilgpt2", "gpt2")
        for batch in (1, 8)
        for head in ("qa", "lm")
    ),
    Workload("train", "gpt2", batch_size=8, seq_len=128, head="qa", precision="fp16"),
    Workload("infer", "tinyllama-1.1b", prompt_tokens=64, max_new_tokens=64, precision="fp16"),
    Workload("train", "somebody/unheard-of", batch_size=2, seq_len=64),
    Workload("command", "", command="python x.py"),
)
places = st.sampled_from(CLASSES)
works = st.sampled_from(WORKLOADS)
outcomes = st.sampled_from(["done", "done", "done", "killed_memory", "failed", "killed_time"])
measurements = st.builds(
    Measurement,
    workload=works,
    device_class=places,
    outcome=outcomes,
    amount=st.just(100.0),
    time_s=st.floats(10, 1000),
    load_s=st.floats(1, 9),
    work_s=st.none() | st.floats(1, 1000),
    peak_memory_mib=st.none() | st.floats(300, 7000),
    live_memory_mib=st.none() | st.floats(100, 300),
    swap_delta_mib=st.none() | st.floats(0, 200),
    gpu_util_pct=st.none() | st.floats(0, 100),
    energy_j=st.none() | st.floats(1, 1e5),
    at=st.sampled_from(["", "2026-11-20T08:00:00Z", "2026-11-21T08:00:00Z"]),
    source=st.sampled_from(["measured", "measured", "assumed"]),
)


def answers(model: CostModel) -> list[Estimate | Never]:
    return [
        model.verdict(Job("1", workload, 10.0), where)
        for where in CLASSES
        for workload in WORKLOADS
    ]


@given(st.lists(measurements, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_in_which_measurements_arrive_does_not_matter(
    rows: list[Measurement], random: Random
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert answers(CostModel(rows)) == answers(CostModel(shuffled))


@given(st.lists(measurements, max_size=10))
@settings(max_examples=60, deadline=None)
def test_no_answer_outlives_what_it_was_made_from(rows: list[Measurement]) -> None:
    """A model that is asked between measurements answers like one that never was."""
    model = CostModel()
    for row in rows:
        answers(model)
        model.learn(row)
    assert answers(model) == answers(CostModel(rows))


@given(st.lists(measurements, max_size=10))
@settings(max_examples=60, deadline=None)
def test_when_nothing_was_learnt_nothing_changes(rows: list[Measurement]) -> None:
    model = CostModel()
    before = answers(model)
    for row in rows:
        learnt = model.learn(row)
        after = answers(model)
        assert learnt or after == before
        before = after


@given(st.lists(measurements, max_size=6), st.lists(measurements, max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_commands_do_changes_no_answer_about_other_work(
    rows: list[Measurement], others: list[Measurement]
) -> None:
    """Nor about another command: what one is like is a first guess at that one alone."""
    ran = [replace(row, workload=as_command(row.workload, "ran")) for row in others]
    after = CostModel([*rows, *ran])
    assert answers(after) == answers(CostModel(rows))
    another = [Job("1", as_command(work, "another"), 10.0) for work in WORKLOADS]
    before = CostModel(rows)
    for job in another:
        for where in CLASSES:
            assert after.verdict(job, where) == before.verdict(job, where)


def as_command(work: Workload, command: str) -> Workload:
    """A command that is said to be like the work."""
    if work.kind == "command":
        return replace(work, command=command)
    return replace(work, kind="command", like=work.kind, command=command)


@given(st.lists(measurements, max_size=8))
@settings(max_examples=60, deadline=None)
def test_asking_changes_nothing(rows: list[Measurement]) -> None:
    model = CostModel(rows)
    assert answers(model) == answers(model)


@given(st.lists(measurements, max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_fits_has_room_for_what_is_admitted(rows: list[Measurement]) -> None:
    model = CostModel(rows)
    for where in CLASSES:
        for workload in WORKLOADS:
            found = model.verdict(Job("1", workload, 10.0), where)
            if isinstance(found, Never):
                continue
            has_mib = where.memory_mib or device_model(where.model).usable_mib
            assert found.peak_memory_mib + found.runtime_mib <= has_mib * (1 + 1e-9)
            assert (found.admitted_mib <= has_mib) == (found.fit == "fits")
            assert 0 < found.load_s <= found.time_s <= found.time_p90_s or found.load_s == 0


@given(st.lists(measurements, max_size=12), works, places)
@settings(max_examples=100, deadline=None)
def test_a_measured_kill_always_makes_never(
    rows: list[Measurement], workload: Workload, where: DeviceClass
) -> None:
    kill = Measurement(workload, where, "killed_memory", peak_memory_mib=where.memory_mib)
    for order in ([*rows, kill], [kill, *rows]):
        model = CostModel(order)
        for place in (where, replace(where, memory_mib=where.memory_mib / 2, software="other")):
            found = model.verdict(Job("1", workload, 10.0), place)
            assert isinstance(found, Never)
            assert found.code in ("NeverFits", "EnvMissing")


@given(measurements)
@settings(max_examples=60, deadline=None)
def test_more_memory_never_turns_yes_into_no(row: Measurement) -> None:
    model = CostModel([row])
    for where in CLASSES:
        for workload in WORKLOADS:
            small = model.verdict(Job("1", workload, 10.0), where)
            large = model.verdict(
                Job("1", workload, 10.0), replace(where, memory_mib=where.memory_mib * 2)
            )
            if isinstance(small, Estimate):
                assert isinstance(large, Estimate)
                assert large.fit == "fits" or small.fit == "tight"


@given(st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_latest_runs_tell_the_time_in_whatever_order_they_come(random: Random) -> None:
    """A board that is slower for good is believed after half as many runs as are looked at."""
    work = WORKLOADS[0]
    rates_s = [1.0] * 100 + [1.5] * (RECENT // 2 + 1)
    rows = [
        Measurement(
            work,
            CLASSES[2],
            "done",
            amount=10.0,
            time_s=9.0 + 10.0 * rate_s,
            load_s=9.0,
            work_s=10.0 * rate_s,
            phases_s={"optimizer": 3.0 * rate_s},
            peak_memory_mib=3000.0,
            at=f"2026-11-20T08:{n // 60:02}:{n % 60:02}+00:00",
        )
        for n, rate_s in enumerate(rates_s)
    ]
    random.shuffle(rows)
    found = CostModel(rows).verdict(Job("1", work, 1.0), CLASSES[2])
    assert isinstance(found, Estimate)
    assert (found.load_s, found.time_s, found.measurements) == (9.0, 10.5, RECENT)
    (runs,) = (runs for _, runs in CostModel(rows)._evidence.runs_of(work))
    assert len(runs.loads_s) == len(runs.phases_s["optimizer"]) == RECENT


# -------------------------------------------------------------------------------- calibrations


def a_calibration(where: DeviceClass, times: float, at: str) -> Calibration:
    rates: dict[Precision, float] = {"fp32": 40.0 * times, "fp16": 80.0 * times}
    return Calibration(where, 20.0 / times, 10.0 * times, rates, at=at)


calibrations = st.builds(
    a_calibration,
    where=places,
    times=st.floats(0.5, 2.0),
    at=st.sampled_from(["2026-11-20T08:00:00Z", "2026-11-21T08:00:00Z", "2026-11-22T08:00:00Z"]),
)


@given(st.lists(measurements, max_size=5), st.lists(calibrations, max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_calibration_that_comes_later_counts_like_one_from_the_start(
    rows: list[Measurement], found: list[Calibration]
) -> None:
    """Also of a model that was asked before; and when nothing was learnt, nothing changes."""
    model = CostModel(rows)
    for calibration in found:
        before = answers(model)
        assert model.calibrate(calibration) or answers(model) == before
    latest = {c.speed: c for c in sorted(found, key=lambda c: c.at)}  # of equal ones the last
    assert answers(model) == answers(CostModel(rows, latest.values()))


def test_an_older_calibration_does_not_replace_a_newer_one() -> None:
    old = a_calibration(CLASSES[2], 1.0, "2026-11-20T08:00:00Z")
    new = a_calibration(CLASSES[2], 2.0, "2026-11-21T08:00:00Z")
    model = CostModel()
    assert model.calibrate(new) and not model.calibrate(old) and not model.calibrate(new)
    assert answers(model) == answers(CostModel([], [new])) == answers(CostModel([], [new, old]))
