"""Traces and fleets from files, and every mistake in them told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import a_job

from jetsched import policies
from jetsched.cluster.fleet import default_fleet, load_fleet, numbered
from jetsched.cluster.paper_world import paper_mix
from jetsched.cluster.scenarios import trace_scenario
from jetsched.cluster.simulating import simulate
from jetsched.cluster.traces import Trace, read_trace, write_trace
from jetsched.errors import InputError
from jetsched.problems import FileProblems
from jetsched.records import DeviceClass, Estimate, Never, Workload

DATA = Path(__file__).parent.parent / ".." / "shared" / "data"
GAVEL = DATA / "gavel" / "gen_50_static.csv"


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problems(path: Path) -> list[str]:
    """``line field: message`` of everything that is wrong."""
    with pytest.raises(FileProblems) as caught:
        read_trace(path)
    return [f"{p.line} {p.path}: {p.message}" for p in caught.value.problems]


# --------------------------------------------------------------------------------------------- CSV


def test_run_times_of_a_csv_are_truth_and_estimate(tmp_path: Path) -> None:
    """An empty cell means that the job cannot run there; other columns are labels."""
    path = write(
        tmp_path,
        "job_id,arrival_s,run_s_v100,run_s_k80,team,priority,deadline_s\n"
        "a,0,10.5,40,red,80,100\n"
        "b,7,20,,blue,,\n",
    )
    trace = read_trace(path)
    first, second = trace.jobs
    assert (first.id, first.submitted_s, first.priority, first.deadline_s) == ("a", 0, 80, 100)
    assert (second.submitted_s, second.priority, second.deadline_s) == (7, 50, None)
    assert first.labels == (("team", "red"),)
    assert trace.device_models == ["k80", "v100"]
    costs = trace.costs()
    v100, k80 = DeviceClass("v100"), DeviceClass("k80")
    known = costs.verdict(first, k80)
    assert isinstance(known, Estimate) and known.time_s == known.time_p90_s == 40
    assert isinstance(costs.verdict(second, k80), Never)
    true = trace.truth().run(second, v100)
    assert true is not None and true.time_s == 20
    assert trace.truth().run(second, k80) is None


def test_a_deadline_in_a_csv_counts_from_arrival(tmp_path: Path) -> None:
    path = write(tmp_path, "job_id,arrival_s,run_s_x,deadline_s\na,50,1,10\n")
    assert read_trace(path).jobs[0].deadline_s == 60


def test_a_csv_may_describe_workloads_instead(tmp_path: Path) -> None:
    """Models are called by their known names, and new_tokens is max_new_tokens."""
    path = write(
        tmp_path,
        "job_id,arrival_s,kind,model,batch_size,seq_len,head,prompt_tokens,new_tokens,amount\n"
        "1,0,train,distilbert/distilgpt2,8,384,qa,,,5000\n"
        "2,1,,phi-2,,,,64,32,20\n",
    )
    trace = read_trace(path)
    assert trace.run_s == {}
    assert trace.jobs[0].workload == Workload(
        "train", "distilgpt2", batch_size=8, seq_len=384, head="qa"
    )
    assert trace.jobs[0].amount == 5000
    assert trace.jobs[1].workload == Workload("infer", "phi-2", prompt_tokens=64, max_new_tokens=32)


def test_everything_wrong_with_a_csv_is_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "job_id,arrival_s,run_s_v100,run_s_k80\n"
        "a,0,10,20\n"
        "a,1,10,20\n"
        "b,nan,10,20\n"
        "c,5,-3,20\n"
        "d,4,10,20\n"
        "e,6,,\n"
        "f,7,10\n"
        "g,,1,1\n"
        ",8,1,1\n"
        "h,-1,1,x\n",
    )
    assert problems(path) == [
        "3 job_id: 'a' is here twice, first in line 2",
        "4 arrival_s: 'nan' is not a number",
        "5 run_s_v100: -3 is not above 0",
        "6 arrival_s: 4 comes after 5",
        "7 : can run nowhere: it has no run time on any device",
        "8 : has 3 cells, the header has 4",
        "9 arrival_s: is empty",
        "10 job_id: is empty",
        "11 arrival_s: -1 is negative",
        "11 run_s_k80: 'x' is not a number",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["1 : the first line must name the columns"]),
        (
            "a,b\n1,0\n",
            ["1 : there is no column 'arrival_s'", "1 : nothing says how long the jobs run"],
        ),
        ("job_id,arrival_s,run_s_x\n", ["1 : there are no jobs in it"]),
        ("job_id,arrival_s\n1,0\n", ["1 : nothing says how long the jobs run"]),
        ("job_id,arrival_s,run_s_x,run_s_x\n1,0,1,1\n", ["1 : the column 'run_s_x' is here twice"]),
        ("job_id,arrival_s,model,amount\n1,0,gpt2,0\n", ["2 amount: 0 is not above 0"]),
    ],
)
def test_a_csv_of_another_form_is_refused(tmp_path: Path, text: str, found: list[str]) -> None:
    assert problems(write(tmp_path, text))[: len(found)] == found


def test_a_wrong_workload_names_the_field(tmp_path: Path) -> None:
    text = "job_id,arrival_s,model,precision,amount\n1,0,gpt2,fp7,1\n2,0,,fp32,1\n"
    assert problems(write(tmp_path, text)) == [
        "2 precision: 'fp7' is not one of fp32, fp16, bf16",
        "3 model: is empty",
    ]


def test_a_name_that_was_nearly_right_is_suggested(tmp_path: Path) -> None:
    path = write(tmp_path, "jobid,arrival_s,run_s_x\n1,0,1\n")
    with pytest.raises(FileProblems) as caught:
        read_trace(path)
    assert "is it called 'jobid'?" in caught.value.problems[0].hint


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"job_id,arrival_s,run_s_x\n\xff\xfe,0,1\n")
    assert problems(path) == ["2 : is not UTF-8"]


@pytest.mark.parametrize("name", ["missing.csv", "trace.txt"])
def test_a_path_that_is_no_trace_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        read_trace(tmp_path / name)


# ---------------------------------------------------------------------------------------- our own


def test_a_trace_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    mix = Trace(paper_mix(30, 1, mean_gap_s=60), {})
    write_trace(path, mix)
    assert read_trace(path) == mix
    timed = Trace([a_job("1"), a_job("2")], {"1": {"x": 1.5}, "2": {"x": 2.5, "y": 3.0}})
    write_trace(path, timed)
    assert read_trace(path) == timed


def test_everything_wrong_with_a_jsonl_is_told_at_once(tmp_path: Path) -> None:
    good = '{"id": "1", "workload": {"kind": "train", "model": "gpt2"}, "run_s": {"x": 1}}'
    path = write(
        tmp_path,
        f"{good}\n{good}\nnot json\n[1]\n"
        '{"id": "2", "workload": {"kind": "bake", "model": "gpt2"}}\n'
        '{"id": "3", "workload": {"kind": "train", "model": "gpt2"}, "run_s": {"x": "soon"}}\n'
        '{"id": "4", "workload": {"kind": "train", "model": "gpt2"}}\n',
        "trace.jsonl",
    )
    told = problems(path)
    assert [text.split()[0] for text in told] == ["2", "3", "4", "5", "6", "7"]
    assert "here twice" in told[0] and "not JSON" in told[1]
    assert told[-1] == "7 : has no run time, and other jobs have"


def test_a_field_that_no_job_has_is_told(tmp_path: Path) -> None:
    """Left out in silence, it would be another job. The names of a CSV's columns are understood."""
    work = '"workload": {"kind": "train", "model": "gpt2", "seq_len": 64'
    path = write(
        tmp_path,
        f'{{"job_id": "1", "arrival_s": 7, {work}}}}}\n'
        f'{{"id": "2", "submitted": 8, {work}}}}}\n'
        f'{{"id": "3", "submitted_s": 9, {work}, "batchsize": 4}}}}\n',
        "trace.jsonl",
    )
    assert problems(path) == [
        "2 submitted: is no field of a job",
        "3 workload.batchsize: is no field of a job",
    ]
    (job,) = read_trace(path, skip_bad_rows=True).jobs
    assert (job.id, job.submitted_s) == ("1", 7)


