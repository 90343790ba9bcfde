"""How boards come in: what a board says, what the head answers, and whom it refuses.

A board asks again every few seconds, as long as it lives: that is how it hears of another Ray.
"""

from __future__ import annotations

import json
import platform
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from jetsched import __version__
from jetsched.cluster.protocol import PROTOCOL
from jetsched.cluster.state import ClusterState
from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, to_json, write_atomically

#: In the data home: which board has which name.
BOARDS_FILE = "boards.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}", re.ASCII)


class JoinWish(BaseModel):
    """A board that wants to join. ``key`` is its own, made once; ``name`` "": any free one."""

    model_config = ConfigDict(extra="ignore")  # a newer board may say more

    protocol: int
    version: str = Field(max_length=100)
    ray: str = Field(max_length=100)
    python: str = Field(max_length=100)
    key: str = Field(min_length=8, max_length=100)
    model: str = Field(min_length=1, max_length=100)
    short: str = Field(min_length=1, max_length=40)  # what its name begins with
    name: str = Field("", max_length=40)


class RefusedBoardError(InputError):
    """A board that cannot join as it is."""


@dataclass(frozen=True)
class Known:
    """A board that has joined once."""

    key: str
    model: str


class Joining:
    """The head's side: names boards, and tells them how to reach Ray.

    ``devices`` gives the rows of the devices as they are now. For several threads.
    """

    def __init__(
        self, home: Path, state: ClusterState, devices: Callable[[], list[dict[str, Any]]]
    ) -> None:
        self._path = home / BOARDS_FILE
        self._state = state
        self._devices = devices
        self._lock = threading.Lock()  # two boards must not get the same name

    def join(self, wish: JoinWish) -> dict[str, Any]:
        """Take a board in, or take note that it is still there. Twice is the same as once.

        Raises :class:`RefusedBoardError` with the command that helps.
        """
        check_versions(wish)
        rows = {row["id"]: row for row in self._devices()}
        with self._lock:
            name = self._take_in(wish, rows)
        state, row = self._state, rows.get(name, {})
        return {
            "device": name,
            "cluster": state.cluster,
            "ray_address": state.ray_address,
            "ray_token": state.token_file.read_text().strip(),
            "ray_life": state.ray_life,
            "ray_tls": bool(state.options.ray_tls.cert),
            "health": asdict(state.options.health),
            "lease_s": state.options.lease_s,
            "version": __version__,
            "state": row.get("state", "offline"),
            "text": row.get("text", ""),
        }

    def _take_in(self, wish: JoinWish, rows: dict[str, dict[str, Any]]) -> str:
        """The board's name, which is written down."""
        boards, known = self._boards(), Known(wish.key, wish.model)
        name = self._name(wish, boards, rows)
        if boards.get(name) != known:
            boards = {n: b for n, b in boards.items() if b.key != wish.key or n == name}
            boards[name] = known
            data = {"version": 1, "boards": to_json(boards)}
            write_atomically(self._path, json_bytes(data), mode=0o600)
        return name

    def _name(
        self, wish: JoinWish, boards: dict[str, Known], rows: dict[str, dict[str, Any]]
    ) -> str:
        if not wish.name:
            return self._free_name(wish, boards, rows)
        if not _NAME.fullmatch(wish.name):
            raise RefusedBoardError(
                f"{wish.name!r} is no name for a board", hint="a-z, 0-9, '-' and '.', at most 40"
            )
        owner = boards.get(wish.name)
        is_there = rows.get(wish.name, {}).get("state", "offline") not in ("offline", "suspect")
        is_ours = wish.name in self._state.devices
        if is_ours or (is_there and owner is not None and owner.key != wish.key):
            raise RefusedBoardError(
                f"another board is {wish.name} already",
                hint="jetsched join ... --name NAME, or end the other one first",
            )
        return wish.name

    def _free_name(
        self, wish: JoinWish, boards: dict[str, Known], rows: dict[str, dict[str, Any]]
    ) -> str:
        short = re.sub(r"[^a-z0-9.-]", "-", wish.short.lower()).strip("-.") or "board"
        for name, known in boards.items():
            if known == Known(wish.key, wish.model):
                return name
        taken = {*boards, *rows, *self._state.devices}
        number = 1
        while f"{short}-{number}" in taken:
            number += 1
        return f"{short}-{number}"

    def _boards(self) -> dict[str, Known]:
        try:
            data = json.loads(self._path.read_bytes())
            return {name: from_json(Known, row) for name, row in data["boards"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
            raise InputError(
                f"{self._path} is damaged: {error}", hint="remove it; boards are named anew"
            ) from None


def check_versions(wish: JoinWish) -> None:
    """Raise :class:`RefusedBoardError` where Ray, or the agent, would not understand the head."""
    if wish.protocol != PROTOCOL:
        raise RefusedBoardError(
            f"the board speaks protocol {wish.protocol} (jetsched {wish.version}), the head"
            f" {PROTOCOL} (jetsched {__version__})",
            hint=upgrade_command(),
        )
    if wish.ray != version("ray"):
        raise RefusedBoardError(
            f"the board has Ray {wish.ray}, the head {version('ray')}: Ray refuses that",
            hint=f"on the board: .venv/bin/pip install ray=={version('ray')}",
        )
    if wish.python != platform.python_version():
        text = f"the board has Python {wish.python}, the head {platform.python_version()}"
        raise RefusedBoardError(
            f"{text}: Ray wants the same on all, down to the last number",
            hint=f"on the board: make setup PYTHON=$(uv python find {platform.python_version()})",
        )


def upgrade_command() -> str:
    """What makes a board's jetsched the head's."""
    return (
        "upgrade whichever is older, then join again: git pull && make setup"
        f"    # the head has {__version__}"
    )


def add_join_route(app: FastAPI, joining: Joining) -> None:
    """Put the route into the application."""

    @app.post("/nodes/join", tags=["boards"])
    def join(wish: JoinWish) -> dict[str, Any]:
        """Take a board in: how it reaches Ray. Its runner asks every few seconds.

        The answer holds Ray's token: who has it can run code on every board.
        """
        return joining.join(wish)
