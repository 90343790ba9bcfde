"""Secrets: named in job files, kept on the head, seen by the job alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from api_world import LIKE, Served, job_file
from commands import Jetsched
from hypothesis import given, settings
from hypothesis import strategies as st
from live_world import LiveWorld, table

from jetsched.cluster.joblogs import JobLogs
from jetsched.cluster.rules import Rules
from jetsched.cluster.secretstore import SECRETS, Secrets
from jetsched.errors import InputError
from jetsched.jobfile import parse_job
from jetsched.problems import FileProblems
from jetsched.profiler.attempts import read_result

VALUE = "hf_ThisIsVerySecret123"
JOB = """\
work: {kind: command, run: 'RUN', like: {kind: infer, model: tiny-gpt2}}
env: {PLAIN: seen, HF_TOKEN: {secret: hf}}
"""


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    found = Secrets(tmp_path / SECRETS)
    found.set("hf", VALUE)
    return found


@pytest.fixture
def served(tmp_path: Path, secrets: Secrets) -> Iterator[Served]:
    with LiveWorld(tmp_path, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world, rules=Rules(secrets=secrets)) as served:
            yield served


# ------------------------------------------------------------------------------------ the store


def test_a_secret_is_for_its_owner_only(secrets: Secrets) -> None:
    assert secrets.folder.stat().st_mode & 0o777 == 0o700
    assert (secrets.folder / "hf").stat().st_mode & 0o777 == 0o600
    assert secrets.names() == ["hf"]


def test_what_cannot_be_read_beside_the_secrets_stops_nobody(secrets: Secrets) -> None:
    """The scheduler's own loop redacts."""
    (secrets.folder / "folder").mkdir()
    assert secrets.redact(f"a {VALUE}".encode()) == b"a " + b"*" * len(VALUE)


def test_odd_names_and_values_are_refused(secrets: Secrets) -> None:
    for name in ("", "../x", "a/b", ".hidden", "x" * 65, "a\n"):
        with pytest.raises(InputError):
            secrets.set(name, "value")
    for value in ("", "a\0b", "x" * 20_000):
        with pytest.raises(InputError):
            secrets.set("ok", value)
    with pytest.raises(InputError, match="no secret"):
        secrets.remove("nothing")
    assert os.listdir(secrets.folder) == ["hf"]


def test_a_value_that_is_changed_is_redacted_from_then_on(secrets: Secrets) -> None:
    assert secrets.redact(b"new-value " + VALUE.encode()) == b"new-value " + b"*" * len(VALUE)
    secrets.set("hf", "new-value")
    assert secrets.redact(b"new-value") == b"*********"
    secrets.remove("hf")
    assert secrets.redact(b"new-value") == b"new-value"


