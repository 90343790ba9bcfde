"""The work columns of a trace mean what the fields of ``work`` mean in a job file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetsched.cluster.requests import Requests
from jetsched.cluster.traces import read_trace
from jetsched.errors import InputError
from jetsched.jobfile import parse_job
from jetsched.problems import FileProblems
from jetsched.records import Job, Workload

SQUAD = 87_599
TRAIN = "job_id,arrival_s,kind,model,dataset,epochs,samples,batch_size,seq_len,head,amount\n"
INFER = "job_id,arrival_s,kind,model,prompts,prompt_tokens,max_new_tokens,amount\n"


def read(folder: Path, text: str, **options: bool) -> list[Job]:
    path = folder / "trace.csv"
    path.write_text(text)
    return list(read_trace(path, **options).jobs)


def problems(folder: Path, text: str) -> list[str]:
    """``line field: message`` of everything that is wrong."""
    with pytest.raises(FileProblems) as caught:
        read(folder, text)
    return [f"{p.line} {p.path}: {p.message}" for p in caught.value.problems]


# ---------------------------------------------------------------------------------- how much work


@pytest.mark.parametrize(
    ("dataset", "epochs", "samples", "amount"),
    [
        ("squad", "1", "", SQUAD),
        ("squad", "100", "", 100 * SQUAD),
        ("squad[:2000]", "3", "", 6000),
        ("squad[:2000]", "", "", 2000),
        ("squad", "", "", SQUAD),
        ("", "2", "", 2 * SQUAD),
        ("", "", "500", 500),
        ("squad", "2", "500", 1000),
        ("org/data", "2.0", "500.0", 1000),
    ],
)
def test_training_is_epochs_times_samples(
    tmp_path: Path, dataset: str, epochs: str, samples: str, amount: float
) -> None:
    """What is left empty is one epoch, of all of SQuAD. Tables write 2.0 beside empty cells."""
    (job,) = read(tmp_path, TRAIN + f"a,0,train,gpt2,{dataset},{epochs},{samples},8,384,qa,\n")
    assert job.amount == amount
    assert job.workload.dataset == (dataset or "squad").partition("[")[0]


def test_a_data_set_in_a_file_is_found_from_the_trace(tmp_path: Path) -> None:
    answer = {"question": "?", "answers": [{"text": "a", "answer_start": 0}]}
    data = {"data": [{"paragraphs": [{"context": "a", "qas": [answer] * 7}]}]}
    (tmp_path / "mine.json").write_text(json.dumps(data))
    (job,) = read(tmp_path, TRAIN + "a,0,train,gpt2,mine.json,2,,8,384,qa,\n")
    assert job.amount == 14


@pytest.mark.parametrize("prompts", [10, 10_000])
def test_inference_is_as_many_prompts(tmp_path: Path, prompts: int) -> None:
    (job,) = read(tmp_path, INFER + f"a,0,infer,gpt2,{prompts},64,32,\n")
    assert job.amount == prompts


def test_an_amount_goes_before_what_else_counts(tmp_path: Path) -> None:
    """Then it does not matter how many samples the data set has."""
    (job,) = read(tmp_path, TRAIN + "a,0,train,gpt2,org/data,3,900000,8,384,qa,50\n")
    assert job.amount == 50 and job.workload.dataset == "org/data"
    (job,) = read(tmp_path, INFER + "a,0,infer,gpt2,10,64,32,50\n")
    assert job.amount == 50


def test_a_row_that_says_no_amount_of_work_is_refused_with_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    for text, field, hint in (
        (TRAIN + "a,0,train,gpt2,,,,8,384,qa,\n", "amount", "epochs, dataset and samples"),
        (INFER + "a,0,infer,gpt2,,64,32,\n", "prompts", "give prompts, or amount"),
        ("job_id,arrival_s,model\na,0,gpt2\n", "amount", "epochs, dataset and samples"),
    ):
        path.write_text(text)
        with pytest.raises(FileProblems) as caught:
            read_trace(path)
        (problem,) = caught.value.problems
        assert (problem.file, problem.line, problem.path) == (str(path), 2, field)
        assert problem.message == "nothing says how much work this is" and hint in problem.hint


def test_a_command_runs_once(tmp_path: Path) -> None:
    text = "job_id,arrival_s,kind,model,like,seq_len,epochs,amount\n"
    (job,) = read(tmp_path, text + "a,0,command,gpt2,train,64,,\n")
    assert job.amount == 1 and job.workload.like == "train"
    assert problems(tmp_path, text + "a,0,command,gpt2,train,64,3,\n") == [
        "2 epochs: is no field of kind command, which runs once"
    ]


def test_run_times_need_no_amount(tmp_path: Path) -> None:
    text = "job_id,arrival_s,run_s_x,kind,model,epochs\na,0,10,train,gpt2,7\n"
    (job,) = read(tmp_path, text)
    assert job.amount == 1 and job.labels == (("epochs", "7"),)


# ---------------------------------------------------------------------------- what it is made of


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_row_is_the_job_of_the_job_file_that_says_the_same(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Whatever is given and whatever is left empty: both are the same work, or both are wrong."""
    kind = data.draw(st.sampled_from(["train", "infer"]))
    fields: dict[str, st.SearchStrategy[object]] = {
        "batch_size": st.integers(0, 9),
        "precision": st.sampled_from(["fp32", "fp16", "fp7"]),
    }
    if kind == "train":
        fields |= {
            "epochs": st.integers(-1, 3),
            "seq_len": st.sampled_from([7, 64, 384]),
            "head": st.sampled_from(["qa", "lm", "zz"]),
            "method": st.sampled_from(["full", "lora"]),
            "lora_rank": st.integers(1, 4),
            "gradient_checkpointing": st.booleans(),
            "accumulation_steps": st.integers(0, 3),
        }
    else:
        fields |= {"prompt_tokens": st.integers(0, 99), "max_new_tokens": st.integers(0, 99)}
    work: dict[str, object] = {"kind": kind, "model": "gpt2"}
    work |= {"dataset": "squad[:90]"} if kind == "train" else {"prompts": 30}
    for name, values in fields.items():
        if data.draw(st.booleans()):
            work[name] = data.draw(values)
    header = ["job_id", "arrival_s", *dict.fromkeys((*work, *fields))]
    row = ["a", "0", *(str(work.get(name, "")) for name in header[2:])]
    text = ",".join(header) + "\n" + ",".join(row) + "\n"
    try:
        spec = parse_job(json.dumps({"work": work}))
    except InputError as error:
        assert isinstance(error, FileProblems)
        expected = [f"2 {p.path.removeprefix('work.')}: {p.message}" for p in error.problems]
        assert sorted(problems(tmp_path, text)) == sorted(expected)
        return
    (job,) = read(tmp_path, text)
    assert job.workload == spec.workload and job.amount == spec.amount


