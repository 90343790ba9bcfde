"""Worlds out of options: traces of every form, fleets in words, and what cannot be told apart."""

from __future__ import annotations

import pickle
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.cluster.capacity import capacity
from jetsched.cluster.fleet import class_of, default_fleet, load_plan, read_fleet
from jetsched.cluster.paper_world import MIX, REFERENCE, paper_kill
from jetsched.cluster.requests import LEAST_NEW, LEAST_PROMPT, MOST_TOKENS, Requests
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.streams import Durations
from jetsched.cluster.traces import read_source, read_trace
from jetsched.cluster.worldchecks import arguments, describe
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import scenario, worlds
from jetsched.errors import InputError
from jetsched.files import json_bytes, to_json
from jetsched.problems import FileProblems
from jetsched.profiler.bundled import paper_class
from jetsched.profiler.paper import NX
from jetsched.records import Estimate

DATA = Path(__file__).parent.parent / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the reference data is not here")

TIMED = "job_id,arrival_s,run_s_v100,run_s_k80\na,0,10,40\nb,10,20,\nc,20,,5\n"


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def told(options: WorldOptions) -> list[str]:
    """``line field: message`` of everything that is wrong."""
    with pytest.raises(FileProblems) as caught:
        worlds(options)
    return [f"{p.line} {p.path}: {p.message}" for p in caught.value.problems]


def all_done_s(world: Scenario) -> float:
    made = simulate("earliest_finish", world).metrics.makespan_s
    assert made is not None
    return made


