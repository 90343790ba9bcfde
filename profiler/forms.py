"""Closed forms: the shape of a model from its ``config.json``, without torch.

Exact for the families of :data:`FORMS`: parameter counts follow the modules of transformers one by
one and equal its own count on the meta device (tests/test_models.py). What autograd saves and how
many operations start in a layer was counted there too (child_count.py, transformers 5, samples with
padding); tests/test_counting.py compares. Other models are counted once: counting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jetsched.errors import InputError
from jetsched.profiler.counted import Counted, Line, Pass
from jetsched.profiler.modelconfig import ConfigError, Sizes
from jetsched.profiler.shapes import ModelShape


def has_closed_form(config: Mapping[str, Any]) -> bool:
    """Whether :func:`shape_of` knows the family, with the options that this model has."""
    family = config.get("model_type")
    return (
        isinstance(family, str) and family in FORMS and not (family == "opt" and _odd_opt(config))
    )


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """The shape that a transformers ``config.json`` describes.

    Raises InputError for a model without closed form, and its subclass ConfigError for a field
    that is not what it must be.
    """
    family = config.get("model_type")
    if not isinstance(family, str) or not has_closed_form(config):
        raise InputError(
            f"models of type {family!r} have no closed form here", hint=f"those have {known()}"
        )
    sizes = Sizes(config)
    shape = FORMS[family](family, sizes)
    layer = _LAYERS[family]
    if family == "phi3" and shape.kv_heads < shape.heads:
        # The joint projection lives as long as a view of it: the values, where none is repeated.
        layer = replace(layer, fused=layer.eager)
    return replace(shape, counted=_counted(shape, layer, sizes))


def known() -> str:
    """The families with a closed form, for a message."""
    return ", ".join(sorted(FORMS))


def _gpt2(family: str, sizes: Sizes) -> ModelShape:
    h, layers, heads = sizes.width("n_embd"), sizes.count("n_layer"), sizes.count("n_head")
    vocab, positions = sizes.rows("vocab_size"), sizes.rows("n_positions", 1024)
    ffn = sizes.width("n_inner", 4 * h)
    tied = sizes.flag("tie_word_embeddings", True)
    attention = (3 * h * h + 3 * h) + (h * h + h)
    mlp = (h * ffn + ffn) + (ffn * h + h)
    head = 0 if tied else vocab * h
    return ModelShape(
        family=family,
        layers=layers,
        hidden=h,
        ffn=ffn,
        heads=heads,
        kv_heads=heads,
        head_dim=sizes.divided("n_embd", "n_head"),
        vocab=vocab,
        max_positions=positions,
        tied_embeddings=tied,
        gated_mlp=False,
        parameters=(vocab + positions) * h + layers * (attention + mlp + 4 * h) + 2 * h + head,
        head_parameters=head,
        dropout=sizes.drops("attn_pdrop", 0.1),
    )


#: What transformers takes where a config does not say; elsewhere: as many as there are heads.
_KV_HEADS: Mapping[str, int] = {
    "mistral": 8,
    "qwen2": 32,
    "qwen3": 32,
    "gemma": 16,
    "smollm3": 4,
}
#: Likewise; elsewhere the hidden width is divided among the heads.
_HEAD_DIM: Mapping[str, int] = {"qwen3": 128, "gemma": 256}
_TIED = frozenset({"gemma", "smollm3"})
_POSITIONS: Mapping[str, int] = {
    "mistral": 131_072,
    "qwen2": 32_768,
    "qwen3": 32_768,
    "phi3": 4096,
    "gemma": 8192,
    "smollm3": 32_768,
}


def _llama_like(family: str, sizes: Sizes) -> ModelShape:
    h, heads = sizes.width("hidden_size"), sizes.count("num_attention_heads")
    layers, ffn = sizes.count("num_hidden_layers"), sizes.width("intermediate_size")
    kv_heads = sizes.kv_heads("num_key_value_heads", "num_attention_heads", _KV_HEADS.get(family))
    head_dim = _head_dim(family, sizes)
    vocab = sizes.rows("vocab_size")
    tied = sizes.flag("tie_word_embeddings", family in _TIED)
    q, kv = heads * head_dim, kv_heads * head_dim
    attention = h * q + 2 * h * kv + q * h
    if family == "qwen2":  # biases on the three inputs, none on the output
        attention += q + 2 * kv
    elif family not in ("mistral", "phi3") and sizes.flag("attention_bias", False):
        attention += q + 2 * kv + h
    if family == "qwen3":  # norms of queries and keys
        attention += 2 * head_dim
    mlp = 3 * h * ffn
    if family in ("llama", "granite", "smollm3") and sizes.flag("mlp_bias", False):
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
        max_positions=sizes.rows("max_position_embeddings", _POSITIONS.get(family, 2048)),
        tied_embeddings=tied,
        gated_mlp=True,
        parameters=vocab * h + layers * (attention + mlp + 2 * h) + h + head,
        head_parameters=head,
        dropout=sizes.drops("attention_dropout"),
    )


def _head_dim(family: str, sizes: Sizes) -> int:
    """Given, or what the family takes, or the hidden width divided among the heads."""
    usual = _HEAD_DIM.get(family)
    given = usual is not None or sizes.given("head_dim")
    if family == "llama" or not given:  # Llama's config insists on it in any case
        divided = sizes.divided("hidden_size", "num_attention_heads")
    found = sizes.width("head_dim", usual) if given else divided
    if found % 2 and family != "phi3":  # which may turn a part of a head only
        name = "head_dim" if sizes.given("head_dim") else "hidden_size / num_attention_heads"
        raise ConfigError(f"{name} is {found:,}, but must be even: positions turn pairs of numbers")
    return found


def _phi(family: str, sizes: Sizes) -> ModelShape:
    h, heads = sizes.width("hidden_size"), sizes.count("num_attention_heads")
    layers, ffn = sizes.count("num_hidden_layers"), sizes.width("intermediate_size")
    kv_heads = sizes.kv_heads("num_key_value_heads", "num_attention_heads")
    head_dim = sizes.divided("hidden_size", "num_attention_heads")
    vocab = sizes.rows("vocab_size")
    tied = sizes.flag("tie_word_embeddings", False)
    q, kv = heads * head_dim, kv_heads * head_dim
    attention = (h * q + q) + 2 * (h * kv + kv) + (q * h + h)
    if sizes.flag("qk_layernorm", False):
        attention += 4 * head_dim
    mlp = (h * ffn + ffn) + (ffn * h + h)
    head = vocab + (0 if tied else vocab * h)  # its head has a bias, which nothing shares
    return ModelShape(
        family=family,
        layers=layers,
        hidden=h,
        ffn=ffn,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=vocab,
        max_positions=sizes.rows("max_position_embeddings", 2048),
        tied_embeddings=tied,
        gated_mlp=False,
        # Attention and MLP stand side by side behind one layer norm.
        parameters=vocab * h + layers * (attention + mlp + 2 * h) + 2 * h + head,
        head_parameters=head,
        dropout=sizes.drops("attention_dropout"),
    )


def _opt(family: str, sizes: Sizes) -> ModelShape:
    h, heads = sizes.width("hidden_size"), sizes.count("num_attention_heads")
    layers, ffn = sizes.count("num_hidden_layers"), sizes.width("ffn_dim")
    vocab, positions = sizes.rows("vocab_size"), sizes.rows("max_position_embeddings")
    tied = sizes.flag("tie_word_embeddings", True)
    head = 0 if tied else vocab * h
    layer = 4 * (h * h + h) + (h * ffn + ffn) + (ffn * h + h) + 4 * h
    return ModelShape(
        family=family,
        layers=layers,
        hidden=h,
        ffn=ffn,
        heads=heads,
        kv_heads=heads,
        head_dim=sizes.divided("hidden_size", "num_attention_heads"),
        vocab=vocab,
        max_positions=positions,
        tied_embeddings=tied,
        gated_mlp=False,
        parameters=(vocab + positions + 2) * h + layers * layer + 2 * h + head,
        head_parameters=head,
        dropout=sizes.drops("attention_dropout"),
    )


def _odd_opt(config: Mapping[str, Any]) -> bool:
    """OPT-350m has narrower embeddings and norms elsewhere; Galactica has no biases."""
    narrow = config.get("word_embed_proj_dim", config.get("hidden_size"))
    return (
        narrow != config.get("hidden_size")
        or not config.get("do_layer_norm_before", True)
        or bool(config.get("_remove_final_layer_norm", False))
        or not config.get("enable_bias", True)
        or not config.get("layer_norm_elementwise_affine", True)
    )


def _gpt_neox(family: str, sizes: Sizes) -> ModelShape:
    h, heads = sizes.width("hidden_size"), sizes.count("num_attention_heads")
    layers, ffn = sizes.count("num_hidden_layers"), sizes.width("intermediate_size")
    vocab = sizes.rows("vocab_size")
    tied = sizes.flag("tie_word_embeddings", False)
    biases = 4 * h if sizes.flag("attention_bias", True) else 0
    head = 0 if tied else vocab * h
    layer = 4 * h * h + biases + (h * ffn + ffn) + (ffn * h + h) + 4 * h
    return ModelShape(
        family=family,
        layers=layers,
        hidden=h,
        ffn=ffn,
        heads=heads,
        kv_heads=heads,
        head_dim=sizes.divided("hidden_size", "num_attention_heads"),
        vocab=vocab,
        max_positions=sizes.rows("max_position_embeddings", 2048),
        tied_embeddings=tied,
        gated_mlp=False,
        parameters=vocab * h + layers * layer + 2 * h + head,
        head_parameters=head,
        dropout=sizes.drops("attention_dropout"),
    )


FORMS: Mapping[str, Callable[[str, Sizes], ModelShape]] = {
    "gpt2": _gpt2,
    "llama": _llama_like,
    "mistral": _llama_like,
    "qwen2": _llama_like,
    "phi": _phi,
    "qwen3": _llama_like,
    "phi3": _llama_like,
    "gemma": _llama_like,
    "granite": _llama_like,
    "smollm3": _llama_like,
    "opt": _opt,
    "gpt_neox": _gpt_neox,
}


# --- what a layer does ---------------------------------------------------------------------------

#: Numbers per token in tensors as wide as: the hidden state, all queries, keys with values, the
#: MLP; and as wide as the scores of one token.
Widths = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer of a family. ``saved`` by autograd and ``working`` without it: most of several."""

    eager: Widths
    fused: Widths
    working: tuple[Widths, ...]
    launches: tuple[float, float]  # eager, fused with as many key heads as heads
    lora: tuple[Widths, Widths] | None = None  # eager, fused; None: no projection for adapters
    dropout: str = ""  # the key of a dropout on both outputs that are added
    ends: int = 14  # operations before the first and behind the last layer


