"""What a policy sees, the one interface it implements, and the cost model it relies on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Protocol

from jetsched.records import (
    Code,
    Device,
    DeviceClass,
    Estimate,
    Job,
    Never,
    Placement,
    Preempt,
    Remark,
    Verdict,
)
from jetsched.scheduler.beside import SharedBoards
from jetsched.scheduler.costs import Costs as Costs
from jetsched.scheduler.cursor import Cursor, expected_s, first_clocks
from jetsched.scheduler.heldfiles import files_mib
from jetsched.scheduler.needs import unmet_needs
from jetsched.scheduler.overlay import Considered, Overlay, Sources
from jetsched.scheduler.sharing import occupant_of
from jetsched.scheduler.state import ClassState, JobRecord

#: What a policy may decide.
Choice = Placement | Preempt | Remark


class Policy(Protocol):
    """Chooses which waiting jobs start now, and where."""

    def decide(self, view: View) -> Iterable[Choice]:
        """Called after every event while jobs wait. Yield one :class:`Placement` per job.

        A placement with ``start_s`` in the future holds the job for that device: nothing is
        started, and jobs behind it see the device as taken until then. A generator sees each of
        its placements in the view before it goes on. The scheduler checks all of them: an
        illegal one is refused, and the fallback decides for that job. Beside placements it
        may yield :class:`Preempt`, to stop what runs, and :class:`Remark`, to say something about a
        job that waits.

        To look ahead (`plan`), a copy that ``copy.deepcopy`` makes is asked instead; of a policy
        that cannot be copied nothing is foreseen.
        """
        ...


class View(SharedBoards):
    """The queue and the fleet at one instant, with what was decided so far laid over it.

    It never copies the fleet: it reads the scheduler's state and remembers only the differences.
    Made for one decision; a policy must not keep it. With ``planning`` it shows when everything
    waiting would start: nothing is started because of it, and ``free_count`` never falls to 0.

    A *kind* is a class of devices with its members (:class:`~jetsched.scheduler.state.ClassState`,
    to be read only). What costs the same stands together there: a policy that looks at kinds does
    the same work for ten devices and for ten thousand.
    """

    __slots__ = (
        "__weakref__", "_extra", "_fleet", "_only", "_overlay", "_places", "_queue", "_records",
        "_sources", "explains", "now_s", "planning",
    )  # fmt: skip

    def __init__(
        self,
        now_s: float,
        sources: Sources,
        extra: JobRecord | None = None,
        planning: bool = False,
        explains: bool = True,
    ) -> None:
        self.now_s = now_s
        #: Whether the whole future is asked for, not only what starts now.
        self.planning = planning
        #: Whether anybody will read what is noted.
        self.explains = explains
        self._sources = sources
        self._queue = sources.queue
        self._fleet = sources.fleet
        self._records = sources.records
        self._extra = extra  # a job that is not there yet: what would become of it?
        self._only: JobRecord | None = None  # this job is the whole queue
        self._overlay = Overlay()
        #: Of each job, how many are before it, and for how many placements and jobs that holds.
        self._places: tuple[tuple[int, int], dict[str, int]] | None = None

    def renew(self, now_s: float) -> View:
        """The same view for another decision, in which nothing is given away yet.

        Quicker than a new one, where nobody has kept this one.
        """
        self.now_s = now_s
        self._places = None
        self._overlay.clear()
        return self

    # -- what is there ---------------------------------------------------------------------------

    def queue(self) -> Iterator[Job]:
        """The waiting jobs that have no placement yet: priority, as aged, then submission."""
        placed = self._overlay.placed
        for record in self._waiting():
            if record.job.id not in placed:
                yield record.job

    def _waiting(self) -> Iterator[JobRecord]:
        if self._only is not None:
            yield self._only
            return
        extra = self._extra
        for record in self._queue:
            if extra is not None and extra.queue_key < record.queue_key:
                yield extra
                extra = None
            yield record
        if extra is not None:
            yield extra

    def ahead_of(self, job: Job) -> int:
        """How many jobs of :meth:`queue` come before the job. Counted once for all of them."""
        state = len(self._overlay.placed), self._queue.length
        if self._places is None or self._places[0] != state:
            self._places = state, {other.id: n for n, other in enumerate(self.queue())}
        return self._places[1].get(job.id, 0)

    def first(self) -> Job:
        """The first job of :meth:`queue`. Raises StopIteration if there is none."""
        if self._extra is None and self._only is None and not self._overlay.placed:
            return self._queue.first().job
        return next(self.queue())

    @property
    def queue_length(self) -> int:
        """How many jobs wait, those with a placement in this decision not counted."""
        if self._only is not None:
            return int(self._only.job.id not in self._overlay.placed)
        length = self._queue.length - len(self._overlay.placed)
        return length if self._extra is None else length + 1

    @property
    def mark(self) -> tuple[int, int]:
        """(generation, length) of the log of arrivals, for an index that a policy keeps.

        While the generation is the same, :meth:`arrivals` from the length on tells what is new; in
        another one, kinds or costs may be others: the index has to start again from :meth:`queue`.
        """
        if self._extra is not None or self._only is not None:
            return (-1, 0)  # this queue is of this view alone: no index knows it
        return (self._fleet.generation, len(self._queue.arrivals))

    def arrivals(self, since: int) -> Iterator[Job]:
        """The jobs that began to wait after a mark of the same generation; some may be gone."""
        arrivals = self._queue.arrivals
        for number in range(since, len(arrivals)):
            yield arrivals[number].job

    def waits(self, job_id: str) -> bool:
        """Whether the job waits, and has no placement in this decision."""
        if job_id in self._overlay.placed:
            return False
        if self._only is not None:
            return self._only.job.id == job_id
        record = self._records.get(job_id)
        if record is not None:
            return record.state == "waiting"
        return self._extra is not None and self._extra.job.id == job_id

    @property
    def devices(self) -> Mapping[str, Device]:
        """All devices of the fleet that take new jobs, by id, busy ones too."""
        return self._fleet.open

    @property
    def all_devices(self) -> Mapping[str, Device]:
        """All devices that are there, also those that are closed: no job can be placed on them."""
        return self._fleet.devices

    def closings(self, device_id: str) -> Mapping[Code, str]:
        """Why the device takes no new jobs: a text by code; nothing if it is open."""
        return self._fleet.closings.get(device_id, {})

    def level(self, job: Job) -> int:
        """The job's priority, or what it has aged to: all jobs of a higher level come first.

        For a policy with an order of its own. :meth:`queue` is in the order of lanes, which are
        finer (`scheduler/aging.py`).
        """
        return self.record(job.id).level

    @property
    def kinds(self) -> Sequence[ClassState]:
        """The classes that have devices now, each with them, in a fixed order. To be read only."""
        return self._fleet.kinds

    @property
    def device_classes(self) -> list[tuple[DeviceClass, int]]:
        """The classes that have devices now, with how many, in a fixed order."""
        return [(kind.device_class, len(kind.devices)) for kind in self._fleet.kinds]

    @property
    def free_count(self) -> int:
        """How many devices could start a job now."""
        if self.planning:
            return len(self._fleet.open)
        return self._fleet.free_count - self._overlay.taken_free

    def free_in(self, kind: ClassState) -> int:
        """How many devices of the kind could start a job now."""
        taken = self._overlay.taken_s
        if not taken:
            return len(kind.free)
        return len(kind.free) - len(kind.free.intersection(taken))

    def is_free(self, device: Device) -> bool:
        """Whether a job could start on the device now."""
        fleet, device_id = self._fleet, device.id
        if device_id in fleet.finish_s or device_id in self._overlay.taken_s:
            return False
        return device_id in fleet.open

    def free_devices(self, device_class: DeviceClass | None = None) -> Iterator[Device]:
        """The devices that could start a job now, of one class or of all, by id in each class."""
        for kind in self._fleet.kinds:
            if device_class is None or kind.device_class == device_class:
                for device_id in kind.free:
                    if device_id not in self._overlay.taken_s:
                        yield kind.devices[device_id]

    def running(self) -> Iterator[tuple[Job, str]]:
        """The jobs that run now on devices that take new ones, each with its device's id."""
        open_devices = self._fleet.open
        for device_id in self._fleet.job_on:
            if device_id not in open_devices:
                continue
            for job_id in self._fleet.jobs_on(device_id):
                yield self._records[job_id].job, device_id

    def latest(self, kind: ClassState) -> tuple[Job, Device, float] | None:
        """The running job of the kind that is expected to end last, its device, and when."""
        busy = kind.busy.in_order()
        if not busy:
            return None
        finish_s, device_id = busy[-1]
        job_id = self._fleet.job_on[device_id]
        if self._fleet.sharing is not None:
            there = self._fleet.sharing.on(device_id).values()
            job_id = max(there, key=lambda occupant: occupant.finish_s).job_id
        job = self._records[job_id].job
        return job, kind.devices[device_id], expected_s(finish_s, self.now_s)

    def available_s(self, device: Device) -> float:
        """When the device is expected to be free: ``now_s`` exactly if it is, else later.

        Never for one that is closed: nobody knows when it takes jobs again.
        """
        if device.id in self._fleet.closings:
            return inf
        taken_s = self._overlay.taken_s.get(device.id)
        if taken_s is not None:
            return taken_s
        finish_s = self._fleet.finish_s.get(device.id)
        return self.now_s if finish_s is None else expected_s(finish_s, self.now_s)

    def earliest_s(self, kind: ClassState) -> float:
        """When the first device of the kind is free: ``now_s`` exactly if one is, else later."""
        return self._earliest(kind)[0]

    def clocks(self, kind: ClassState) -> list[float]:
        """When each device of the kind is free, sorted. Looks at all of them: not for each event
        on a big fleet."""
        return sorted(self.available_s(device) for device in kind.devices.values())

    def first_clocks(self, kind: ClassState, most: int) -> list[float]:
        """The first so many of :meth:`clocks`. Looks at no more devices than that until something
        is placed."""
        if self.untouched:
            return first_clocks(kind, most, self.now_s)
        return self.clocks(kind)[:most]

    def waited_s(self, job: Job) -> float:
        """Seconds since the job was submitted."""
        return self.now_s - job.submitted_s

    def used_s(self, user: str) -> float:
        """Device-seconds that the user's jobs have had so far, running ones included."""
        usage = self._sources.usage.get(user)
        return usage.until(self.now_s) if usage is not None else 0.0

    def fetch_s(self, job: Job, device: Device) -> float | None:
        """Seconds that the job's files take to come to the device: 0 if it has all of them.

        It is a part of a placement's ``finish_s``. None for a job without files, and where nothing
        is known about links.
        """
        return self._fleet.files.fetch_s(job, device.id) if job.work else None

    # -- what is possible ------------------------------------------------------------------------

    def verdict(self, job: Job, device: Device) -> Verdict:
        """What the job would cost on the device, or why it never runs there."""
        never = unmet_needs(job, device)
        return never or self._sources.verdicts(self.record(job.id), self._fleet.class_of(device.id))

    def record(self, job_id: str) -> JobRecord:
        """The job's history so far: its attempts and how they ended. Not to be changed."""
        if self._extra is not None and self._extra.job.id == job_id:
            return self._extra
        return self._records[job_id]

    def admits_tight(self, job: Job) -> bool:
        """Whether *tight* will do: no device of the fleet surely fits the job."""
        offers = self._sources.offers(self.record(job.id).group)
        return not any(cost is not None and cost.fit == "fits" for cost in offers)

    def costs(self, job: Job) -> Sequence[Estimate | None]:
        """What the job costs on each of :attr:`kinds`; None where it cannot go.

        That is where it *never* runs, where it is *tight* unless it fits nowhere better, and where
        its wishes rule out every device. Worked out once: cheap to ask again.
        """
        record = self.record(job.id)
        if record.generation != self._fleet.generation:
            amount = record.job.amount
            record.costs = tuple(
                [c if c is None else c.of(amount) for c in self._sources.offers(record.group)]
            )
            record.generation = self._fleet.generation
        return record.costs

    def times(self, job: Job) -> Sequence[float | None]:
        """The run time of the job on each of :attr:`kinds`, in seconds; None where it cannot go.

        Those of :meth:`costs`, without the rest: cheaper where the time is all that counts.
        """
        group = self.record(job.id).group
        if group.generation != self._fleet.generation:
            self._sources.offers(group)
        amount = job.amount
        return [c if c is None else c.load_s + amount * c.rate_s for c in group.offers]

    def place(self, job: Job, kind: ClassState) -> Placement | None:
        """The job on the earliest device of the kind that suits it, busy ones included.

        None where it cannot go (:meth:`costs`). ``start_s`` is ``now_s`` exactly on a free one.
        """
        record = self.record(job.id)
        if record.generation == self._fleet.generation:
            estimate = record.costs[kind.position]
        else:
            cost = self._sources.offers(record.group)[kind.position]
            estimate = cost if cost is None else cost.of(record.job.amount)
        return None if estimate is None else self._placement(record.job, kind, estimate)

    def options(self, job: Job) -> list[Placement]:
        """One placement per kind of device that can run the job: :meth:`place` on each.

        Devices of one class cost the same, so the others could only start later.
        """
        costs = self.costs(job)
        job = self.record(job.id).job
        return [
            self._placement(job, kind, estimate)
            for kind, estimate in zip(self._fleet.kinds, costs, strict=True)
            if estimate is not None
        ]

    def place_on(self, job: Job, device: Device) -> Placement | None:
        """The placement of the job on this very device as soon as it is free.

        None if it never runs there, is *tight* there and fits elsewhere, or the device is closed.
        """
        if device.id not in self._fleet.open:
            return None
        verdict = self.verdict(job, device)
        if isinstance(verdict, Never) or (verdict.fit == "tight" and not self.admits_tight(job)):
            return None
        start_s = self.available_s(device)
        finish_s = start_s + (self.fetch_s(job, device) or 0.0) + verdict.time_s
        return Placement(job, device, verdict, start_s, finish_s)

    def _placement(self, job: Job, kind: ClassState, estimate: Estimate) -> Placement:
        """The estimate is that of the kind, and at least one of its devices suits the job."""
        needs = job.needs
        whole = not needs.device or kind.device_class.model in needs.device
        if whole and needs.disk_mib is None:
            start_s, device_id = self._earliest(kind)
            device = kind.devices[device_id]
        else:
            suited = [d for d in kind.devices.values() if unmet_needs(job, d) is None]
            device = min(suited, key=lambda d: (self.available_s(d), d.id))
            start_s = self.available_s(device)
        finish_s = start_s + estimate.time_s
        if job.work and self._fleet.files and files_mib(job):
            if start_s <= self.now_s:
                device = self._nearest(job, kind, device)
            finish_s = start_s + (self.fetch_s(job, device) or 0.0) + estimate.time_s
        placement = Placement(job, device, estimate, start_s, finish_s)
        self._overlay.issued[id(placement)] = placement
        return placement

    def _nearest(self, job: Job, kind: ClassState, first: Device) -> Device:
        """The free device of the kind to which the job's files come soonest.

        ``first`` is one that suits the job. Looks at no others than those that have some of them.
        """
        files, taken = self._fleet.files, self._overlay.taken_s
        free = (i for i in files.holders(job) if i in kind.free and i not in taken)
        suited = [i for i in free if unmet_needs(job, kind.devices[i]) is None]
        return kind.devices[files.nearest(job, [first.id, *suited])]

    def _earliest(self, kind: ClassState) -> tuple[float, str]:
        """(start, device id)"""
        overlay = self._overlay
        free = kind.free.first()
        if free is not None and free not in overlay.taken_s:
            return self.now_s, free
        cursor = overlay.cursors.get(kind.index)
        if cursor is None:
            cursor = overlay.cursors[kind.index] = Cursor(kind)
            for device_id, taken_s in overlay.taken_s.items():
                if device_id in kind.devices:
                    cursor.plan(taken_s, device_id)
        return cursor.earliest(self.now_s, overlay.taken_s)

    # -- several jobs on a board -----------------------------------------------------------------

    # -- what was decided ------------------------------------------------------------------------

    def note(
        self,
        job: Job,
        options: Sequence[Placement],
        scores: Sequence[float],
        best: Placement | None,
    ) -> None:
        """Remember what was thought of a job's options, for `why`. Costs next to nothing."""
        self._overlay.considered[job.id] = Considered(options, scores, best)

    def considered(self, job_id: str) -> Considered | None:
        """What was noted about a job in this decision."""
        return self._overlay.considered.get(job_id)

    def hear(self, remark: Remark) -> None:
        """Take note of what the policy has to say; the scheduler does this."""
        self._overlay.remarks[remark.job_id] = remark.text

    def remark_on(self, job_id: str) -> str:
        """What the policy has to say about a job, in this decision or an earlier one."""
        return self._overlay.remarks.get(job_id) or self.record(job_id).remark

    def is_placed(self, job_id: str) -> bool:
        """Whether this decision has placed the job already, now or in the future."""
        return job_id in self._overlay.placed

    @property
    def untouched(self) -> bool:
        """Whether this decision has placed nothing yet."""
        return not self._overlay.placed

    def sound(self, choice: object) -> bool:
        """Whether the view itself has made this placement, nothing was placed since, and it waits.

        That is the common case, in which there is nothing to check.
        """
        placement = self._overlay.issued.get(id(choice))
        return placement is not None and self.waits(placement.job.id)

    def assume(self, placement: Placement) -> None:
        """Lay a placement over the view. The scheduler does this for whatever a policy yields."""
        overlay, device_id = self._overlay, placement.device.id
        overlay.issued.clear()
        if self._fleet.sharing is not None and placement.start_s <= self.now_s:
            there = overlay.beside.setdefault(device_id, [])
            there.append(occupant_of(placement.job.id, placement.estimate, placement.finish_s))
        if device_id not in self._fleet.finish_s and device_id not in overlay.taken_s:
            overlay.taken_free += 1
        overlay.placed.add(placement.job.id)
        free_s = placement.finish_s
        if self._fleet.sharing is not None and device_id in self._fleet.finish_s:
            free_s = max(free_s, self.available_s(placement.device))  # of all that run there
        overlay.taken_s[device_id] = free_s
        if overlay.cursors:
            cursor = overlay.cursors.get(self._fleet.class_of(device_id).index)
            if cursor is not None:
                cursor.plan(free_s, device_id)

    def only(self, job: Job) -> View:
        """The same view, in which this job is the whole queue. Shares what was decided."""
        view = View(self.now_s, self._sources, self._extra, self.planning, self.explains)
        view._overlay = self._overlay
        view._only = self.record(job.id)
        return view
