"""Counting on the meta device beside the closed forms, and the counts that are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jetsched.errors import InputError
from jetsched.profiler import counting, models
from jetsched.profiler.counted import Counted, Pass
from jetsched.profiler.counting import NotCounted, config_hash, shape_from
from jetsched.profiler.forms import shape_of
from jetsched.profiler.memory import MIB, Stack, memory_needed
from jetsched.profiler.models import count_if_needed, counted_shape, shape
from jetsched.profiler.roofline import phases_of
from jetsched.profiler.shapes import ModelShape
from jetsched.records import Workload

SOON_S = 300  # against hanging only
CPU = Stack(cuda=False, fused_attention=True, runtime_mib=0)
CUDA = Stack(cuda=True, fused_attention=True, runtime_mib=0)
VOLTA = Stack(cuda=True, fused_attention=False, runtime_mib=0)
TRAIN = Workload("train", "x", batch_size=4, seq_len=128, head="qa")
INFER = Workload("infer", "x", batch_size=2, prompt_tokens=256, max_new_tokens=4)
SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "num_hidden_layers": 4,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
BLOOM: dict[str, Any] = {
    "model_type": "bloom",
    "hidden_size": 64,
    "n_head": 4,
    "n_layer": 2,
    "vocab_size": 500,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def bloom(tmp_path: Path) -> str:
    return a_model(tmp_path / "bloom", BLOOM)


def a_model(folder: Path, config: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def printed_by_child(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What child_count.py says of a config, started as it really is. Skips without torch."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    done = subprocess.run(
        [sys.executable, str(counting.CHILD), a_model(folder, config)],
        capture_output=True,
        text=True,
        timeout=SOON_S,
        cwd="/",
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.returncode == (1 if "error" in found else 0), done.stderr
    return found


def as_counted(config: dict[str, Any], folder: Path) -> tuple[ModelShape, Counted]:
    found = shape_from(printed_by_child(config, folder))
    assert found.counted is not None
    return found, found.counted


def counts(found: Counted) -> dict[str, float]:
    """All that is compared, at 4 samples of 128 tokens."""

    def one(passed: Pass) -> dict[str, float]:
        both = {
            "saved": passed.bytes_saved(512, 128, lora=False, byte_masks=True),
            "saved_cpu": passed.bytes_saved(512, 128, lora=False, byte_masks=False),
        }
        if passed.lora is not None:
            both["lora"] = passed.bytes_saved(512, 128, lora=True, byte_masks=True)
        return {**both, "launches": passed.launches}

    assert found.fused is not None
    return {
        "matmul_parameters": found.matmul_parameters,
        "score_flops": found.score_flops,
        "kv": found.kv_values_per_token,
        "working": found.working_per_token or 0.0,
        **{f"eager_{name}": value for name, value in one(found.eager).items()},
        **{f"fused_{name}": value for name, value in one(found.fused).items()},
    }


def compare(formed: Counted, seen: Counted) -> None:
    ours, theirs = counts(formed), counts(seen)
    few = [name for name in theirs if name.endswith("launches")]
    # Some layers start an operation more or less than others, and so do the ends.
    assert [ours.pop(n) for n in few] == pytest.approx(
        [theirs.pop(n) for n in few], rel=0.02, abs=12
    )
    assert ours == pytest.approx(theirs, rel=0.05)


FORMS: list[dict[str, Any]] = [
    {"model_type": "qwen3", **SIZES, "head_dim": 48},
    {"model_type": "phi3", **SIZES},
    {"model_type": "phi3", **SIZES, "num_key_value_heads": 8, "resid_pdrop": 0.1},
    {"model_type": "gemma", **SIZES, "head_dim": 64},
    {"model_type": "granite", **SIZES},
    {"model_type": "smollm3", **SIZES},
    {"model_type": "opt", **SIZES, "ffn_dim": 1024, "word_embed_proj_dim": 256},
    {"model_type": "gpt_neox", **SIZES, "intermediate_size": 1024},
    {
        "model_type": "gpt_neox",
        **SIZES,
        "intermediate_size": 1024,
        "attention_dropout": 0.1,
        "hidden_dropout": 0.1,
    },
]


@pytest.mark.slow
@pytest.mark.parametrize("config", FORMS, ids=lambda config: config["model_type"])
def test_a_closed_form_says_what_is_counted(config: dict[str, Any], tmp_path: Path) -> None:
    seen, counted = as_counted(config, tmp_path)
    formed = shape_of(config)
    compare(formed.body, counted)
    assert replace(formed, counted=None) == replace(seen, counted=None)


PAPER = ("gpt2", "distilgpt2", "tiny-gpt2", "tinyllama-1.1b", "qwen1.5-1.8b", "phi-2")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_the_formulas_of_the_papers_models_agree_with_the_count(name: str, tmp_path: Path) -> None:
    """Sizes and operations exactly, bytes and launches nearly."""
    known = models.find(name)
    assert known is not None
    config = json.loads(known.config_path.read_text(encoding="utf-8"))
    formed, (seen, counted) = known.shape, as_counted(config, tmp_path)
    if formed.hidden > 2:  # of two numbers, norms keep as many again
        compare(formed.body, counted)
    for value in ("parameters", "head_parameters", "kv_values_per_token", "layers", "hidden"):
        assert getattr(seen, value) == getattr(formed, value)
    assert seen.block_matmul_parameters == formed.block_matmul_parameters
    assert seen.score_width == formed.heads * formed.head_dim
    assert seen.gated_mlp == formed.gated_mlp
    for stack in (CPU, CUDA, VOLTA):
        for workload in (TRAIN, INFER):
            theirs, ours = (phases_of(s, workload, stack) for s in (seen, formed))
            assert [p.flops for p in theirs] == pytest.approx([p.flops for p in ours])


def test_what_a_count_is_made_of_is_read_without_torch(own_home: Path, bloom: str) -> None:
    """A count that lies there is enough: neither an interpreter nor another process."""
    path = own_home / "counts" / f"{config_hash(BLOOM)}-2.9.0-5.0.0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(A_COUNT))
    script = (
        "import sys; from jetsched.profiler.models import shape; s = shape(sys.argv[1]);"
        "print(s.parameters, s.counted.eager.launches, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, bloom],
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=True,
    )
    assert done.stdout.split() == ["132416", "80.0", "False"]
    assert count_if_needed(bloom, python="/nowhere") == shape(bloom)


def test_a_count_that_cannot_be_used_is_as_none(own_home: Path, bloom: str) -> None:
    folder = own_home / "counts"
    folder.mkdir(parents=True)
    bad = ["{", "[]", json.dumps({**A_COUNT, "format": 0}), json.dumps({"format": 1, "error": "x"})]
    for number, text in enumerate(bad):
        (folder / f"{config_hash(BLOOM)}-2.9.{number}-5.0.0.json").write_text(text)
    assert counting.kept(BLOOM) is None
    with pytest.raises(InputError, match="'bloom' have to be counted once"):
        shape(bloom)


def test_the_same_model_under_another_name_has_the_same_count() -> None:
    named = {**BLOOM, "_name_or_path": "me/mine", "torch_dtype": "float16"}
    assert config_hash(named) == config_hash(BLOOM)
    assert config_hash({**BLOOM, "n_layer": 3}) != config_hash(BLOOM)


def test_closed_forms_need_no_count(tmp_path: Path) -> None:
    known = count_if_needed("gpt2", python="/nowhere")
    assert isinstance(known, ModelShape) and known.family == "gpt2"
    folder = a_model(tmp_path / "qwen3", {"model_type": "qwen3", **SIZES, "head_dim": 48})
    assert isinstance(count_if_needed(folder, python="/nowhere"), ModelShape)


def test_what_keeps_a_model_from_being_counted_is_said(tmp_path: Path, bloom: str) -> None:
    nowhere = count_if_needed("me/mine")
    assert isinstance(nowhere, NotCounted) and "hf download me/mine" in nowhere.what
    no_python = count_if_needed(bloom, python="/nowhere")
    assert isinstance(no_python, NotCounted)
    assert "/nowhere" in no_python.where and "name the interpreter" in no_python.hint
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    broken = counted_shape(str(tmp_path / "bad"))
    assert isinstance(broken, NotCounted) and "cannot be read" in broken.what


@pytest.mark.slow
def test_it_is_counted_once_and_says_so(own_home: Path, bloom: str) -> None:
    pytest.importorskip("transformers")
    said: list[str] = []
    first = count_if_needed(bloom, say=said.append)
    assert isinstance(first, ModelShape) and first.counted is not None
    assert (first.family, first.layers, first.kv_heads, first.tied_embeddings) == (
        "bloom",
        2,
        4,
        True,
    )
    assert len(said) == 1 and "bloom" in said[0]
    assert count_if_needed(bloom, say=said.append) == first == shape(bloom)
    assert len(said) == 1
    (file,) = (own_home / "counts").iterdir()
    assert file.name.startswith(config_hash(BLOOM))
    # Counted on torch's own table of operations as well.
    assert first.parameters == own_count(BLOOM)[0]
    assert first.block_matmul_parameters * 2 == own_count(BLOOM)[1]


def own_count(config: dict[str, Any]) -> tuple[int, float]:
    """Parameters, and operations of a token (without attention's) by torch's counter."""
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    made = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config)
    model = transformers.AutoModelForCausalLM.from_config(made, attn_implementation="eager")
    model.tie_weights()
    flops = []
    for seq in (8, 16):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.transformer(input_ids=torch.zeros(1, seq, dtype=torch.long))
        flops.append(counter.get_total_flops() / seq)
    per_token = 2 * flops[0] - flops[1]  # what grows with the length is attention's
    return sum(p.numel() for p in model.parameters()), per_token


@pytest.mark.slow
def test_a_failure_is_kept_for_its_versions(own_home: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = a_model(tmp_path / "t5", {"model_type": "t5"})
    said: list[str] = []
    for _ in range(2):
        failed = count_if_needed(folder, say=said.append)
        assert isinstance(failed, NotCounted) and "no lm head" in failed.what
    assert len(said) == 1
    (kept,) = (own_home / "counts").iterdir()
    assert json.loads(kept.read_text())["error"] == "CountError"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "nonesuch"}, "no models of type 'nonesuch'"),
        ({"model_type": "bloom", "hidden_size": 63, "n_head": 4}, "cannot be run"),
        ({}, "is no config"),
    ],
)
def test_the_child_says_why_not(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in printed_by_child(changes, tmp_path)["what"]


@pytest.mark.slow
def test_a_mixture_of_experts_is_counted_where_meta_cannot_route(tmp_path: Path) -> None:
    """Two of eight experts work for a token; all of them have to be held."""
    config = {"model_type": "mixtral", **SIZES, "num_local_experts": 8, "num_experts_per_tok": 2}
    printed = printed_by_child(config, tmp_path)
    seen = shape_from(printed)
    assert printed["backing"] == "cpu"
    expert = 3 * 256 * 704
    attention = 256 * (256 + 2 * 128 + 256)
    assert seen.block_matmul_parameters == 4 * (attention + 2 * expert + 8 * 256)
    assert seen.parameters > 4 * 8 * expert


@pytest.mark.slow
def test_autograd_keeps_on_a_cpu_what_was_counted(tmp_path: Path) -> None:
    """A real forward pass with real weights and padded samples, saved tensors by storage."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = {"model_type": "llama", **SIZES}
    _, counted = as_counted(config, tmp_path)
    made = transformers.CONFIG_MAPPING["llama"].from_dict(config)
    model = transformers.AutoModel.from_config(made, attn_implementation="sdpa").train()
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    kept, alive = {}, []

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    mask = torch.ones(4, 128, dtype=torch.long)
    mask[0, 100:] = 0
    ids = torch.zeros(4, 128, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
    total = sum(kept.values()) + output.untyped_storage().nbytes()
    assert counted.fused is not None
    expected = counted.fused.bytes_saved(4 * 128, 128, lora=False, byte_masks=False)
    assert total == pytest.approx(expected, rel=0.005)


def test_memory_and_time_of_a_counted_model_come_from_its_count() -> None:
    seen = shape_from(A_COUNT)
    assert seen.counted is not None and not seen.fuses

    def activations(workload: Workload, stack: Stack) -> float:
        return memory_needed(seen, workload, stack).activations_mib * MIB

    twice = replace(TRAIN, batch_size=8)
    more = activations(twice, CUDA) - activations(TRAIN, CUDA)
    saved = seen.counted.eager.bytes_saved(4 * 128, 128, lora=False, byte_masks=True)
    one_layer = 4 * 512 * 256 + 4 * 512 * 4 * 128  # what backward works with
    assert more == pytest.approx(saved + one_layer)
    more = activations(replace(INFER, batch_size=4), CUDA) - activations(INFER, CUDA)
    working, scores = 2 * 256 * 1600, 2 * 4 * 256 * 256 * 8
    assert more == pytest.approx(working + scores)
    forward, _ = phases_of(seen, TRAIN, CUDA)
    assert forward.launches == pytest.approx(3 * 80 / 4)


def test_jobs_of_a_counted_model_read_its_count_once(own_home: Path, bloom: str) -> None:
    path = own_home / "counts" / f"{config_hash(BLOOM)}-2.9.0-5.0.0.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(A_COUNT))
    first = shape(bloom)
    assert first is not None and all(shape(bloom) is first for _ in range(100))
    path.write_text(json.dumps({**A_COUNT, "layers": 1}))
    os.utime(path, (1, 1))
    second = shape(bloom)
    assert second is not None and second.layers == 1


#: As child_count.py prints one, cut to what is read.
A_COUNT: dict[str, Any] = {
    "format": 1,
    "model_type": "bloom",
    "parameters": 132416,
    "qa_parameters": 132546,
    "head_parameters": 0,
    "tied": True,
    "layers": 2,
    "hidden": 64,
    "ffn": 256,
    "heads": 4,
    "head_dim": 16,
    "vocab": 500,
    "max_positions": 0,
    "gated_mlp": False,
    "eager": {
        "flops": {"per_token": 196608.0, "per_score": 512.0},
        "working": {"per_token": 1600.0, "per_score": 32.0},
        "saved": {"per_token": 9000.0, "per_score": 32.0},
        "masks": {"per_token": 0.0, "per_score": 0.0},
        "launches": 80,
    },
    "fused": None,
    "kv_values_per_token": 256.0,
    "lora": None,
}