_GATED = _Layer(
    eager=(6, 4, 0, 4),
    fused=(6, 4, 0, 4),
    working=((4, 0, 0, 3), (3, 4, 1, 0)),
    launches=(42, 34),
    lora=((3, 3, 0, 3), (3, 4, 0, 3)),
)
_LAYERS: Mapping[str, _Layer] = {
    "gpt2": _Layer(
        eager=(8, 0, 0, 5),
        fused=(8, 0, 0, 5),
        working=((4, 0, 0, 4),),
        launches=(25, 17),
        lora=((6, 0, 0, 4), (7, 0, 0, 4)),
        dropout="resid_pdrop",
        ends=4,
    ),
    "llama": _GATED,
    "mistral": _GATED,
    "qwen2": _GATED,
    "phi": _Layer(
        eager=(6, 0, 0, 5),
        fused=(6, 0, 0, 5),
        working=((4, 0, 0, 4),),
        launches=(36, 30),
        lora=((5, 0, 0, 4), (6, 0, 0, 4)),
        dropout="resid_pdrop",
    ),
    "qwen3": replace(
        _GATED,
        eager=(6, 6, 1, 4),
        fused=(6, 6, 1, 4),
        launches=(54, 46),
        lora=((3, 4, 0.5, 3), (3, 5, 0.5, 3)),
    ),
    "phi3": replace(
        _GATED,
        fused=(6, 5, 0.5, 4),
        working=((4, 0, 0, 4),),
        launches=(39, 33),
        lora=None,
        dropout="resid_pdrop",
    ),
    "gemma": replace(_GATED, launches=(44, 36)),
    "granite": replace(_GATED, launches=(44, 36)),
    # One layer of four does not turn queries and keys.
    "smollm3": replace(_GATED, launches=(39.5, 31.5)),
    "opt": _Layer(
        eager=(8, 0, 0, 1),
        fused=(8, 0, 0, 1),
        working=((8, 0, 0, 0), (3, 0, 0, 2)),
        launches=(21, 13),
        lora=((6, 0, 0, 1), (7, 0, 0, 1)),
        dropout="dropout",
        ends=5,
    ),
    "gpt_neox": _Layer(
        eager=(7, 0, 0, 2),
        fused=(9, 0, 0, 2),
        working=((10, 0, 0, 0), (4, 0, 0, 2)),
        launches=(28, 22),
        dropout="hidden_dropout",
        ends=9,
    ),
}
#: Tensors as wide as the hidden state beside the layers, where all is trained.
_ENDS_HIDDEN = 3


