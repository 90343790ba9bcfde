"""How the child gets its model: from the hub, from a folder, or with random weights.

Real loading code comes first (``from_pretrained``, remote code never). Where no weights can be had
the same architecture is built from a config and filled with random numbers: neither speed nor
memory depend on the values, and the record says ``random_weights``.

Works with transformers 4.46 and 5, torch 1.12 to 2.13.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import inspect
import json
import os
from typing import Any, Iterator, NamedTuple, Sequence

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, AutoConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
)

TRANSFORMERS_5 = int(transformers.__version__.split(".")[0]) >= 5
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

#: No pickles: reading one can run what stands in it.
_WEIGHTS = ("*.safetensors",)
_PICKLES = ("pytorch_model*.bin",)
#: A prime, so that the rows of no matrix repeat when the block is laid out over it again and again.
_BLOCK = 4_194_301


class ModelError(Exception):
    """The model cannot be had, or has not what the work asks of it."""


class PrecisionError(Exception):
    """This device cannot compute in the precision that was asked for."""


class Loaded(NamedTuple):
    """A model on its device, and where it and its tokenizer come from.

    ``weights`` is ``hub``, ``path`` or ``random``; ``tokenizer`` is None where none can be had,
    and ``tokenizer_from`` then ``bytes``: the caller brings one that needs no files.
    """

    model: Any
    tokenizer: HubTokenizer | None
    weights: str
    tokenizer_from: str

    @property
    def parameters(self) -> int:
        """How many there are; tied ones count once."""
        return sum(p.numel() for p in self.model.parameters())


def check_precision(precision: str, kind: str, device: Any) -> None:
    """Refuse with the reason what the device cannot compute. Raises PrecisionError."""
    if precision not in DTYPES:
        raise PrecisionError(f"precision {precision!r} is none of {', '.join(DTYPES)}")
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        if precision == "bf16" and major < 8:
            name = "Volta" if major == 7 and minor in (0, 2) else f"sm_{major}{minor}"
            raise PrecisionError(f"bf16 needs an Ampere GPU or newer; this one is {name}: use fp16")
    elif precision == "fp16" and kind == "train":
        raise PrecisionError("fp16 training needs a CUDA GPU (gradient scaling): use fp32 or bf16")
    elif precision != "fp32":
        probe = torch.ones(2, 8, dtype=DTYPES[precision])
        try:
            torch.nn.functional.layer_norm(probe, (8,)) @ probe.t()
        except RuntimeError as error:
            raise PrecisionError(f"torch {torch.__version__} on a CPU: {error}") from error


def load(
    *,
    model: str,
    hub_id: str | None,
    model_path: str | None,
    model_config: str | None,
    head: str,
    precision: str,
    offline: bool,
    seed: int,
    device: Any,
) -> Loaded:
    """The model with the head that the work asks for, in the given precision, on the device.

    ``model_path`` (a folder) goes before ``hub_id``, and both before ``model_config`` with random
    weights. With ``offline`` nothing waits for a network: whether the hub's cache has the model is
    read from its folders. Raises ModelError.
    """
    torch.manual_seed(seed)  # a new head is drawn at random even on trained weights
    dtype = DTYPES[precision]
    on_hub = hub_id or (None if model_path or model_config else model)
    source, weights = model_path, "path"
    if not source or not _holds(source, _WEIGHTS):
        source, weights = on_hub, "hub"
        if source and offline and not _cached(source, _WEIGHTS):
            if _cached(source, _PICKLES):
                print(f"{source} has its weights as a pickle only, which is not read", flush=True)
            source = None
    if model_path and source != model_path and _holds(model_path, _PICKLES):
        raise ModelError(
            f"{model_path} has its weights as a pickle, which can run code when it is read: save it"
            " as safetensors, with save_pretrained(FOLDER, safe_serialization=True)"
        )
    loaded = None
    if source:
        try:
            loaded = _pretrained(source, head, dtype)
        except OSError as error:  # what transformers raises when neither cache nor hub has it
            if weights == "path":
                raise ModelError(f"{source} cannot be loaded: {error}") from error
            print(f"no weights for {source}: {str(error).splitlines()[0]}", flush=True)
    if loaded is None:
        config = _config(model, on_hub, model_path, model_config)
        loaded, weights = _random(config, head, dtype, seed), "random"
    tokenizer = _tokenizer(model_path, on_hub, offline)
    tokenizer_from = "bytes" if tokenizer is None else "path" if model_path else "hub"
    return Loaded(loaded.to(device), tokenizer, weights, tokenizer_from)


# --- where things are ----------------------------------------------------------------------------


def _holds(folder: str, patterns: Sequence[str]) -> bool:
    return any(glob.glob(os.path.join(glob.escape(folder), pattern)) for pattern in patterns)


def _cached(hub_id: str, patterns: Sequence[str]) -> str | None:
    """The folder of the newest snapshot in the hub's cache that holds such a file, or None."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = os.path.join(HF_HUB_CACHE, "models--" + hub_id.replace("/", "--"), "snapshots")
    snapshots = glob.glob(os.path.join(glob.escape(folder), "*"))
    for snapshot in sorted(snapshots, key=os.path.getmtime, reverse=True):
        if _holds(snapshot, patterns):
            return snapshot
    return None


