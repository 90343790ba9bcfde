"""The command: what a person types, what comes back, and with which exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import a_row
from commands import Jetsched

from jetsched.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
VERBS = (
    *("demo", "up", "down", "devices", "profile", "profiles", "check", "estimate"),
    *("plan", "submit", "queue", "why", "logs", "cancel", "simulate", "compare", "policies"),
    *("hold", "release", "retry", "pause", "resume", "drain", "undrain", "remove"),
    *("schema", "costs"),
)
READS = {
    "devices": [],
    "queue": [],
    "why": ["1"],
    "logs": ["1"],
    "plan": [str(EXAMPLES / "train-tiny.yaml")],
}


def test_help_names_every_verb(jetsched: Jetsched) -> None:
    shown = jetsched("--help")
    assert shown.code == 0
    assert [verb for verb in VERBS if f" {verb} " not in shown.out] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(jetsched: Jetsched, verb: str) -> None:
    shown = jetsched(verb, "--help")
    assert shown.code == 0
    assert verb in ("schema", "up", "down") or "--json" in shown.out


def test_starting_the_command_imports_nothing_heavy() -> None:
    """`jetsched --help` answers at once because of it."""
    heavy = "ray torch numpy scipy matplotlib pydantic fastapi sqlalchemy httpx transformers psutil"
    code = f"import sys, jetsched.cli; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_verb_is_exit_code_2_with_a_hint(jetsched: Jetsched) -> None:
    result = jetsched("quue")
    assert result.code == 2
    assert "queue" in result.err


@pytest.mark.parametrize("verb", READS)
def test_without_a_cluster_the_scheduler_is_not_reachable(jetsched: Jetsched, verb: str) -> None:
    result = jetsched(verb, *READS[verb])
    assert result.code == 5
    assert result.err.startswith("✗ the scheduler is not running\n")
    assert "jetsched up --emulate" in result.err
    assert result.out == ""


def test_submit_lists_every_problem_of_a_bad_file_and_exits_with_2(jetsched: Jetsched) -> None:
    """Even where there is no cluster to submit to."""
    result = jetsched("submit", str(EXAMPLES / "bad.yaml"))
    assert result.code == 2
    assert "has 7 problems. Nothing was submitted." in result.err
    assert "bad.yaml:6:3" in result.err
    assert "did you mean 'epochs'?" in result.err


def test_the_problems_of_a_file_as_json(jetsched: Jetsched) -> None:
    result = jetsched("submit", "--json", str(EXAMPLES / "bad.yaml"))
    assert result.code == 2
    problems = result.json()
    assert len(problems) == 7
    assert {"file", "line", "column", "path", "message", "hint", "frame"} == set(problems[0])
    assert jetsched("check", "--json", str(EXAMPLES / "bad.yaml")).json() == problems


def test_check_says_what_is_in_a_good_file(jetsched: Jetsched) -> None:
    result = jetsched("check", str(EXAMPLES / "train-tiny.yaml"))
    assert result.code == 0
    assert "train tiny-gpt2 b8x128 fp32" in result.out
    assert jetsched("check", "--json", str(EXAMPLES / "train-tiny.yaml")).json() == []


def test_check_asks_whether_an_unknown_model_is_a_typo(jetsched: Jetsched, tmp_path: Path) -> None:
    """It is no error: it may be a name on the hub."""
    file = tmp_path / "job.yaml"
    file.write_text("work: {kind: train, model: distilgp}\n")
    result = jetsched("check", str(file))
    assert result.code == 0
    assert "did you mean 'distilgpt2'?" in result.out
    assert "Note" not in jetsched("check", str(EXAMPLES / "train-gpt2.yaml")).out


def test_a_missing_file_is_bad_input(jetsched: Jetsched) -> None:
    result = jetsched("submit", "nothing.yaml")
    assert result.code == 2
    assert "nothing.yaml" in result.err


def test_schema_is_a_json_schema(jetsched: Jetsched) -> None:
    schema = jetsched("schema").json()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "work" in schema["properties"]


def test_plan_without_a_cluster_says_where_a_job_would_go(jetsched: Jetsched) -> None:
    fleet = ["--fleet", str(EXAMPLES / "fleet.yaml")]
    result = jetsched("plan", str(EXAMPLES / "train-tiny.yaml"), *fleet, "--json")
    assert result.code == 0
    rows = result.json()["decision"]["rows"]
    assert {
        "device",
        "verdict",
        "code",
        "reason",
        "peak_memory_mib",
        "admitted_mib",
        "has_mib",
        "start_s",
        "time_s",
        "finish_s",
        "energy_j",
        "score",
        "chosen",
    } <= set(rows[0])
    assert [row["device"] for row in rows if row["chosen"]] == ["orin-1"]
    assert "goes here" in jetsched("plan", str(EXAMPLES / "train-tiny.yaml"), *fleet).out


def test_plan_of_what_never_fits_is_exit_code_3(jetsched: Jetsched, tmp_path: Path) -> None:
    job = tmp_path / "big.yaml"
    job.write_text("work: {kind: train, model: phi-2, head: lm, dataset: 'squad[:8]'}\n")
    result = jetsched("plan", str(job), "--fleet", str(EXAMPLES / "fleet.yaml"))
    assert result.code == 3
    assert result.out.count("NO") == 2
    assert "NeverFits" in result.out


def test_plan_knows_the_devices_of_the_fleet(jetsched: Jetsched, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("work: {kind: train, model: gpt2}\nneeds: {device: [orin-nanno]}\n")
    result = jetsched("plan", str(job), "--fleet", str(EXAMPLES / "fleet.yaml"))
    assert result.code == 2
    assert "orin-nano" in result.err


def test_policies_are_listed(jetsched: Jetsched) -> None:
    names = {row["name"] for row in jetsched("policies", "--json").json()}
    assert {"random", "round_robin", "fastest_device", "least_loaded"} < names
    assert {"earliest_finish", "comparative_advantage"} < names
    assert "auto *" in jetsched("policies").out


def test_an_unknown_policy_is_bad_input_with_a_hint(jetsched: Jetsched) -> None:
    result = jetsched("simulate", "--generate", "5", "--policy", "earliest_finsh")
    assert result.code == 2
    assert "did you mean 'earliest_finish'?" in result.err


def test_simulate_gives_the_same_figures_for_the_same_seed(jetsched: Jetsched) -> None:
    words = ["simulate", "--generate", "40", "--load", "0.8", "--seed", "3", "--json"]
    first, second = (jetsched(*words).json() for _ in range(2))
    for changes in ("loop_cpu_s", "jobs_per_cpu_s"):
        del first[changes], second[changes]
    assert first == second
    assert first["jobs"] == first["done"] == 40
    assert first["p50_completion_s"] <= first["p95_completion_s"] <= first["p99_completion_s"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give one of --trace FILE, --generate N"),
        (["--generate", "5", "--trace", "x.csv"], "give one of --trace FILE, --generate N"),
        (["--generate", "0"], "cannot generate 0 jobs"),
        (["--generate", "5", "--load", "-1"], "is not a number above 0"),
        (["--generate", "5", "--load", "nan"], "is not a number above 0"),
        (["--generate", "5", "--estimate-error", "9"], "not between 0 and 3"),
        (["--trace", "none.csv"], "none.csv"),
        (["--generate", "5", "--fleet", "none.yaml"], "none.yaml"),
    ],
)
def test_options_that_make_no_sense_are_bad_input(
    jetsched: Jetsched, words: list[str], says: str
) -> None:
    result = jetsched("simulate", *words)
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err


def test_compare_writes_a_report(jetsched: Jetsched, tmp_path: Path) -> None:
    out = tmp_path / "report"
    words = ["compare", "--generate", "12", "--seeds", "2", "--policies"]
    result = jetsched(*words, "earliest_finish,least_loaded", "--out", str(out))
    assert result.code == 0
    assert "earliest_finish" in result.out
    assert (out / "gantt.png").read_bytes().startswith(b"\x89PNG")
    runs = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    assert [(run["policy"], run["seed"]) for run in runs] == [
        ("earliest_finish", 0),
        ("earliest_finish", 1),
        ("least_loaded", 0),
        ("least_loaded", 1),
    ]


def test_a_policy_in_a_file_can_be_compared(jetsched: Jetsched, tmp_path: Path) -> None:
    file = tmp_path / "cool_first.py"
    file.write_text(
        "from jetsched.policies.base import Greedy\n\n\n"
        "class CoolFirst(Greedy):\n"
        "    name = 'cool_first'\n\n"
        "    def score(self, placement, view):\n"
        "        return placement.finish_s\n"
    )
    words = ["compare", "--generate", "6", "--seeds", "1", "--json", "--policies", str(file)]
    (row,) = jetsched(*words).json()
    assert row["policy"] == "cool_first"
    assert row["policy_errors"] == 0


def test_the_paper_is_shown_with_what_is_assumed(jetsched: Jetsched) -> None:
    paper = jetsched("profiles", "show", "paper", "--json").json()
    assert paper["table_3"]["xavier-nx"]["GPT-2 Small"] is None
    assert paper["table_3"]["orin-nano"]["DistilGPT2"] == 96.73
    shown = jetsched("profiles", "show", "paper").out
    assert "KILLED(NX)" in shown
    assert "is assumed here" in shown


def test_profiles_without_any_measurement(jetsched: Jetsched) -> None:
    assert jetsched("profiles", "--json").json() == []
    assert "Nothing was measured yet" in jetsched("profiles").out
    assert jetsched("profiles", "show", "nx-7").code == 2


def test_profile_refuses_what_it_does_not_know(jetsched: Jetsched) -> None:
    assert jetsched("profile", "--suite", "papre").code == 2
    result = jetsched("profile", "--emulate", "xavier-nxx")
    assert result.code == 2
    assert "xavier-nx" in result.err
    assert jetsched("profile", "--memory-limit", "5").code == 2


def test_profile_of_a_model_that_is_not_there_says_what_to_fetch(
    jetsched: Jetsched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "prompts.txt").write_text("Who built the bridge?\n")
    job = tmp_path / "job.yaml"
    job.write_text("work: {kind: infer, model: me/mine-7b, prompts: prompts.txt}\n")
    begin = time.perf_counter()
    result = jetsched("profile", "--suite", str(job))
    assert result.code == 2
    assert "hf download me/mine-7b" in result.err
    assert not (tmp_path / "home").exists()  # nothing was started, so it is quick
    assert time.perf_counter() - begin < 10  # against a wait for a network


def test_profile_of_a_data_set_that_is_not_squad_says_where(
    jetsched: Jetsched, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text('{"data": [{"paragraphs": [{"context": "x"}]}]}')
    job = tmp_path / "job.yaml"
    job.write_text("work: {kind: train, model: gpt2, dataset: mine.json}\n")
    result = jetsched("profile", "--suite", str(job))
    assert result.code == 2
    assert "SQuAD" in result.err and "mine.json" in result.err
    assert not (tmp_path / "home").exists()


def test_a_full_disk_is_told_and_the_finished_rows_are_shown(
    jetsched: Jetsched, tmp_path: Path
) -> None:
    """The second start of the job fills the disk, as far as the store of measurements can tell."""
    (tmp_path / "fill.sh").write_text(
        f"cd {tmp_path}; if [ -e once ]; then mv home/measurements.jsonl kept;"
        " ln -s /dev/full home/measurements.jsonl; fi; touch once\n"
    )
    job, no_torch = tmp_path / "job.yaml", shutil.which("true")
    job.write_text(f"name: filling\nwork: {{kind: command, run: sh {tmp_path / 'fill.sh'}}}\n")
    result = jetsched(
        *("profile", "--suite", str(job), "--repeat", "2", "--workload-python", str(no_torch))
    )
    assert result.code == 2
    assert "filling" in result.out and "DONE" in result.out
    assert "No space left on device" in result.err
    assert "goes on from here" in result.err
    assert len((tmp_path / "kept").read_text().splitlines()) == 1


def test_down_without_a_cluster_says_so(jetsched: Jetsched) -> None:
    assert jetsched("down").out == "Nothing is running.\n"


def test_up_with_a_board_that_there_is_not_says_what_to_write(jetsched: Jetsched) -> None:
    result = jetsched("up", "--emulate", "toaster")
    assert result.code == 2
    assert "'toaster'" in result.err and "xavier-nx" in result.err


def test_a_pipe_gets_plain_text(jetsched: Jetsched) -> None:
    for words in (["policies"], ["profiles", "show", "paper"], ["compare", "--generate", "4"]):
        assert "\x1b" not in jetsched(*words).out


@pytest.mark.parametrize("words", ["schema", "estimate examples/train-gpt2.yaml --device cpu"])
def test_a_reader_that_stops_reading_is_no_error(words: str, tmp_path: Path) -> None:
    """Neither for what is printed plainly nor for what rich prints; the pipe is closed before."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "jetsched", *words.split()],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "JETSCHED_HOME": str(tmp_path)},
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_the_characters_gets_others_and_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jetsched", "check", str(EXAMPLES / "train-tiny.yaml")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?   jetsched submit" in done.stdout


