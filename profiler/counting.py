"""Counts of the models without closed form: made once, in the workload interpreter, then read.

``counts/CONFIG-TORCH-TRANSFORMERS.json`` in the data home holds what child_count.py printed for a
model's config (a hash of it) under these versions, or why it could not. Reading one takes neither
torch nor another process. Only :func:`counted` makes one, which takes about ten seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jetsched.errors import InputError
from jetsched.files import from_json, home, json_bytes, to_json, write_atomically
from jetsched.profiler.counted import Counted, Line, Pass
from jetsched.profiler.identity import software_of
from jetsched.profiler.shapes import ModelShape

CHILD = Path(__file__).with_name("child_count.py")
#: What child_count.py calls its FORMAT; counts of another one are not read.
FORMAT = 1
#: Against hanging; a board's CPU needs a quarter of it.
LIMIT_S = 180.0
#: What a config says about something else than what the model computes.
_ASIDE = frozenset({"_name_or_path", "torch_dtype", "dtype", "transformers_version", "auto_map"})


@dataclass(frozen=True, slots=True)
class NotCounted:
    """Why a model's shape is not known: an answer, not an error."""

    what: str
    where: str  # the config, or the interpreter
    hint: str  # what to do about it

    def __str__(self) -> str:
        return f"{self.what} ({self.where}): {self.hint}"


def kept(config: Mapping[str, Any]) -> ModelShape | None:
    """The newest count of this config that can be read, by whatever versions; starts nothing."""
    files = (home() / "counts").glob(f"{config_hash(config)}-*.json")
    stamped = [(path.stat().st_mtime_ns, path) for path in files]
    found = (_shape_in(path, changed) for changed, path in sorted(stamped, reverse=True))
    return next((shape for shape in found if shape is not None), None)


@lru_cache(maxsize=64)
def _shape_in(path: Path, changed: int) -> ModelShape | None:
    """The shape in a file of this state; None for a failure, and for another version's."""
    printed = _printed(path)
    try:
        return shape_from(printed) if printed is not None else None
    except (InputError, KeyError, TypeError, ValueError):
        return None  # it is counted again


def counted(
    config: Mapping[str, Any],
    python: str = sys.executable,
    say: Callable[[str], None] = lambda text: None,
) -> ModelShape | NotCounted:
    """What ``python`` counts for a config, closed form or not, in at most ``LIMIT_S``.

    A count by these versions is not made again, nor is one tried again that failed with them.
    ``say`` is told before what takes seconds.
    """
    software = software_of(python)
    if software.problem or not software.torch or not software.transformers:
        missing = " and ".join(n for n in ("torch", "transformers") if not getattr(software, n))
        return NotCounted(
            software.problem or f"it has no {missing}, which count the model",
            python,
            "name the interpreter that runs the workloads, or copy the data folder's counts/ here",
        )
    path = _path(config, software.torch, software.transformers)
    printed = _printed(path)
    if printed is None or printed.get("format") != FORMAT:
        say(f"Counting a model of type {config.get('model_type')} once: about ten seconds")
        printed = _run(config, python)
        # What did not end by itself may do so the next time.
        if printed.get("format") == FORMAT:
            write_atomically(path, json_bytes(printed))
    if "error" in printed:
        hint = "profile the job file, or name a model of another type"
        return NotCounted(str(printed.get("what")), python, hint)
    try:
        return shape_from(printed)
    except (InputError, KeyError, TypeError, ValueError) as error:
        return NotCounted(f"its count cannot be read: {error}", str(path), "remove that file")


def shape_from(printed: Mapping[str, Any]) -> ModelShape:
    """The shape that child_count.py's object describes. Raises KeyError, InputError, ValueError."""
    if printed["format"] != FORMAT:
        raise InputError(f"a count of format {printed['format']}, not {FORMAT}")
    eager = printed["eager"]
    layers, head_dim = int(printed["layers"]), int(printed["head_dim"])
    lora = printed.get("lora") or {}
    best = printed["fused"] or eager
    counted = Counted(
        matmul_parameters=eager["flops"]["per_token"] / 2,
        score_flops=eager["flops"]["per_score"],
        kv_values_per_token=printed["kv_values_per_token"],
        eager=_pass(eager, lora.get("eager")),
        fused=_pass(best, lora.get("fused")) if printed["fused"] else None,
        working_per_token=best["working"]["per_token"] if best["working"] else None,
        qa_parameters=printed["qa_parameters"],
    )
    kv_heads = round(counted.kv_values_per_token / (2 * layers * head_dim))
    shape = ModelShape(
        family=printed["model_type"],
        layers=layers,
        hidden=printed["hidden"],
        ffn=printed["ffn"],
        heads=printed["heads"],
        kv_heads=max(kv_heads, 1),
        head_dim=head_dim,
        vocab=printed["vocab"],
        max_positions=printed["max_positions"],
        tied_embeddings=printed["tied"],
        gated_mlp=printed["gated_mlp"],
        parameters=printed["parameters"],
        head_parameters=printed["head_parameters"],
        # What the formulas ask: whether scores are dropped, which a CPU does not fuse.
        dropout=counted.eager.masks.per_score > 0,
        counted=counted,
    )
    found: ModelShape = from_json(ModelShape, to_json(shape))  # checks every type
    return found


def _pass(printed: Mapping[str, Any], lora: Mapping[str, Any] | None) -> Pass:
    return Pass(
        saved=_line(printed["saved"]),
        masks=_line(printed["masks"]),
        launches=printed["launches"],
        lora=_line(lora) if lora else None,
    )


def _line(printed: Mapping[str, Any]) -> Line:
    return Line(printed["per_token"], max(printed["per_score"], 0.0))


# --- files ---------------------------------------------------------------------------------------


def config_hash(config: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits: the same for configs that describe the same computation."""
    told = {key: value for key, value in config.items() if key not in _ASIDE}
    text = json.dumps([FORMAT, told], sort_keys=True)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _path(config: Mapping[str, Any], torch: str, transformers: str) -> Path:
    return home() / "counts" / f"{config_hash(config)}-{torch}-{transformers}.json"


def _printed(path: Path) -> Mapping[str, Any] | None:
    try:
        printed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return printed if isinstance(printed, dict) else None


# --- the child -----------------------------------------------------------------------------------


def _run(config: Mapping[str, Any], python: str) -> Mapping[str, Any]:
    """What the child printed; of an end without that, an error in the same form."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RAY_"))}
    env = {**kept, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="jetsched-count-") as folder:
        # Not by json_bytes: a config may hold what Python calls Infinity.
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        try:
            done = subprocess.run(
                [python, str(CHILD), folder],
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                cwd=folder,
                env=env,
            )
        except subprocess.TimeoutExpired:
            return {"error": "TimeoutExpired", "what": f"counting took more than {LIMIT_S:.0f} s"}
        except OSError as error:
            return {"error": "OSError", "what": str(error)}
    lines = done.stdout.strip().splitlines()
    try:
        printed = json.loads(lines[-1])
        if isinstance(printed, dict):
            return printed
    except (IndexError, ValueError):
        pass
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return {"error": "ChildFailed", "what": f"counting ended without a result: {last}"}
