"""The child's training: AdamW over question answering samples, with checkpoints.

One *step* is one update of the weights, from ``accumulation_steps`` micro-batches of ``batch_size``
samples. The same seed gives the same run, and a resumed run ends where an uninterrupted one does.
"""

from __future__ import annotations

import contextlib
import glob
import inspect
import json
import os
import shutil
import time
from collections import deque
from typing import Any, Callable, Iterator, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file

#: A trained model is tuned gently; adapters and random weights stand more.
LEARNING_RATE = {"full": 5e-5, "lora": 2e-4, "random": 1e-3}
LOSSES = 4  # how many steps the first and the last loss are a mean of, where there are so many


class CheckpointError(Exception):
    """The checkpoint cannot be read, or is of another model."""


class Plan(NamedTuple):
    """What to train on, and how. Times in seconds; ``amount`` in samples."""

    batch: Callable[[list[int]], dict[str, Any]]  # sample numbers -> the model's arguments
    numbers: Callable[[int], Iterator[int]]  # samples already done -> numbers of the rest, in order
    amount: int
    batch_size: int
    accumulation_steps: int
    seq_len: int
    precision: str
    learning_rate: float
    max_steps: int | None
    warmup_steps: int
    checkpoint_every_s: float | None
    resume_from: str | None
    folder: str
    keep: int  # so many checkpoints stay
    adapter: bool  # only the trainable parameters are kept in checkpoints and artefacts


