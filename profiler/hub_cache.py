"""Where the hub's models lie on this machine. Imports nothing but the standard library.

jetsched and the workload's child both use it; the latter loads it by path, from Python 3.8 on. The
layout ``models--ORG--NAME/{refs/main,snapshots/COMMIT/...}`` is huggingface_hub's.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping

#: How a person gets a model onto a machine.
FETCH = "hf download"


def folder(env: Mapping[str, str] = os.environ) -> str:
    """The folder of the cache, as huggingface_hub finds it; it need not be there."""
    home = env.get("HF_HOME") or os.path.join(
        env.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return os.path.expanduser(env.get("HF_HUB_CACHE") or os.path.join(home, "hub"))


def describes(hub_id: str, env: Mapping[str, str] = os.environ) -> bool:
    """Whether the cache has a ``config.json`` of this model, in whichever snapshot."""
    model = os.path.join(folder(env), "models--" + hub_id.replace("/", "--"))
    return bool(glob.glob(os.path.join(glob.escape(model), "snapshots", "*", "config.json")))


def absent(model: str) -> str:
    """What to say of a model that neither the cache nor jetsched knows anything about."""
    return (
        f"model {model!r} is not on this machine and nothing is fetched offline: "
        f"run `{FETCH} {model}` here once, or copy its folder here and name that"
    )


def snapshot(hub_id: str, commit: str = "", env: Mapping[str, str] = os.environ) -> str | None:
    """The folder of a model's snapshot: of this commit, else of the main branch; None if absent."""
    if hub_id.count("/") > 1 or hub_id.startswith((".", "/")):
        return None
    model = os.path.join(folder(env), "models--" + hub_id.replace("/", "--"))
    if not commit:
        try:
            with open(os.path.join(model, "refs", "main"), encoding="utf-8") as file:
                commit = file.read().strip()
        except OSError:
            return None
    found = os.path.join(model, "snapshots", os.path.basename(commit))
    return found if commit and os.path.isdir(found) else None
