"""The child's inference: greedy generation, one token at a time, the eager loop of transformers.

The first token (*prefill*) and the others (*decode*) are timed apart: the first is bound by
arithmetic, the others by memory or by the host. The number of new tokens is fixed, so that runs
can be compared; an end mark cuts the printed text, not the work.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable, NamedTuple

import torch

#: Below the run's folder.
PREDICTIONS = "out/predictions.jsonl"
METRICS = "out/metrics.json"


class Plan(NamedTuple):
    """What to generate. ``amount`` in prompts, which are cycled; tokens per prompt."""

    prompts: list[str]
    tokenizer: Any
    amount: int
    batch_size: int
    prompt_tokens: int  # each prompt is cut or padded to this; 0: to the longest of its batch
    max_new_tokens: int
    max_steps: int | None
    warmup_steps: int
    folder: str
    keep: bool = True  # what was answered


class Times(NamedTuple):
    """Seconds for one batch."""

    total: float
    prefill: float
    decode: float


def run(
    model: Any, plan: Plan, device: Any, takes: Any, emit: Callable[..., None], stop: Any
) -> dict[str, Any]:
    """Answer the prompts; the fields of the ``result`` event.

    With ``plan.keep`` into ``out/predictions.jsonl``, a line as each batch is done.

    One *step* is one batch. ``work_s`` and ``tokens`` (new ones) cover ``amount`` prompts: those
    behind the warm-up steps, whose ``warmup_amount`` prompts are answered and written as well. A
    run that has no more batches than are asked for as warm-up sets none apart.
    """
    model.eval()
    predictions = os.path.join(plan.folder, PREDICTIONS) if plan.keep else os.devnull
    if plan.keep:
        os.makedirs(os.path.dirname(predictions), exist_ok=True)
    steps = -(-plan.amount // plan.batch_size)
    steps = min(steps, plan.max_steps) if plan.max_steps else steps
    warmup = plan.warmup_steps if steps > plan.warmup_steps else 0
    done, warmup_amount, first_token_s = 0, 0, []
    warmup_s, work_s, prefill_s, decode_s = 0.0, 0.0, 0.0, 0.0
    with open(predictions, "w", encoding="utf-8") as file:
        for step in range(1, steps + 1):
            count = min(plan.batch_size, plan.amount - done)
            prompts = [plan.prompts[(done + i) % len(plan.prompts)] for i in range(count)]
            texts, times = _batch(model, plan, prompts, device, takes, stop)
            for number, (prompt, text) in enumerate(zip(prompts, texts)):
                line = {"index": done + number, "prompt": prompt, "text": text}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            done += count
            if step <= warmup:
                warmup_amount += count
                warmup_s += times.total
            else:
                work_s += times.total
                prefill_s += times.prefill
                decode_s += times.decode
                first_token_s.append(times.prefill)
            emit(
                "progress",
                done=done,
                amount=plan.amount,
                step=step,
                steps=steps,
                loss=None,
                tokens=done * plan.max_new_tokens,
                worked=done - warmup_amount,
                work_s=work_s,
                warmup_s=warmup_s,
            )
    amount = done - warmup_amount
    return {
        "amount": amount,
        "done": done,
        "warmup_amount": warmup_amount,
        "warmup_s": warmup_s,
        "work_s": work_s,
        "tokens": amount * plan.max_new_tokens,
        "phases_s": {"prefill": prefill_s, "decode": decode_s},
        "first_token_s": sorted(first_token_s)[len(first_token_s) // 2],
        "loss_first": None,
        "loss_last": None,
    }


def save(metrics: dict[str, Any], folder: str) -> list[str]:
    """Write ``out/metrics.json`` beside the predictions; returns both paths."""
    with open(os.path.join(folder, METRICS), "w", encoding="utf-8") as file:
        json.dump(metrics, file, indent=1)
        file.write("\n")
    return [PREDICTIONS, METRICS]


def _batch(
    model: Any, plan: Plan, prompts: list[str], device: Any, takes: Any, stop: Any
) -> tuple[list[str], Times]:
    start = time.perf_counter()
    ids, mask = _padded(prompts, plan)
    input_ids = torch.tensor(ids, device=device)
    attention_mask = torch.tensor(mask, device=device)
    # Only the last position's logits are needed; for a vocabulary of 150,000 the others would be
    # the largest tensor of all. The argument's name changed; GPT-2 got it late.
    last = {name: 1 for name in ("logits_to_keep", "num_logits_to_keep") if takes(model, name)}
    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    past, new = None, []
    first = start
    with torch.no_grad():
        for _ in range(plan.max_new_tokens):
            if stop.requested:
                stop.now()
            output = model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past,
                use_cache=True,
                **last,
            )
            past = output.past_key_values
            input_ids = output.logits[:, -1, :].argmax(-1, keepdim=True)
            new.append(input_ids)
            attention_mask = torch.cat([attention_mask, torch.ones_like(input_ids)], dim=1)
            position_ids = position_ids[:, -1:] + 1
            if len(new) == 1:
                _sync(device)
                first = time.perf_counter()
    tokens = torch.cat(new, dim=1).tolist()  # waits for the device
    end = time.perf_counter()
    texts = [plan.tokenizer.decode(_until_end(row, plan.tokenizer.eos_id)) for row in tokens]
    total = time.perf_counter() - start
    return texts, Times(total, first - start, end - first)


def _padded(prompts: list[str], plan: Plan) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and mask, padded on the left; of a prompt that is too long the end is kept."""
    rows = [plan.tokenizer.encode(prompt) or [plan.tokenizer.eos_id] for prompt in prompts]
    length = plan.prompt_tokens or max(len(row) for row in rows)
    rows = [row[-length:] for row in rows]
    pads = [length - len(row) for row in rows]
    ids = [[plan.tokenizer.pad_id] * n + row for n, row in zip(pads, rows)]
    mask = [[0] * n + [1] * (length - n) for n in pads]
    return ids, mask


def _until_end(row: list[int], eos_id: int) -> list[int]:
    return row[: row.index(eos_id)] if eos_id in row else row


def _sync(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
