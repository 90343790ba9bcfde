"""Counts what a model costs, from its ``config.json`` alone: no weights, no network, no device.

Started **by path**, ``PYTHON profiler/child_count.py CONFIG``, where CONFIG is a ``config.json`` or
its folder, by the workload interpreter (Python 3.8, torch 1.12, transformers 4.46 and later). The
last line that it prints is a JSON object: what :func:`count` returns, or ``format``, ``error`` and
``what`` with exit code 1.

The model is built on the meta device and run there forwards under child_tally.py. What depends on
``batch`` and ``seq`` is counted at four points and written as ``per_token * batch * seq +
per_score * batch * seq^2 + constant``; ``misfit`` is how far the fourth is off the other three.

Where the meta device cannot run the model (torch before 2.1 lacks some operations there, a router
asks for values), it is built on the CPU with weights that share one number, and few tokens.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import platform
import resource
import sys
import time
import types
from typing import Any, Callable

HERE = os.path.dirname(os.path.abspath(__file__))
FORMAT = 1
#: Beyond what the imports took: a model whose weights become real after all must not take a board.
MEMORY_BYTES = 1 << 30
#: (batch, seq): large batches on the meta device, so that what no batch multiplies is negligible.
POINTS = {"meta": ((16, 32), (16, 64), (32, 64), (32, 32)), "cpu": ((2, 2), (2, 4), (4, 4), (4, 2))}
#: Numbers that the fourth point may be off, of counts that should be exact.
MISFIT = 0.01


class CountError(Exception):
    """The model cannot be counted; the text says why."""


def sibling(name: str) -> types.ModuleType:
    """A module from this file's folder, which is not on ``sys.path`` (see child.py)."""
    full = "jetsched_" + name
    if full not in sys.modules:
        where = importlib.util.spec_from_file_location(full, os.path.join(HERE, name + ".py"))
        assert where is not None and where.loader is not None
        module = importlib.util.module_from_spec(where)
        sys.modules[full] = module
        where.loader.exec_module(module)
    return sys.modules[full]


