"""Any damage to a trace is told by line, or changes nothing: never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetsched.cluster.paper_world import paper_mix
from jetsched.cluster.simulating import simulate
from jetsched.cluster.traces import Trace, write_trace
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import worlds
from jetsched.errors import InputError
from jetsched.problems import FileProblems

TIMED = (
    "job_id,arrival_s,team,priority,deadline_s,run_s_orin-nano,run_s_xavier-nx\n"
    "a,0,red,50,,10.5,40\nb,7,blue,80,100,20,\nc,7,,,,,30\nd,9,red,,,1,1\n"
)
WORKLOADS = (
    "job_id,arrival_s,kind,model,batch_size,seq_len,head,prompt_tokens,new_tokens,amount\n"
    "1,0,train,distilgpt2,8,384,qa,,,500\n2,1,,phi-2,,,,64,32,20\n"
    "3,2,infer,tinyllama-1.1b,4,,,64,64,8\n"
)
DURATIONS = "arrival_s,duration_s\n0,177\n7,178\n14,171\n"
REQUESTS = "arrival_s,prompt_tokens,new_tokens\n0,374,44\n4.3,396,109\n4.5,879,55\n90,2000,900\n"

#: What gets into files by mistake, or on purpose.
ODD = [
    "", ",", '"', "\n", "\r", "\0", "nan", "inf", "-1", "1e999", "1e18", "0", "0x1f", "1_000",
    "\ufeff", "\ud7ff", "é", " ", "\t", "-0.0", "run_s_", "job_id", "[]", "{}", "null", "true",
    "\u2028", "9" * 400, "a" * 200_000, "[" * 2000, '{"a":' * 300, "\\ud800", "'", ";", "1,5",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, text: str) -> bytes:
    """The text with a few places cut out, written over, or doubled."""
    data = text.encode()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 30)))
        put = draw(
            st.sampled_from(ODD).map(str.encode) | st.binary(max_size=4) | st.just(data[at:end] * 2)
        )
        data = data[:at] + put + data[end:]
    return data


def run_or_told(path: Path, **options: object) -> None:
    """The world runs to its end, or what is wrong with its file is told, with lines of the file."""
    lines = path.read_bytes().count(b"\n") + path.read_bytes().count(b"\r") + 1
    try:
        (world,) = worlds(WorldOptions(trace=path, **options))  # type: ignore[arg-type]
    except FileProblems as found:
        assert found.problems and all(1 <= p.line <= lines for p in found.problems)
        assert found.text().encode()
        return
    except InputError as error:
        assert str(error).encode()
        return
    run = simulate("earliest_finish", world)
    assert run.metrics.jobs == len(world.jobs) > 0


@pytest.mark.slow
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    ("text", "options"),
    [(TIMED, {}), (WORKLOADS, {}), (DURATIONS, {"mix": "paper"}), (REQUESTS, {})],
    ids=["timed", "workloads", "durations", "requests"],
)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(st.data())
def test_a_damaged_csv(
    tmp_path: Path, text: str, options: dict[str, object], skip: bool, data: st.DataObject
) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(data.draw(damaged(text)))
    run_or_told(path, skip_bad_rows=skip, **options)


@pytest.mark.slow
@pytest.mark.parametrize("timed", [False, True])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(st.data(), st.booleans())
def test_a_damaged_jsonl(tmp_path: Path, timed: bool, data: st.DataObject, skip: bool) -> None:
    path = tmp_path / "trace.jsonl"
    jobs = paper_mix(4, 1, mean_gap_s=60)
    write_trace(path, Trace(jobs, {job.id: {"orin-nano": 5.0} for job in jobs} if timed else {}))
    path.write_bytes(data.draw(damaged(path.read_text())))
    run_or_told(path, skip_bad_rows=skip)


ODD_VALUES: st.SearchStrategy[object] = st.sampled_from(
    [None, -1, 0, 1e308, 10**400, -0.0, "", "x", "\0", "\ud800", [], [[]], {}, {"a": 1}, True, 1.5]
)


@pytest.mark.slow
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data(), st.booleans())
def test_a_field_of_another_kind(tmp_path: Path, data: st.DataObject, skip: bool) -> None:
    """Any field of a job in JSON may hold anything."""
    path = tmp_path / "trace.jsonl"
    jobs = paper_mix(3, 1, mean_gap_s=60)
    write_trace(path, Trace(jobs, {}))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    job = lines[data.draw(st.integers(0, 2))]
    part = job[data.draw(st.sampled_from(["workload", "needs", "retry"]))]
    holder = data.draw(st.sampled_from([job, part]))
    holder[data.draw(st.sampled_from([*holder, "run_s"]))] = data.draw(ODD_VALUES)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_or_told(path, skip_bad_rows=skip)