def _counted(shape: ModelShape, layer: _Layer, sizes: Sizes) -> Counted:
    q, kv = shape.heads * shape.head_dim, 2 * shape.kv_heads * shape.head_dim
    default = 0.1 if shape.family in ("gpt2", "opt") else 0.0
    drops = bool(layer.dropout) and sizes.drops(layer.dropout, default)
    masks = 2.0 * shape.layers * shape.hidden if drops else 0.0

    def width(widths: Widths) -> float:
        h, queries, keys, f = widths
        return h * shape.hidden + queries * q + keys * kv + f * shape.ffn

    def bytes_of(widths: Widths, scores: float, ends: int = _ENDS_HIDDEN) -> Line:
        body = shape.layers * width(widths) + ends * shape.hidden
        return Line(4 * body + masks, 4 * scores * shape.layers * shape.heads)

    kept = 2.25 if shape.dropout else 1.0  # probabilities; a mask of bytes, and their product
    # Of samples with padding every layer holds the mask, in numbers, once for all heads.
    mask = 1.0 / shape.heads
    dropped = float(shape.layers * shape.heads) if shape.dropout else 0.0
    eager, fused = layer.launches
    if shape.kv_heads < shape.heads:
        fused += 2  # keys and values are repeated, which eager attention copies in any case
    return Counted(
        matmul_parameters=shape.block_matmul_parameters,
        score_flops=4.0 * shape.layers * q,
        kv_values_per_token=shape.kv_values_per_token,
        eager=Pass(
            saved=bytes_of(layer.eager, kept),
            masks=Line(masks, dropped),
            launches=shape.layers * eager + layer.ends,
            lora=bytes_of(layer.lora[0], kept, 0) if layer.lora else None,
        ),
        fused=Pass(
            saved=bytes_of(layer.fused, mask),
            masks=Line(masks),
            launches=shape.layers * fused + layer.ends,
            lora=bytes_of(layer.lora[1], mask, 0) if layer.lora else None,
        ),
        working_per_token=4 * max(map(width, layer.working)),
        qa_parameters=None,
    )
