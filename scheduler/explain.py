"""What a policy saw, as rows for a person: the table of `plan` and `why`.

Made from the very objects that the decision was made from, so that it cannot drift from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jetsched.records import Code, Decision, Device, Job, Never, Placement, Reason, Row
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.closed import all_closed_reason, closed_reason
from jetsched.scheduler.overlay import Considered
from jetsched.scheduler.view import Policy, View
from jetsched.units import format_duration

#: A fleet with more devices than this is explained by one device per class.
MOST_ROWS = 200


def decision_of(
    view: View,
    job: Job,
    policy: Policy,
    chosen: Placement | None,
    note: str,
    reason: Reason | None = None,
) -> Decision:
    """The decision about a job, row by row. ``chosen`` must not be laid over the view yet."""
    considered = view.considered(job.id)
    rows = tuple(
        _row(view, job, device, considered, chosen) for device in _devices(view, considered)
    )
    if chosen is None:
        reason = reason or waiting_reason(view, job)
    return Decision(
        at_s=view.now_s,
        job_id=job.id,
        policy=policy_name(policy),
        chosen=chosen.device.id if chosen is not None else None,
        reason=reason,
        rows=rows,
        note=note,
        remark=view.remark_on(job.id) or _too_late(job, chosen),
    )


def _too_late(job: Job, chosen: Placement | None) -> str:
    """What is to be said of a deadline that a placement would miss, if anything."""
    if chosen is None or job.deadline_s is None or chosen.finish_s <= job.deadline_s:
        return ""
    late = format_duration(chosen.finish_s - job.deadline_s)
    return f"there it is done {late} after its deadline"


def waiting_reason(view: View, job: Job) -> Reason:
    """Why a waiting job did not start in the decision that the view was made for."""
    considered = view.considered(job.id)
    if considered is not None and considered.best is not None:
        best = considered.best
        wait_s = best.start_s - view.now_s
        if any(p.start_s <= view.now_s for p in considered.options):
            return Reason(
                "BetterSoon", f"{best.device.id} is better, free in {format_duration(wait_s)}"
            )
        return Reason(
            "DeviceBusy", f"{best.device.id} is busy for another {format_duration(wait_s)}"
        )
    options = view.options(job)
    if not options:
        away = Reason("DeviceOffline", "no device that can run it is there now")
        return all_closed_reason(_closed_for(view, job)) or away
    if any(p.start_s <= view.now_s for p in options):
        return Reason("BetterSoon", "the policy keeps it for another device than those that idle")
    ahead = view.ahead_of(job)
    if ahead:
        return Reason("Behind", f"{ahead} job{'s' if ahead > 1 else ''} ahead of it")
    return Reason("DeviceBusy", "every device that can run it is busy")


def _closed_for(view: View, job: Job) -> Iterator[tuple[Device, Mapping[Code, str]]]:
    """The devices that could run the job if they were not closed or full, and why not now."""
    for device_id, device in sorted(view.all_devices.items()):
        closings, verdict = view.closings(device_id), view.verdict(job, device)
        if isinstance(verdict, Never):
            if verdict.code == "NoDisk":
                yield device, {**closings, "NoDisk": verdict.text}
        elif closings:
            yield device, closings


def _devices(view: View, considered: Considered | None) -> list[Device]:
    if len(view.all_devices) <= MOST_ROWS:
        return sorted(view.all_devices.values(), key=lambda d: d.id)
    if considered is not None:
        return [p.device for p in considered.options]
    seen = {d.device_class: d for d in view.all_devices.values()}
    seen |= {d.device_class: d for d in view.devices.values()}  # rather one that takes jobs
    return sorted(seen.values(), key=lambda d: d.id)


def _row(
    view: View,
    job: Job,
    device: Device,
    considered: Considered | None,
    chosen: Placement | None,
) -> Row:
    has_mib = device.device_class.memory_mib
    verdict = view.verdict(job, device)
    if isinstance(verdict, Never):
        return Row(
            device.id,
            "busy" if verdict.code == "NoDisk" else "never",  # there may be room another time
            verdict.code,
            verdict.text,
            peak_memory_mib=verdict.peak_memory_mib,
            admitted_mib=verdict.admitted_mib,
            has_mib=has_mib,
            source=verdict.source,
        )
    closed = closed_reason(view.closings(device.id))
    if closed is not None:  # it may take jobs again: not *never*
        return Row(
            device.id,
            "busy",
            closed.code,
            f"takes no new jobs: {closed.text}",
            peak_memory_mib=verdict.peak_memory_mib,
            admitted_mib=verdict.admitted_mib,
            has_mib=has_mib,
            time_s=verdict.time_s,
            time_p90_s=verdict.time_p90_s,
            energy_j=verdict.energy_j,
            source=verdict.source,
        )
    placement, score = _considered_for(device, considered)
    start_s = placement.start_s if placement is not None else view.available_s(device)
    if chosen is not None and chosen.device.id == device.id:
        start_s = chosen.start_s
    fetch_s = view.fetch_s(job, device)
    busy = start_s > view.now_s
    if busy:
        reason = f"busy for another {format_duration(start_s - view.now_s)}"
    elif verdict.fit == "tight":
        reason = "live bytes and runtime fit, the likely peak does not"
    else:
        reason = ""
    return Row(
        device.id,
        "busy" if busy else verdict.fit,
        "DeviceBusy" if busy else None,
        reason,
        peak_memory_mib=verdict.peak_memory_mib,
        admitted_mib=verdict.admitted_mib,
        has_mib=has_mib,
        start_s=start_s,
        time_s=verdict.time_s,
        time_p90_s=verdict.time_p90_s,
        fetch_s=fetch_s,
        finish_s=start_s + (fetch_s or 0.0) + verdict.time_s,
        energy_j=verdict.energy_j,
        score=score,
        source=verdict.source,
        chosen=chosen is not None and chosen.device.id == device.id,
    )


def _considered_for(
    device: Device, considered: Considered | None
) -> tuple[Placement | None, float | None]:
    if considered is not None:
        for placement, score in zip(considered.options, considered.scores, strict=True):
            if placement.device.id == device.id:
                return placement, score
    return None, None