def read_config(path: str) -> dict[str, Any]:
    """The values of a ``config.json``, without what says in which precision weights are stored."""
    file = os.path.join(path, "config.json") if os.path.isdir(path) else path
    try:
        with open(file, encoding="utf-8") as opened:
            values = json.load(opened)
        kind = values["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CountError(f"{file} is no config of a model: {error!r}") from error
    if not isinstance(kind, str):
        raise CountError(f"{file}: model_type is no text")
    skipped = ("torch_dtype", "dtype", "quantization_config", "auto_map")
    return {name: value for name, value in values.items() if name not in skipped}


def count(values: dict[str, Any]) -> dict[str, Any]:
    """All counts of the model that these values describe. Raises CountError.

    Bytes are of fp32; numbers of the whole body, that is all layers with the embeddings and without
    the head. Imports torch and transformers.
    """
    import torch
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = values["model_type"]
    if kind not in CONFIG_MAPPING:
        raise CountError(
            f"this transformers knows no models of type {kind!r}; code that comes with a model is "
            "never run"
        )
    backings = ("meta", "cpu") if hasattr(torch, "set_default_device") else ("cpu",)
    problems = []
    for backing in backings:
        try:
            return Count(CONFIG_MAPPING[kind], values, backing).all()
        except CountError:
            raise
        except Exception as error:  # whatever an architecture stumbles over is the answer
            problems.append(f"on the {backing} device: {_first_line(error)}")
    raise CountError(f"a model of type {kind!r} cannot be run " + "; ".join(problems))


class Count:
    """Counts one model in one way; ``backing`` is *meta* or *cpu*."""

    def __init__(self, config_class: Any, values: dict[str, Any], backing: str) -> None:
        self.config_class, self.values, self.backing = config_class, values, backing
        self.tally, self.skeleton = sibling("child_tally"), sibling("child_skeleton")
        self.masks: dict[int, str] = {}  # id of a module -> the form of mask that it takes

    def all(self) -> dict[str, Any]:
        import torch
        import transformers

        self.transformers_5 = int(transformers.__version__.split(".")[0]) >= 5
        model = self.build("lm", "eager")
        config = model.config
        if hasattr(config, "get_text_config"):
            config = config.get_text_config()
        self.points = points_for(self.backing, getattr(config, "max_position_embeddings", None))
        head = model.get_output_embeddings()
        if head is None:
            raise CountError(f"{type(model).__name__} has no language-model head")
        tied = head.weight is model.get_input_embeddings().weight
        fused = self.optional(lambda: self.build("lm", "sdpa"))
        eager = self.passes(self.body(model))
        refuse_other_forms(self.values["model_type"], eager)
        counted = {
            "eager": eager,
            "fused": self.optional(lambda: fused and self.passes(self.body(fused))),
            "backward": self.optional(lambda: self.backward(self.body(model))),
            "kv_values_per_token": self.optional(lambda: self.cache(model)) or 0.0,
        }
        return {
            "format": FORMAT,
            "model_type": self.values["model_type"],
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "backing": self.backing,
            "parameters": self.skeleton.numbers(model.parameters()),
            "qa_parameters": self.optional(
                lambda: self.skeleton.numbers(self.build("qa", "eager").parameters())
            ),
            "head_parameters": self.skeleton.numbers(
                p for p in head.parameters() if not (tied and p is head.weight)
            ),
            "tied": tied,
            **self.skeleton.sizes(config, self.body(model)),
            **counted,
            # Last: it freezes the models.
            "lora": self.optional(lambda: {"eager": self.lora(model), "fused": self.lora(fused)}),
        }

    def build(self, head: str, attention: str) -> Any:
        """The model with this head, with weights that take no memory."""
        from transformers.models.auto import modeling_auto

        config = self.config_class.from_dict(dict(self.values))
        mapping = {
            "lm": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
            "qa": modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING,
        }[head]
        if hasattr(config, "_experts_implementation"):
            config._experts_implementation = "eager"  # the others want a GPU's products
        if type(config) not in mapping:
            raise CountError(f"transformers has no {head} head for {config.model_type}")
        with self.skeleton.weightless(self.backing):
            model = mapping[type(config)]._from_config(config, attn_implementation=attention)
        model.tie_weights()
        return model

    def body(self, model: Any) -> Any:
        """The model without its head."""
        return getattr(model, model.base_model_prefix, model)

    def optional(self, what: Callable[[], Any]) -> Any:
        """What not every architecture has; None there."""
        try:
            return what()
        except Exception as error:  # the rest can still be counted
            print(f"left out: {_first_line(error)}", file=sys.stderr)
            return None

    def passes(self, body: Any) -> dict[str, Any]:
        """Forward passes of a body: one to infer and one to train at each point."""
        infer = [self.infer(body, *point) for point in self.points]
        train = [self.train(body, *point) for point in self.points]
        last = infer[-1]
        return {
            "flops": fit(self.points, [tally.flops for tally in infer]),
            "moved": fit(self.points, [tally.moved for tally in infer]),
            "working": (
                fit(self.points, [tally.peak for tally in infer]) if self.tally.PRESERVED else None
            ),
            "saved": fit(self.points, [saved for _, saved in train]),
            "masks": fit(self.points, [tally.masks for tally, _ in train]),
            "launches": last.launches,
            "views": last.views,
            "kinds": dict(sorted(last.kinds.items())),
        }

    def infer(self, body: Any, batch: int, seq: int) -> Any:
        import torch

        body.eval()
        run = self.runner(body, batch, seq)
        with torch.no_grad(), self.tally.counting(self.held(body)) as tally:
            run()
        return tally

    def train(self, body: Any, batch: int, seq: int) -> Any:
        """(the tally, of masks only; bytes that autograd saves, with the output)."""
        body.train()
        weights, run = self.held(body), self.runner(body, batch, seq)
        fully = self.backing == "cpu"  # where counting is what keeps matrices from being multiplied
        with self.tally.counting(weights, fully=fully) as tally, self.tally.saving(weights) as kept:
            output = run()[0]
        kept[self.tally.key(output)] = self.tally.nbytes(output)
        return tally, sum(kept.values())

    def backward(self, body: Any) -> dict[str, float] | None:
        """Operations and launches of a backward pass, as multiples of its forward pass's."""
        if self.backing != "meta":
            return None
        body.train()
        weights, run = self.held(body), self.runner(body, *self.points[0])
        with self.tally.counting(weights) as forward:
            output = run()[0]
        with self.tally.counting(weights) as back:
            output.backward(output.detach())
        return {"flops": back.flops / forward.flops, "launches": back.launches / forward.launches}

    def lora(self, model: Any) -> dict[str, float] | None:
        """What autograd saves with adapters of rank 8. Freezes the model."""
        if model is None:
            return None
        sibling("child_lora").adapt(model, 8)
        saved = [self.train(self.body(model), *point)[1] for point in self.points]
        return fit(self.points, saved)

    def cache(self, model: Any) -> float:
        """Numbers that the key-value cache grows by with each token of a sequence."""
        import torch

        model.eval()
        found = []
        for batch, seq in self.points[:2]:
            run = self.runner(model, batch, seq)
            with torch.no_grad(), self.tally.counting(self.held(model)):
                past = run(use_cache=True).past_key_values
            found.append(sum(t.numel() for t in self.skeleton.tensors_in(past)))
        (batch, short), (_, long) = self.points[:2]
        grown: float = (found[1] - found[0]) / (batch * (long - short))
        return grown

    def runner(self, module: Any, batch: int, seq: int) -> Callable[..., Any]:
        """Runs a module on tokens that are all the same, with the first form of mask it takes."""
        import torch

        given = {"input_ids": torch.zeros(batch, seq, dtype=torch.long, device=self.backing)}
        if "position_ids" in inspect.signature(module.forward).parameters:
            given["position_ids"] = torch.arange(seq, device=self.backing)[None]
        # As for samples with padding: what transformers makes of two dimensions, 5 in booleans. On
        # the meta device it makes none.
        rows = torch.zeros(batch, 1, seq, seq, device=self.backing)
        fused = getattr(module.config, "_attn_implementation", "") == "sdpa"
        masks = {
            "booleans": rows.bool() if fused and self.transformers_5 else rows,
            "rows": rows,
            "none": None,
            "ones": torch.ones(batch, seq, dtype=torch.long, device=self.backing),
        }

        def run(use_cache: bool = False) -> Any:
            mask = masks[self.masks[id(module)]]
            return module(attention_mask=mask, use_cache=use_cache, **given)

        if id(module) not in self.masks:
            problems = []
            for name in masks:
                self.masks[id(module)] = name
                try:
                    with torch.no_grad(), self.tally.counting(self.held(module)):
                        run()
                    return run
                except Exception as error:  # the next form may be the right one
                    problems.append(error)
            del self.masks[id(module)]
            raise problems[0]
        return run

    def held(self, module: Any) -> set[int]:
        own = list(module.parameters()) + list(module.buffers())
        return {self.tally.key(tensor) for tensor in own}


def points_for(backing: str, longest: Any) -> Any:
    """(batch, seq) to count at; short ones for a model that takes no longer ones."""
    points = POINTS[backing]
    if not isinstance(longest, int) or longest >= max(seq for _, seq in points):
        return points
    half = max(longest // 2, 1)
    shortest = points[0][1]
    return tuple((batch, half if seq == shortest else 2 * half) for batch, seq in points)


def refuse_other_forms(kind: str, counted: dict[str, Any]) -> None:
    """A model whose cost does not grow with tokens and scores is none for jetsched's formulas."""
    for name in ("flops", "saved"):
        line = counted[name]
        if line["misfit"] > MISFIT or line["per_score"] < 0 or line["per_token"] <= 0:
            raise CountError(
                f"{name} of a model of type {kind!r} are no sum of tokens and of attention scores"
            )


def fit(points: Any, values: list[float]) -> dict[str, float]:
    """``per_token``, ``per_score``, ``constant`` through the first three points, and the misfit."""
    rows = [[float(b * s), float(b * s * s), 1.0, float(v)] for (b, s), v in zip(points, values)]
    a, c, d = solve([row[:] for row in rows[:3]])
    tokens, scores, _, value = rows[3]
    misfit = abs(a * tokens + c * scores + d - value) / value if value else 0.0
    return {
        "per_token": round(a, 6),
        "per_score": round(c, 6),
        "constant": round(d, 3),
        "misfit": round(misfit, 6),
    }


def solve(rows: list[list[float]]) -> list[float]:
    """Gauss and Jordan on three equations."""
    for i in range(3):
        best = max(range(i, 3), key=lambda j: abs(rows[j][i]))
        rows[i], rows[best] = rows[best], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(3):
            if j != i:
                rows[j] = [x - rows[j][i] * y for x, y in zip(rows[j], rows[i])]
    return [row[3] for row in rows]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[0]


def limit_memory() -> None:
    """Refuse more memory than counting can need; what the imports mapped is not part of it."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = mapped + MEMORY_BYTES
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def main(argv: list[str]) -> int:
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != HERE]
    start = time.perf_counter()
    try:
        values = read_config(argv[1])
        import torch

        torch.set_num_threads(1)
        sibling("child_tally")
        limit_memory()
        found = count(values)
        found["seconds"] = round(time.perf_counter() - start, 2)
        found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    except Exception as error:  # whatever it is, the one who asked wants to know
        failed = {"format": FORMAT, "error": type(error).__name__, "what": _first_line(error)}
        print(json.dumps(failed))
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
