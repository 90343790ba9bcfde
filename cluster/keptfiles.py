"""What the head keeps of attempts: what they left to be kept, and the checkpoints of open jobs.

``artefacts/<attempt>/out/`` has an attempt's files, with ``state.json`` beside; while they come the
folder is ``out.part``. ``checkpoints/<job>/step-N/`` is a checkpoint, with ``checkpoint.json`` in
it, written last.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jetsched.cluster.bundles import Bundle, FileEntry
from jetsched.cluster.filecache import RESERVE_MIB, NoDiskError
from jetsched.cluster.nodefiles import Checkpoint, Outputs, step_of
from jetsched.cluster.protocol import Key, attempt_name
from jetsched.errors import InputError
from jetsched.files import from_json, json_bytes, make_folder, to_json, write_atomically

ARTEFACTS = "artefacts"
CHECKPOINTS = "checkpoints"
_STATE = "state.json"
_LIST = "checkpoint.json"
_MIB = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artefacts:
    """What an attempt left, and how much of it is on the head.

    *none*: it left nothing (that is known of). *lost*: it did, and it cannot be had any more;
    ``text`` says why, or why it takes long.
    """

    state: Literal["none", "fetching", "complete", "lost"] = "none"
    files: int = 0
    bytes: int = 0
    text: str = ""
    device: str = ""
    key: Key = ("", 0)


NONE = Artefacts()


class Keeping:
    """The two folders in the data home. For one thread that writes; any may read."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._states: dict[Key, Artefacts] = {}
        for path in (home / ARTEFACTS).glob(f"*/{_STATE}"):
            try:
                found = from_json(Artefacts, json.loads(path.read_bytes()))
            except (OSError, ValueError, InputError) as error:
                log.error("%s cannot be read: %s", path, error)
                continue
            self._states[found.key] = found

    # --------------------------------------------------------------------------------- artefacts

    def state(self, key: Key) -> Artefacts:
        return self._states.get(key, NONE)

    def states(self) -> list[Artefacts]:
        """Of all attempts that left something."""
        return list(self._states.values())

    def note(self, artefacts: Artefacts) -> None:
        """Remember how it is about an attempt, also after a restart. Raises OSError."""
        key = artefacts.key
        if self._states.get(key) == artefacts:
            return
        self._states[key] = artefacts
        write_atomically(self._attempt(key) / _STATE, json_bytes(to_json(artefacts)))

    def out(self, key: Key) -> Path:
        """The folder of an attempt's files, once they are all here."""
        return self._attempt(key) / "out"

    def part(self, key: Key) -> Path:
        """Where they come in."""
        return self._attempt(key) / "out.part"

    def files(self, key: Key) -> list[FileEntry]:
        """What is here of an attempt, with checksums; empty unless all of it is."""
        if self.state(key).state != "complete":
            return []
        try:
            data = json.loads((self._attempt(key) / "files.json").read_bytes())
            return list(from_json(Outputs, data).files)
        except FileNotFoundError:
            return []

    def complete(self, artefacts: Artefacts, outputs: Outputs) -> None:
        """All files are in :meth:`part`, and their checksums are right."""
        key = artefacts.key
        write_atomically(self._attempt(key) / "files.json", json_bytes(to_json(outputs)))
        shutil.rmtree(self.out(key), ignore_errors=True)
        make_folder(self.part(key))
        os.rename(self.part(key), self.out(key))
        self.note(artefacts)

    def remove(self, key: Key) -> None:
        """Throw an attempt's files away."""
        self._states.pop(key, None)
        shutil.rmtree(self._attempt(key), ignore_errors=True)

    def _attempt(self, key: Key) -> Path:
        return self._home / ARTEFACTS / attempt_name(key)

    # ------------------------------------------------------------------------------- checkpoints

    def checkpoint(self, job_id: str, submitted_s: float | None = None) -> Checkpoint | None:
        """The farthest one of a job that is whole; of a job that was submitted then."""
        for name in sorted(self._steps(job_id), key=step_of, reverse=True):
            with suppress(OSError, ValueError, InputError):
                data = json.loads((self.checkpoint_place(job_id, name) / _LIST).read_bytes())
                found = from_json(Checkpoint, data)
                if submitted_s is None or found.submitted_s == submitted_s:
                    return found
        return None

    def checkpoint_place(self, job_id: str, name: str) -> Path:
        return self.checkpoints(job_id) / name

    def keep_checkpoint(self, job_id: str, found: Checkpoint) -> None:
        """Its files are in ``<name>.part``: keep it, and no more than the newest ones asked for."""
        place = self.checkpoint_place(job_id, found.name)
        part = place.with_suffix(".part")
        write_atomically(part / _LIST, json_bytes(to_json(found)))
        shutil.rmtree(place, ignore_errors=True)
        os.rename(part, place)
        kept = sorted(self._steps(job_id), key=step_of, reverse=True)[: max(1, found.keep)]
        for other in self.checkpoints(job_id).iterdir():
            if other.name not in kept:
                shutil.rmtree(other, ignore_errors=True)

    def drop_checkpoints(self, job_id: str) -> None:
        """The job will not run again."""
        shutil.rmtree(self.checkpoints(job_id), ignore_errors=True)

    def _steps(self, job_id: str) -> Iterator[str]:
        return (p.name for p in self.checkpoints(job_id).glob("step-*") if step_of(p.name) >= 0)

    def checkpoints(self, job_id: str) -> Path:
        """The folder of a job's checkpoints."""
        return self._home / CHECKPOINTS / attempt_name((job_id, 0)).rpartition("-")[0]


def bundle_of_checkpoint(job_id: str, found: Checkpoint) -> Bundle:
    """A checkpoint as it goes to a node."""
    return Bundle(f"checkpoint {found.name} of job {job_id}", found.files)


def check_room(folder: Path, need: int, reserve_mib: float = RESERVE_MIB) -> None:
    """Raise :class:`NoDiskError` where ``need`` bytes would leave less than the reserve: the
    journal must be written whatever comes."""
    free = shutil.disk_usage(folder).free
    if free - need < reserve_mib * _MIB:
        raise NoDiskError(
            f"the head's disk is full: {free / _MIB:,.0f} MiB are free, {need / _MIB:,.0f} are"
            f" needed beside {reserve_mib:,.0f} for the journal",
            hint="jetsched prune",
        )
