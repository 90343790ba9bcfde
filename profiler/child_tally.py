"""What one pass through a model asks for: operations, launches, numbers moved, what autograd saves.

Works on tensors of the meta device, which have shapes and no numbers, so a model of any size is
counted in seconds and in no memory. Where they cannot be used, matrices are not multiplied: their
products are zeros. Two functions of torch are replaced while it counts, because they would do what
no device does: fused attention saves its inputs, its output and one number per row; dropout saves
one mask, whose numbers are a byte on CUDA and a float on a CPU.

Imports nothing but the standard library and torch; Python 3.8, torch 1.12 and later.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any, Iterator

import torch
from torch.utils import _python_dispatch

#: Operations that only take memory, or look at a shape.
_NO_KERNEL = ("aten.empty", "aten.new_empty", "aten.lift_fresh", "aten.detach", "aten.alias")
#: Matrix products, for a torch that has no table of its own: which arguments are multiplied.
_PRODUCTS = {"aten.mm": (0, 1), "aten.bmm": (0, 1), "aten.addmm": (1, 2), "aten.baddbmm": (1, 2)}


def _preserved() -> bool:
    """Whether a storage stays one Python object while it lives, so that its end is noticed."""
    if not hasattr(torch.Tensor, "untyped_storage"):
        return False
    probe = torch.empty(1)
    gone: list[int] = []
    weakref.finalize(probe.untyped_storage(), gone.append, 1)
    return not gone


PRESERVED = _preserved()


class Tally:
    """The sums of one pass. ``moved``: numbers read and written, those of weights apart."""

    def __init__(self, weights: set[int]) -> None:
        self.weights = weights  # keys of the storages that are there before
        self.flops = 0.0
        self.launches = 0
        self.views = 0
        self.moved = 0.0
        self.masks = 0  # numbers that dropout covers
        self.live = self.peak = 0  # bytes
        self.kinds: dict[str, int] = {}  # launches by operation

    def start(self, name: str, flops: float, read: Any, written: Any) -> None:
        """An operation that starts a kernel."""
        self.launches += 1
        self.kinds[name] = self.kinds.get(name, 0) + 1
        self.flops += flops
        self.moved += sum(t.numel() for t in read if key(t) not in self.weights)
        self.moved += sum(t.numel() for t in written)

    def hold(self, tensor: Any) -> None:
        """A tensor that was made: alive until its storage goes."""
        size = nbytes(tensor)
        self.live += size
        self.peak = max(self.peak, self.live)
        if PRESERVED:
            weakref.finalize(storage(tensor), self._release, size)

    def _release(self, size: int) -> None:
        self.live -= size


def storage(tensor: Any) -> Any:
    """What holds a tensor's numbers; views of one tensor share it."""
    return tensor.untyped_storage() if hasattr(tensor, "untyped_storage") else tensor._storage()


def key(tensor: Any) -> int:
    """Tells storages apart as long as they live: on the meta device all have the same address."""
    return int(storage(tensor)._cdata)


def nbytes(tensor: Any) -> int:
    """Of the whole storage: who holds a view holds all of it."""
    held = storage(tensor)
    return int(held.nbytes()) if hasattr(held, "nbytes") else len(held) * tensor.element_size()


def _tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


#: torch 1.12 makes a mode and enters it in one step.
_PUSH = getattr(_python_dispatch, "push_torch_dispatch_mode", None)