# ----------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "--trace FILE, --generate N and --replay"),
        ({"generate": 5, "replay": "all"}, "give one of"),
        ({"generate": 0}, "cannot generate 0"),
        ({"generate": 5, "load": 0.0}, "--load"),
        ({"generate": 5, "load": -1.0}, "--load"),
        ({"generate": 5, "load": float("nan")}, "--load"),
        ({"generate": 5, "arrivals": "poisson"}, "needs a --load"),
        ({"generate": 5, "load": 0.5, "arrivals": "static"}, "at once"),
        ({"generate": 5, "load": 0.5, "arrivals": "often"}, "no 'often' arrivals"),
        ({"generate": 5, "load": 0.5, "burstiness": 2.0}, "--burstiness"),
        ({"generate": 5, "load": 0.5, "period_s": 60.0}, "--period"),
        ({"generate": 5, "mix": "paper"}, "--mix is for --trace"),
        ({"generate": 5, "estimate_error": 9.0}, "--estimate-error"),
        ({"generate": 5, "skip_bad_rows": True}, "--skip-bad-rows"),
        ({"generate": 5, "history": Path("x")}, "--history"),
        ({"generate": 5, "fleet": "orin-nano:4,"}, "is no file and no board"),
        ({"generate": 5, "fleet": "v100:4"}, "no data sheet of 'v100'"),
        ({"generate": 5, "counts": (1,)}, "1 numbers of boards for the 2 entries"),
        ({"generate": 5, "counts": (0, 0)}, "a fleet of 0 boards"),
        ({"generate": 5, "link": "50"}, "--link 50: needs a unit"),
        ({"generate": 5, "cache": "5GiB"}, "--cache is for --link"),
        ({"generate": 5, "disk": "0MiB"}, "--disk 0MiB is out of range"),
        ({"trace": Path("no.csv")}, "no such file"),
        ({"trace": Path("/")}, "is no trace"),
        ({"replay": "soon"}, "--replay 'soon'"),
    ],
)
def test_options_that_make_no_sense_are_told(given: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        worlds(WorldOptions(**given))


def test_options_travel_and_make_the_same_world_elsewhere() -> None:
    """A worker gets options, not worlds: same seed, same bytes."""
    options = WorldOptions(generate=40, load=0.8, outages="5h,10m", estimate_error=0.3)
    copy = pickle.loads(pickle.dumps(options))
    assert copy == options and hash(copy) == hash(options)
    (here,) = worlds(replace(options, seed=7))
    there = scenario(copy, 7)
    assert json_bytes(to_json(here.jobs)) == json_bytes(to_json(there.jobs))
    assert here.outages == there.outages
    job, kind = here.jobs[0], here.devices[0].device_class
    assert here.estimates().verdict(job, kind) == there.estimates().verdict(job, kind)


def test_each_seed_is_a_world_of_its_own() -> None:
    first, second = worlds(WorldOptions(generate=24, load=0.8, seed=3), seeds=2)
    assert (first.seed, second.seed) == (3, 4) and list(first.jobs) != list(second.jobs)


def test_options_are_told_as_sentences_and_as_a_command_line() -> None:
    options = WorldOptions(
        trace=Path("t.csv"), mix="paper", load=0.9, fleet="f.yaml", counts=(4, 2), seed=3
    )
    words = "--trace t.csv --fleet f.yaml --counts 4,2 --load 0.9 --mix paper --seed 3"
    assert arguments(options) == words.split()
    text = " ".join(describe(options))
    assert "t.csv" in text and "assumed" in text and "0.9" in text and "4, 2 boards" in text


def test_a_generated_world_knows_its_run_times_but_not_the_kill() -> None:
    """What is estimated is true, but for GPT-2 Small on the Xavier NX: that is met and learnt."""
    world = scenario(WorldOptions(generate=48), 0)
    costs, surprises = world.estimates(), set()
    for job in world.jobs:
        for device in world.devices:
            said = costs.verdict(job, device.device_class)
            run = world.truth.run(job, device.device_class)
            assert isinstance(said, Estimate) and run is not None
            if run.peak_memory_mib > device.device_class.memory_mib:
                surprises.add((job.workload, device.model))
            else:
                assert said.time_s == pytest.approx(run.time_s)
    assert surprises == {(paper_kill().workload, NX)}


def test_a_fleet_that_cannot_run_some_of_the_mix_is_noted() -> None:
    found = worlds(WorldOptions(generate=24, fleet="xavier-nx:2"))
    assert found.notes == [
        "no board of this fleet can run train gpt2 b4x384 fp32: such jobs are given up"
    ]
    run = simulate("earliest_finish", next(iter(found)))
    assert run.metrics.unfinished == 5
    assert worlds(WorldOptions(generate=24)).notes == []


# ------------------------------------------------------------------------------------------ fleets


def test_a_fleet_in_words_is_that_of_a_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "devices: [{model: orin-nano, power_mode: 15W, count: 2}, {model: xavier-nx, count: 1}]\n",
        "fleet.yaml",
    )
    assert read_fleet("orin-nano@15W:2, xavier-nx").devices == read_fleet(str(path)).devices
    assert list(read_fleet(None).devices) == default_fleet()
    assert class_of(NX) == paper_class(NX)
    assert len(read_fleet(str(path), counts=(0, 3)).devices) == 3


def test_a_fleet_file_tells_outages_and_prices(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "devices: [{model: orin-nano, count: 2, price: 249}]\n"
        "outages: [{device: orin-1, from: 0, until: 1h}, {device: orin-2, from: 30m}]\n",
        "fleet.yaml",
    )
    plan = load_plan(path)
    assert plan.prices == {"orin-nano": 249}
    assert plan.outages == [Outage("orin-1", 0.0, 3600.0), Outage("orin-2", 1800.0, inf)]
    (world,) = worlds(WorldOptions(generate=8, fleet=str(path)))
    run = simulate("earliest_finish", world)
    starts = {a.device: a.start_s for r in run.scheduler.jobs.values() for a in r.attempts}
    assert starts["orin-1"] >= 3600 and run.metrics.unfinished == 0