def _config(
    model: str, on_hub: str | None, model_path: str | None, model_config: str | None
) -> Any:
    """The architecture for random weights. Raises ModelError where nothing describes it."""
    for place in (model_config, model_path, on_hub and _cached(on_hub, ("config.json",))):
        if not place:
            continue
        path = os.path.join(place, "config.json") if os.path.isdir(place) else place
        try:
            with open(path, encoding="utf-8") as file:
                values = json.load(file)
            kind = values["model_type"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} is no config of a model: {error!r}") from error
        if kind not in CONFIG_MAPPING:
            raise ModelError(f"{path}: this transformers knows no models of type {kind!r}")
        return CONFIG_MAPPING[kind].from_dict(values)
    raise ModelError(f"model {model!r} is not on this machine, and no config of it is known")


def _class(config: Any, head: str) -> Any:
    heads = {"qa": MODEL_FOR_QUESTION_ANSWERING_MAPPING, "lm": MODEL_FOR_CAUSAL_LM_MAPPING}
    if type(config) not in heads[head]:
        raise ModelError(
            f"transformers {transformers.__version__} has no {head} head for "
            f"{config.model_type} models" + (": use head lm" if head == "qa" else "")
        )
    return heads[head][type(config)]


# --- weights -------------------------------------------------------------------------------------


def _pretrained(source: str, head: str, dtype: Any) -> Any:
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    options = {"dtype" if TRANSFORMERS_5 else "torch_dtype": dtype}
    if not TRANSFORMERS_5 and importlib.util.find_spec("accelerate"):
        options["low_cpu_mem_usage"] = True  # without it there are two copies while loading
    return _class(config, head).from_pretrained(
        source, config=config, trust_remote_code=False, use_safetensors=True, **options
    )


def _random(config: Any, head: str, dtype: Any, seed: int) -> Any:
    """The architecture with random weights: matrices N(0, initializer_range), biases 0, norms 1.

    One block of four million random numbers is laid out over all matrices, which takes as long as
    writing the memory once; drawing every weight took seven times as long.
    """
    with _default_dtype(dtype), _no_init_weights():
        model = _class(config, head)(config)
    model.tie_weights()
    std = float(getattr(config, "initializer_range", 0.02))
    generator = torch.Generator().manual_seed(seed)
    block = (torch.randn(_BLOCK, generator=generator) * std).to(dtype)
    taken = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            flat, filled = parameter.view(-1), 0
            while filled < flat.numel():
                count = min(_BLOCK - taken, flat.numel() - filled)
                flat[filled : filled + count].copy_(block[taken : taken + count])
                filled, taken = filled + count, (taken + count) % _BLOCK
    return model


def _no_init_weights() -> Any:
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # before transformers 5
        from transformers.modeling_utils import no_init_weights
    return no_init_weights()


@contextlib.contextmanager
def _default_dtype(dtype: Any) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# --- tokenizer -----------------------------------------------------------------------------------


class HubTokenizer:
    """A transformers tokenizer as the rest of the child wants one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.eos_id: int = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
        pad = tokenizer.pad_token_id
        self.pad_id: int = pad if pad is not None else self.eos_id

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def _tokenizer(model_path: str | None, on_hub: str | None, offline: bool) -> HubTokenizer | None:
    files = ("tokenizer.json", "tokenizer.model", "vocab.json")
    if model_path:
        source = model_path if _holds(model_path, files) else None
    else:
        source = on_hub if on_hub and (not offline or _cached(on_hub, files)) else None
    if source is None:
        return None
    from transformers import AutoTokenizer

    try:
        return HubTokenizer(AutoTokenizer.from_pretrained(source, trust_remote_code=False))
    except (OSError, ValueError, ImportError) as error:
        print(f"no tokenizer from {source}: {str(error).splitlines()[0]}", flush=True)
        return None


def checkpoint_activations(model: Any) -> None:
    """Keep only the layers' inputs for the backward pass, and compute the rest a second time."""
    model.config.use_cache = False
    enable = getattr(model, "activation_checkpointing_enable", None)  # the name in transformers 6
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})


def positions(config: Any) -> int | None:
    """How many tokens the model can look at, where its config says so."""
    value = getattr(config, "max_position_embeddings", None)
    return value if isinstance(value, int) else None


def takes(model: Any, argument: str) -> bool:
    """Whether the model's forward pass has an argument of this name."""
    return argument in inspect.signature(model.forward).parameters
