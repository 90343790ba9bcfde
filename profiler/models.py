"""The models that jetsched knows by name, and what their shape says without torch.

Nothing here reads the network or imports torch: `jetsched plan` on a laptop counts parameters from
a ``config.json`` with the formulas below, which are exact for the families they name.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jetsched.errors import InputError
from jetsched.profiler import hub_cache

Family = Literal["gpt2", "llama", "mistral", "qwen2", "phi"]

_CONFIGS = Path(__file__).parent / "data" / "configs"


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder-only transformer: all that memory and FLOP counting need.

    ``hidden``, ``ffn``, ``head_dim`` are widths, ``vocab`` and ``max_positions`` are rows of
    embeddings. ``gated_mlp``: the MLP has three matrices (gate, up, down) instead of two.
    """

    family: Family
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_positions: int
    tied_embeddings: bool
    gated_mlp: bool
    #: All parameters with the language-model head; tied embeddings count once.
    parameters: int
    #: Those of the head alone that the embeddings do not share: 0 when tied.
    head_parameters: int
    dropout: bool

    @property
    def block_matmul_parameters(self) -> int:
        """Weights in the matrices of all layers: what a token is multiplied with, head apart."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        mlp = self.hidden * self.ffn * (3 if self.gated_mlp else 2)
        return self.layers * (attention + mlp)

    @property
    def kv_values_per_token(self) -> int:
        """Numbers that the key-value cache keeps for each token of each sequence."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def parameters_with(self, head: Literal["qa", "lm"]) -> int:
        """Parameters with a language-model head, or with the two-row head for answer spans."""
        if head == "lm":
            return self.parameters
        return self.parameters - self.head_parameters + 2 * self.hidden + 2


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that a job file can name in a word."""

    name: str
    hub_id: str  # "" for one of our own, which no hub has
    family: Family
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def config_path(self) -> Path:
        """The shipped ``config.json``: for counting, and for random weights without a network."""
        return _CONFIGS / f"{self.name}.json"

    @property
    def shape(self) -> ModelShape:
        return shape_of(json.loads(self.config_path.read_text(encoding="utf-8")))


#: The paper's six, and a TinyGPT2 of the size that the paper's table gives.
KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        "tiny-gpt2",
        "sshleifer/tiny-gpt2",
        "gpt2",
        aliases=("tinygpt2",),
        note="0.1 M parameters, as on the hub; the paper's table says 25 million",
    ),
    KnownModel(
        "tinygpt2-25m",
        "",
        "gpt2",
        aliases=("jetsched/tinygpt2-25m",),
        note="ours: GPT-2 of 3 layers x 384, 25 M parameters; always random weights",
    ),
    KnownModel("distilgpt2", "distilbert/distilgpt2", "gpt2"),
    KnownModel(
        "gpt2", "openai-community/gpt2", "gpt2", aliases=("gpt2-small", "gpt-2", "gpt-2-small")
    ),
    KnownModel(
        "tinyllama-1.1b",
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        "llama",
        aliases=("tinyllama", "tinyllama-1.1b-chat"),
    ),
    KnownModel("phi-2", "microsoft/phi-2", "phi", aliases=("phi2",)),
    KnownModel(
        "qwen1.5-1.8b",
        "Qwen/Qwen1.5-1.8B",
        "qwen2",
        note="the paper once writes 1.1b; its tables and its reference say 1.8B",
    ),
)


def _names(model: KnownModel) -> set[str]:
    names = {model.name, *model.aliases}
    if model.hub_id:
        names |= {model.hub_id.lower(), model.hub_id.lower().rpartition("/")[2]}
    return names


_BY_NAME: Mapping[str, KnownModel] = {name: model for model in KNOWN for name in _names(model)}


def find(name: str) -> KnownModel | None:
    """The known model of this name, alias or hub id (case does not matter), or None."""
    return _BY_NAME.get(name.strip().lower())


def suggest(name: str) -> str | None:
    """The known name that looks most like this one, for "did you mean ...?", or None."""
    close = difflib.get_close_matches(name.strip().lower(), _BY_NAME, n=1)
    return _BY_NAME[close[0]].name if close else None


def shape(name_or_path: str) -> ModelShape | None:
    """The shape of a known model, of a folder with ``config.json``, or of a cached hub model.

    Asks no network. None where nothing is known; raises InputError where a ``config.json`` is
    there but cannot be understood.
    """
    known = find(name_or_path)
    if known is not None:
        return known.shape
    path = _config_of(name_or_path)
    if path is None:
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no JSON object")
    return shape_of(config)


def spec_fields(model: str) -> dict[str, str | None]:
    """What the child has to be told about a model: ``hub_id``, ``model_config``, ``model_path``.

    ``hub_id`` is where the weights are looked for, ``model_config`` the shipped shape for when
    they cannot be had, ``model_path`` a folder on this machine.
    """
    folder = Path(model).expanduser()
    if folder.is_dir() and find(model) is None:
        config = folder / "config.json"
        return {
            "hub_id": None,
            "model_config": str(config.resolve()) if config.is_file() else None,
            "model_path": str(folder.resolve()),
        }
    known = find(model)
    if known is None:
        return {"hub_id": model, "model_config": None, "model_path": None}
    return {
        "hub_id": known.hub_id or None,
        "model_config": str(known.config_path.resolve()),
        "model_path": None,
    }


def missing(model: str, env: Mapping[str, str] = os.environ) -> str:
    """What to do about a model that cannot be run here offline; "" for one that can.

    Without weights a model runs on random ones, but its architecture must be known: it is one of
    ours, a folder, or one that the hub's cache (found by ``env``) has at least the config of.
    """
    if not model or find(model) is not None or Path(model).expanduser().is_dir():
        return ""
    return "" if hub_cache.describes(model, env) else hub_cache.absent(model)


def _config_of(name_or_path: str) -> Path | None:
    folder = Path(name_or_path).expanduser()
    if (folder / "config.json").is_file():
        return folder / "config.json"
    return _cached_config(name_or_path)


def _cached_config(hub_id: str) -> Path | None:
    """``config.json`` in the hub's cache on this machine: its snapshot of the main branch."""
    if hub_id.count("/") > 1 or hub_id.startswith((".", "/")):
        return None
    folder = Path(hub_cache.folder()) / ("models--" + hub_id.replace("/", "--"))
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    config = folder / "snapshots" / commit / "config.json"
    return config if config.is_file() else None


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """The shape that a transformers ``config.json`` describes.

    Knows the families gpt2, llama, mistral, qwen2 and phi; raises InputError for any other, and
    for a config without its sizes. Parameter counts follow the modules of transformers one by one
    and equal its own count on the meta device (tests/test_models.py).
    """
    family = config.get("model_type")
    try:
        if family == "gpt2":
            return _gpt2(config)
        if family == "llama" or family == "mistral" or family == "qwen2":
            return _llama_like(family, config)
        if family == "phi":
            return _phi(config)
    except KeyError as error:
        raise InputError(f"the model's config has no {error.args[0]!r}") from error
    raise InputError(
        f"models of type {family!r} are not understood",
        hint="understood are gpt2, llama, mistral, qwen2 and phi",
    )


