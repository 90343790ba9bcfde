"""A model's ``config.json``: read with bounds, its numbers checked before anything is computed.

People edit these files, and a size of 0 or 768.5 would otherwise come out as a model that fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetsched.errors import InputError

#: Of a file, in bytes: the largest have a name for each of 20,000 classes.
MAX_BYTES = 4 << 20
#: Levels of objects and lists in each other.
MAX_DEPTH = 40
#: Of vocabularies and positions; of widths; of layers and heads. Far above any model that exists.
MAX_ROWS, MAX_WIDTH, MAX_COUNT = 100_000_000, 1_000_000, 10_000

_HINT = "mend the file, or name another model"


class ConfigError(InputError):
    """A ``config.json`` that describes no model; the text says which field, and what it must be."""

    def __init__(self, message: str, hint: str = _HINT) -> None:
        super().__init__(message, hint=hint)


def read_config(path: Path) -> Mapping[str, Any]:
    """The object in a ``config.json``, with its ``model_type``. Raises ConfigError, naming it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB")
        config = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise _too_deep(path) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: holds no JSON object, but {shown(config)}")
    if not _shallow(config):
        raise _too_deep(path)
    family = config.get("model_type")
    if not isinstance(family, str) or not family:
        what = f"model_type is {shown(family)}" if "model_type" in config else "has no model_type"
        raise ConfigError(f'{path}: {what}, but needs the name of an architecture, e.g. "gpt2"')
    return config


class Sizes:
    """The fields of a config as what they must be. All methods raise ConfigError without a path."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def given(self, name: str) -> bool:
        """Whether the field is there, and not null."""
        return self._config.get(name) is not None

    def rows(self, name: str, default: int | None = None) -> int:
        """A vocabulary, or a number of positions."""
        return self._whole(name, default, MAX_ROWS)

    def width(self, name: str, default: int | None = None) -> int:
        """The width of a tensor; ``default`` also for null."""
        return self._whole(name, default, MAX_WIDTH)

    def count(self, name: str, default: int | None = None) -> int:
        """How many layers or heads; ``default`` also for null."""
        return self._whole(name, default, MAX_COUNT)

    def kv_heads(self, name: str, heads_name: str, default: int | None = None) -> int:
        """Heads of keys and values, each shared by as many heads of queries; null: no sharing.

        ``default`` is what transformers takes where nothing is given; None: no sharing.
        """
        heads = self.count(heads_name)
        absent = default if name not in self._config and default is not None else heads
        found = self.count(name, absent)
        if heads % found:
            given = "" if name in self._config else ", since none is given"
            raise ConfigError(
                f"{name} is {found:,}{given}, but must divide {heads_name} ({heads:,})"
            )
        return found

    def divided(self, name: str, heads_name: str) -> int:
        """The width of one of the heads that a width is divided among."""
        width, heads = self.width(name), self.count(heads_name)
        if width % heads:
            raise ConfigError(f"{heads_name} is {heads:,}, but must divide {name} ({width:,})")
        return width // heads

    def flag(self, name: str, default: bool) -> bool:
        """True or false; null is false, as in transformers."""
        value = self._config.get(name, default)
        if value is not None and not isinstance(value, bool):
            raise ConfigError(f"{name} is {shown(value)}, but must be true or false")
        return bool(value)

    def drops(self, name: str, default: float = 0.0) -> bool:
        """Whether a probability of dropout is more than 0; null is 0."""
        value = self._config.get(name, default)
        if value is None:
            return False
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ConfigError(f"{name} is {shown(value)}, but must be a number from 0 to 1")
        return value > 0

    def _whole(self, name: str, default: int | None, most: int) -> int:
        value = self._config.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            what = f"{name} is {shown(value)}" if name in self._config else f"{name} is missing"
            raise ConfigError(f"{what}, but must be a whole number from 1 to {most:,}")
        return value


def shown(value: object) -> str:
    """A JSON value in a few characters, for a message."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return "a number of more than thirty digits"
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _shallow(config: object) -> bool:
    """Whether nothing is deeper than ``MAX_DEPTH``, so that what recurses over it can."""
    level = [config]
    for _ in range(MAX_DEPTH):
        inner = [
            v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list))
        ]
        level = [value for values in inner for value in values]
        if not level:
            return True
    return False


def _too_deep(path: Path) -> ConfigError:
    return ConfigError(f"{path}: has more than {MAX_DEPTH} levels of objects or lists in it")