def test_a_closed_output_is_no_error() -> None:
    command = f"{sys.executable} -m jetsched policies >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_bug_is_told_without_a_traceback_unless_asked_for(
    jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*words: object, **more: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("jetsched.jobfile.json_schema", broken)
    result = jetsched("schema")
    assert result.code == 1
    assert result.err.startswith("✗ internal error: ZeroDivisionError: oops\n")
    with pytest.raises(ZeroDivisionError):
        jetsched("--debug", "schema")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_a_verb_goes_through_its_clean_up(
    jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Ctrl-C, `kill` and a closed terminal; a second one does not interrupt the clean-up."""
    cleaned = []

    def interrupted(*words: object, **more: object) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), number)
            cleaned.append(True)

    monkeypatch.setattr("jetsched.jobfile.json_schema", interrupted)
    inherited = signal.signal(number, signal.SIG_DFL)  # ignored below nohup, or in the background
    try:
        result = jetsched("schema")
        assert (result.code, result.err, cleaned) == (128 + number, "\nStopped.\n", [True])
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, inherited)


@pytest.mark.parametrize("verb", ["queue", "profiles", "down"])
def test_a_data_folder_that_cannot_be_one_is_bad_input_and_no_bug(
    jetsched: Jetsched, verb: str, tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    result = jetsched(verb)
    assert result.code == 2
    assert str(tmp_path / "home") in result.err
    assert "JETSCHED_HOME names the data folder" in result.err


def test_a_report_that_cannot_be_written_is_bad_input_and_no_bug(
    jetsched: Jetsched, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    result = jetsched("compare", "--generate", "2", "--out", str(tmp_path / "taken"))
    assert result.code == 2
    assert result.err == f"✗ --out {tmp_path / 'taken'} is not a folder\n  e.g. --out report\n"


class _Scheduler:
    """A scheduler with two jobs: 1 waits, 2 has ended and wrote nothing."""

    def __enter__(self) -> _Scheduler:
        return self

    def __exit__(self, *error: object) -> None: ...

    def cancel(self, job_id: str) -> dict[str, Any]:
        if job_id != "1":
            raise InputError(f"job {job_id} has ended already: done")
        return a_row(id=job_id, state="cancelled", attempts=[])

    def log(self, job_id: str, **more: object) -> dict[str, Any]:
        return {"text": "", "offset": 0, "attempt": 1, "ended": job_id == "2", "final": False}

    def follow_log(self, job_id: str, **more: object) -> Iterator[str]:
        return iter(())


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetsched.cluster.client.Client.connect", _Scheduler)


@pytest.mark.usefixtures("scheduler")
def test_cancel_stops_what_it_can_and_says_what_it_cannot(jetsched: Jetsched) -> None:
    result = jetsched("cancel", "2", "1")
    assert result.code == 2
    assert result.err == "✗ job 2 has ended already: done\n"
    assert "CANCELLED" in result.out
    as_json = jetsched("cancel", "2", "1", "--json")
    assert [row["id"] for row in as_json.json()] == ["1"]
    assert as_json.code == 2


@pytest.mark.usefixtures("scheduler")
def test_logs_of_a_silent_job_say_so(jetsched: Jetsched) -> None:
    assert jetsched("logs", "1").err == "Job 1 wrote nothing so far.\n"
    assert jetsched("logs", "2").err == "Job 2 wrote nothing.\n"
    assert "Job 2 wrote nothing" in jetsched("logs", "-f", "2").err
    assert jetsched("logs", "2").out == ""


def test_the_simulated_demo_writes_summary_and_picture(jetsched: Jetsched, tmp_path: Path) -> None:
    result = jetsched("demo", "--simulate-only", "--out", str(tmp_path / "demo"))
    assert result.code == 0
    summary = json.loads((tmp_path / "demo/summary.json").read_text())
    assert summary["emulated"] is True
    assert len(summary["simulated"]) >= 6
    assert sum(metrics["killed"] for metrics in summary["simulated"].values()) >= 1
    assert summary["simulated_means"].keys() == summary["simulated"].keys()
    assert summary["live"] == []
    assert (tmp_path / "demo/compare.png").read_bytes().startswith(b"\x89PNG")