class Trainer:
    """The state of one training run: what a checkpoint has to bring back."""

    def __init__(self, model: Any, plan: Plan, device: Any, seed: int) -> None:
        torch.manual_seed(seed)
        self.model, self.plan, self.device = model, plan, device
        self.step = 0
        self.done = 0  # samples, earlier attempts included
        self.first_losses: list[float] = []
        self.last_losses: deque[float] = deque(maxlen=LOSSES)
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=plan.learning_rate)
        self.scaler = _scaler() if plan.precision == "fp16" else None
        model.train()

    def run(self, emit: Callable[..., None], stop: Any) -> dict[str, Any]:
        """Train to the end, and say what it took; the fields of the ``result`` event.

        ``work_s`` covers ``amount`` samples: those of this attempt behind its warm-up steps, with
        the time to prepare their tokens and without that of checkpoints. The ``warmup_amount``
        samples before them were trained on as well, in ``warmup_s``. A run that has no more steps
        than are asked for as warm-up sets none apart. ``done`` is everything together, earlier
        attempts included.
        """
        plan = self.plan
        if plan.resume_from:
            self._restore(plan.resume_from)
        per_step = plan.batch_size * plan.accumulation_steps
        steps = -(-plan.amount // per_step)
        steps = min(steps, plan.max_steps) if plan.max_steps else steps
        warmup = plan.warmup_steps if steps - self.step > plan.warmup_steps else 0
        warm_until, began = self.step + warmup, self.done
        numbers = plan.numbers(self.done)
        spent = {"warmup": 0.0, "work": 0.0, "forward_backward": 0.0, "optimizer": 0.0}
        warmup_amount, saving_s, saved_at = 0, 0.0, time.perf_counter()
        while self.step < steps:
            start = time.perf_counter()
            todo = [n for _, n in zip(range(per_step), numbers)]
            random_state = self._random_state()
            loss = self._gradients(todo, stop)
            if loss is None:  # told to stop, between two micro-batches: this step never was
                self.optimizer.zero_grad(set_to_none=True)
                self._checkpoint(emit, random_state)
                stop.now()
            self._sync()
            computed = time.perf_counter()
            self._update()
            self._sync()
            finished = time.perf_counter()
            self.step += 1
            self.done += len(todo)
            if len(self.first_losses) < LOSSES:
                self.first_losses.append(float(loss))
            self.last_losses.append(float(loss))
            if self.step <= warm_until:
                spent["warmup"] += finished - start
                warmup_amount += len(todo)
            else:
                spent["work"] += finished - start
                spent["forward_backward"] += computed - start
                spent["optimizer"] += finished - computed
            emit(
                "progress",
                done=self.done,
                amount=plan.amount,
                step=self.step,
                steps=steps,
                loss=float(loss),
                tokens=(self.done - began) * plan.seq_len,
                worked=self.done - began - warmup_amount,
                work_s=spent["work"],
                warmup_s=spent["warmup"],
            )
            every = plan.checkpoint_every_s
            if stop.requested or (every and finished - saved_at >= every and self.step < steps):
                self._checkpoint(emit, self._random_state())
                saved_at = time.perf_counter()
                saving_s += saved_at - finished
                if stop.requested:
                    stop.now()
        amount = self.done - began - warmup_amount
        few = max(1, min(LOSSES, self.step // 2))
        return {
            "amount": amount,
            "done": self.done,
            "warmup_amount": warmup_amount,
            "warmup_s": spent["warmup"],
            "work_s": spent["work"],
            "checkpoint_s": saving_s,
            "tokens": amount * plan.seq_len,
            "phases_s": {key: spent[key] for key in ("forward_backward", "optimizer")},
            "loss_first": _mean(self.first_losses[:few]),
            "loss_last": _mean(list(self.last_losses)[-few:]),
        }

    # --- one step ------------------------------------------------------------------------------

    def _gradients(self, todo: list[int], stop: Any) -> Any:
        """Forward and backward over the step's micro-batches: their mean loss, or None to stop."""
        size, total = self.plan.batch_size, torch.zeros((), device=self.device)
        micros = [todo[i : i + size] for i in range(0, len(todo), size)]
        for micro in micros:
            if stop.requested:
                return None
            batch = {
                key: torch.tensor(value, device=self.device)
                for key, value in self.plan.batch(micro).items()
            }
            with self._autocast():
                loss = self.model(**batch).loss * (len(micro) / len(todo))
            (self.scaler.scale(loss) if self.scaler else loss).backward()
            total += loss.detach().float()
        return total

    def _update(self) -> None:
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _autocast(self) -> Any:
        if self.plan.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.float16 if self.plan.precision == "fp16" else torch.bfloat16
        return torch.autocast(device_type=self.device.type, dtype=dtype)

    def _sync(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    # --- checkpoints -----------------------------------------------------------------------------

    def _random_state(self) -> dict[str, Any]:
        on_cuda = self.device.type == "cuda"
        return {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if on_cuda else None,
        }

    def _checkpoint(self, emit: Callable[..., None], random_state: dict[str, Any]) -> None:
        """Write ``checkpoint/step-N`` whole or not at all, then remove those that are too many."""
        base = os.path.join(self.plan.folder, "checkpoint")
        folder = os.path.join(base, f"step-{self.step:07d}")
        half = folder + ".part"
        shutil.rmtree(half, ignore_errors=True)
        os.makedirs(half)
        save_file(self.weights(), os.path.join(half, "model.safetensors"))
        state = {
            "step": self.step,
            "done": self.done,
            "first_losses": self.first_losses,
            "last_losses": list(self.last_losses),
            "random": random_state,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
        }
        torch.save(state, os.path.join(half, "state.pt"))
        shutil.rmtree(folder, ignore_errors=True)  # there only if nothing was done since
        os.rename(half, folder)
        whole = [f for f in glob.glob(os.path.join(glob.escape(base), "step-*")) if _whole(f)]
        kept = sorted(whole)[-max(1, self.plan.keep) :]
        for other in glob.glob(os.path.join(glob.escape(base), "step-*")):
            if other not in kept:
                shutil.rmtree(other, ignore_errors=True)
        emit("checkpoint", path=folder, step=self.step, done=self.done)

    def _restore(self, path: str) -> None:
        """Go on from a checkpoint: a ``step-N`` folder, or the one that holds them."""
        complete = [f for f in glob.glob(os.path.join(glob.escape(path), "step-*")) if _whole(f)]
        folder = path if _whole(path) else max(complete, default="")
        if not folder:
            raise CheckpointError(f"{path} holds no complete checkpoint")
        self._restore_weights(os.path.join(folder, "model.safetensors"))
        # Our own file; newer torch can be told to unpickle nothing but tensors and plain values.
        safely = "weights_only" in inspect.signature(torch.load).parameters
        state = torch.load(
            os.path.join(folder, "state.pt"),
            map_location="cpu",
            **({"weights_only": True} if safely else {}),
        )
        self.step, self.done = state["step"], state["done"]
        self.first_losses = list(state["first_losses"])
        self.last_losses.extend(state["last_losses"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"])

    def _restore_weights(self, path: str) -> None:
        mine = self.weights()
        with safe_open(path, framework="pt") as kept, torch.no_grad():
            if set(kept.keys()) != set(mine):
                odd = sorted(set(kept.keys()) ^ set(mine))
                raise CheckpointError(
                    f"{path} is of another model: {odd[0]} is in only one of them"
                )
            for name, parameter in mine.items():
                value = kept.get_tensor(name)
                if value.shape != parameter.shape:
                    raise CheckpointError(f"{path} is of another model: {name} differs in shape")
                parameter.copy_(value)  # one tensor at a time: no second copy of the model

    def weights(self) -> dict[str, Any]:
        """What there is to keep, by name: tied parameters once, frozen ones not beside adapters."""
        return {
            name: parameter.detach()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad or not self.plan.adapter
        }

    def save(self, metrics: dict[str, Any], weights: bool) -> list[str]:
        """Write the artefacts below ``out/`` and return their paths, relative to the folder.

        Of adapters only these are written, with what is needed to put them back on the model.
        """
        out = os.path.join(self.plan.folder, "out")
        os.makedirs(out, exist_ok=True)
        # Saving copies the weights once; without the optimizer that is no new peak.
        self.optimizer = None
        name = "adapter.safetensors" if self.plan.adapter else "model.safetensors"
        if weights:
            about = {"format": "pt"}
            if self.plan.adapter:
                about.update(_about_adapters(self.model))
            save_file(self.weights(), os.path.join(out, name), metadata=about)
        self.model.config.save_pretrained(out)
        with open(os.path.join(out, "metrics.json"), "w", encoding="utf-8") as file:
            json.dump(metrics, file, indent=1)
            file.write("\n")
        names = [*([name] if weights else []), "config.json", "metrics.json"]
        return [f"out/{file}" for file in names]


def _about_adapters(model: Any) -> dict[str, str]:
    """Rank and scale of the adapters, as text: the header of a safetensors file holds no other."""
    for module in model.modules():
        if hasattr(module, "lora_a"):
            return {"lora_rank": str(module.lora_a.shape[0]), "lora_scale": str(module.scale)}
    return {}


def _whole(folder: str) -> bool:
    return not folder.endswith(".part") and os.path.isfile(os.path.join(folder, "state.pt"))


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _scaler() -> Any:
    """Gradient scaling on CUDA, under the name that this torch has for it."""
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda")
    return torch.cuda.amp.GradScaler()