def test_outages_and_prices_that_make_no_sense_are_told(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "devices:\n"
        "  - {model: orin-nano, count: 2, price: 249}\n"
        "  - {model: orin-nano, price: 250}\n"
        "outages:\n"
        "  - {device: orin-9, from: 0}\n"
        "  - {device: orin-1, from: 2h, until: 1h}\n"
        "power_modes:\n"
        "  - {device: orin-9, at: 1h, power_mode: 15W}\n"
        "  - {device: orin-1, at: 1h, power_mode: 5W}\n",
        "fleet.yaml",
    )
    with pytest.raises(FileProblems) as caught:
        load_plan(path)
    assert {(p.line, p.path) for p in caught.value.problems} == {
        (3, "devices.price"),
        (5, "outages[0].device"),
        (6, "outages[1].until"),
        (8, "power_modes[0].device"),
        (9, "power_modes[1].power_mode"),
    }


def test_a_board_may_change_its_power_mode(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "devices: [{model: orin-nano, memory: 6GiB}]\n"
        "power_modes: [{device: orin-1, at: 10s, power_mode: 15W}]\n",
        "fleet.yaml",
    )
    (change,) = load_plan(path).also
    assert change.at_s == 10.0 and change.device.device_class == class_of(
        "orin-nano", "15W", 6144.0
    )
    slow, fast = (
        all_done_s(scenario(WorldOptions(generate=6, fleet=fleet), 0))
        for fleet in (str(path), "orin-nano")
    )
    assert slow > 1.2 * fast


def test_models_are_fetched_and_checkpoints_written_as_fast_as_the_options_say() -> None:
    plain = WorldOptions(generate=24)
    world = scenario(replace(plain, link="10MiB", cache="4GiB", disk="100MB"), 0)
    assert world.transfer is not None
    assert (world.transfer.link_mib_s, world.transfer.cache_mib) == (10.0, 4096.0)
    assert world.disk_mib_s == pytest.approx(95.367, abs=0.001)
    known, fetched = all_done_s(scenario(plain, 0)), all_done_s(world)
    assert fetched > known + 100


# ---------------------------------------------------------------------------- jobs that fit nowhere


def test_a_job_that_fits_nowhere_is_told_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, TIMED)
    assert told(WorldOptions(trace=path, fleet="v100:2")) == [
        "4 : fits no device of the fleet: it has no run time on v100"
    ]
    found = worlds(WorldOptions(trace=path, fleet="v100:2", skip_bad_rows=True))
    assert found.skipped == 1 and found.left_out[0].line == 4
    assert [job.id for job in next(iter(found)).jobs] == ["a", "b"]
    assert found.notes == [f"1 bad row of {path} was left out"]


def test_a_fleet_that_no_job_knows_is_told_with_one_that_they_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run times on k80, v100 only") as caught:
        worlds(WorldOptions(trace=write(tmp_path, TIMED)))
    assert caught.value.hint == "--fleet k80:4,v100:4"


def test_workloads_that_nothing_can_run_are_told_by_their_line(tmp_path: Path) -> None:
    """An unknown model, too many tokens, too much memory; a command like nothing can run."""
    path = write(
        tmp_path,
        "job_id,arrival_s,kind,model,batch_size,seq_len,prompt_tokens,new_tokens,precision,amount\n"
        "1,0,train,distilgtp2,1,64,,,,1\n"
        "2,1,infer,tinyllama,1,,2000,100,,1\n"
        "3,2,infer,phi-2,1,,64,64,fp32,1\n"
        "4,3,command,,,,,,,\n"
        "5,4,train,distilgpt2,1,64,,,,1\n",
    )
    found = told(WorldOptions(trace=path))
    assert found[0] == "2 model: 'distilgtp2' is not known"
    assert found[1] == "3 model: tinyllama-1.1b has only 2,048 positions, 2,100 are asked for"
    assert found[2].startswith("4 : fits no device of the fleet: xavier-nx @ 20W_6CORE: needs ")
    assert len(found) == 3


def test_rows_that_cannot_be_read_hide_no_job_that_cannot_run(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "job_id,arrival_s,kind,model,seq_len,epochs\n"
        "1,0,train,distilgtp2,64,1\n2,1,train,gpt2,64,-1\n3,2,train,gpt2,64,1\n"
        "4,3,train,gpt2,2048,1\n",
    )
    assert told(WorldOptions(trace=path)) == [
        "2 model: 'distilgtp2' is not known",
        "3 epochs: -1 is below 1",
        "5 model: gpt2 has only 1,024 positions, 2,048 are asked for",
    ]


