"""Routes about files: what jobs left, caches, handing files in, throwing old ones away."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from jetsched.cluster.api_gate import is_owner
from jetsched.cluster.bundles import LONGEST_PATH, MOST_FILES, Bundle, FileEntry
from jetsched.cluster.desk import Desk
from jetsched.errors import InputError

#: The most of a file that one request hands in.
MOST_PART_BYTES = 4 << 20
_MOST = 1 << 50
#: A job may leave what it likes: no browser is to show it as a page of this head.
_NO_PAGE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}
Device = Annotated[str, Field(max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FileText(BaseModel):
    """One file that is handed in."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=LONGEST_PATH)
    size: int = Field(ge=0, le=_MOST)
    sha256: Sha256


class BundleText(BaseModel):
    """Files that go together."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="files", max_length=300)
    files: list[FileText] = Field(min_length=1, max_length=MOST_FILES)

    @property
    def bundle(self) -> Bundle:
        """Raises :class:`InputError` for paths that lead elsewhere."""
        entries = tuple(FileEntry(f.path, f.size, f.sha256) for f in self.files)
        return Bundle(self.name, entries).check()


class Fetch(BaseModel):
    """Models (as job files name them) and, for the head's owner, paths on the head."""

    model_config = ConfigDict(extra="forbid")

    names: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        min_length=1, max_length=100
    )
    device: Device = ""
    online: bool = False  # the hub may be asked


class Limit(BaseModel):
    """What may stay. One of them at least."""

    model_config = ConfigDict(extra="forbid")

    older_s: float | None = Field(default=None, ge=0, le=1e10)
    most_bytes: int | None = Field(default=None, ge=0, le=_MOST)
    device: Device = ""
    dry_run: bool = False

    def check(self) -> None:
        if self.older_s is None and self.most_bytes is None:
            raise InputError("what is to stay? say an age or a size, or both")


def add_file_routes(app: FastAPI, desk: Desk) -> None:
    """Put the routes into the application."""

    @app.get("/jobs/{job_id}/artefacts", tags=["files"])
    def artefacts(
        job_id: str, attempt: Annotated[int | None, Query(ge=1)] = None
    ) -> dict[str, Any]:
        """What a job left: files with sizes and checksums, and whether they are on the head."""
        return desk.artefacts(job_id, attempt)

    @app.get("/jobs/{job_id}/artefacts/{attempt}/{path:path}", tags=["files"])
    def artefact(job_id: str, attempt: int, path: str) -> FileResponse:
        """One file; `Range` is understood."""
        found = desk.artefact(job_id, attempt, path)
        return FileResponse(
            found, media_type="application/octet-stream", filename=found.name, headers=_NO_PAGE
        )

    @app.get("/cache", tags=["files"])
    def caches(device: Annotated[str, Query(max_length=200)] = "") -> list[dict[str, Any]]:
        """What the boards and the head hold of models and data."""
        return desk.caches(device)

    @app.post("/cache/prefetch", tags=["files"])
    def prefetch(wish: Fetch, request: Request) -> list[dict[str, Any]]:
        """Bring models or files to boards; answers when they are there."""
        return desk.prefetch(
            wish.names, wish.device, online=wish.online, is_owner=is_owner(request.scope)
        )

    @app.post("/cache/prune", tags=["files"])
    def prune_caches(limit: Limit) -> list[dict[str, Any]]:
        """Remove what is old, or too much, and in nobody's use; answers with what that is."""
        limit.check()
        return desk.prune_caches(
            older_s=limit.older_s,
            keep_bytes=limit.most_bytes,
            device=limit.device,
            dry_run=limit.dry_run,
        )

    @app.post("/prune", tags=["files"])
    def prune(limit: Limit) -> dict[str, Any]:
        """Remove logs, artefacts and checkpoints of jobs that have ended."""
        limit.check()
        return desk.prune(older_s=limit.older_s, most_bytes=limit.most_bytes, dry_run=limit.dry_run)

    @app.post("/files", tags=["files"])
    def take_in(wish: BundleText) -> dict[str, Any]:
        """Hand files in for jobs: says how much there is of each that is not whole (`have`)."""
        return desk.take_in(wish.bundle)

    @app.put("/files/{sha256}", tags=["files"])
    async def take_part(
        sha256: str, request: Request, offset: Annotated[int, Query(ge=0, le=_MOST)] = 0
    ) -> dict[str, int]:
        """The next bytes of a file that was announced; says how many there are now."""
        data = await request.body()
        if len(data) > MOST_PART_BYTES:
            raise InputError(f"more than {MOST_PART_BYTES:,} bytes at once")
        return {"size": await run_in_threadpool(desk.take_part, sha256, offset, data)}

    @app.post("/files/done", tags=["files"])
    def taken_in(wish: BundleText) -> dict[str, Any]:
        """All was sent: checks it, and says in `path` where jobs find it, or what is to be sent
        again."""
        return desk.taken_in(wish.bundle)
