"""`jetsched policies`: to list, show, write, test and use policies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jetsched import cli, policies
from jetsched.cluster.newpolicy import write_policy
from jetsched.cluster.policytest import PolicyReport, try_policy
from jetsched.errors import InputError
from jetsched.policies.contract_rules import RULES


def jetsched(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command in this process: (exit code, stdout, stderr)."""
    before = sys.argv
    sys.argv = ["jetsched", *words]
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    out, err = capsys.readouterr()
    return int(code or 0), out, err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a data home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


# ------------------------------------------------------------------------------------- ls and show


def test_policies_alone_means_ls(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert jetsched(capsys, "policies") == jetsched(capsys, "policies", "ls")
    code, out, _ = jetsched(capsys, "policies", "--json")
    assert (code, json.loads(out)) == (
        0,
        json.loads(jetsched(capsys, "policies", "ls", "--json")[1]),
    )


def test_ls_says_what_each_is_for_and_where_it_is(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    rows = json.loads(jetsched(capsys, "policies", "ls", "--json")[1])
    assert [row["name"] for row in rows if row["source"] == "built-in"] == list(policies.BUILT_IN)
    assert all(
        row["kind"] == policies.KINDS[row["name"]]
        for row in rows
        if row["name"] in policies.BUILT_IN
    )
    assert {row["where"].partition(":")[0] for row in rows if row["name"] == "random"} == {
        "jetsched.policies.random_choice"
    }
    assert sum(row["default"] for row in rows) == 1


def test_show_tells_the_literature_and_the_options(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    code, out, _ = jetsched(capsys, "policies", "show", "comparative_advantage")
    assert code == 0
    assert "Ricardo" in out
    assert "bias: float, default 2.0" in out
    assert "--policy comparative_advantage:bias=2.0" in out
    found = json.loads(jetsched(capsys, "policies", "show", "random", "--json")[1])
    assert found["options"] == [{"name": "seed", "type": "int", "default": "0", "required": False}]


def test_what_cannot_be_shown_is_told(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, _, err = jetsched(capsys, "policies", "show", "randon")
    assert code == 2
    assert "did you mean 'random'?" in err


# --------------------------------------------------------------------------------------------- new


def test_new_writes_a_policy_that_runs(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = jetsched(capsys, "policies", "new", "cool_first")
    assert code == 0
    assert "jetsched policies test cool_first.py" in out
    assert [path.name for path in here.glob("*.py")] == ["cool_first.py"]
    policy = policies.load("cool_first.py:seconds_per_wh=60")
    assert (policy.seconds_per_wh, type(policy).__name__) == (60.0, "CoolFirst")  # type: ignore[attr-defined]
    words = ["simulate", "--generate", "12", "--policy", "cool_first.py", "--json"]
    code, out, _ = jetsched(capsys, *words)
    assert code == 0
    assert json.loads(out)["policy"] == "cool_first"


def test_the_tests_that_new_writes_pass(here: Path) -> None:
    files = write_policy("cool_first", here, tests=True)
    assert [file.name for file in files] == ["cool_first.py", "test_cool_first.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(files[1])]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_new_overwrites_nothing(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "test_mine.py").write_text("precious")
    code, _, err = jetsched(capsys, "policies", "new", "mine", "--tests")
    assert code == 2
    assert "test_mine.py is there already" in err
    assert not (here / "mine.py").exists()
    assert (here / "test_mine.py").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cool-first", "cannot be the name of a policy"),
        ("CoolFirst", "cannot be the name of a policy"),
        ("../mine", "cannot be the name of a policy"),
        ("_mine", "cannot be the name of a policy"),
        ("", "cannot be the name of a policy"),
        ("größte", "cannot be the name of a policy"),
        ("class", "a word of Python's own"),
        ("queue", "a word of Python's own"),
        ("earliest_finish", "there is a policy 'earliest_finish' already"),
    ],
)
def test_new_refuses_a_name_that_will_not_do(here: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_policy(name, here)
    assert list(here.glob("*.py")) == []


def test_new_wants_a_folder_that_is_there(here: Path) -> None:
    with pytest.raises(InputError, match="there is no folder") as caught:
        write_policy("mine", here / "nowhere")
    assert "mkdir -p" in caught.value.hint


# -------------------------------------------------------------------------------------------- test

MINE = """
from jetsched.policies.base import Greedy


class Mine(Greedy):
    def score(self, placement, view):
        return placement.finish_s
"""
BROKEN = MINE.replace("return placement.finish_s", "return 1 / (len(placement.job.id) - 2)")
SETS = MINE.replace(
    "return placement.finish_s",
    "return next(iter({hash(placement.device.id), hash(placement.job.id)}))",
)
LOOPS = MINE.replace("return placement.finish_s", "while True:\n            pass")
WIDE = MINE.replace(
    "    def score",
    "    ages = True\n\n    def decide(self, view):\n"
    "        jobs = sorted(view.queue(), key=lambda job: (-job.priority, job.workload.kind))\n"
    "        for job in jobs:\n"
    "            best = self.best(job, view) if view.free_count else None\n"
    "            if best is not None:\n"
    "                yield best\n\n    def score",
)


def tried(here: Path, text: str, **options: Any) -> PolicyReport:
    (here / "mine.py").write_text(text)
    return try_policy("mine.py", **{"worlds": 4, "benchmark": False, **options})


def test_a_good_policy_passes_and_is_measured_beside_the_default(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "mine.py").write_text(MINE)
    code, out, _ = jetsched(capsys, "policies", "test", "mine.py", "--worlds", "2")
    assert code == 0
    assert f"✓ Mine keeps the {len(RULES) + 1} rules of the contract." in out
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert "earliest_finish" in lines and policies.DEFAULT in lines
    # The same score by another way: the streams end the same.
    assert lines["Mine"][1:3] == lines["earliest_finish"][1:3]
    assert "jetsched policies use mine.py" in out


def test_a_broken_policy_is_told_rule_by_rule_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "mine.py").write_text(BROKEN)
    words = ("policies", "test", "mine.py", "--worlds", "6", "--no-benchmark")
    code, out, _ = jetsched(capsys, *words)
    assert code == 1
    assert "✗ Mine breaks" in out
    assert "mine.py:7 in score: policy Mine failed: ZeroDivisionError: division by zero" in out
    code, out, _ = jetsched(capsys, *words, "--json")
    assert code == 1
    found = json.loads(out)["findings"]
    assert {"rule", "world", "text", "kind", "where"} == set(found[0])
    assert {f["where"] for f in found if f["rule"] == "legal choices"} == {"mine.py:7 in score"}


def test_a_policy_that_follows_hashes_is_found(here: Path) -> None:
    assert "same decisions, whatever the hash seed" in {f.rule for f in tried(here, SETS).errors}


def test_modules_beside_a_policy_and_what_it_prints_do_not_disturb_its_test(here: Path) -> None:
    """Its decisions are compared with those of another process, which starts in this folder too."""
    for name in ("attr.py", "json.py", "typing.py"):
        (here / name).write_text("raise RuntimeError('not the one that was meant')")
    loud = MINE + "\nprint('hello')\n"
    assert [f for f in tried(here, loud).errors if "hash seed" in f.rule] == []


def test_a_policy_may_import_what_lies_beside_it_where_python_looks_there(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "beside.py").write_text("SIGN = 1")
    monkeypatch.syspath_prepend(str(here))
    text = "from beside import SIGN\n" + MINE.replace("finish_s", "finish_s * SIGN")
    assert tried(here, text).errors == []


def test_an_endless_loop_ends_the_test_soon(here: Path) -> None:
    report = tried(here, LOOPS, worlds=25, budget_s=0.2)
    assert report.ended_early
    assert report.errors[0].where in ("mine.py:7 in score", "mine.py:8 in score")
    assert "took more than 0.2 s" in report.errors[0].text


def test_whoever_promises_that_nothing_starves_must_keep_it(here: Path) -> None:
    """Commands before training: a stream of them, and one long training run."""
    (error,) = {f.rule for f in tried(here, WIDE).errors}
    assert error == "no job starves in a stream"
    report = tried(here, WIDE.replace("ages = True", "ages = False"))
    assert {(f.rule, f.kind) for f in report.findings} == {(error, "warning")}
    assert report.errors == []


def test_the_progress_of_a_test_ends_at_its_total(here: Path) -> None:
    seen: list[tuple[int, int]] = []
    tried(here, MINE, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))


def test_use_without_a_cluster_is_not_reachable(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    code, _, err = jetsched(capsys, "policies", "use", "earliest_finish")
    assert code == 5
    assert "jetsched up" in err
