"""The table of known models and the counting of their parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from jetsched.errors import InputError
from jetsched.profiler import models

#: As torch counts them on the meta device, tied embeddings once.
PARAMETERS = {
    "tiny-gpt2": 102_714,
    "tinygpt2-25m": 25_016_064,
    "distilgpt2": 81_912_576,
    "gpt2": 124_439_808,
    "tinyllama-1.1b": 1_100_048_384,
    "phi-2": 2_779_683_840,
    "qwen1.5-1.8b": 1_836_828_672,
}


@pytest.mark.parametrize("known", models.KNOWN, ids=lambda known: known.name)
def test_the_formula_gives_the_exact_number_of_parameters(known: models.KnownModel) -> None:
    assert known.shape.parameters == PARAMETERS[known.name]


@pytest.mark.parametrize("known", models.KNOWN, ids=lambda known: known.name)
def test_torch_counts_the_same_on_the_meta_device(known: models.KnownModel) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    values = json.loads(known.config_path.read_text(encoding="utf-8"))
    config = transformers.CONFIG_MAPPING[values["model_type"]].from_dict(values)
    heads: dict[Literal["lm", "qa"], Any] = {
        "lm": transformers.MODEL_FOR_CAUSAL_LM_MAPPING,
        "qa": transformers.MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    }
    for head, mapping in heads.items():
        if type(config) not in mapping:  # Phi has no head for answer spans
            continue
        with torch.device("meta"):
            model = mapping[type(config)](config)
        model.tie_weights()
        assert sum(p.numel() for p in model.parameters()) == known.shape.parameters_with(head)


VARIANTS: list[dict[str, Any]] = [
    {
        "model_type": "gpt2",
        "n_embd": 8,
        "n_layer": 3,
        "n_head": 2,
        "n_inner": 20,
        "vocab_size": 99,
        "tie_word_embeddings": False,
    },
    {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
    {"model_type": "llama", "head_dim": 6, "tie_word_embeddings": True},
    {"model_type": "mistral", "num_key_value_heads": 2},
    {"model_type": "qwen2", "tie_word_embeddings": True, "num_key_value_heads": 4},
    {"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 32},
    {"model_type": "qwen2", "num_key_value_heads": None},
    {"model_type": "phi", "qk_layernorm": True, "num_key_value_heads": 2},
    {"model_type": "qwen3", "attention_bias": True, "num_attention_heads": 32},
    {"model_type": "qwen3", "head_dim": 6, "num_key_value_heads": 2},
    {"model_type": "phi3", "num_key_value_heads": 2, "pad_token_id": None},
    {"model_type": "gemma", "num_key_value_heads": 1},
    {"model_type": "gemma", "attention_bias": True, "head_dim": 6, "num_attention_heads": 16},
    {"model_type": "granite", "attention_bias": True, "mlp_bias": True},
    {"model_type": "smollm3", "pad_token_id": None},
    {"model_type": "smollm3", "mlp_bias": True, "attention_bias": True, "pad_token_id": None},
    {"model_type": "opt", "ffn_dim": 40, "word_embed_proj_dim": 16, "max_position_embeddings": 64},
    {"model_type": "gpt_neox"},
    {"model_type": "gpt_neox", "attention_bias": False, "tie_word_embeddings": True},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_options_of_a_family_are_counted(changes: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 101,
    }
    values = changes if changes["model_type"] == "gpt2" else {**sizes, **changes}
    config = transformers.CONFIG_MAPPING[values["model_type"]].from_dict(values)
    with torch.device("meta"):
        model = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    model.tie_weights()
    assert models.shape_of(values).parameters == sum(p.numel() for p in model.parameters())


def test_grouped_heads_are_seen() -> None:
    shape = models.shape("tinyllama")
    assert shape is not None
    assert (shape.heads, shape.kv_heads, shape.head_dim) == (32, 4, 64)
    assert shape.kv_values_per_token == 2 * 22 * 4 * 64
    assert shape.gated_mlp and not shape.tied_embeddings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt2-small", "gpt2"),
        ("GPT2", "gpt2"),
        ("openai-community/gpt2", "gpt2"),
        ("distilbert/distilgpt2", "distilgpt2"),
        ("sshleifer/tiny-gpt2", "tiny-gpt2"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama-1.1b"),
        ("tinyllama-1.1b-chat-v1.0", "tinyllama-1.1b"),
        ("microsoft/phi-2", "phi-2"),
        ("Qwen/Qwen1.5-1.8B", "qwen1.5-1.8b"),
    ],
)
def test_a_model_is_found_by_any_of_its_names(name: str, expected: str) -> None:
    found = models.find(name)
    assert found is not None and found.name == expected


def test_no_two_models_share_a_name() -> None:
    names = [name for known in models.KNOWN for name in models._names(known)]
    assert len(names) == len(set(names))


def test_an_unknown_name_gets_a_suggestion() -> None:
    assert models.find("distillgpt2") is None
    assert models.suggest("distillgpt2") == "distilgpt2"
    assert models.suggest("zebra") is None


def test_the_child_is_told_where_to_look(tmp_path: Path) -> None:
    known = models.spec_fields("gpt2-small")
    assert known["hub_id"] == "openai-community/gpt2"
    assert known["model_config"] is not None and Path(known["model_config"]).is_file()
    assert models.spec_fields("tinygpt2-25m")["hub_id"] is None
    assert models.spec_fields("me/mine") == {
        "hub_id": "me/mine",
        "model_config": None,
        "model_path": None,
    }
    assert models.spec_fields(str(tmp_path))["model_path"] == str(tmp_path)


def test_a_folder_with_a_config_has_a_shape(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(models.KNOWN[0].config_path.read_text(encoding="utf-8"))
    shape = models.shape(str(tmp_path))
    assert shape is not None and shape.parameters == 102_714


def test_a_model_in_the_hubs_cache_has_a_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert models.shape("me/mine") is None
    snapshot = tmp_path / "models--me--mine" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    (snapshot / "config.json").write_text(models.KNOWN[0].config_path.read_text(encoding="utf-8"))
    shape = models.shape("me/mine")
    assert shape is not None and shape.layers == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        ('{"model_type": "bert"}', "'bert'"),
        ('{"model_type": "gpt2"}', "n_embd"),
    ],
)
def test_a_config_that_cannot_be_understood_says_why(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        models.shape(str(tmp_path))
