"""A model's config.json: what makes no model is refused by its field, not computed with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from estimate_world import GPT2, Estimate, estimate_in

from jetsched.profiler import models
from jetsched.profiler.forms import FORMS
from jetsched.profiler.modelconfig import MAX_BYTES, ConfigError

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
}
#: A good config of each family.
GOOD: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257},
    "opt": {("ffn_dim" if k == "intermediate_size" else k): v for k, v in SIZES.items()},
    **{
        family: {**SIZES, "num_key_value_heads": 2}
        for family in ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma", "granite")
    },
    "smollm3": {**SIZES, "num_key_value_heads": 2},
    "gpt_neox": SIZES,
}


@pytest.fixture
def estimate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Estimate:
    return estimate_in(tmp_path / "home", monkeypatch, capsys)


def a_folder(folder: Path, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(text)
    return str(folder)


def a_config(folder: Path, family: str, **changes: Any) -> str:
    return a_folder(folder, json.dumps({"model_type": family, **GOOD[family], **changes}))


def refusal(model: str) -> str:
    with pytest.raises(ConfigError) as caught:
        models.shape(model)
    assert caught.value.exit_code == 2 and caught.value.hint
    return str(caught.value)


def test_the_good_ones_have_a_shape(tmp_path: Path) -> None:
    assert GOOD.keys() == FORMS.keys()
    for family in GOOD:
        found = models.shape(a_config(tmp_path / "m", family))
        assert found is not None and found.family == family and found.parameters > 0


@pytest.mark.parametrize(
    ("family", "field"), [(family, field) for family, good in GOOD.items() for field in good]
)
def test_a_size_is_a_whole_number_that_some_model_could_have(
    tmp_path: Path, family: str, field: str
) -> None:
    for value in (0, -768, 768.5, 768.0, "768", None, True, [12], 10**12, 1e300):
        if value is None and field in ("num_key_value_heads", "max_position_embeddings"):
            continue  # the same as if nothing was given
        folder = a_config(tmp_path / "m", family, **{field: value})
        start = f"{folder}/config.json: {field} is {json.dumps(value)}, but must be a whole number"
        assert refusal(folder).startswith(start)


@pytest.mark.parametrize("family", [family for family in GOOD if family != "gpt2"])
def test_a_size_that_is_missing_is_named(tmp_path: Path, family: str) -> None:
    good = {k: v for k, v in GOOD[family].items() if k != "vocab_size"}
    folder = a_folder(tmp_path / "m", json.dumps({"model_type": family, **good}))
    assert "vocab_size is missing, but must be" in refusal(folder)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("gpt2", {"n_head": 7}, "n_head is 7, but must divide n_embd (768)"),
        ("llama", {"num_attention_heads": 7}, "num_key_value_heads is 2, but must divide"),
        ("opt", {"num_attention_heads": 7}, "must divide hidden_size (64)"),
        ("gpt_neox", {"num_attention_heads": 7}, "must divide hidden_size (64)"),
        ("phi", {"num_attention_heads": 6}, "must divide hidden_size (64)"),
        ("llama", {"num_key_value_heads": 3}, "must divide num_attention_heads (8)"),
        ("llama", {"num_key_value_heads": 16}, "must divide num_attention_heads (8)"),
        ("qwen2", {"num_key_value_heads": 3}, "must divide num_attention_heads (8)"),
        ("llama", {"head_dim": 7}, "head_dim is 7, but must be even"),
        ("llama", {"tie_word_embeddings": "x"}, 'tie_word_embeddings is "x", but must be true or'),
        ("llama", {"attention_dropout": float("nan")}, "attention_dropout is NaN, but must be a"),
        ("gpt2", {"resid_pdrop": 5}, "resid_pdrop is 5, but must be a number from 0 to 1"),
        ("gpt2", {"n_inner": 0}, "n_inner is 0, but must be a whole number"),
    ],
)
def test_sizes_have_to_go_together(
    tmp_path: Path, family: str, changes: dict[str, Any], message: str
) -> None:
    assert message in refusal(a_config(tmp_path / "m", family, **changes))


def test_what_a_family_takes_where_nothing_is_given_has_to_fit_too(tmp_path: Path) -> None:
    """Qwen2 has 32 heads of keys unless its config says otherwise."""
    folder = a_folder(tmp_path / "m", json.dumps({"model_type": "qwen2", **SIZES}))
    assert "num_key_value_heads is 32, since none is given, but must divide" in refusal(folder)


def test_positions_that_are_not_given_are_those_that_transformers_takes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    for family in GOOD.keys() - {"opt"}:
        given = {k: v for k, v in GOOD[family].items() if k != "max_position_embeddings"}
        folder = a_folder(tmp_path / "m", json.dumps({"model_type": family, **given}))
        config = transformers.CONFIG_MAPPING[family].from_dict({**given, "pad_token_id": None})
        assert models.positions(folder) == config.max_position_embeddings, family


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "holds no JSON object, but []"),
        ("{}", "has no model_type"),
        ('{"model_type": NaN}', "model_type is NaN"),
        ('{"model_type": []}', "model_type is []"),
        ('{"model_type": ""}', 'model_type is ""'),
        ('{"a":' * 5000, "levels of objects or lists"),
        ('{"a":' * 60 + "1" + "}" * 60, "levels of objects or lists"),
        (" " * MAX_BYTES + "{}", "larger than 4 MiB"),
        ('{"model_type": "gpt2", "n_embd": 1' + "0" * 5000 + "}", "cannot be read as JSON"),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_config_is_named_where_the_user_has_it(
    tmp_path: Path, text: str, message: str
) -> None:
    folder = a_folder(tmp_path / "m", text)
    said = refusal(folder)
    assert said.startswith(f"{folder}/config.json: ") and message in said
    with pytest.raises(ConfigError):
        models.count_if_needed(folder)  # nothing is counted for it


def test_the_verb_refuses_it_as_bad_input(estimate: Estimate, tmp_path: Path) -> None:
    folder = a_config(tmp_path / "m", "gpt2", n_embd=0)
    result = estimate(GPT2, "--set", f"work.model={folder}", "--device", "orin-nano")
    assert (result.code, result.out) == (2, "")
    assert f"{folder}/config.json: n_embd is 0, but must be a whole number" in result.err
