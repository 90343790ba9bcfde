"""Which files the devices have, and how long the others of a job take to come there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from jetsched.records import Job

#: The key in a job's work section: name of each bundle of files that it needs -> its size in MiB.
FILES_MIB = "files_mib"
#: So much faster or slower a link must have become before that is told again.
OTHER_RATE = 0.25


def files_mib(job: Job) -> Mapping[str, float]:
    """The sizes in MiB of the files that a job needs, by name; empty for most jobs."""
    found: Mapping[str, float] = job.work.get(FILES_MIB) or {}
    return found


class HeldFiles:
    """What was last told of each device's files and link, also of those that are away.

    False as long as nothing was told: then nobody need ask.
    """

    __slots__ = ("_held", "_holders", "_mib_s", "_usual_mib_s")

    def __init__(self) -> None:
        self._held: dict[str, frozenset[str]] = {}  # by device
        self._holders: dict[str, set[str]] = {}  # devices by file
        self._mib_s: dict[str, float] = {}  # by device, where it is known
        self._usual_mib_s: float | None = None

    def __bool__(self) -> bool:
        return bool(self._held)

    def of(self, device_id: str) -> tuple[frozenset[str], float | None]:
        """What the device is known to have, and how many MiB come there a second, if known."""
        return self._held.get(device_id, frozenset()), self._mib_s.get(device_id)

    def see(self, device_id: str, names: Iterable[str], mib_s: float | None) -> None:
        """These are all that the device has now, and so fast files come there (None: unknown)."""
        self.forget(device_id)
        self._held[device_id] = frozenset(names)
        for name in self._held[device_id]:
            self._holders.setdefault(name, set()).add(device_id)
        if mib_s is not None and mib_s > 0:
            self._mib_s[device_id] = mib_s
            self._usual_mib_s = median(self._mib_s.values())

    def forget(self, device_id: str) -> None:
        """No longer know anything of the device."""
        for name in self._held.pop(device_id, ()):
            holders = self._holders[name]
            holders.discard(device_id)
            if not holders:
                del self._holders[name]
        if self._mib_s.pop(device_id, None) is not None:
            self._usual_mib_s = median(self._mib_s.values()) if self._mib_s else None

    def is_news(self, device_id: str, names: Iterable[str], mib_s: float | None) -> bool:
        """Whether :meth:`see` would change anything that matters."""
        held, known_mib_s = self._held.get(device_id), self._mib_s.get(device_id)
        if held is None or held != frozenset(names):
            return True
        if mib_s is None or known_mib_s is None:
            return mib_s is not known_mib_s
        return abs(mib_s - known_mib_s) > OTHER_RATE * known_mib_s

    def holders(self, job: Job) -> set[str]:
        """The devices that have some of the job's files."""
        none: set[str] = set()
        return none.union(*(self._holders.get(name, none) for name in files_mib(job)))

    def missing_mib(self, job: Job, device_id: str) -> float:
        """How much of the job's files the device is not known to have."""
        held = self._held.get(device_id, frozenset())
        return sum(mib for name, mib in files_mib(job).items() if name not in held)

    def fetch_s(self, job: Job, device_id: str) -> float | None:
        """How long the files take that the device lacks: 0 if it has all.

        Over a link that was never measured, as long as over the median of those that were; None
        where none was, and for a job without files.
        """
        if not self or not files_mib(job):
            return None
        missing_mib = self.missing_mib(job, device_id)
        if not missing_mib:
            return 0.0
        mib_s = self._mib_s.get(device_id, self._usual_mib_s)
        return None if mib_s is None else missing_mib / mib_s

    def nearest(self, job: Job, device_ids: Iterable[str]) -> str:
        """The one of these devices to which the job's files come soonest, then by id."""

        def order(device_id: str) -> tuple[float, float, str]:
            missing_mib = self.missing_mib(job, device_id)
            return self.fetch_s(job, device_id) or 0.0, missing_mib, device_id

        return min(device_ids, key=order)
