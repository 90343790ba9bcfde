"""Files at the desk: what jobs left, caches of the nodes, what may be thrown away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from jetsched.cluster.bundles import Bundle, below, is_sha256
from jetsched.cluster.courier import Courier
from jetsched.cluster.desk_base import DeskBase
from jetsched.cluster.keptfiles import NONE, Artefacts, check_room
from jetsched.cluster.link import AgentGone
from jetsched.cluster.retention import left_by, remove, to_go
from jetsched.cluster.shelf import BUNDLES, Named, Shelf, hub_model
from jetsched.errors import InputError, JetschedError, UnreachableError
from jetsched.files import to_json
from jetsched.jobfile import JobSpec
from jetsched.profiler import hub_cache
from jetsched.profiler.models import find
from jetsched.records import FINAL_STATES, Job, Workload
from jetsched.scheduler.state import JobRecord

#: How long a verb waits for a node, for files of gigabytes to come there, and for a model to load.
ASK_S = 30.0
SEND_S = 24 * 3600.0
#: What is called so in lists of caches is the head's own shelf.
HEAD = "head"


class FilesDesk(DeskBase):
    """Answers about files. Methods may be called from any thread."""

    #: Whoever carries files; None where nobody does.
    files: Courier | None = None

    def registered(self, specs: Sequence[JobSpec]) -> list[JobSpec]:
        """The same jobs, with the files that they name on the head's shelf.

        Raises :class:`InputError` for files that must not travel. Takes as long as reading them.
        """
        if self.files is None:
            return list(specs)
        return [self.files.shelf.registered(spec) for spec in specs]

    # --------------------------------------------------------------------------------- artefacts

    def artefacts_of(self, record: JobRecord) -> dict[str, Any]:
        """For the row of a job: of its last attempt that left something."""
        found = NONE
        if self.files is not None:
            for attempt in reversed(record.attempts):
                found = self.files.artefacts((record.job.id, attempt.number))
                if found.state != "none":
                    break
        return {"state": found.state, "files": found.files, "bytes": found.bytes}

    def transfer_of(self, record: JobRecord) -> dict[str, Any] | None:
        """For the row of a job that starts: files on their way to its board."""
        current = record.current
        if self.files is None or current is None or record.state != "starting":
            return None
        moving = self.files.transfer((record.job.id, current.number))
        if moving is None:
            return None
        return {**to_json(moving), "left_s": moving.left_s, "words": moving.words}

    def artefacts(self, job_id: str, attempt: int | None = None) -> dict[str, Any]:
        """What a job left, with sizes and checksums: of one attempt, else of the last that left
        something."""
        files = self._carrier()

        def answer(now_s: float) -> tuple[Artefacts, int]:
            record = self._record(job_id)
            numbers = [a.number for a in record.attempts]
            if attempt is not None and attempt not in numbers:
                raise InputError(
                    f"job {job_id} has no attempt {attempt}", hint=f"it has {len(numbers)}"
                )
            wanted = numbers[::-1] if attempt is None else [attempt]
            for number in wanted:
                found = files.artefacts((job_id, number))
                if found.state != "none":
                    return found, number
            return NONE, wanted[0] if wanted else 0

        found, number = self._cluster.ask(answer)
        return {
            "job_id": job_id,
            "attempt": number,
            "state": found.state,
            "bytes": found.bytes,
            "text": found.text,
            "device": found.device,
            "files": to_json(files.keeping.files((job_id, number))),
        }

    def artefact(self, job_id: str, attempt: int, path: str) -> Path:
        """One file of an attempt, on the head. Raises :class:`InputError` where it is not."""
        keeping = self._carrier().keeping
        key = (job_id, attempt)
        if keeping.state(key).state == "complete":
            found = below(keeping.out(key), path)
            if found.is_file():
                return found
        raise InputError(
            f"job {job_id}, attempt {attempt} has no file {path!r} here",
            hint=f"see: jetsched fetch {job_id} --list",
        )

    # ------------------------------------------------------------------------------------ caches

    def caches(self, device: str = "") -> list[dict[str, Any]]:
        """What the caches hold: of the head's shelf, and of each board that answers."""
        files = self._carrier()
        rows: list[dict[str, Any]] = []
        if device in ("", HEAD):
            rows += [{"device": HEAD, **to_json(row)} for row in files.shelf.cache.rows()]
        asked = {id: files.cached(id) for id in self._devices(device)}
        for id, answer in asked.items():
            try:
                rows += [{"device": id, **to_json(row)} for row in answer.result(ASK_S)]
            except (AgentGone, FutureTimeout):
                rows.append({"device": id, "text": "does not answer"})
        return rows

    def prefetch(
        self,
        names: Sequence[str],
        device: str = "",
        *,
        online: bool = False,
        is_owner: bool = True,
    ) -> list[dict[str, Any]]:
        """Bring models or files to boards before a job needs them, and wait until they are there.

        ``names`` are models as job files name them, or absolute paths on the head. Only with
        ``online`` is the hub asked for a model that the head does not have. Others than the head's
        owner may only name files that were handed in.
        """
        files = self._carrier()
        for name in names if not is_owner else ():
            if name.startswith("/") and files.shelf.cache.places not in Path(name).parents:
                raise InputError(
                    "a path on the head is for its owner to name", hint="a model's name"
                )
        devices = self._devices(device)  # an unknown one is told before anything is looked for
        bundles = [self._bundle_named(name, files.shelf, online) for name in names]
        if not devices and device != HEAD:
            raise InputError("there is no board to bring anything to", hint="jetsched devices")
        sent: list[tuple[str, Bundle, Future[str]]] = [
            (id, bundle, files.prefetch(id, bundle)) for id in devices for bundle in bundles
        ]
        rows = []
        for id, bundle, answer in sent:
            row = {"device": id, "name": bundle.name, "digest": bundle.digest}
            try:
                rows.append({**row, "bytes": bundle.bytes, "path": answer.result(SEND_S)})
            except (JetschedError, FutureTimeout) as error:
                rows.append({**row, "bytes": bundle.bytes, "text": str(error) or "no answer"})
        return rows

    def prune_caches(
        self,
        *,
        older_s: float | None,
        keep_bytes: int | None,
        device: str = "",
        dry_run: bool = False,
    ) -> list[dict[str, Any]]:
        """Remove what no running attempt uses; returns what was, or would be, removed."""
        files, rows = self._carrier(), []
        if device in ("", HEAD):
            gone = files.shelf.cache.prune(older_s=older_s, keep_bytes=keep_bytes, dry_run=dry_run)
            rows += [{"device": HEAD, **to_json(row)} for row in gone]
        asked = {
            id: files.prune_cache(id, older_s=older_s, keep_bytes=keep_bytes, dry_run=dry_run)
            for id in self._devices(device)
        }
        for id, answer in asked.items():
            try:
                rows += [{"device": id, **to_json(row)} for row in answer.result(ASK_S)]
            except (AgentGone, FutureTimeout):
                rows.append({"device": id, "text": "does not answer"})
        return rows

    def _bundle_named(self, name: str, shelf: Shelf, online: bool) -> Bundle:
        if name.startswith("/"):
            path = Path(name)
            if not path.exists():
                raise InputError(f"{name}: no such file or folder on the head")
            return shelf.take(Named("model_path" if path.is_dir() else "dataset_path", path))
        job = Job("prefetch", Workload("infer", name))
        model = hub_model(job)
        if model is None and online:
            _download(name)
            model = hub_model(job)
        if model is None:
            known = find(name)
            hub_id = known.hub_id if known is not None else name
            raise InputError(
                f"the head does not have the weights of {name}",
                hint=f"fetch them once, on the head: {hub_cache.FETCH} {hub_id}; or --online",
            )
        return shelf.take_hub(model)

    def _devices(self, device: str) -> list[str]:
        """The boards that are there; the one that is named. Raises :class:`InputError`."""

        def answer(now_s: float) -> list[str]:
            boards = self._cluster.boards
            if device not in ("", HEAD, *boards):
                raise InputError(f"there is no board {device!r}", hint="jetsched devices")
            return [id for id in sorted(boards) if boards[id].node and device in ("", id)]

        return self._cluster.ask(answer)

    # ----------------------------------------------------------------------------- handing files in

    def take_in(self, bundle: Bundle) -> dict[str, Any]:
        """Somebody on another machine wants to hand files in: what of them is to be sent."""
        cache = self._carrier().shelf.cache
        bundle.check()
        cache.places.parent.mkdir(parents=True, exist_ok=True)
        check_room(cache.places.parent, bundle.bytes)
        return self._wanted(bundle, cache.begin(bundle).have)

    def take_part(self, sha256: str, offset: int, data: bytes) -> int:
        """Some bytes of a file that is to come; returns how many there are."""
        if not is_sha256(sha256):
            raise InputError(f"{sha256[:80]!r} is no sha256")
        return self._carrier().shelf.cache.write(sha256, offset, data)

    def taken_in(self, bundle: Bundle) -> dict[str, Any]:
        """All of it has been sent: check it, and say where on the head it is."""
        return self._wanted(bundle, self._carrier().shelf.cache.commit(bundle.check()).have)

    def _wanted(self, bundle: Bundle, have: dict[str, int]) -> dict[str, Any]:
        cache = self._carrier().shelf.cache
        path = "" if have else str(cache.places / bundle.digest)
        return {"digest": bundle.digest, "have": have, "path": path}

    # ----------------------------------------------------------------------------------- pruning

    def prune(
        self, *, older_s: float | None, most_bytes: int | None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Remove logs, artefacts and checkpoints of ended jobs, and their folders on the nodes."""
        files = self._carrier()

        def answer(now_s: float) -> tuple[float, list[JobRecord], list[str]]:
            records = list(self._scheduler.jobs.values())
            keep = [r.job.id for r in records if r.state not in FINAL_STATES]
            return now_s, records, keep

        now_s, records, keep = self._cluster.ask(answer)
        logs = self._cluster.log_path(("1", 1)).parent
        found = left_by(records, now_s, logs, files.keeping)
        gone = to_go(found, older_s=older_s, most_bytes=most_bytes)
        if not dry_run:
            for old in gone:
                remove(old, files.keeping)
        nodes: list[dict[str, Any]] = []
        if older_s is not None:
            asked = {
                id: files.call(id, "prune_attempts", older_s, frozenset(keep), dry_run)
                for id in self._devices("")
            }
            for id, pruned in asked.items():
                try:
                    folders: Iterable[tuple[str, int]] = pruned.result(ASK_S)
                    nodes += [{"device": id, "name": n, "bytes": size} for n, size in folders]
                except (AgentGone, FutureTimeout):
                    nodes.append({"device": id, "text": "does not answer"})
        return {
            "dry_run": dry_run,
            "removed": [
                {"what": o.what, "job_id": o.job_id, "attempt": o.attempt or None,
                 "bytes": o.bytes, "age_s": o.age_s}
                for o in gone
            ],
            "nodes": nodes,
            "bytes": sum(o.bytes for o in gone) + sum(n.get("bytes", 0) for n in nodes),
            "left_bytes": sum(o.bytes for o in found) - sum(o.bytes for o in gone),
        }  # fmt: skip

    # -------------------------------------------------------------------------------------- plan

    def files_for(self, job: Job, device_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What each board lacks of a job's files, and how long it would take to bring, as the
        scheduler counts it; only boards that lack something."""
        if self.files is None or not job.work.get(BUNDLES):
            return {}
        found = {id: self.files.missing(job.work, id) for id in device_ids}
        told = self._scheduler.fleet.files
        return {
            id: {
                "bytes": missing.bytes,
                "rate_bytes_s": missing.rate_bytes_s,
                "transfer_s": told.fetch_s(job, id) or missing.transfer_s,
            }
            for id, missing in found.items()
            if missing.bytes
        }

    def _carrier(self) -> Courier:
        if self.files is None:
            raise UnreachableError("this scheduler carries no files")
        return self.files


def _download(name: str) -> None:
    """Get a model from the hub: the one thing here that asks the network, and only when told to.

    By the interpreter that the scheduler runs on, which may have the hub's library.
    """
    known = find(name)
    hub_id = known.hub_id if known is not None else name
    if os.environ.get("HF_HUB_OFFLINE"):
        raise InputError("HF_HUB_OFFLINE is set where the scheduler runs: it asks no hub")
    done = subprocess.run(
        [sys.executable, "-c", _DOWNLOAD, hub_id], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise InputError(
            f"{hub_id} cannot be had from the hub: {last}",
            hint=f"elsewhere: {hub_cache.FETCH} {hub_id}; then copy the folder to the head",
        )


_DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], allow_patterns=["*.safetensors", "*.json", "*.txt", "*.model"])
"""