@given(st.lists(st.integers(0, 80), max_size=6), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_a_value_that_comes_in_parts_is_redacted_and_nothing_moves(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], before: int
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    secrets = Secrets(folder / SECRETS)
    secrets.set("hf", VALUE)
    logs = JobLogs(folder / "logs", secrets)
    whole = b"x" * before + VALUE.encode() + b" and " + VALUE.encode() + b"\nend"
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    for start, end in pairwise(places):
        logs.keep(("1", 1), start, whole[start:end])
    stars = b"*" * len(VALUE)
    assert logs.path(("1", 1)).read_bytes() == b"x" * before + stars + b" and " + stars + b"\nend"


# --------------------------------------------------------------------------------- the job file


def test_a_job_file_names_a_secret_and_a_job_holds_the_name_alone() -> None:
    spec = parse_job(JOB.replace("RUN", "true"))
    assert spec.env == (("PLAIN", "seen"),)
    assert spec.secrets == (("HF_TOKEN", "hf"),)
    assert spec.to_job("1", 0.0).secrets == (("HF_TOKEN", "hf"),)


@pytest.mark.parametrize("value", ["{secret: 7}", "{secret: hf, x: y}", "{}", "[hf]", "{s: hf}"])
def test_what_only_looks_like_a_secret_is_a_mistake(value: str) -> None:
    with pytest.raises(FileProblems) as caught:
        parse_job(f"work: {{kind: command, run: x}}\nenv: {{A: {value}}}\n")
    assert [p.path for p in caught.value.problems] == ["env.A"]


def test_a_secret_that_the_head_does_not_have_is_refused_at_submission(
    served: Served, tmp_path: Path
) -> None:
    text = JOB.replace("secret: hf", "secret: hg").replace("RUN", "true")
    with pytest.raises(FileProblems, match="there is no secret 'hg'") as caught:
        served.client.submit([job_file(tmp_path, text)])
    assert "jetsched secret set hg" in caught.value.problems[0].hint


# ------------------------------------------------------------------------------------- the run


def everything_below(folder: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and SECRETS not in path.parts
    }


def test_the_job_sees_the_value_and_no_file_log_or_answer_holds_it(
    served: Served, tmp_path: Path
) -> None:
    run = f'test "$HF_TOKEN" = {VALUE[:10]}"{VALUE[10:]}" && echo right: $HF_TOKEN; echo $PLAIN'
    served.client.submit([job_file(tmp_path, JOB.replace("'RUN'", json.dumps(run)))])
    served.world.until_state("1", "done")
    log = "".join(served.client.follow_log("1"))
    assert log == f"right: {'*' * len(VALUE)}\nseen\n"
    assert VALUE not in json.dumps(served.client.job("1"))
    assert VALUE not in json.dumps(served.client.why("1"))
    holding = [p for p, data in everything_below(tmp_path).items() if VALUE.encode() in data]
    # The node's own log is what the job wrote, word for word.
    assert [path.name for path in holding] == ["log.txt"]


def test_last_words_of_a_failure_are_redacted_before_they_are_journalled(
    served: Served, tmp_path: Path
) -> None:
    run = 'echo "ValueError: bad token $HF_TOKEN" >&2; exit 3'
    served.client.submit([job_file(tmp_path, JOB.replace("'RUN'", json.dumps(run)))])
    served.world.until_state("1", "failed")
    row = served.client.job("1")
    assert VALUE not in json.dumps(row)
    for path in (tmp_path / "journal.db", tmp_path / "journal.db-wal"):
        assert not path.exists() or VALUE.encode() not in path.read_bytes()
    holding = [p.name for p, data in everything_below(tmp_path).items() if VALUE.encode() in data]
    assert holding == ["log.txt"]  # nor has what jetsched itself writes on the board
    (measured,) = (tmp_path / "nodes").rglob("measurement.json")
    assert f"bad token {'*' * len(VALUE)}" in measured.read_text()
    # An agent that was started again does not know the value: it leaves such words out.
    measured.unlink()
    again = read_result(measured.parent)
    assert again is not None and again.outcome == "failed"
    assert VALUE not in measured.read_text() and "its log says how" in again.text


def test_a_secret_that_is_gone_when_the_job_starts_fails_it_with_the_reason(
    served: Served, tmp_path: Path, secrets: Secrets
) -> None:
    hold = "needs: {device: [orin-1]}\n"
    busy = {"work": {"kind": "command", "run": "sleep 60", "like": LIKE}}
    served.client.submit_specs([{**busy, "needs": {"device": ["orin-1"]}}])
    served.client.submit([job_file(tmp_path, JOB.replace("RUN", "true") + hold)])
    secrets.remove("hf")
    served.client.cancel("1")
    served.world.until_state("2", "failed")
    assert "there is no secret 'hf'" in served.client.job("2")["text"]


# ------------------------------------------------------------------------------------- the verb


def test_the_verb_takes_the_value_from_stdin_and_never_shows_it(
    jetsched: Jetsched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read, write = os.pipe()
    os.write(write, f"{VALUE}\n".encode())
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        made = jetsched("secret", "set", "hf")
    assert made.code == 0 and VALUE not in made.out + made.err
    assert (tmp_path / "home" / SECRETS / "hf").read_text() == VALUE
    assert jetsched("secret", "ls", "--json").json() == ["hf"]
    assert "hf" in jetsched("secret").out
    assert jetsched("secret", "rm", "hf").code == 0
    assert jetsched("secret", "rm", "hf").code == 2
