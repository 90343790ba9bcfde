"""What the command line does with files through the API: fetch what jobs left, hand files in."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from jetsched.cluster.bundles import (
    below,
    bundle_of,
    digest_of,
    needed_of_model,
    refuse_pickles,
)
from jetsched.cluster.client import Client
from jetsched.cluster.connection import Connection
from jetsched.cluster.shelf import Named, named
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.files import to_json
from jetsched.inputs import Place, find_path, looks_like_path
from jetsched.jobfile import JobSpec, load_jobs
from jetsched.jobsource import name_of, read_bytes

Json = dict[str, Any]
#: How often a file is asked for again where the line was cut, with so many seconds between.
TRIES, PAUSE_S = 20, 1.0
PART_BYTES = 1 << 20

#: Hears the bytes that are done, and how many there are in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fetched:
    """What was fetched: paths below the folder, and how many bytes really came."""

    folder: Path
    attempt: int
    files: tuple[str, ...]
    bytes: int
    came_bytes: int


class FileClient:
    """Files of one head."""

    def __init__(self, client: Client) -> None:
        self._connection: Connection = client.connection

    # ------------------------------------------------------------------------------- from the head

    def artefacts(self, job_id: str, attempt: int | None = None) -> Json:
        """What a job left: ``state``, ``attempt``, ``files`` with sizes and checksums, ``text``."""
        params = {} if attempt is None else {"attempt": attempt}
        return self._object("GET", f"/jobs/{_part(job_id)}/artefacts", params=params)

    def fetch(
        self,
        job_id: str,
        folder: Path,
        attempt: int | None = None,
        tell: Progress = lambda done, total: None,
    ) -> Fetched:
        """Bring what a job left into a folder. What is there already is not brought again.

        Raises :class:`InputError` where there is nothing to be had (yet), or a file of another
        content is in the way; :class:`UnreachableError` where the line stays cut: what has come
        stays, and the next call goes on from there.
        """
        found = self.artefacts(job_id, attempt)
        if found["state"] != "complete":
            raise _not_there(job_id, found)
        number, total = int(found["attempt"]), int(found["bytes"])
        done = came = 0
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file", hint="name a folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        for file in found["files"]:
            path, size = str(file["path"]), int(file["size"])
            target = below(folder, path)
            if target.exists():
                if target.stat().st_size != size or digest_of(target) != file["sha256"]:
                    raise InputError(
                        f"{target} is there already, and is another file",
                        hint="name another folder with --out",
                    )
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                url = f"/jobs/{_part(job_id)}/artefacts/{number}/{quote(path)}"
                came += self._bring(url, target, size, file["sha256"], _after(done, total, tell))
            done += size
            tell(done, total)
        names = tuple(str(file["path"]) for file in found["files"])
        return Fetched(folder, number, names, total, came)

    def _bring(
        self, url: str, target: Path, size: int, sha256: str, tell: Callable[[int], None]
    ) -> int:
        """Bring one file, beside its place until it is whole; returns how many bytes came."""
        part = target.with_name(target.name + ".part")
        if part.is_symlink():
            part.unlink()
        came, wrong = 0, 0
        for tries in range(TRIES):
            have = part.stat().st_size if part.exists() else 0
            if have > size:
                part.unlink()
                have = 0
            try:
                if have < size or not part.exists():
                    with part.open("ab") as out:
                        for data in self._connection.read(url, have):
                            out.write(data)
                            came, have = came + len(data), have + len(data)
                            tell(have)
            except UnreachableError:
                if tries == TRIES - 1:
                    raise
                time.sleep(PAUSE_S)
                continue
            if have == size and digest_of(part) == sha256:
                part.replace(target)
                return came
            if have >= size:
                part.unlink()
                wrong += 1
            if wrong == 3:
                break
        raise JetschedError(f"{target.name} comes with a wrong checksum, again and again")

    # --------------------------------------------------------------------------------- to the head

    def job_texts(self, files: Sequence[Path]) -> list[Json]:
        """Job files as the API takes them, once the files that they name are on the head.

        For a head on another machine: there the paths in them mean nothing. Raises what reading
        them raises.
        """
        return [
            self._handed_in(file, spec) for file, spec in zip(files, load_jobs(files), strict=True)
        ]

    def _handed_in(self, file: Path, spec: JobSpec) -> Json:
        things = named(spec.workload.model, spec.work)
        text = read_bytes(file).decode("utf-8")
        if not things:
            return {"text": text, "file": name_of(file)}
        from ruamel.yaml import YAML

        plain = cast(Json, YAML(typ="safe", pure=True).load(text))
        plain.setdefault("name", spec.name)
        for thing in things:
            there = self.hand_in(thing)
            if thing.field == "model_path":
                plain["work"]["model"] = there
                continue
            inside = f"{there}/{thing.source.name}"
            if thing.field == "prompts_path":
                plain["work"]["prompts"] = inside
            else:
                cut = re.search(r"\[[^\]]*\]$", str(plain["work"]["dataset"]))
                plain["work"]["dataset"] = inside + (cut.group() if cut else "")
        return {"spec": plain, "file": name_of(file)}

    def hand_in(self, thing: Named, tell: Progress = lambda done, total: None) -> str:
        """Send files to the head, as far as it lacks them; returns their folder there."""
        source, is_model = thing.source, thing.field == "model_path"
        if is_model:
            refuse_pickles(source, (path.name for path in source.iterdir()))
        wanted = needed_of_model if is_model else lambda path: True
        bundle = bundle_of(source, wanted=wanted)
        body = {"name": bundle.name[:300], "files": to_json(bundle.files)}
        answer = self._object("POST", "/files", body)
        paths = {f.sha256: (source / f.path if source.is_dir() else source) for f in bundle.files}
        for _ in range(3):
            if answer["path"]:
                return str(answer["path"])
            for sha256, offset in answer["have"].items():
                self._send(sha256, offset, paths[sha256], bundle.blobs[sha256], tell)
            answer = self._object("POST", "/files/done", body)
        if answer["path"]:
            return str(answer["path"])
        raise JetschedError(f"{source} was changed while it was sent", hint="try again")

    def _send(self, sha256: str, offset: int, path: Path, size: int, tell: Progress) -> None:
        with path.open("rb") as file:
            while offset < size:
                file.seek(offset)
                data = file.read(PART_BYTES)
                if not data:
                    return  # it was cut short meanwhile: the checksum will tell
                for tries in range(TRIES):
                    with suppress(UnreachableError):
                        params = {"offset": offset}
                        answer = self._connection.send(f"/files/{sha256}", data, params)
                        break
                    if tries == TRIES - 1:
                        raise UnreachableError("the head does not answer any more")
                    time.sleep(PAUSE_S)
                offset = int(answer["size"])
                tell(offset, size)

    # ------------------------------------------------------------------------------------ caches

    def caches(self, device: str = "") -> list[Json]:
        """What the boards and the head hold of models and data."""
        return self._list("GET", "/cache", params={"device": device})

    def named_there(self, names: Sequence[str]) -> list[str]:
        """Models by name as they are, and files by where they are on the head: of another machine
        they are handed in first. Raises :class:`InputError`."""
        return [self._named_there(name) if looks_like_path(name) else name for name in names]

    def _named_there(self, name: str) -> str:
        path = find_path(name, Place(Path.cwd()))
        if self._connection.is_own:
            return str(path)
        is_folder = path.is_dir()
        there = self.hand_in(Named("model_path" if is_folder else "dataset_path", path))
        return there if is_folder else f"{there}/{path.name}"

    def prefetch(
        self, names: Sequence[str], device: str = "", *, online: bool = False
    ) -> list[Json]:
        """Bring models or files to boards; a row for each board and name."""
        body = {"names": list(names), "device": device, "online": online}
        return self._list("POST", "/cache/prefetch", body)

    def prune_caches(
        self,
        *,
        older_s: float | None,
        most_bytes: int | None,
        device: str = "",
        dry_run: bool = False,
    ) -> list[Json]:
        """Remove what nobody uses; the rows of what was, or would be, removed."""
        body = _limit(older_s, most_bytes, dry_run)
        return self._list("POST", "/cache/prune", {**body, "device": device})

    def prune(
        self, *, older_s: float | None, most_bytes: int | None, dry_run: bool = False
    ) -> Json:
        """Remove what old jobs have left: ``removed``, ``nodes``, ``bytes``, ``left_bytes``."""
        return self._object("POST", "/prune", _limit(older_s, most_bytes, dry_run))

    def _object(self, method: str, path: str, body: Any = None, params: Any = None) -> Json:
        return cast(Json, self._connection.ask(method, path, body, params))

    def _list(self, method: str, path: str, body: Any = None, params: Any = None) -> list[Json]:
        return cast(list[Json], self._connection.ask(method, path, body, params))


def _after(done: int, total: int, tell: Progress) -> Callable[[int], None]:
    """Tells of one file's bytes as of all files'."""
    return lambda count: tell(done + count, total)


def _limit(older_s: float | None, most_bytes: int | None, dry_run: bool) -> Json:
    return {"older_s": older_s, "most_bytes": most_bytes, "dry_run": dry_run}


def _part(job_id: str) -> str:
    return quote(job_id, safe="") or "%20"


def _not_there(job_id: str, found: Json) -> InputError:
    """Why there is nothing to fetch."""
    why = f": {found['text']}" if found["text"] else ""
    if found["state"] == "fetching":
        return InputError(
            f"the files of job {job_id} are on their way from {found['device']} to the head{why}",
            hint=f"wait, then again: jetsched fetch {job_id}",
        )
    if found["state"] == "lost":
        return InputError(f"the files of job {job_id} are lost{why}", hint=f"jetsched why {job_id}")
    return InputError(
        f"job {job_id} has left no files (yet)",
        hint="training and inference leave them when they are done; a command in $JETSCHED_OUT",
    )
