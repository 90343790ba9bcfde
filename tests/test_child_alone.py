"""The child as it is really started: by path, in a process of its own, speaking JSON lines."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from child_worlds import GPT2, TRAIN, a_spec, events_of

from jetsched.profiler import child
from jetsched.profiler.child_data import load_prompts

SOON_S = 300  # against hanging only
SOURCES = [*sorted(Path(child.HERE).glob("child*.py")), Path(child.HERE) / "hub_cache.py"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts children; whatever still runs after the test is ended."""
    running = []

    def started(spec: dict[str, Any], **env: str) -> subprocess.Popen[str]:
        path = Path(spec["folder"]) / "spec.json"
        path.write_text(json.dumps(spec))
        process = subprocess.Popen(
            [sys.executable, str(Path(child.HERE) / "child.py"), str(path)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hf"), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield started
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=SOON_S)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_child_is_written_in_the_python_of_jetpack_5(source: Path) -> None:
    ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_child_imports_nothing_of_jetsched(source: Path) -> None:
    imported = []
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported.append(node.module or "")
    assert "__future__" in imported  # the file was found and parsed
    assert not [name for name in imported if name.startswith(("jetsched", "profiler"))]


def test_a_bad_data_set_is_found_before_torch_is_imported(tmp_path: Path, start: Any) -> None:
    (tmp_path / "bad.json").write_text('{"data": [{"paragraphs": [{"context": ""}]}]}')
    spec = a_spec(tmp_path, TRAIN, dataset_path=str(tmp_path / "bad.json"))
    process = start(spec, PYTHONPROFILEIMPORTTIME="1")
    log, _ = process.communicate(timeout=SOON_S)
    assert process.returncode == 1
    failed = events_of(tmp_path)["failed"][0]
    assert failed["error"] == "DatasetError" and failed["memory"] is False
    assert "data[0].paragraphs[0] has no text 'context'" in failed["text"]
    assert "| torch" not in log


def test_modules_beside_the_child_hide_no_others(tmp_path: Path) -> None:
    """Started by path, Python looks in the script's folder first: there are models.py, store.py."""
    script = "import runpy, sys; sys.argv = ['child.py']; sys.path.insert(0, {here!r})\n"
    script += "try: runpy.run_path({child!r}, run_name='__main__')\n"
    script += "except IndexError: pass\n"
    script += "assert {here!r} not in sys.path, sys.path"
    values = {"here": child.HERE, "child": str(Path(child.HERE) / "child.py")}
    subprocess.run(
        [sys.executable, "-c", script.format(**values)], check=True, cwd=tmp_path, timeout=SOON_S
    )


def test_a_run_tells_what_it_does_and_ends_well(tmp_path: Path, start: Any) -> None:
    pytest.importorskip("transformers")
    process = start(a_spec(tmp_path, TRAIN, amount=8, device="cpu"))
    log, _ = process.communicate(timeout=SOON_S)
    assert process.returncode == 0, log
    events = events_of(tmp_path)
    assert list(events) == ["started", "loaded", "progress", "result"]
    started = events["started"][0]
    assert started["pid"] == process.pid
    assert started["device"] == "cpu" and started["threads"] == 1
    assert events["result"][0]["outcome"] == "done"
    assert 0 < events["result"][0]["load_s"] < SOON_S
    assert all(abs(event["t"] - time.time()) < SOON_S for event in events["progress"])


def test_sigterm_ends_training_with_a_checkpoint(tmp_path: Path, start: Any) -> None:
    pytest.importorskip("transformers")
    process = start(a_spec(tmp_path, TRAIN, amount=10**6))
    until = time.monotonic() + SOON_S
    while process.poll() is None and time.monotonic() < until:
        if (tmp_path / "events.jsonl").is_file() and "progress" in events_of(tmp_path):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    log, _ = process.communicate(timeout=SOON_S)
    assert process.returncode == 143, log
    events = events_of(tmp_path)
    kept = events["checkpoint"][-1]
    assert kept["done"] == 4 * kept["step"] > 0
    assert (Path(kept["path"]) / "model.safetensors").is_file()
    assert "result" not in events and "failed" not in events


@pytest.mark.slow
def test_a_model_that_is_nowhere_is_told_before_torch_is_imported(
    tmp_path: Path, start: Any
) -> None:
    """In the words that a live job's text has: what to fetch, in one sentence."""
    spec = a_spec(tmp_path / "run", {**TRAIN, "model": "me/mine"}, hub_id="me/mine")
    process = start({**spec, "model_config": None}, PYTHONPROFILEIMPORTTIME="1")
    output, _ = process.communicate(timeout=SOON_S)
    (failed,) = events_of(tmp_path / "run")["failed"]
    assert process.returncode == 1
    assert "`hf download me/mine`" in failed["text"] and "\n" not in failed["text"]
    assert not any(line.endswith("| torch") for line in output.splitlines())


def test_a_model_in_the_hubs_cache_is_loaded_from_there(tmp_path: Path, start: Any) -> None:
    """Weights and tokenizer, without a network, as huggingface_hub lays them out."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    repository = tmp_path / "hub" / "models--me--mine"
    snapshot = repository / "snapshots" / "0123abc"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)).save_pretrained(snapshot)
    words = tokenizers.ByteLevelBPETokenizer()
    words.train_from_iterator(load_prompts(None)[0], vocab_size=300, special_tokens=["<end>"])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, eos_token="<end>"
    ).save_pretrained(snapshot)

    spec = a_spec(tmp_path / "run", {**TRAIN, "model": "me/mine"}, hub_id="me/mine", amount=4)
    process = start({**spec, "model_config": None}, HF_HUB_CACHE=str(tmp_path / "hub"))
    log, _ = process.communicate(timeout=SOON_S)
    assert process.returncode == 0, log
    loaded = events_of(tmp_path / "run")["loaded"][0]
    assert (loaded["weights"], loaded["tokenizer"]) == ("hub", "hub")
    assert loaded["random_weights"] is False


@pytest.mark.slow
def test_a_memory_limit_of_the_address_space_looks_like_memory(tmp_path: Path, start: Any) -> None:
    """A batch that needs gigabytes: torch's allocator says so, and so does the child."""
    pytest.importorskip("transformers")
    work = {**TRAIN, "batch_size": 4096, "seq_len": 128}
    spec = a_spec(tmp_path, work, {**GPT2, "n_embd": 512}, amount=4096)
    limited = tmp_path / "limited.py"
    limited.write_text(
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        f"sys.path[0] = {child.HERE!r}\n"
        f"sys.argv[0] = {child.HERE + '/child.py'!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, str(limited), str(tmp_path / "spec.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SOON_S,
    )
    assert done.returncode == 1, done.stderr
    assert events_of(tmp_path)["failed"][0]["memory"] is True
