"""`jetsched estimate`: what comes back, with which exit code, and what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from estimate_world import GPT2, ROOT, Estimate, a_file, estimate_in

from jetsched.files import to_json
from jetsched.profiler.devices import DEVICE_MODELS

KEYS = {
    *("device", "power_mode", "software", "time_s", "load_s", "peak_memory_mib", "admitted_mib"),
    *("has_mib", "gpu_util_pct", "energy_j", "fits", "code", "reason", "source", "method"),
    *("measurements", "emulated", "hint", "memory"),
    *("gpu_util_p90_pct", "energy_p90_j", "power_source"),
}


@pytest.fixture
def estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Estimate:
    return estimate_in(tmp_path / "home", monkeypatch, capsys)


# -------------------------------------------------------------------------------------- the answer


def test_the_json_is_a_list_with_one_object_per_device_model(estimate: Estimate) -> None:
    """All that have a data sheet, in its order, each with the same keys."""
    result = estimate(GPT2, "--json")
    assert result.code == 0
    assert [row["device"] for row in result.rows] == list(DEVICE_MODELS)
    assert all(row.keys() == KEYS for row in result.rows)


def test_an_estimate_holds_what_the_contract_says(estimate: Estimate) -> None:
    row = estimate(GPT2, "--device", "orin-nano", "--json").row
    assert 0 < row["load_s"] < row["time_s"]["p50"] < row["time_s"]["p90"]
    assert 0 < row["peak_memory_mib"] < row["admitted_mib"] <= row["has_mib"]
    assert 0 < row["gpu_util_pct"] < row["gpu_util_p90_pct"] <= 100
    assert 0 < row["energy_j"] < row["energy_p90_j"] and row["power_source"] == "assumed"
    assert row["energy_j"] > 0
    assert (row["fits"], row["code"], row["reason"], row["hint"]) == ("fits", None, "", [])
    assert (row["source"], row["method"], row["measurements"]) == ("assumed", "datasheet", 0)
    assert (row["power_mode"], row["emulated"]) == ("25W", False)


def test_the_parts_of_memory_add_up_to_the_live_bytes(estimate: Estimate) -> None:
    for row in estimate(GPT2, "--json").rows:
        parts = dict(row["memory"])
        assert parts.pop("runtime_mib") > 0
        assert sum(parts.values()) == pytest.approx(row["peak_memory_mib"])


def test_what_can_never_run_still_says_what_it_needs(estimate: Estimate) -> None:
    """Exit code 3 only if that is so of every device that was named; JSON comes in any case."""
    words = (GPT2, "--set", "work.batch_size=64", "--json", "--device")
    result = estimate(*words, "xavier-nx")
    assert result.code == 3
    row = result.row
    assert (row["fits"], row["code"]) == ("never", "NeverFits")
    assert row["time_s"] is row["load_s"] is row["energy_j"] is None
    assert row["has_mib"] < row["peak_memory_mib"] < row["admitted_mib"]
    assert f"{row['peak_memory_mib']:,.0f} MiB" in row["reason"]
    assert any(hint.startswith("batch_size ") for hint in row["hint"])
    assert estimate(*words, "xavier-nx,agx-orin").code == 0


def test_the_hint_leads_to_a_job_that_fits(estimate: Estimate) -> None:
    words = (GPT2, "--device", "xavier-nx", "--json", "--set", "work.batch_size=64")
    for hint in estimate(*words).row["hint"]:
        name, _, value = hint.partition(" (")[0].partition(" ")
        again = estimate(*words, "--set", f"work.{name}={value or 'true'}")
        assert (again.code, again.row["fits"]) == (0, "fits"), hint


def test_a_precision_that_the_chip_lacks_is_a_reason_of_its_own(estimate: Estimate) -> None:
    result = estimate(GPT2, "--set", "work.precision=bf16", "--device", "xavier-nx", "--json")
    assert (result.code, result.row["code"]) == (3, "EnvMissing")
    assert 0 < result.row["peak_memory_mib"] < result.row["admitted_mib"]
    assert result.row["hint"][0].startswith("precision fp16 (")


def test_a_command_that_is_like_an_unknown_model_is_not_profiled(
    estimate: Estimate, tmp_path: Path
) -> None:
    like = "{kind: train, model: nobody/heard-of}"
    file = a_file(tmp_path, f"kind: command, run: ./train.sh, like: {like}")
    result = estimate(file, "--json")
    assert result.code == 3
    assert {row["code"] for row in result.rows} == {"NotProfiled"}
    assert all(row["peak_memory_mib"] is row["memory"] is None for row in result.rows)
    assert estimate(file).out.count("All devices: NotProfiled: ") == 1


def test_of_a_command_that_is_said_to_be_like_nothing_a_minute_is_assumed(
    estimate: Estimate, tmp_path: Path
) -> None:
    file = a_file(tmp_path, "kind: command, run: ./train.sh")
    result = estimate(file, "--json")
    assert result.code == 0
    assert {(row["fits"], row["source"]) for row in result.rows} == {("fits", "assumed")}
    assert {row["time_s"]["p50"] for row in result.rows} == {60.0}
    shown = estimate(file).out
    assert shown.count("All devices: nothing is known about this command") == 1
    assert "work.like" in shown and "0.0" not in shown  # of its memory nothing is known


def test_the_head_of_a_model_changes_its_memory(estimate: Estimate) -> None:
    """A language model's logits are three times tokens x vocabulary x 4 bytes in training."""
    words = (GPT2, "--device", "agx-orin", "--json", "--set", "work.batch_size=8")
    qa, lm = (estimate(*words, "--set", f"work.head={head}").row for head in ("qa", "lm"))
    assert qa["memory"]["logits_mib"] == 0
    assert lm["memory"]["logits_mib"] == pytest.approx(3 * 8 * 128 * 50257 * 4 / 2**20, rel=0.01)
    assert lm["peak_memory_mib"] > qa["peak_memory_mib"] + 400
    assert lm["time_s"]["p50"] > qa["time_s"]["p50"]