def _gpt2(config: Mapping[str, Any]) -> ModelShape:
    h, layers, heads = int(config["n_embd"]), int(config["n_layer"]), int(config["n_head"])
    vocab, positions = int(config["vocab_size"]), int(config.get("n_positions", 1024))
    ffn = int(config.get("n_inner") or 4 * h)
    tied = bool(config.get("tie_word_embeddings", True))
    attention = (3 * h * h + 3 * h) + (h * h + h)
    mlp = (h * ffn + ffn) + (ffn * h + h)
    head = 0 if tied else vocab * h
    return ModelShape(
        family="gpt2",
        layers=layers,
        hidden=h,
        ffn=ffn,
        heads=heads,
        kv_heads=heads,
        head_dim=h // heads,
        vocab=vocab,
        max_positions=positions,
        tied_embeddings=tied,
        gated_mlp=False,
        parameters=(vocab + positions) * h + layers * (attention + mlp + 4 * h) + 2 * h + head,
        head_parameters=head,
        dropout=any(
            config.get(key, 0.1) > 0 for key in ("attn_pdrop", "embd_pdrop", "resid_pdrop")
        ),
    )


#: What transformers takes where a config does not say; elsewhere: as many as there are heads.
_KV_HEADS: Mapping[str, int] = {"mistral": 8, "qwen2": 32}


def _llama_like(
    family: Literal["llama", "mistral", "qwen2"], config: Mapping[str, Any]
) -> ModelShape:
    h, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    layers, ffn = int(config["num_hidden_layers"]), int(config["intermediate_size"])
    kv_heads = int(config.get("num_key_value_heads", _KV_HEADS.get(family)) or heads)
    head_dim = int(config.get("head_dim") or h // heads)
    vocab = int(config["vocab_size"])
    tied = bool(config.get("tie_word_embeddings", False))
    q, kv = heads * head_dim, kv_heads * head_dim
    attention = h * q + 2 * h * kv + q * h
    if family == "qwen2":  # biases on the three inputs, none on the output
        attention += q + 2 * kv
    elif family == "llama" and config.get("attention_bias", False):
        attention += q + 2 * kv + h
    mlp = 3 * h * ffn
    if family == "llama" and config.get("mlp_bias", False):
        mlp += 2 * ffn + h
    head = 0 if tied else vocab * h
    return ModelShape(
        family=family,
        layers=layers,
        hidden=h,
        ffn=ffn,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=vocab,
        max_positions=int(config.get("max_position_embeddings", 2048)),
        tied_embeddings=tied,
        gated_mlp=True,
        parameters=vocab * h + layers * (attention + mlp + 2 * h) + h + head,
        head_parameters=head,
        dropout=float(config.get("attention_dropout") or 0.0) > 0,
    )


def _phi(config: Mapping[str, Any]) -> ModelShape:
    h, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    layers, ffn = int(config["num_hidden_layers"]), int(config["intermediate_size"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = h // heads
    vocab = int(config["vocab_size"])
    tied = bool(config.get("tie_word_embeddings", False))
    q, kv = heads * head_dim, kv_heads * head_dim
    attention = (h * q + q) + 2 * (h * kv + kv) + (q * h + h)
    if config.get("qk_layernorm", False):
        attention += 4 * head_dim
    mlp = (h * ffn + ffn) + (ffn * h + h)
    head = vocab + (0 if tied else vocab * h)  # its head has a bias, which nothing shares
    return ModelShape(
        family="phi",
        layers=layers,
        hidden=h,
        ffn=ffn,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=vocab,
        max_positions=int(config.get("max_position_embeddings", 2048)),
        tied_embeddings=tied,
        gated_mlp=False,
        # Attention and MLP stand side by side behind one layer norm.
        parameters=vocab * h + layers * (attention + mlp + 2 * h) + 2 * h + head,
        head_parameters=head,
        dropout=any(
            float(config.get(key) or 0.0) > 0
            for key in ("attention_dropout", "embd_pdrop", "resid_pdrop")
        ),
    )