def test_a_field_of_another_kind_is_told_unless_it_says_nothing(tmp_path: Path) -> None:
    text = "job_id,arrival_s,kind,model,seq_len,head,prompts,epochs,amount\n"
    (job,) = read(tmp_path, text + "a,0,infer,gpt2,0,lm,10,,\n")
    assert job.workload == Workload("infer", "gpt2", prompt_tokens=64, max_new_tokens=64)
    assert problems(tmp_path, text + "a,0,infer,gpt2,64,lm,10,2,\n") == [
        "2 epochs: 'epochs' is a field of kind train; this is kind infer",
        "2 seq_len: 'seq_len' is a field of kind train; this is kind infer",
    ]


# ------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "-1", "0", "x", "1_000", "1e999"])
@pytest.mark.parametrize("column", ["epochs", "samples", "prompts", "amount"])
def test_what_counts_the_work_must_be_a_number_above_0(
    tmp_path: Path, column: str, cell: str
) -> None:
    kind = "infer" if column == "prompts" else "train"
    text = f"job_id,arrival_s,kind,model,{column}\na,0,{kind},gpt2,{cell}\n"
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(f"2 {column}: ")


def test_all_mistakes_of_a_row_and_of_all_rows_are_told(tmp_path: Path) -> None:
    text = (
        "job_id,arrival_s,kind,model,dataset,epochs,batch_size,head,priority,time_limit_s\n"
        "a,0,dance,gpt2,squad,-1,0,zz,101,\n"
        "a,x,train,gpt2,squad,1,8,qa,1.5,-3\n"
        "b,-1,train,gpt2,squad,nan,8,qa,,\n"
        "c,1,train,gpt2,squad[:0],1,8,qa,,soon\n"
    )
    assert problems(tmp_path, text) == [
        "2 batch_size: 0 is below 1",
        "2 epochs: -1 is below 1",
        "2 head: 'zz' is not one of qa, lm",
        "2 kind: 'dance' is not one of train, infer, command",
        "2 priority: 101 is not between 0 and 100",
        "3 arrival_s: 'x' is not a number",
        "3 job_id: 'a' is here twice, first in line 2",
        "3 priority: 1.5 is not a whole number",
        "3 time_limit_s: -3 is not above 0",
        "4 arrival_s: -1 is negative",
        "4 epochs: needs a whole number, not the text 'nan'",
        "5 dataset: 'squad[:0]' asks for no sample at all",
        "5 time_limit_s: 'soon' is not a number",
    ]


def test_a_row_that_is_left_out_may_give_its_id_to_another(tmp_path: Path) -> None:
    text = INFER + "a,0,infer,gpt2,-1,64,32,\na,5,infer,gpt2,7,64,32,\nb,6,infer,gpt2,8,64,32,\n"
    jobs = read(tmp_path, text, skip_bad_rows=True)
    assert [(job.id, job.amount) for job in jobs] == [("a", 7), ("b", 8)]


def test_all_fields_that_a_json_job_does_not_have_are_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(
        '{"id": "1", "epochs": 3, "colour": 1, "priority": 101,'
        ' "workload": {"kind": "train", "model": "gpt2", "seq_len": 0}}\n'
    )
    with pytest.raises(FileProblems) as caught:
        read_trace(path)
    assert [p.path for p in caught.value.problems] == ["colour", "epochs", "priority", "seq_len"]


# ------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("prompts", "note"),
    [
        ([9_000], "1 request was grouped into 1 job of phi-2; 1 was cut to its positions"),
        ([9_000] * 2, "2 requests were grouped into 1 job of phi-2; 2 were cut to its positions"),
        ([9], "1 request was grouped into 1 job of phi-2; 0 were cut to its positions"),
    ],
)
def test_one_request_was_and_two_were(prompts: list[int], note: str) -> None:
    found = Requests([0.0] * len(prompts), prompts, [32] * len(prompts))
    assert found.group("phi-2", window_s=60, batch=8).note(len(prompts)) == note
