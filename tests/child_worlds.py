"""Small worlds for the child's tests: two tiny models, two kinds of work, a spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GPT2 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_embd": 32,
    "n_head": 2,
    "n_layer": 2,
    "n_positions": 128,
    "vocab_size": 300,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}
TRAIN = {"kind": "train", "model": "tiny", "batch_size": 4, "seq_len": 48, "head": "qa"}
INFER = {"kind": "infer", "model": "tiny", "batch_size": 2, "max_new_tokens": 5}


def a_spec(
    folder: Path, work: dict[str, Any], config: Any = GPT2, **changes: Any
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    config_path = folder / "given.json"
    config_path.write_text(config if isinstance(config, str) else json.dumps(config))
    spec = {
        "version": 1,
        "work": work,
        "amount": 16,
        "folder": str(folder),
        "model_config": str(config_path),
        "offline": True,
        "seed": 3,
        "warmup_steps": 1,
    }
    return {**spec, **changes}


def events_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        found.setdefault(event["event"], []).append(event)
    return found