# ------------------------------------------------------------------------------ a trace on a fleet


def test_a_trace_with_run_times_runs_on_boards_without_a_data_sheet(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "job_id,arrival_s,run_s_v100\na,0,10\nb,0,20\n"))
    fleet = write(tmp_path, "devices: [{model: v100, count: 2}]\n", "fleet.yaml")
    with pytest.raises(FileProblems, match="no data sheet of 'v100'"):
        load_fleet(fleet)
    devices = load_fleet(fleet, timed_models=trace.device_models)
    run = simulate("earliest_finish", trace_scenario(trace, devices))
    assert run.metrics.makespan_s == 20 and run.metrics.mean_completion_s == 15
    assert run.metrics.energy_j is None


def test_a_fleet_that_the_trace_knows_nothing_of_is_refused(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "job_id,arrival_s,run_s_v100\na,0,10\n"))
    with pytest.raises(InputError, match="run times on v100 only"):
        trace_scenario(trace, default_fleet())


def test_a_trace_of_workloads_runs_by_the_cost_model() -> None:
    trace = Trace(paper_mix(24, 0), {})
    run = simulate("earliest_finish", trace_scenario(trace, default_fleet(), estimate_error=0.3))
    assert run.metrics.done == 24 and run.metrics.energy_j is not None


