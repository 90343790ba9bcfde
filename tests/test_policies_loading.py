"""Policies are found by name, entry point, module and file, and what is wrong is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jetsched import policies
from jetsched.errors import InputError
from jetsched.policies.auto import Auto
from jetsched.policies.comparative_advantage import ComparativeAdvantage
from jetsched.policies.earliest_finish import EarliestFinish
from jetsched.policies.random_choice import RandomChoice
from jetsched.policies.specs import Spec
from jetsched.scheduler.checks import policy_name

GOOD = '''
"""A policy of one's own."""

from jetsched.policies.base import Greedy


class CoolFirst(Greedy):
    """Finish early, but a watt-hour is worth two minutes to me."""

    def score(self, placement, view):
        return placement.finish_s + 120 * (placement.estimate.energy_j or 0) / 3600
'''


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", policies.BUILT_IN)
def test_every_built_in_name_gives_a_policy_of_that_name(name: str) -> None:
    assert policies.load(name).name == name  # type: ignore[attr-defined]


def test_the_default_is_built_in() -> None:
    assert isinstance(policies.load(policies.DEFAULT), Auto)


def test_the_seed_is_given_to_whoever_takes_it() -> None:
    random = policies.load("random", seed=7)
    assert isinstance(random, RandomChoice) and random.seed == 7
    assert isinstance(policies.load("earliest_finish", seed=7), EarliestFinish)


def test_other_options_go_to_the_constructor() -> None:
    policy = policies.load("comparative_advantage", bias=3.0)
    assert isinstance(policy, ComparativeAdvantage) and policy.bias == 3.0


@pytest.mark.parametrize(
    ("spec", "options", "message", "hint"),
    [
        ("earliest_finsh", {}, "no policy 'earliest_finsh'", "did you mean 'earliest_finish'?"),
        ("no such thing", {}, "no policy", "there are: random, round_robin"),
        ("earliest_finish", {"bias": 1}, "takes no option 'bias'", "its options: none"),
        ("comparative_advantage", {"bais": 1}, "takes no option 'bais'", "its options: bias"),
        ("comparative_advantage", {"bias": -1}, "cannot be made: bias must lie in 0..16", ""),
        ("no_such_module:X", {}, "there is no module 'no_such_module'", ""),
        ("jetsched.policies.base:Gredy", {}, "there is no 'Gredy'", "did you mean 'Greedy'?"),
        ("json:JSONDecoder", {}, "is no policy", "no method decide(view)"),
        ("no/such/file.py", {}, "there is no file no/such/file.py", ""),
        ("comparative_advantage:bais=1", {}, "takes no option 'bais'", "did you mean 'bias'?"),
        ("comparative_advantage:bias=x", {}, "bias=x is not a number", ""),
        ("comparative_advantage:bias=99", {}, "cannot be made: bias must lie in 0..16", ""),
        ("comparative_advantage:bias=", {}, "'bias=' is not of the form name=value", "e.g."),
        ("comparative_advantage:bias=1,2", {}, "'2' is not of the form", "name=value,other=value"),
        ("comparative_advantage:bias=1,bias=2", {}, "'bias' is given twice", ""),
        ("earliest_finish:seed=1", {}, "takes no option 'seed'", "its options: none"),
        ("random:seed=1.5", {}, "seed=1.5 is not a whole number", ""),
        ("comparative_advantge:bias=1", {}, "no policy 'comparative_advantge'", "did you mean"),
    ],
)
def test_a_wrong_spec_is_told(spec: str, options: dict[str, int], message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        policies.load(spec, **options)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_options_stand_behind_the_name_and_are_part_of_what_it_is_called() -> None:
    policy = policies.load("comparative_advantage:bias=3", seed=1)
    assert isinstance(policy, ComparativeAdvantage) and policy.bias == 3.0
    assert policy_name(policy) == "comparative_advantage:bias=3"
    assert policies.load("comparative_advantage").name == "comparative_advantage"  # type: ignore[attr-defined]


def test_an_option_of_the_spec_stands_over_one_of_the_caller() -> None:
    policy = policies.load("random:seed=5", seed=1)
    assert isinstance(policy, RandomChoice) and policy.seed == 5


TYPED = """
from typing import Literal

class Mine:
    def __init__(self, objective: Literal["mean", "makespan"] = "mean", on: bool = False,
                 most: "int | None" = 3, word="x", ratio: "float | None" = None):
        self.all = (objective, on, most, word, ratio)

    def decide(self, view):
        return []
"""


def test_an_option_has_the_type_that_the_constructor_asks_for(tmp_path: Path) -> None:
    spec = write(tmp_path, TYPED)
    options = "objective=makespan,on=yes,most=none,word=7,ratio=2"
    for where in (spec, f"{spec}:Mine"):
        policy: Any = policies.load(f"{where}:{options}")
        assert policy.all == ("makespan", True, None, "7", 2.0)
        assert [type(value) for value in policy.all] == [str, bool, type(None), str, float]
    with pytest.raises(InputError, match="objective=means is none of mean, makespan") as caught:
        policies.load(f"{spec}:objective=means")
    assert caught.value.hint == "did you mean 'mean'?"
    with pytest.raises(InputError, match="on=maybe is not true or false"):
        policies.load(f"{spec}:on=maybe")


def test_a_list_of_specs_is_split_at_the_commas_that_are_not_between_options() -> None:
    assert policies.split("a, m.py:C:x=1,y=2,b:z=3,c") == ["a", "m.py:C:x=1,y=2", "b:z=3", "c"]
    assert policies.split("earliest_finish") == ["earliest_finish"]
    assert policies.split("all,m.py,random") == [*policies.BUILT_IN, "m.py"]
    for text in ("", "a,,b", "a,"):
        with pytest.raises(InputError, match="without a name"):
            policies.split(text)


def test_every_built_in_policy_says_what_it_is_for() -> None:
    assert [name for name in policies.BUILT_IN if name not in policies.KINDS] == []


def test_a_class_is_found_in_a_module() -> None:
    spec = "jetsched.policies.earliest_finish:EarliestFinish"
    assert isinstance(policies.load(spec), EarliestFinish)


def test_a_file_with_one_policy_needs_no_more_than_its_name(tmp_path: Path) -> None:
    spec = write(tmp_path, GOOD)
    assert type(policies.load(spec, seed=1)).__name__ == "CoolFirst"
    assert type(policies.load(spec + ":CoolFirst")).__name__ == "CoolFirst"
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.py"]  # no bytecode is left beside it


def test_an_edited_file_counts_at_once(tmp_path: Path) -> None:
    spec = write(tmp_path, GOOD)
    policies.load(spec)
    write(tmp_path, GOOD.replace("CoolFirst", "HeatFirst"))
    assert type(policies.load(spec)).__name__ == "HeatFirst"


def test_a_policy_need_not_be_a_greedy(tmp_path: Path) -> None:
    text = "class Mine:\n    def decide(self, view):\n        return []\n"
    assert type(policies.load(write(tmp_path, text))).__name__ == "Mine"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\ndef decide(:\n", 2, "invalid syntax"),
        ("import json\n\nx = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("\nimport no_such_module_at_all\n", 2, "No module named"),
        ("x = 1\n", 1, "there is no policy in it"),
        (GOOD.replace("def score", "def scroe"), 7, "CoolFirst lacks the method score"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    spec = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        policies.load(spec)
    assert str(caught.value).startswith(f"{spec}:{line}: ")
    assert message in str(caught.value)


def test_a_file_without_its_ending_is_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no policy 'mine'") as caught:
        policies.load("mine")
    assert caught.value.hint.startswith("did you mean 'mine.py'?")


def test_a_file_with_two_policies_wants_one_named(tmp_path: Path) -> None:
    spec = write(tmp_path, GOOD + GOOD.replace("CoolFirst", "HeatFirst"))
    with pytest.raises(InputError, match="has 2 policies") as caught:
        policies.load(spec)
    assert f"{spec}:CoolFirst" in caught.value.hint
    assert type(policies.load(spec + ":HeatFirst")).__name__ == "HeatFirst"


def test_an_installed_package_can_offer_policies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution with the entry-point group, as pip would lay it out."""
    write(tmp_path, GOOD, "cool_package.py")
    info = tmp_path / "cool_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cool-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[jetsched.policies]\n"
        "cool_first = cool_package:CoolFirst\n"
        "broken = cool_package_that_is_not_there:X\n"
        "random = cool_package:CoolFirst\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert type(policies.load("cool_first")).__name__ == "CoolFirst"
        assert isinstance(policies.load("random"), RandomChoice)  # a built-in name stays ours
        rows = {row.name: row for row in policies.describe()}
        assert rows["cool_first"].source == "entry point"
        assert rows["cool_first"].summary.startswith("Finish early")
        assert "cannot be loaded" in rows["broken"].summary
        with pytest.raises(InputError, match="'broken' of cool_package_that"):
            policies.load("broken")
        with pytest.raises(InputError) as caught:
            policies.load("cool_frist")
        assert "did you mean 'cool_first'?" in caught.value.hint
    finally:
        sys.modules.pop("cool_package", None)


@pytest.mark.slow
def test_a_package_that_pip_has_installed_offers_its_policy_to_every_verb(tmp_path: Path) -> None:
    """The whole way: a project with an entry point, pip, and then the command line."""
    project, site = tmp_path / "project", tmp_path / "site"
    project.mkdir()
    write(project, GOOD, "cool_package.py")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "cool-package"\nversion = "1.0"\n'
        '[project.entry-points."jetsched.policies"]\ncool_first = "cool_package:CoolFirst"\n'
        '[tool.setuptools]\npy-modules = ["cool_package"]\n'
    )

    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        env = {**os.environ, "PYTHONPATH": str(site), "JETSCHED_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    options = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run("pip", "install", "--quiet", *options, "--target", str(site), str(project))
    rows = {row["name"]: row for row in json.loads(run("jetsched", "policies", "ls", "--json"))}
    assert rows["cool_first"]["source"] == "entry point"
    assert rows["cool_first"]["where"] == "cool_package:CoolFirst"
    assert "Finish early" in run("jetsched", "policies", "show", "cool_first")
    run("jetsched", "policies", "test", "cool_first", "--no-benchmark", "--worlds", "2")
    words = ("--generate", "6", "--policy", "cool_first", "--json")
    assert json.loads(run("jetsched", "simulate", *words))["policy"] == "CoolFirst"


def test_every_built_in_policy_is_described_in_one_line() -> None:
    rows = policies.describe()
    assert [row.name for row in rows if row.source == "built-in"] == list(policies.BUILT_IN)
    assert [row.name for row in rows if row.default] == [policies.DEFAULT]
    assert all(20 < len(row.summary) < 100 and row.summary.endswith(".") for row in rows)


@pytest.mark.parametrize("spec", ["my.pyfiles/a.py", "my.pyfiles/a.py:Mine", "my.pyfiles/a.py:x=1"])
def test_a_spec_with_its_whole_path_keeps_what_stands_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    (tmp_path / "my.pyfiles").mkdir()
    write(tmp_path / "my.pyfiles", GOOD, "a.py")
    monkeypatch.chdir(tmp_path)
    assert Spec.of(spec).absolute == f"{tmp_path}{os.sep}{spec}"
    for other in ("random", "json:Class", "no.py", "my.pyfiles"):
        assert Spec.of(other).absolute == other
