"""head.json: what a head keeps for good, so that boards find it again after a restart.

Its ports, the token of its Ray and its name outlive `down` and a power loss.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from jetsched.cluster.raynodes import free_port, is_free
from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, to_json, write_atomically

#: In the data home; only its owner may read it: who has Ray's token can run code on every board.
HEAD_FILE = "head.json"
VERSION = 1
#: Where the API of a head listens that other machines can reach, if nothing else is said.
API_PORT = 8640


@dataclass(frozen=True)
class HeadFile:
    """A head's lasting part. ``cluster`` is its name, by which boards know it again."""

    version: int = VERSION
    cluster: str = field(default_factory=lambda: secrets.token_hex(8))
    ray_token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    host: str = ""
    ray_port: int = 0
    api_port: int = 0

    def listening(self, host: str, port: int = 0) -> HeadFile:
        """With free ports at an address: those it had, where it listened there before.

        ``port`` is the API's, 0: any. Raises :class:`InputError` where a port is taken that boards
        know, or that was asked for.
        """
        same, local = host == self.host, host == "127.0.0.1"
        api = port or (self.api_port if same else 0) or (0 if local else API_PORT)
        ray = self.ray_port if same else 0
        if port and not is_free(host, port):
            raise InputError(f"--port {port} is taken at {host}", hint="free it, or name another")
        if api and not is_free(host, api):
            if same and not local:
                text = f"port {api} of {host}, where the boards look for the head, is taken"
                raise InputError(text, hint=f"free it, or --port {free_port(host)} and join anew")
            api = 0
        if ray and not is_free(host, ray):
            ray = 0  # a board is told the new one when it joins again
        return replace(
            self,
            host=host,
            api_port=api or free_port(host),
            ray_port=ray or free_port(host),
        )


def read_head_file(home: Path) -> HeadFile:
    """The head's lasting part; a new one where there is none. Raises InputError if unreadable."""
    path = home / HEAD_FILE
    hint = "restore it from a backup; without it, boards must join anew"
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return HeadFile()
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", hint=hint) from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise InputError(f"{path} was written by another version of jetsched", hint=hint)
    return from_json(HeadFile, data)


def write_head_file(home: Path, head: HeadFile) -> None:
    write_atomically(home / HEAD_FILE, json_bytes(to_json(head)), mode=0o600)
