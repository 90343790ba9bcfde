"""What `simulate` says besides figures: jobs that did not end well, remarks, what to do next."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import a_job, nx, orin, paper_costs

from jetsched.cli import main
from jetsched.cluster.compare import Interval, PolicyRow
from jetsched.cluster.endings import ending_notes, remarks_of
from jetsched.cluster.rowwords import remarks, told_apart, versus, with_interval
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario, simulate
from jetsched.cluster.truth import CostsAsTruth
from jetsched.records import Job, Placement, Remark, Retry
from jetsched.scheduler.view import View
from jetsched.units import format_duration

Verb = Callable[..., str]


class Talks:
    """Says something about each job that comes, and once more later; starts the first ``most``."""

    name = "talks"

    def __init__(self, most: int) -> None:
        self.most = most

    def decide(self, view: View) -> Iterator[Placement | Remark]:
        for job in list(view.queue()):
            yield Remark(job.id, f"at {view.now_s:g} s")
            for kind in view.kinds:
                if self.most > 0 and view.waits(job.id) and view.free_in(kind):
                    placement = view.place(job, kind)
                    if placement is not None:
                        self.most -= 1
                        yield placement


@pytest.fixture
def verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Verb:
    """Runs `simulate` in this process, with a data home of its own."""
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "home"))

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["jetsched", "simulate", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    return run


def a_world(jobs: list[Job], outages: tuple[Outage, ...] = ()) -> Scenario:
    return Scenario(jobs, [nx(), orin()], CostsAsTruth(paper_costs()), paper_costs, outages=outages)


def test_a_run_whose_jobs_are_all_done_has_no_notes_and_no_remarks() -> None:
    run = simulate("earliest_finish", a_world([a_job("1"), a_job("2")]))
    assert ending_notes(run) == [] and remarks_of(run) == []


def test_of_each_job_the_last_remark_is_kept_with_its_time() -> None:
    """The first job is started at 0; the others wait, and are spoken of again when it ends."""
    jobs = [a_job("1", "gpt2"), a_job("2", "gpt2"), a_job("3", "gpt2", submitted_s=7.0)]
    run = simulate(Talks(1), a_world(jobs))
    said = [(s.job, s.at_s, s.text) for s in remarks_of(run)]
    end_s = run.scheduler.now_s
    assert said[0] == ("1", 0.0, "at 0 s") and end_s > 7
    assert said[1:] == [(job, end_s, f"at {end_s:g} s") for job in ("2", "3")]


def test_jobs_that_a_policy_leaves_waiting_are_told() -> None:
    run = simulate(Talks(1), a_world([a_job("1"), a_job("2"), a_job("3")]))
    assert ending_notes(run) == [
        "2 of 3 jobs did not end done (2 waiting): means are of the others",
        "2 jobs still wait although a device could run them: talks starts nothing more",
    ]
    run = simulate(Talks(0), a_world([a_job("1")]))
    assert ending_notes(run) == [
        "1 of 1 job did not end done (1 waiting): so there are no means",
        "1 job still waits although a device could run it: talks starts nothing more",
    ]


def test_a_job_that_waits_for_a_device_that_is_gone_is_not_the_policys_fault() -> None:
    """The Orin, which alone can run the job, does not come back."""
    world = a_world([a_job("1", "gpt2")], (Outage("orin-1", 50.0, float("inf")),))
    assert ending_notes(simulate("earliest_finish", world)) == [
        "1 of 1 job did not end done (1 waiting): so there are no means",
        "1 job still waits for a device that is not there",
    ]


def test_jobs_that_are_lost_are_told_with_their_retries() -> None:
    outages = tuple(Outage("orin-1", 50.0 + 100 * n, 60.0 + 100 * n) for n in range(9))
    jobs = [a_job("1", "gpt2", retry=Retry(1)), a_job("2", "tiny-gpt2"), a_job("3", "unknown")]
    run = simulate("earliest_finish", a_world(jobs, outages))
    assert [job.state for job in run.scheduler.jobs.values()] == ["lost", "done", "held"]
    assert ending_notes(run) == [
        "2 of 3 jobs did not end done (1 lost after 1 retry, 1 held, as no device suits them):"
        " means are of the others"
    ]


def test_the_verb_tells_which_deadlines_cannot_be_met(verb: Verb, tmp_path: Path) -> None:
    """All need 100 s on a, and two have a deadline that is over before."""
    trace = tmp_path / "my jobs.csv"
    trace.write_text("job_id,arrival_s,run_s_a,deadline_s\nx,0,100,50\ny,3,100,40\nz,4,100,900\n")
    world = ("--trace", str(trace), "--fleet", "a:1", "--policy", "earliest_deadline")
    found = json.loads(verb(*world, "--json"))
    assert [(r["job"], r["at_s"]) for r in found["remarks"]] == [("x", 0.0), ("y", 3.0)]
    assert "cannot be met" in found["remarks"][0]["text"] and found["remarks_left_out"] == 0
    out = verb(*world)
    first = found["remarks"][0]["text"]
    assert f"  2 remarks, the first: job x at 0 s: {first}\n" in out
    assert f"Next: jetsched compare --trace '{trace}' --fleet a:1  " in out


def test_of_many_remarks_the_first_hundred_are_in_the_json(verb: Verb, tmp_path: Path) -> None:
    trace = tmp_path / "jobs.csv"
    rows = [f"{n},{n},100,10" for n in range(103)]
    trace.write_text("\n".join(["job_id,arrival_s,run_s_a,deadline_s", *rows]) + "\n")
    world = ("--trace", str(trace), "--fleet", "a:1", "--policy", "earliest_deadline")
    found = json.loads(verb(*world, "--json"))
    assert [r["job"] for r in found["remarks"]] == [str(n) for n in range(100)]
    assert found["remarks_left_out"] == 3


def test_the_verb_tells_that_a_policy_starts_nothing(verb: Verb, tmp_path: Path) -> None:
    policy = tmp_path / "lazy.py"
    policy.write_text(
        "class Lazy:\n    name = 'lazy'\n\n    def decide(self, view):\n        return ()\n"
    )
    words = ("--generate", "12", "--seed", "2", "--policy", str(policy))
    note = "12 jobs still wait although a device could run them: lazy starts nothing more"
    assert json.loads(verb(*words, "--json"))["notes"][-1] == note
    out = verb(*words)
    assert f"  Note: {note}\n" in out
    assert "Next: jetsched compare --generate 12 --seed 2  " in out


def test_an_interval_of_rounding_noise_is_none() -> None:
    assert with_interval(Interval(14580.0, 1e-11), format_duration) == "4h 03m"
    assert with_interval(Interval(14580.0, 60.0), format_duration) == "4h 03m ±1m"
    assert with_interval(Interval(0.0, 0.5), lambda value: f"{value:g}") == "0 ±0.5"


def a_row(worse: Interval) -> PolicyRow:
    return PolicyRow("mine", 3, {}, {}, {"mean_completion_s": worse}, policy_errors=2, failed=0)


def test_what_differs_by_rounding_alone_does_not_differ() -> None:
    assert versus(a_row(Interval(1e-16, 2e-17))) == "best"
    assert not told_apart(a_row(Interval(1e-16, 2e-17)))
    assert versus(a_row(Interval(0.25, 1e-17))) == "+25 %"
    assert told_apart(a_row(Interval(0.25, 1e-17)))


def test_a_policys_errors_are_called_that() -> None:
    assert remarks(a_row(Interval(0.0, None))) == ["2 policy errors"]