def test_a_model_in_a_folder_is_counted_from_its_config(estimate: Estimate, tmp_path: Path) -> None:
    known = json.loads((ROOT / "profiler/data/configs/distilgpt2.json").read_text())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text(json.dumps({**known, "n_layer": 3}))
    words = ("--set", "work.model=distilgpt2", "--device", "orin-nano", "--json")
    file = a_file(tmp_path, "kind: train, model: ./mine")
    mine, distil = estimate(file, *words[2:]).row, estimate(file, *words).row
    assert 0 < mine["memory"]["weights_mib"] < distil["memory"]["weights_mib"]
    assert mine["time_s"]["p50"] < distil["time_s"]["p50"]


def test_a_model_that_nothing_is_known_of_says_what_to_do(
    estimate: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    result = estimate(a_file(tmp_path, "kind: infer, model: me/mine-7b, prompts: 4"), "--json")
    assert result.code == 3
    for row in result.rows:
        assert (row["fits"], row["code"]) == ("never", "NotProfiled")
        assert "hf download me/mine-7b config.json" in row["reason"]
    typo = estimate(a_file(tmp_path, "kind: train, model: distilgp"), "--json", "--device", "cpu")
    assert typo.row["reason"].endswith("did you mean distilgpt2?")


@pytest.mark.slow
def test_a_model_of_an_unknown_type_is_counted_once(estimate: Estimate, tmp_path: Path) -> None:
    """By the workload's interpreter, from its config alone; the second time it is known."""
    (tmp_path / "mine").mkdir()
    config = {"model_type": "bloom", "hidden_size": 64, "n_layer": 2, "n_head": 4}
    (tmp_path / "mine/config.json").write_text(json.dumps({**config, "vocab_size": 1000}))
    file = a_file(tmp_path, "kind: infer, model: ./mine, prompts: 4")
    first, again = (estimate(file, "--device", "orin-nano", "--json") for _ in range(2))
    assert "Counting" in first.err and again.err == ""
    assert first.row == again.row
    assert (first.row["fits"], first.row["source"]) == ("fits", "assumed")
    weights = (1000 * 64 + 2 * (4 * 64**2 + 8 * 64**2)) * 4 / 2**20
    assert first.row["memory"]["weights_mib"] == pytest.approx(weights, rel=0.1)


# ------------------------------------------------------------------------------------- the devices


def test_a_power_mode_goes_with_its_model_and_changes_the_time(estimate: Estimate) -> None:
    words = (GPT2, "--set", "work.dataset=squad[:2000]", "--json", "--device")
    slow, fast = (estimate(*words, f"orin-nano@{mode}").row for mode in ("mode_15w", "25W"))
    assert (slow["power_mode"], fast["power_mode"]) == ("15W", "25W")
    assert slow["time_s"]["p50"] > 1.2 * fast["time_s"]["p50"]
    assert estimate(*words, "orin-nano").row == fast


@pytest.mark.parametrize(
    ("word", "says", "hint"),
    [
        ("orin-nanno", "unknown device model 'orin-nanno'", "did you mean 'orin-nano'?"),
        ("a100", "unknown device model 'a100'", "known: xavier-nx, orin-nano"),
        ("orin-nano@16W", "no power mode '16W'", "did you mean '15W'?"),
        ("xavier-nx@", "no power mode ''", "it has 20W_6CORE"),
        ("cpu@15W", "cpu has no power mode '15W'", "write cpu alone"),
        ("xavier-nxx:0.5", "xavier-nxx", "did you mean 'xavier-nx'?"),
        ("xavier-nx:x", "x", "xavier-nx:0.5"),
        ("", "unknown device model ''", "known: "),
    ],
)
def test_a_device_that_is_not_known_is_bad_input(
    estimate: Estimate, word: str, says: str, hint: str
) -> None:
    result = estimate(GPT2, "--device", word, "--json")
    assert (result.code, result.out) == (2, "")
    assert says in result.err and hint in result.err


def test_several_devices_may_be_named_in_three_ways(estimate: Estimate) -> None:
    """They come in the order in which they are named, and once."""
    one = estimate(GPT2, "--json", "--device", "cpu", "--device", "xavier-nx")
    two = estimate(GPT2, "--json", "--device", "cpu,xavier-nx,cpu")
    three = estimate(GPT2, "--json", "--device", "cpu", "xavier-nx")
    for result in (one, two, three):
        assert [row["device"] for row in result.rows] == ["cpu", "xavier-nx"]


def test_one_file_at_a_time(estimate: Estimate) -> None:
    for words in ([GPT2, "other.yaml"], [GPT2, "other.yaml", "--device", "cpu"], [GPT2, "cpu"]):
        result = estimate(*words)
        assert result.code == 2
        assert "one job file, not 2" in result.err


# ----------------------------------------------------------------------------------- on a screen


def test_the_screen_says_it_in_a_hundred_columns(
    estimate: Estimate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = estimate(GPT2, "--set", "work.batch_size=16", "--memory").out
    head, *lines = shown.splitlines()
    assert head == "train-gpt2: train gpt2 b16x128 fp32, head qa · 8 samples"
    table = [line for line in lines if line.startswith("  ") and GPT2 not in line]
    assert max(map(len, table)) <= 100
    titles = "DEVICE FITS MEMORY peak/has LOAD RUN (p90) ENERGY GPU SOURCE"
    assert " ".join(lines[0].split()) == titles
    for column in ("WEIGHTS", "GRADIENTS", "OPTIMIZER", "ACTIVATIONS", "LOGITS", "KV", "RUNTIME"):
        assert column in shown
    assert "Next: jetsched plan" in shown


def test_the_head_of_the_screen_names_what_memory_hangs_on(estimate: Estimate) -> None:
    changes = ("head=lm", "gradient_checkpointing=true", "method=lora", "accumulation_steps=4")
    words = [word for change in changes for word in ("--set", f"work.{change}")]
    head = estimate(GPT2, "--device", "cpu", *words).out.splitlines()[0]
    label = "train gpt2 b4x128 fp32 lora"
    more = "head lm, gradient_checkpointing, lora_rank 8, accumulation_steps 4"
    assert head == f"train-gpt2: {label}, {more} · 8 samples"


def test_a_file_is_named_as_shortly_as_it_can_be_and_as_a_shell_takes_it(
    estimate: Estimate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(tmp_path, "kind: train, model: gpt2")
    monkeypatch.chdir(tmp_path)
    assert "jetsched submit job.yaml\n" in estimate(file, "--device", "cpu").out
    (tmp_path / "my job.yaml").write_text(Path(file).read_text())
    shown = estimate("my job.yaml", "--device", "cpu").out
    assert "jetsched submit 'my job.yaml'\n" in shown and "--suite 'my job.yaml' " in shown


def test_the_screen_says_why_not_and_what_would_help(estimate: Estimate) -> None:
    shown = estimate(GPT2, "--set", "work.batch_size=64", "--device", "xavier-nx").out
    assert "xavier-nx @ 20W_6CORE: NeverFits: needs " in shown
    assert "To make it fit xavier-nx @ 20W_6CORE: batch_size 16 (" in shown


# ------------------------------------------------------------------------------------ what it needs


def test_a_known_model_needs_neither_torch_nor_a_network(tmp_path: Path) -> None:
    """In an interpreter of its own, whose sockets reach nobody."""
    code = f"""
import socket, sys
def refuse(*words): raise SystemExit("it asked the network")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = ["jetsched", "estimate", {GPT2!r}, "--json"]
from jetsched.cli import main
try:
    main()
finally:
    heavy = {{"torch", "ray", "transformers", "matplotlib"}} & set(sys.modules)
    print(sorted(heavy), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin", "JETSCHED_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert len(json.loads(done.stdout)) == len(DEVICE_MODELS)


def test_the_rows_are_plain_json(estimate: Estimate) -> None:
    rows = estimate(GPT2, "--json").rows
    assert to_json(rows) == rows