def test_counts_of_a_workload_must_be_counts(tmp_path: Path) -> None:
    text = (
        "job_id,arrival_s,kind,model,batch_size,seq_len,prompt_tokens,new_tokens,amount\n"
        "1,0,train,gpt2,0,64,,,1\n2,0,train,gpt2,1,7,,,1\n3,0,infer,gpt2,1,,64,-1,1\n"
    )
    assert told(WorldOptions(trace=write(tmp_path, text))) == [
        "2 batch_size: 0 is below 1",
        "3 seq_len: 7 is below 8",
        "4 max_new_tokens: -1 is below 1",
    ]


def test_a_wish_that_no_board_meets_is_told(tmp_path: Path) -> None:
    line = (
        '{"id": "1", "workload": {"kind": "train", "model": "gpt2", "seq_len": 64},'
        ' "needs": {"device": ["agx-orin"]}}\n'
    )
    path = write(tmp_path, line, "trace.jsonl")
    assert told(WorldOptions(trace=path)) == ["1 needs: no device of the fleet is agx-orin"]
    assert len(worlds(WorldOptions(trace=path, fleet="agx-orin:1"))) == 1


# -------------------------------------------------------------------------------- rows that are bad

BAD = (
    "job_id,arrival_s,run_s_x\n"
    "a,0,10\na,1,10\nb,nan,10\nc,5,-3\nd,4,10\ne,6\nf,7,\ng,8,1\nh,-1,1\ni,1e99,1\nj,9,2\n"
)


def test_bad_rows_are_left_out_and_counted_on_request(tmp_path: Path) -> None:
    """A row that is left out has no say in whether the rows after it are in order."""
    trace = read_trace(write(tmp_path, BAD), skip_bad_rows=True)
    assert [(job.id, line) for job, line in zip(trace.jobs, trace.lines, strict=True)] == [
        ("a", 2),
        ("d", 6),
        ("g", 9),
        ("j", 12),
    ]
    assert trace.skipped == 7 and [p.line for p in trace.left_out] == [3, 4, 5, 7, 8, 10, 11]
    with pytest.raises(FileProblems) as caught:
        read_trace(tmp_path / "trace.csv")
    assert len(caught.value.problems) == 8  # with them, d is out of order


def test_a_file_of_bad_rows_alone_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "job_id,arrival_s,run_s_x\na,x,1\nb,y,1\n")
    with pytest.raises(FileProblems) as caught:
        read_trace(path, skip_bad_rows=True)
    assert [p.line for p in caught.value.problems] == [2, 3]


def test_only_the_first_problems_of_many_are_kept_and_all_rows_counted(tmp_path: Path) -> None:
    rows = "".join(f"{n},x,1\n" for n in range(500))
    path = write(tmp_path, f"job_id,arrival_s,run_s_x\ngood,0,1\n{rows}")
    trace = read_trace(path, skip_bad_rows=True)
    assert trace.skipped == 500 and len(trace.left_out) == 100


