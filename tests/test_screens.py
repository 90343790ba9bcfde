"""What a person reads of a job and of a board."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import a_row

from jetsched.nodes_screen import print_devices
from jetsched.records import Decision, Row
from jetsched.screens import print_decision, print_queue


def queue_line(capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    print_queue([a_row(**changes)])
    return capsys.readouterr().out.splitlines()[1]


def test_a_running_job_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert queue_line(capsys).endswith("nx-1   3 s  25 % · done in 6.6 s")


def test_a_job_that_takes_longer_than_estimated_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert queue_line(capsys, now_s=1030.9).endswith("33 s  25 % · 23 s over its estimate")


def test_of_a_command_nothing_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = {"phase": "running", "done": 0.0, "amount": 1.0}
    assert queue_line(capsys, progress=progress).endswith("try 1 · done in 6.6 s")


def test_a_job_that_was_cancelled_while_it_ran_is_stopping(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert queue_line(capsys, stopping=True).endswith("nx-1   3 s  stopping")


def test_at_80_columns_the_queue_still_says_why_jobs_wait(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reason = {"code": "NeverFits", "text": "needs 70,724 MiB, has 3,454; " * 3}
    held = a_row(
        name="a-name-of-more-than-24-characters", state="held", reason=reason, start_s=None
    )
    print_queue([held, a_row(id="2", state="killed", outcome="killed_memory", attempts=[])])
    lines = capsys.readouterr().out.splitlines()
    assert "NeverFits: needs" in lines[1]
    assert max(map(len, lines)) <= 80


STEADY = {"verdict": "steady", "ratio": 1.02, "runs": 5, "since_s": None, "text": ""}


def a_board(**changes: Any) -> dict[str, Any]:
    """A board as the API tells it."""
    board = {
        "id": "orin-1",
        "state": "ready",
        "text": "",
        "model": "orin-nano",
        "emulated": True,
        "scale": 0.5,
        "cap": "cgroup-v2",
        "slowdown": 1.0,
        "has_mib": 3454.0,
        "memory_mib": None,
        "memory_free_mib": None,
        "memory_total_mib": None,
        "gpu_util_pct": None,
        "power_w": None,
        "temperature_c": None,
        "power_mode": None,
        "drift": STEADY,
        "job_id": None,
        "job_name": None,
        "finish_s": None,
        "overdue_s": None,
    }
    return {**board, **changes}


def test_a_board_whose_agent_has_not_come_yet_is_shown_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After another `up`: the journal knows the board, and nobody has said how it is emulated."""
    nothing = {**STEADY, "verdict": "unknown", "ratio": None}
    print_devices([a_board(state="offline", scale=None, slowdown=None, drift=nothing)])
    assert "OFFLINE" in capsys.readouterr().out


def test_a_job_that_takes_longer_than_estimated_is_not_done_in_the_past(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = {"job_id": "12", "job_name": "long", "finish_s": 1e9}
    print_devices([a_board(**job, overdue_s=65.4), a_board(**job, overdue_s=0.0)])
    late, early = capsys.readouterr().out.splitlines()[1:3]
    assert "1m 05s over" in late and "over" not in early


def test_a_board_that_has_drifted_says_so_with_what_to_do_in_100_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = "1.6x slower than usual in its last 5 runs; power mode 15W_6CORE > 10W_2CORE; "
    text += "84 °C (60 before): set it back, or run jetsched profile there"
    slow = {"verdict": "slower", "ratio": 1.62, "runs": 5, "since_s": 1e9, "text": text}
    job = {"job_id": "12", "job_name": "squad-distil-gpt2-with-a-long-name", "finish_s": 1e9}
    print_devices([a_board(drift=slow, **job), a_board(id="nx-1", model="xavier-nx")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert "1.6x slower" in lines[1] and "steady" in lines[2]
    below = " ".join(line.strip() for line in lines[3:])
    assert below.startswith(f"orin-1: {text} (since ")


def test_a_board_shows_heat_power_and_why_it_takes_no_jobs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    hot = a_board(
        state="degraded",
        text="it is too hot: 96 °C",
        memory_mib=1024.0,
        memory_free_mib=2048.0,
        memory_total_mib=7680.0,
        power_w=11.25,
        temperature_c=96.0,
        power_mode="15W_6CORE",
    )
    print_devices([hot])
    _, row, below = capsys.readouterr().out.splitlines()
    assert "DEGRADED" in row and "1.0 / 3.4 GiB" in row and "2.0 / 7.5" in row
    assert "11.2 W" in row and "96 °C" in row and "15W_6CORE" in row
    assert below == "  orin-1: it is too hot: 96 °C"


def test_a_board_that_got_faster_says_by_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    fast = {"verdict": "faster", "ratio": 0.5, "runs": 5, "since_s": 1e9, "text": "2.0x faster"}
    print_devices([a_board(drift=fast)])
    assert "2.0x faster" in capsys.readouterr().out.splitlines()[1]


def test_what_a_process_may_come_to_hold_stands_beside_what_the_board_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = Row(
        "nx-1",
        "tight",
        peak_memory_mib=2662.4,
        admitted_mib=3686.4,
        has_mib=3072.0,
        source="assumed",
    )
    print_decision(Decision(0.0, "1", "earliest_finish", "nx-1", None, (row,)))
    assert "tight  3.6 / 3.0 GiB (a)" in capsys.readouterr().out
    print_decision(Decision(0.0, "1", "x", "nx-1", None, (replace(row, verdict="busy"),)))
    assert "tight  3.6 / 3.0 GiB (a)" in capsys.readouterr().out


def test_a_run_time_comes_with_what_it_stays_below_in_nine_cases_of_ten(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = Row("nx-1", "fits", time_s=12.0, time_p90_s=30.0, finish_s=12.0)
    print_decision(Decision(0.0, "1", "earliest_finish", None, None, (row,)))
    assert "12 s (30 s)  in 12 s" in capsys.readouterr().out