@pytest.mark.skipif(not GAVEL.exists(), reason="the reference data is not here")
def test_gavels_jobs_load_as_they_are_and_all_get_done() -> None:
    trace = read_trace(GAVEL)
    assert len(trace.jobs) == 50 and trace.device_models == ["k80", "p100", "v100"]
    classes = [(DeviceClass(model), 4, ()) for model in trace.device_models]
    for name in policies.BUILT_IN:
        run = simulate(name, trace_scenario(trace, numbered(classes)))
        assert run.metrics.unfinished == 0


# ------------------------------------------------------------------------------------------ fleets


def test_the_default_fleet_is_the_papers() -> None:
    assert [d.id for d in default_fleet()] == ["nx-1", "orin-1"]
    assert [d.model for d in default_fleet()] == ["xavier-nx", "orin-nano"]


def test_a_fleet_file_numbers_its_boards_per_model(tmp_path: Path) -> None:
    """A power mode that is not named is the default one; memory replaces the assumed one."""
    path = write(
        tmp_path,
        "devices:\n"
        "  - {model: orin-nano, power_mode: 15W, count: 2, labels: [lab]}\n"
        "  - {model: xavier-nx, memory: 5GiB}\n"
        "  - {model: orin-nano}\n",
        "fleet.yaml",
    )
    devices = load_fleet(path)
    assert [d.id for d in devices] == ["orin-1", "orin-2", "nx-1", "orin-3"]
    assert devices[0].labels == ("lab",) and devices[0].device_class.power_mode == "15W"
    assert devices[2].device_class.memory_mib == 5120
    assert devices[3].device_class.power_mode != ""
    assert devices[3].device_class.memory_mib > 6000


def test_everything_wrong_with_a_fleet_file_is_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "devices:\n"
        "  - {model: orin-nan, count: 0}\n"
        "  - {model: orin-nano, power_mode: 15V}\n"
        "  - {model: xavier-nx, memory: 5, colour: red}\n",
        "fleet.yaml",
    )
    with pytest.raises(FileProblems) as caught:
        load_fleet(path)
    told = {p.path: (p.line, p.hint) for p in caught.value.problems}
    assert set(told) == {
        "devices[0].model",
        "devices[0].count",
        "devices[1].power_mode",
        "devices[2].memory",
        "devices[2].colour",
    }
    assert told["devices[0].model"] == (2, "did you mean 'orin-nano'?")
    assert told["devices[1].power_mode"][1] == "did you mean '15W'?"


@pytest.mark.parametrize("text", ["devices: []\n", "boards: 3\n", "[1, 2]\n", "devices: {a: 1}\n"])
def test_a_file_that_is_no_fleet_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileProblems):
        load_fleet(write(tmp_path, text, "fleet.yaml"))