def test_a_file_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many rows, and a line that never ends; with bad rows left out as well."""
    monkeypatch.setattr("jetsched.cluster.traces_csv.MOST_ROWS", 2)
    path = write(tmp_path, "job_id,arrival_s,run_s_x\na,0,1\nb,0,1\nc,0,1\n")
    with pytest.raises(FileProblems, match="more than 2 rows"):
        read_trace(path, skip_bad_rows=True)
    good = '{"id": "1", "workload": {"kind": "train", "model": "gpt2", "seq_len": 64}}\n'
    path = write(tmp_path, "x" * 3_000_000 + "\n" + good, "trace.jsonl")
    trace = read_trace(path, skip_bad_rows=True)
    assert trace.skipped == 1 and trace.lines == [2]
    assert "longer than 1,048,576 bytes" in trace.left_out[0].message


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e6),
            st.lists(st.none() | st.floats(0.001, 1e6), min_size=3, max_size=3).filter(any),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_run_times_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, list[float | None]]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "roundtrip.csv"
    lines = ["job_id,arrival_s,run_s_a,run_s_b,run_s_c"]
    rows.sort(key=lambda row: row[0])
    for number, (at_s, times) in enumerate(rows):
        cells = ["" if time_s is None else repr(time_s) for time_s in times]
        lines.append(",".join([str(number), repr(at_s), *cells]))
    path.write_text("\n".join(lines))
    trace = read_trace(path)
    assert [job.submitted_s for job in trace.jobs] == [at_s for at_s, _ in rows]
    for job, (_, times) in zip(trace.jobs, rows, strict=True):
        known = {m: t for m, t in zip("abc", times, strict=True) if t is not None}
        assert dict(trace.run_s[job.id]) == known
        for model in "abc":
            run = trace.truth().run(job, class_of(model))
            assert (None if run is None else run.time_s) == known.get(model)


# --------------------------------------------------------------------------------------- durations


def test_durations_are_kept_on_the_reference_board() -> None:
    durations = [60.0, 177.0, 4000.0, 13_000.0] * 30
    jobs = Durations([float(n) for n in range(120)], durations).jobs(0)
    world = scenario(WorldOptions(generate=1), 0)
    for job, duration_s in zip(jobs, durations, strict=True):
        run = world.truth.run(job, REFERENCE)
        assert run is not None and run.time_s == pytest.approx(duration_s)
    drawn = [sum(job.workload == share.workload for job in jobs) for share in MIX]
    assert drawn == [5 * share.count for share in MIX]


def test_a_stream_of_durations_needs_a_mix(tmp_path: Path) -> None:
    path = write(tmp_path, "arrival_s,duration_s\n0,100\n50,60\n")
    with pytest.raises(InputError) as caught:
        worlds(WorldOptions(trace=path))
    assert caught.value.hint == "add --mix paper"
    first, second = worlds(WorldOptions(trace=path, mix="paper"), seeds=2)
    assert [job.submitted_s for job in first.jobs] == [0, 50]
    assert [j.workload for j in first.jobs] != [j.workload for j in second.jobs]
    with pytest.raises(InputError, match="--mix is for durations"):
        worlds(WorldOptions(trace=write(tmp_path, TIMED), mix="paper"))


def test_durations_may_have_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "job_id,arrival_s,duration_s\nb,0,60\na,1,60\nb,2,60\nc,3,0\nd,4,60\n")
    assert told(WorldOptions(trace=path, mix="paper")) == [
        "4 job_id: 'b' is here twice, first in line 2",
        "5 duration_s: 0 is not above 0",
    ]
    world = scenario(WorldOptions(trace=path, mix="paper", skip_bad_rows=True), 0)
    assert [(job.id, job.submitted_s) for job in world.jobs] == [("b", 0), ("a", 1), ("d", 4)]


def test_a_trace_can_be_as_busy_as_one_likes(tmp_path: Path) -> None:
    """--load stretches the arrivals, --arrivals draws new ones; the jobs stay as they are."""
    rows = "".join(f"{n * n},{60 + n}\n" for n in range(200))
    path = write(tmp_path, f"arrival_s,duration_s\n{rows}")
    plain = WorldOptions(trace=path, mix="paper")
    for options in (replace(plain, load=0.5), replace(plain, load=0.5, arrivals="poisson")):
        (world,) = worlds(options)
        times = [job.submitted_s for job in world.jobs]
        rate = 199 / (times[-1] - times[0])
        load = rate / capacity(world.jobs, world.devices, world.truth)
        assert load == pytest.approx(0.5, rel=1e-6 if options.arrivals is None else 0.3)
        assert [j.amount for j in world.jobs] == [j.amount for j in scenario(plain, 0).jobs]
    stretched = [job.submitted_s for job in scenario(replace(plain, load=0.5), 0).jobs]
    assert stretched[100] / stretched[199] == pytest.approx(100**2 / 199**2)
    at_once = write(tmp_path, "arrival_s,duration_s\n5,60\n5,60\n", "static.csv")
    with pytest.raises(InputError, match="all come at once"):
        next(iter(worlds(WorldOptions(trace=at_once, mix="paper", load=0.5))))


# ---------------------------------------------------------------------------------------- requests


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 500), st.integers(1, 5000), st.integers(1, 3000)),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 32),
)
def test_every_request_is_in_one_job_that_is_large_enough_for_it(
    rows: list[tuple[float, int, int]], batch: int
) -> None:
    rows.sort()
    arrivals, prompts, news = zip(*rows, strict=True)
    found = Requests(arrivals, prompts, news).group("tinyllama", window_s=60.0, batch=batch)
    assert sum(job.amount for job in found.jobs) == len(rows)
    assert [job.submitted_s for job in found.jobs] == sorted(j.submitted_s for j in found.jobs)
    for job in found.jobs:
        work = job.workload
        assert work.prompt_tokens + work.max_new_tokens <= 2048
        assert 1 <= work.batch_size <= min(batch, job.amount)
        assert (
            work.batch_size == 1
            or work.batch_size * (work.prompt_tokens + work.max_new_tokens) <= MOST_TOKENS
        )
        assert work.prompt_tokens >= LEAST_PROMPT and work.max_new_tokens >= LEAST_NEW
    fitting = [p <= 1024 and n <= 1024 for _, p, n in rows]
    assert found.cut <= len(rows) - sum(fitting)


def test_requests_of_one_window_and_size_are_one_job(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "arrival_s,prompt_tokens,new_tokens\n"
        "0,200,40\n1,250,60\n2,129,33\n30,1000,40\n59,250,64\n61,250,64\n",
    )
    found = worlds(WorldOptions(trace=path, model="phi-2", batch=4))
    (world,) = found
    assert [
        (j.submitted_s, j.amount, j.workload.prompt_tokens, j.workload.batch_size)
        for j in world.jobs
    ] == [(60, 4, 256, 4), (60, 1, 1024, 1), (120, 1, 256, 1)]
    assert "6 requests were grouped into 3 jobs of phi-2; 0 were cut" in found.notes[0]
    assert simulate("earliest_finish", world).metrics.done == 3


def test_a_model_for_requests_must_be_known_and_there_must_be_requests(tmp_path: Path) -> None:
    path = write(tmp_path, "arrival_s,prompt_tokens,new_tokens\n0,200,40\n")
    with pytest.raises(InputError, match="not known") as caught:
        worlds(WorldOptions(trace=path, model="tinylama"))
    assert "tinyllama" in caught.value.hint
    with pytest.raises(InputError, match="holds none"):
        worlds(WorldOptions(trace=write(tmp_path, TIMED, "t.csv"), model="phi-2", fleet="v100"))


# ---------------------------------------------------------------------------------- reference data


@needs_data
@pytest.mark.parametrize("name", ["gen_50_static", "gen_100_lam400", "gen_300_lam250"])
def test_gavels_jobs_load_as_they_are(name: str) -> None:
    """Run times on three kinds of GPU are truth and estimate; what else there is are labels."""
    found = worlds(WorldOptions(trace=DATA / "gavel" / f"{name}.csv", fleet="v100:4,p100:4,k80:4"))
    (world,) = found
    assert found.skipped == 0 and len(world.jobs) == int(name.split("_")[1])
    labels = dict(world.jobs[0].labels)
    assert labels["job_type"] == "Transformer (batch size 128)" and labels["slo"] == "-1.0"


@needs_data
def test_real_streams_load_as_they_are() -> None:
    philly = read_source(DATA / "traces" / "philly_a.csv")
    assert isinstance(philly, Durations) and len(philly.durations_s) == 4000
    (world,) = worlds(WorldOptions(trace=DATA / "traces" / "philly_a.csv", mix="paper", load=0.9))
    assert len(world.jobs) == 4000
    (world,) = worlds(WorldOptions(trace=DATA / "traces" / "azure_conv.csv"))
    assert sum(job.amount for job in world.jobs) == 19_366
