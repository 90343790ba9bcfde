"""The cases of bench_memory.py: jobs whose memory was counted and measured, some of own shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jetsched.records import Job, Workload


def _gpt2(layers: int, hidden: int, heads: int, vocab: int) -> dict[str, Any]:
    sizes = {"n_layer": layers, "n_embd": hidden, "n_head": heads, "vocab_size": vocab}
    return {"model_type": "gpt2", "n_positions": 1024, **sizes}


def _other(family: str, layers: int, hidden: int, ffn: int, vocab: int, kv: int) -> dict[str, Any]:
    return {
        "model_type": family,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": 8,
        "num_key_value_heads": kv,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }


#: Shapes of our own, by the name of their folder.
CONFIGS: Mapping[str, dict[str, Any]] = {
    "gpt2-4x512": _gpt2(4, 512, 8, 8192),
    "gpt2-8x384": _gpt2(8, 384, 6, 50257),
    "gpt2-2x1024": _gpt2(2, 1024, 16, 50257),
    "gpt2-24x256": _gpt2(24, 256, 4, 16384),
    "gpt2-6x640": _gpt2(6, 640, 10, 50257),
    "gpt2-3x896": _gpt2(3, 896, 7, 30000),
    "gpt2-16x320": _gpt2(16, 320, 5, 32000),
    "llama-4x512": _other("llama", 4, 512, 1408, 32000, 2),
    "qwen-8x256": _other("qwen2", 8, 256, 704, 40000, 8),
    "phi-6x512": _other("phi", 6, 512, 2048, 20000, 8),
}


@dataclass(frozen=True)
class Case:
    """A job; ``seq_len`` is that of the prompt in inference, ``new`` the tokens it answers with."""

    model: str
    kind: Literal["train", "infer"]
    batch_size: int
    seq_len: int
    head: Literal["qa", "lm"] = "qa"
    more: Mapping[str, Any] = field(default_factory=dict)
    new: int = 8

    def job(self, models: Path) -> Job:
        """Three steps of it, or three batches of prompts."""
        model = str(models / self.model) if self.model in CONFIGS else self.model
        if self.kind == "train":
            work = Workload(
                "train", model, "squad", self.batch_size, self.seq_len, head=self.head, **self.more
            )
        else:
            work = Workload(
                "infer",
                model,
                batch_size=self.batch_size,
                prompt_tokens=self.seq_len,
                max_new_tokens=self.new,
                **self.more,
            )
        return Job("1", work, 3.0 * self.batch_size * work.accumulation_steps)

    def __str__(self) -> str:
        words = [self.kind, self.model, f"{self.batch_size}x{self.seq_len}"]
        words += [self.head] if self.kind == "train" else []
        return " ".join([*words, *(f"{key}={value}" for key, value in self.more.items())])


LORA: Any = {"method": "lora", "lora_rank": 8}
CKPT: Any = {"gradient_checkpointing": True}

#: GPT-2 shapes in training first: the bar is theirs.
LIVE_CASES = (
    *(
        Case(model, "train", batch, seq, "lm" if head == "lm" else "qa")
        for model, batch, seq, head in (
            ("gpt2", 1, 64, "qa"),
            ("gpt2", 4, 128, "qa"),
            ("gpt2", 2, 256, "lm"),
            ("distilgpt2", 2, 384, "qa"),
            ("distilgpt2", 8, 128, "qa"),
            ("distilgpt2", 2, 256, "lm"),
            ("distilgpt2", 1, 1024, "qa"),
            ("tiny-gpt2", 8, 384, "lm"),
            ("tiny-gpt2", 16, 512, "qa"),
            ("tinygpt2-25m", 4, 128, "qa"),
            ("tinygpt2-25m", 8, 256, "lm"),
            ("tinygpt2-25m", 16, 256, "qa"),
            ("gpt2-4x512", 8, 256, "lm"),
            ("gpt2-4x512", 4, 512, "qa"),
            ("gpt2-8x384", 4, 256, "qa"),
            ("gpt2-2x1024", 4, 128, "lm"),
            ("gpt2-24x256", 2, 256, "qa"),
            ("gpt2-24x256", 4, 128, "lm"),
            ("gpt2-6x640", 8, 128, "qa"),
            ("gpt2-3x896", 2, 512, "lm"),
            ("gpt2-16x320", 8, 64, "qa"),
        )
    ),
    Case("gpt2-6x640", "train", 4, 256, "qa", LORA),
    Case("distilgpt2", "train", 4, 256, "lm", LORA),
    Case("gpt2-8x384", "train", 4, 512, "qa", CKPT),
    Case("gpt2-4x512", "train", 4, 256, "lm", CKPT),
    Case("gpt2-4x512", "train", 4, 256, "qa", {"precision": "bf16"}),
    Case("gpt2-4x512", "train", 2, 256, "qa", {"accumulation_steps": 2}),
    Case("llama-4x512", "train", 4, 256, "lm"),
    Case("qwen-8x256", "train", 4, 256, "lm"),
    Case("phi-6x512", "train", 4, 256, "lm"),
    Case("gpt2", "infer", 4, 256),
    Case("distilgpt2", "infer", 1, 64),
    Case("llama-4x512", "infer", 8, 256),
    Case("phi-6x512", "infer", 4, 512, more={"precision": "bf16"}),
)

FIT_CASES = (
    Case("gpt2", "train", 2, 128),
    Case("gpt2", "train", 1, 256, "lm"),
    Case("gpt2", "train", 4, 96),
    Case("distilgpt2", "train", 4, 192),
    Case("distilgpt2", "train", 2, 64, "lm"),
    Case("distilgpt2", "train", 8, 64),
    Case("distilgpt2", "train", 1, 384, "lm"),
    Case("tinygpt2-25m", "train", 8, 128),
    Case("tinygpt2-25m", "train", 2, 256, "lm"),
    Case("tinygpt2-25m", "train", 16, 128),
    Case("tiny-gpt2", "train", 4, 256, "lm"),
    Case("tiny-gpt2", "train", 16, 384),
    Case("gpt2-4x512", "train", 4, 256),
    Case("gpt2-4x512", "train", 8, 128, "lm"),
    Case("gpt2-6x640", "train", 4, 128),
    Case("gpt2-3x896", "train", 2, 256, "lm"),
    Case("gpt2-16x320", "train", 4, 128),
    Case("gpt2-24x256", "train", 2, 128, "lm"),
    Case("gpt2-8x384", "train", 8, 256),
    Case("distilgpt2", "train", 4, 256, "qa", LORA),
    Case("gpt2-6x640", "train", 4, 256, "qa", CKPT),
    Case("llama-4x512", "train", 2, 256, "lm"),
    Case("distilgpt2", "infer", 4, 128),
    Case("gpt2", "infer", 1, 512),
    Case("llama-4x512", "infer", 4, 256),
    Case("tinygpt2-25m", "infer", 8, 256),
)


def configs(folder: Path) -> Path:
    """Write the shapes of our own, each as a folder with a ``config.json``."""
    for name, config in CONFIGS.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    return folder
