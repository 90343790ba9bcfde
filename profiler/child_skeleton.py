"""A model of any size without its weights: for counting what it would do.

On the meta device, or on the CPU with weights that all are one number repeated. Imports nothing but
the standard library, torch and transformers; Python 3.8, torch 1.12 and later.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

import torch

#: The key of the widest layer's inner width, where the modules do not tell.
FFN_KEYS = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "d_ff")


@contextlib.contextmanager
def weightless(backing: str) -> Iterator[None]:
    """Within it, modules are built with weights that take no memory and are not initialised."""
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # before transformers 5
        from transformers.modeling_utils import no_init_weights
    init, module = torch.nn.init, torch.nn.Module
    names = [name for name in dir(init) if name.endswith("_") and not name.startswith("_")]
    plain = {name: getattr(init, name) for name in names}
    register = module.register_parameter

    def hollow(self: Any, name: str, parameter: Any) -> None:
        if parameter is not None and parameter.device.type == "cpu" and parameter.dim():
            one = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
            parameter = torch.nn.Parameter(one, requires_grad=parameter.requires_grad)
        register(self, name, parameter)

    for name in names:
        setattr(init, name, lambda tensor, *args, **kwargs: tensor)
    if backing == "cpu":
        module.register_parameter = hollow
    try:
        with no_init_weights(), torch.device(
            "meta"
        ) if backing == "meta" else contextlib.nullcontext():
            yield
    finally:
        module.register_parameter = register
        for name, function in plain.items():
            setattr(init, name, function)


def sizes(config: Any, body: Any) -> dict[str, Any]:
    """Widths and numbers of a transformer, under the names that jetsched has for them."""
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    heads = int(getattr(config, "num_attention_heads", None) or 1)  # a model without attention
    matrices = [found for found in map(shape_of, body.modules()) if found]
    down = [inner for inner, outer in matrices if outer == hidden]
    named = [getattr(config, name, None) for name in FFN_KEYS]
    ffn = max(down, default=0) or next((int(n) for n in named if n), 4 * hidden)
    up = [outer // ffn for inner, outer in matrices if inner == hidden and outer % ffn == 0]
    return {
        "layers": layers,
        "hidden": hidden,
        "ffn": ffn,
        "heads": heads,
        "head_dim": int(getattr(config, "head_dim", None) or hidden // heads),
        "vocab": int(config.vocab_size),
        "max_positions": int(getattr(config, "max_position_embeddings", None) or 0),
        "gated_mlp": sum(up) >= 2 * layers,
    }


def shape_of(module: Any) -> tuple[int, int] | None:
    """(inputs, outputs) of a module that is a matrix."""
    weight: Any = getattr(module, "weight", None)
    if type(module).__name__ == "Conv1D":  # of transformers, which keeps it the other way round
        return int(weight.shape[0]), int(weight.shape[1])
    if isinstance(module, torch.nn.Linear):
        return int(weight.shape[1]), int(weight.shape[0])
    return None


def numbers(parameters: Any) -> int:
    return sum(parameter.numel() for parameter in parameters)


def tensors_in(value: Any, depth: int = 4) -> Iterator[Any]:
    """All tensors of a cache, whatever this version of transformers keeps them in."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item, depth - 1)
    elif depth and hasattr(value, "__dict__"):
        for item in vars(value).values():
            yield from tensors_in(item, depth - 1)
