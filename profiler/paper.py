"""The paper's figures as data, and what this project assumes where the paper is silent.

"Performance Analysis of Lightweight LLMs on Heterogeneous Jetson Platforms" (in Korean): training
and inference of six models on a Xavier NX and an Orin Nano. Figures 1 and 2 are bars whose seconds
the text does not give, so only ratios are kept. Nothing here was measured by this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

NX, ORIN = "xavier-nx", "orin-nano"


@dataclass(frozen=True, slots=True)
class PaperModel:
    """A row of Table 2, and the known model that stands for it here."""

    title: str
    role: Literal["train", "infer"]
    parameters: str  # as the paper gives them
    known_as: str  # a name in models.py
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a bar: the NX's time over the Orin's."""

    nx_over_orin: float
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A pair of bars in Figure 1 or 2. No reading: the NX has no bar.

    The first reading is the one that the bundled profile uses.
    """

    figure: int
    title: str
    readings: tuple[Reading, ...]
    note: str = ""


#: Table 1: what is compared. Columns: Xavier NX, Orin Nano; "" where the paper has a dash.
TABLE_1: Mapping[str, tuple[str, str]] = {
    "year": ("2020", "2023"),
    "GPU": ("384-core Volta", "1024-core Ampere"),
    "CPU": ("6-core Carmel (64-bit)", "6-core Cortex-A78AE (64-bit)"),
    "INT8": ("21 TOPS", "67 TOPS"),
    "DL accelerator": ("2 x NVDLA", ""),
    "memory": ("8 GB LPDDR4x, 59.7 GB/s", "8 GB LPDDR5, 102 GB/s"),
    "power": ("up to 20 W", "up to 25 W"),
}

TABLE_2: tuple[PaperModel, ...] = (
    PaperModel(
        "TinyGPT2",
        "train",
        "25 million",
        "tiny-gpt2",
        "the hub's sshleifer/tiny-gpt2 has about 0.1 million; tinygpt2-25m is of the size named",
    ),
    PaperModel("DistilGPT2", "train", "82 million", "distilgpt2"),
    PaperModel("GPT-2 Small", "train", "117 million", "gpt2"),
    PaperModel("TinyLlama-1.1B", "infer", "1.1 billion", "tinyllama-1.1b"),
    PaperModel("Phi-2", "infer", "2.7 billion", "phi-2"),
    PaperModel(
        "Qwen1.5-1.8B",
        "infer",
        "1.8 billion",
        "qwen1.5-1.8b",
        "the text once writes Qwen1.5-1.1b; tables and reference say 1.8B",
    ),
)

FIGURES: tuple[Comparison, ...] = (
    Comparison(
        1,
        "TinyGPT2",
        (Reading(1 / 0.6, "about 40 % less time on the Orin"),),
        note="the slower board has the higher GPU use",
    ),
    Comparison(
        1,
        "DistilGPT2",
        (Reading(1 / 0.4, "60 % less time"), Reading(1.6, "1.6 times as fast")),
        note='the text: about 60 % "improvement"',
    ),
    Comparison(
        1, "GPT-2 Small", (), note="Orin: normal; NX: the process was killed during training"
    ),
    Comparison(2, "TinyLlama-1.1B", (Reading(1.6, "1.6 times as fast"),)),
    Comparison(
        2,
        "Phi-2",
        (Reading(2.1, "2.1 times as fast"),),
        note="fp16 weights alone are 5.6 of the NX's 6.9 GB: it swapped, or ran in less",
    ),
    Comparison(2, "Qwen1.5-1.8B", (Reading(2.1, "2.1 times as fast"),)),
)

#: Table 3: mean GPU utilisation, per cent. None: the NX was killed.
TABLE_3: Mapping[str, Mapping[str, float | None]] = {
    ORIN: {
        "TinyGPT2": 67.05,
        "DistilGPT2": 96.73,
        "GPT-2 Small": 96.18,
        "TinyLlama-1.1B": 27.17,
        "Phi-2": 33.05,
        "Qwen1.5-1.8B": 16.4,
    },
    NX: {
        "TinyGPT2": 74.01,
        "DistilGPT2": 91.42,
        "GPT-2 Small": None,
        "TinyLlama-1.1B": 9.26,
        "Phi-2": 14.41,
        "Qwen1.5-1.8B": 9.26,
    },
}

#: The training that the NX did not survive, and why.
KILLED: tuple[str, str] = (NX, "GPT-2 Small")
KILLED_WHY = (
    "not known: the paper names Volta's matrix efficiency and throttling; on an 8 GB board it is"
    " most often the kernel's out-of-memory killer, which is what is assumed here"
)

#: What the paper says of its runs.
EPOCHS = 2
SETTING: Mapping[str, str] = {
    "data set": "SQuAD",
    "epochs": "2, in training",
    "time": "read by the authors' own parser; the text gives ratios, no seconds",
    "GPU use": "mean, from tegrastats",
    "storage": "a 64 GB SD card, and an SSD of 1 TB",
}
#: What it does not say, and what is assumed here instead.
ASSUMED: Mapping[str, str] = {
    "JetPack": "any; NX: 5, Orin Nano: 6",
    "power mode": "NX 20W_6CORE, Orin Nano 25W: the highest that Table 1 names",
    "desktop": "headless",
    "precision": "fp32 in training, fp16 in inference",
    "batch size": "8 samples in training, 1 prompt in inference",
    "sequence length": "384 tokens per sample; 64 + 64 tokens per prompt",
    "head": "answer span (qa)",
    "amount": "2 epochs of 5,000 of SQuAD's samples; 200 prompts",
    "seconds": "Orin Nano: from its data sheet; NX: those times the paper's ratio",
    "peak memory": "counted from the models' shapes, at most what the board has where it ran",
}


def paper_model(title: str) -> PaperModel:
    """The row of Table 2 with this title."""
    return next(model for model in TABLE_2 if model.title == title)
