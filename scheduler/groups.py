"""Jobs that cost alike: what a unit of their work costs is asked once per group and kind.

A million jobs of ten workloads on two kinds of boards are twenty questions to the cost model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from jetsched.records import DeviceClass, Job, Needs, Never, Reason, Workload
from jetsched.scheduler.costs import Costs, UnitCost, UnitCosts, WholeCost
from jetsched.scheduler.fleet import Fleet
from jetsched.scheduler.needs import unmet_by
from jetsched.scheduler.resume import RestCost, saved_share
from jetsched.scheduler.state import ClassState, Group, JobRecord


class Groups:
    """Finds the group of a job, and what it costs on each kind of the fleet.

    Answers are kept until the fleet's generation grows or :meth:`forget` is called.
    """

    def __init__(self, costs: Costs, fleet: Fleet) -> None:
        self._costs = costs
        self._fleet = fleet
        self._epoch = 0
        cost = getattr(costs, "cost", None)
        self._cost = cast(UnitCosts, costs).cost if callable(cost) else None
        self._last: dict[int, Group] = {}  # by id() of the workload of its job
        self._by_workload: dict[Workload, Group] = {}
        self._by_needs: dict[tuple[Workload, Needs], Group] = {}

    def of(self, job: Job) -> Group:
        """The jobs that cost what this one does: itself alone, where costs are known by job."""
        if self._cost is None:
            return Group(job)
        needs = job.needs
        if not needs.device and needs.memory_mib is None and needs.disk_mib is None:
            # Jobs of a stream share their workload: the very object is found without its hash.
            last = self._last.get(id(job.workload))
            if last is not None and last.job.workload is job.workload and not last.unsure:
                return last
            group = self._by_workload.get(job.workload)
            if group is None or group.unsure:
                group = self._by_workload[job.workload] = Group(job)
            self._last[id(group.job.workload)] = group
            return group
        key = (job.workload, needs)
        group = self._by_needs.get(key)
        if group is None or group.unsure:
            group = self._by_needs[key] = Group(job)
        return group

    def bar(self, record: JobRecord, device_class: DeviceClass) -> None:
        """The job was killed for memory there: from now on it is a group of its own."""
        group = record.group
        record.group = Group(record.job, (*group.barred, device_class), group.saved)
        record.generation = -1

    def save(self, record: JobRecord) -> None:
        """The job's attempts are others now: what checkpoints hold of it is not left to do."""
        group, saved = record.group, 0.0
        for attempt in record.attempts:
            saved = saved_share(record.job, attempt, saved)
        if saved != group.saved:
            fresh = not (saved or group.barred)
            record.group = self.of(record.job) if fresh else Group(record.job, group.barred, saved)
            record.generation = -1

    def forget(self) -> None:
        """Any verdict may be another one now."""
        self._epoch += 1

    def verdict(self, group: Group, kind: ClassState) -> UnitCost | Never:
        """What a unit of the group's work costs on the kind; asked once, then kept."""
        if group.epoch != self._epoch:
            group.verdicts, group.epoch = {}, self._epoch
        verdict = group.verdicts.get(kind.index)
        if verdict is None:
            verdict = self.ask(group, kind.device_class)
            group.verdicts[kind.index] = verdict
            if isinstance(verdict, Never) and verdict.code == "NotProfiled":
                group.unsure = True  # what describes the model may yet come: for the next job
        return verdict

    def ask(self, group: Group, device_class: DeviceClass) -> UnitCost | Never:
        """What the cost model says of a class, which need not be in the fleet."""
        for killer in group.barred:
            if killer.model == device_class.model and device_class.memory_mib <= killer.memory_mib:
                return Never("NeverFits", f"this job was killed for memory on {killer.label}")
        cost = self._ask(group.job, device_class)
        if group.saved and not isinstance(cost, Never):
            return RestCost(cost, group.job.amount, group.saved)
        return cost

    def _ask(self, job: Job, device_class: DeviceClass) -> UnitCost | Never:
        if self._cost is not None:
            return self._cost(job.workload, device_class)
        verdict = self._costs.verdict(job, device_class)
        return verdict if isinstance(verdict, Never) else WholeCost(verdict)

    def offers(self, group: Group) -> tuple[UnitCost | None, ...]:
        """The unit cost on each kind that has devices now; None where the group cannot go.

        That is where it *never* runs, where it is *tight* unless it fits nowhere better, and where
        its wishes rule out every device.
        """
        if group.generation != self._fleet.generation:
            group.offers = self._offers(group)
            group.generation = self._fleet.generation
        return group.offers

    def _offers(self, group: Group) -> tuple[UnitCost | None, ...]:
        found: list[UnitCost | None] = []
        for kind in self._fleet.kinds:
            verdict = self.verdict(group, kind)
            unmet = unmet_by(group.job, kind.device_class, kind.devices)
            possible = not isinstance(verdict, Never) and unmet is None
            found.append(cast(UnitCost, verdict) if possible else None)
        if any(cost is not None and cost.fit == "fits" for cost in found):
            found = [cost if cost is not None and cost.fit == "fits" else None for cost in found]
        return tuple(found)

    def hopeless(self, group: Group) -> Reason | None:
        """Why no known device can ever run the group's jobs; None while there is hope.

        There is hope while nothing that a job asks for is known: it may join yet. Devices that are
        closed or away count as those that are open: they may come back.
        """
        if group.tested != self._fleet.generation or group.job.needs.picky:
            group.hopeless = self._hopeless(group)
            group.tested = self._fleet.generation
        return group.hopeless

    def _hopeless(self, group: Group) -> Reason | None:
        nevers, job = [], group.job
        if job.needs.disk_mib is not None:  # there may be room another time
            job = replace(job, needs=replace(job.needs, disk_mib=None))
        for kind in self._fleet.classes:
            unmet = unmet_by(job, kind.device_class, kind.known)
            if unmet is not None and unmet.code != "NeverFits":
                continue
            verdict = unmet or self.verdict(group, kind)
            if not isinstance(verdict, Never):
                return None
            nevers.append(verdict)
        if not nevers:
            return None
        return Reason(nevers[0].code, "; ".join(dict.fromkeys(n.text for n in nevers)))