class _Counting(_python_dispatch.TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """Sees every operation below autograd."""

    def __init__(self, tally: Tally) -> None:
        if _PUSH is None:
            super().__init__()
        self.tally = tally

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "overloadpacket", func)
        name = str(packet)
        product = _PRODUCTS.get(name)
        if product and args[product[0]].device.type != "meta":
            left, right = (args[i] for i in product)
            out = left.new_zeros(left.shape[:-1] + right.shape[-1:])
        else:
            out = func(*args, **kwargs)
        read = list(_tensors(args)) + list(_tensors(tuple(kwargs.values())))
        written = list(_tensors(out))
        known = {key(t) for t in read}
        fresh = [t for t in written if key(t) not in known]
        for tensor in fresh:
            self.tally.hold(tensor)
        in_place = name.rstrip("0123456789").endswith("_") or "out" in kwargs
        if not written or name.startswith(_NO_KERNEL) or not (fresh or in_place):
            self.tally.views += bool(written)
            return out
        self.tally.start(name, _flops(packet, name, args, kwargs, out), read, written)
        return out


def _table() -> Any:
    """Operations of each kernel as torch itself counts them; {} before torch 2.1."""
    try:
        from torch.utils.flop_counter import flop_registry
    except ImportError:
        return {}
    return flop_registry


_FLOPS = _table()


def _flops(packet: Any, name: str, args: Any, kwargs: Any, out: Any) -> float:
    if packet in _FLOPS:
        return float(_FLOPS[packet](*args, **kwargs, out_val=out))
    if name not in _PRODUCTS:
        return 0.0
    left, right = (args[i] for i in _PRODUCTS[name])
    return 2.0 * float(left.numel() * right.shape[-1])


class _Fused(torch.autograd.Function):  # type: ignore[misc]
    """Attention as kernels that never write the scores do it."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, mask: Any) -> Any:
        # Written by tokens, so that putting the heads together again copies nothing.
        batch, heads, seq = q.shape[:3]
        out = q.new_empty(batch, seq, heads, v.shape[-1]).transpose(1, 2)
        kept = [q, k, v, out, q.new_empty(q.shape[:-1])]
        if mask is not None:  # of booleans each layer makes numbers of its own
            kept.append(torch.empty_like(mask, dtype=q.dtype) if mask.dtype == torch.bool else mask)
        ctx.save_for_backward(*kept)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        q, k, v = ctx.saved_tensors[:3]
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), None


class _Dropped(torch.autograd.Function):  # type: ignore[misc]
    """Dropout with a mask of bytes, as on CUDA."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(torch.empty_like(x, dtype=torch.uint8))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return torch.empty_like(gradient)


@contextlib.contextmanager
def counting(weights: set[int], *, fully: bool = True) -> Iterator[Tally]:
    """Count what is done within; ``weights`` are the keys of what is there before.

    Not ``fully``: only what dropout covers; the rest of the tally means nothing.
    """
    tally = Tally(weights)
    functional = torch.nn.functional

    def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p <= 0:
            return x
        tally.masks += x.numel()
        out = _Dropped.apply(x)
        tally.start("dropout", 0.0, [x], [out])
        return out

    def attention(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
        out = _Fused.apply(q, k, v, args[0] if args else kwargs.get("attn_mask"))
        flops = 2.0 * q.numel() * k.shape[-2] + 2.0 * out.numel() * k.shape[-2]
        tally.start("attention", flops, [q, k, v], [out])
        return out

    patches: dict[str, Any] = {"dropout": dropout, "scaled_dot_product_attention": attention}
    plain = {name: getattr(functional, name) for name in patches if hasattr(functional, name)}
    if not fully:
        mode: Any = contextlib.nullcontext()
    else:
        mode = _Counting.push(tally) if _PUSH else _Counting(tally)
    for name in plain:
        setattr(functional, name, patches[name])
    try:
        with mode:
            yield tally
    finally:
        for name, function in plain.items():
            setattr(functional, name, function)


@contextlib.contextmanager
def saving(weights: set[int]) -> Iterator[dict[int, int]]:
    """Storages that autograd keeps for the backward pass: key -> bytes. Weights are left out."""
    kept: dict[int, int] = {}
    alive = []  # a key is only good as long as its storage lives

    def pack(tensor: Any) -> Any:
        if key(tensor) not in weights:
            kept[key(tensor)] = nbytes(tensor)
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept
