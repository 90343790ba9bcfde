"""The models that jetsched knows by name, and where it finds out about others.

Nothing here reads the network or imports torch: `jetsched plan` on a laptop counts parameters from
a ``config.json`` by closed forms (forms.py), or reads what was counted before (counting.py).
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jetsched.errors import InputError
from jetsched.profiler import counting, hub_cache
from jetsched.profiler.counting import NotCounted
from jetsched.profiler.forms import has_closed_form
from jetsched.profiler.forms import shape_of as shape_of
from jetsched.profiler.modelconfig import ConfigError, read_config
from jetsched.profiler.shapes import ModelShape as ModelShape

_CONFIGS = Path(__file__).parent / "data" / "configs"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that a job file can name in a word."""

    name: str
    hub_id: str  # "" for one of our own, which no hub has
    family: str
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def config_path(self) -> Path:
        """The shipped ``config.json``: for counting, and for random weights without a network."""
        return _CONFIGS / f"{self.name}.json"

    @property
    def shape(self) -> ModelShape:
        return shape_of(json.loads(self.config_path.read_text(encoding="utf-8")))


#: The paper's six, and a TinyGPT2 of the size that the paper's table gives.
KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        "tiny-gpt2",
        "sshleifer/tiny-gpt2",
        "gpt2",
        aliases=("tinygpt2",),
        note="0.1 M parameters, as on the hub; the paper's table says 25 million",
    ),
    KnownModel(
        "tinygpt2-25m",
        "",
        "gpt2",
        aliases=("jetsched/tinygpt2-25m",),
        note="ours: GPT-2 of 3 layers x 384, 25 M parameters; always random weights",
    ),
    KnownModel("distilgpt2", "distilbert/distilgpt2", "gpt2"),
    KnownModel(
        "gpt2", "openai-community/gpt2", "gpt2", aliases=("gpt2-small", "gpt-2", "gpt-2-small")
    ),
    KnownModel(
        "tinyllama-1.1b",
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        "llama",
        aliases=("tinyllama", "tinyllama-1.1b-chat"),
    ),
    KnownModel("phi-2", "microsoft/phi-2", "phi", aliases=("phi2",)),
    KnownModel(
        "qwen1.5-1.8b",
        "Qwen/Qwen1.5-1.8B",
        "qwen2",
        note="the paper once writes 1.1b; its tables and its reference say 1.8B",
    ),
)


def _names(model: KnownModel) -> set[str]:
    names = {model.name, *model.aliases}
    if model.hub_id:
        names |= {model.hub_id.lower(), model.hub_id.lower().rpartition("/")[2]}
    return names


_BY_NAME: Mapping[str, KnownModel] = {name: model for model in KNOWN for name in _names(model)}


def find(name: str) -> KnownModel | None:
    """The known model of this name, alias or hub id (case does not matter), or None."""
    return _BY_NAME.get(name.strip().lower())


def suggest(name: str) -> str | None:
    """The known name that looks most like this one, for "did you mean ...?", or None."""
    close = difflib.get_close_matches(name.strip().lower(), _BY_NAME, n=1)
    return _BY_NAME[close[0]].name if close else None


def shape(name_or_path: str) -> ModelShape | None:
    """The shape of a known model, of a folder with ``config.json``, or of a cached hub model.

    By a closed form, else by a count that was made before; asks no network and starts nothing. None
    where nothing describes the model; raises ConfigError where its ``config.json`` is wrong, and
    another InputError where it has to be counted first.
    """
    known = find(name_or_path)
    if known is not None:
        return known.shape
    config = config_of(name_or_path)
    if config is None:
        return None
    if has_closed_form(config):
        try:
            return shape_of(config)
        except ConfigError as error:
            raise ConfigError(f"{_config_of(name_or_path)}: {error}") from error
    found = counting.kept(config)
    if found is None:
        raise InputError(
            f"models of type {config.get('model_type')!r} have to be counted once",
            hint="`jetsched estimate FILE` does it where torch and transformers are",
        )
    return found


def positions(model: str) -> int | None:
    """How many tokens a model can look at, by its config; None where nothing tells.

    Where they are learned there are no more; where they turn, results get worse beyond, and
    child.py refuses both. Raises ConfigError where the model's ``config.json`` is wrong.
    """
    try:
        found = shape(model)
    except ConfigError:
        raise
    except InputError:  # it has to be counted first
        return None
    return found.max_positions or None if found is not None else None


def count_if_needed(
    model: str, python: str = sys.executable, say: Callable[[str], None] = lambda text: None
) -> ModelShape | NotCounted:
    """The model's shape; counted now by ``python``, within minutes, where it was not known before.

    For verbs, not for the scheduler's loop. ``say`` is told before what takes seconds. Raises
    ConfigError where the model's ``config.json`` is wrong.
    """
    try:
        found = shape(model)
    except ConfigError:
        raise
    except InputError:
        return counted_shape(model, python, say)
    return found or NotCounted(hub_cache.absent(model), model, "then ask again")


def counted_shape(
    model: str, python: str = sys.executable, say: Callable[[str], None] = lambda text: None
) -> ModelShape | NotCounted:
    """What ``python`` counts for a model, closed form or not: a folder, a hub id, a known name."""
    try:
        config = config_of(model)
    except InputError as error:
        return NotCounted(str(error), model, "mend the file, or name another folder")
    if config is None:
        return NotCounted(hub_cache.absent(model), model, "then ask again")
    return counting.counted(config, python, say)


def config_of(name_or_path: str) -> Mapping[str, Any] | None:
    """The ``config.json`` of a known model, a folder or a cached hub model; None without one.

    Asks no network. Raises ConfigError where the file is none.
    """
    known = find(name_or_path)
    path = known.config_path if known is not None else _config_of(name_or_path)
    if path is None:
        return None
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return _parsed(path, changed)


@lru_cache(maxsize=64)
def _parsed(path: Path, changed: int) -> Mapping[str, Any]:
    """A config; thousands of jobs may name the same model."""
    return read_config(path)


def spec_fields(model: str) -> dict[str, str | None]:
    """What the child has to be told about a model: ``hub_id``, ``model_config``, ``model_path``.

    ``hub_id`` is where the weights are looked for, ``model_config`` the shipped shape for when
    they cannot be had, ``model_path`` a folder on this machine.
    """
    folder = Path(model).expanduser()
    if folder.is_dir() and find(model) is None:
        config = folder / "config.json"
        return {
            "hub_id": None,
            "model_config": str(config.resolve()) if config.is_file() else None,
            "model_path": str(folder.resolve()),
        }
    known = find(model)
    if known is None:
        return {"hub_id": model, "model_config": None, "model_path": None}
    return {
        "hub_id": known.hub_id or None,
        "model_config": str(known.config_path.resolve()),
        "model_path": None,
    }


def missing(model: str, env: Mapping[str, str] = os.environ) -> str:
    """What to do about a model that cannot be run here offline; "" for one that can.

    Without weights a model runs on random ones, but its architecture must be known: it is one of
    ours, a folder, or one that the hub's cache (found by ``env``) has at least the config of.
    """
    if not model or find(model) is not None or Path(model).expanduser().is_dir():
        return ""
    return "" if hub_cache.describes(model, env) else hub_cache.absent(model)


def _config_of(name_or_path: str) -> Path | None:
    folder = Path(name_or_path).expanduser()
    if (folder / "config.json").is_file():
        return folder / "config.json"
    return _cached_config(name_or_path)


def _cached_config(hub_id: str) -> Path | None:
    """``config.json`` in the hub's cache on this machine: its snapshot of the main branch."""
    if hub_id.count("/") > 1 or hub_id.startswith((".", "/")):
        return None
    folder = Path(hub_cache.folder()) / ("models--" + hub_id.replace("/", "--"))
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    config = folder / "snapshots" / commit / "config.json"
    return config if config.is_file() else None
