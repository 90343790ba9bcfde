"""What a head lets those do who hand in jobs: programs, files, secrets, policies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jetsched.cluster.secretstore import Secrets
from jetsched.errors import InputError
from jetsched.jobmodel import Positions, Surroundings


@dataclass(frozen=True)
class Rules:
    """A head's rules. ``roots``: the folders whose files jobs from elsewhere may name.

    Who holds the token of this run is its owner, and may name whatever he may read himself.
    """

    commands: bool = True
    roots: tuple[Path, ...] = ()
    secrets: Secrets | None = None

    def around(
        self,
        folder: str | None,
        devices: list[str] | None,
        positions: Positions,
        *,
        is_owner: bool,
    ) -> Surroundings:
        """What a job is checked against. ``folder`` is where it came from, if it says so.

        Raises :class:`InputError` for a folder that cannot be one.
        """
        if folder is not None and (not folder.startswith("/") or "\0" in folder):
            raise InputError("folder: needs an absolute path", hint="leave it out for none")
        return Surroundings(
            folder=Path(folder) if folder is not None else None,
            devices=devices,
            positions=positions,
            roots=None if is_owner else self.roots,
            commands=self.commands,
            secrets=self.secrets.names() if self.secrets is not None else None,
        )


#: Nothing is kept from anybody: for tests, and for a head without an outside.
EVERYTHING = Rules()
