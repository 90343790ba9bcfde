"""`jetsched policies`: to list, show, write, test and use policies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jetsched import cli, policies
from jetsched.cluster.newpolicy import write_policy
from jetsched.errors import InputError


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
