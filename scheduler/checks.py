"""The core checks the policy: what it may decide, and who decides when it breaks the contract."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from jetsched.records import Job, Never, Placement, Preempt
from jetsched.scheduler.view import Policy, View

#: After so many illegal choices in one decision the policy is not listened to any more.
PATIENCE = 10


def policy_name(policy: Policy) -> str:
    """What a person calls the policy."""
    return str(getattr(policy, "name", "") or type(policy).__name__)


def choices(
    policy: Policy,
    fallback: Policy | None,
    view: View,
    errors: list[str],
    notes: dict[str, str],
) -> Iterator[Placement | Preempt]:
    """The policy's legal choices, one at a time; ``fallback`` decides where it errs.

    The caller must lay each placement over the view before it asks for the next. What went wrong is
    appended to ``errors`` and, per job id, put into ``notes``.
    """
    name = policy_name(policy)
    illegal = 0
    try:
        for choice in policy.decide(view):
            wrong = _wrong(view, choice)
            if wrong is None:
                yield _trusted(view, choice)
                continue
            illegal += 1
            errors.append(f"policy {name} {wrong}")
            job = getattr(choice, "job", None)
            if fallback is not None and isinstance(job, Job) and _waits(view, job):
                notes[job.id] = f"{name} {wrong}; {policy_name(fallback)} decided instead"
                yield from _legal(fallback, view.only(job))
            if illegal >= PATIENCE:
                break
        else:
            return
    except Exception as error:  # a plug-in's bug must not take the scheduler down
        wrong = f"failed: {type(error).__name__}: {error}"
        errors.append(f"policy {name} {wrong}")
    if fallback is not None:
        for choice in _legal(fallback, view):
            if isinstance(choice, Placement):
                notes[choice.job.id] = f"{name} {wrong}; {policy_name(fallback)} decided instead"
            yield choice


def _legal(policy: Policy, view: View) -> Iterator[Placement | Preempt]:
    for choice in policy.decide(view):
        if _wrong(view, choice) is None:
            yield _trusted(view, choice)


def _trusted(view: View, choice: Placement | Preempt) -> Placement | Preempt:
    """The choice with the scheduler's own records in it, whatever the policy put there."""
    if isinstance(choice, Preempt):
        return choice
    device = view.devices[choice.device.id]
    job = view.record(choice.job.id).job
    estimate = view.verdict(job, device)
    assert not isinstance(estimate, Never)
    start_s = max(choice.start_s, view.now_s)
    return replace(
        choice,
        job=job,
        device=device,
        estimate=estimate,
        start_s=start_s,
        finish_s=start_s + estimate.time_s,
    )


def _waits(view: View, job: Job) -> bool:
    try:
        return view.record(job.id).state == "waiting" and not view.is_placed(job.id)
    except KeyError:
        return False


def _wrong(view: View, choice: object) -> str | None:
    """What is wrong with a choice, as the rest of a sentence; None if it is legal."""
    if isinstance(choice, Preempt):
        try:
            running = view.record(choice.job_id).current is not None
        except KeyError:
            running = False
        return None if running else f"wanted to preempt {choice.job_id}, which is not running"
    if not isinstance(choice, Placement):
        return f"returned a {type(choice).__name__}, not a Placement"
    job, device = choice.job, choice.device
    if not _waits(view, job):
        return f"placed {job.id}, which is not waiting"
    if view.devices.get(device.id) is None:
        return f"placed {job.id} on {device.id}, which is not there"
    device = view.devices[device.id]
    verdict = view.verdict(view.record(job.id).job, device)
    if isinstance(verdict, Never):
        return f"placed {job.id} on {device.id}, where it never runs: {verdict.text}"
    if verdict.fit == "tight" and not view.admits_tight(job):
        return f"placed {job.id} on {device.id}, where it is tight, and it fits elsewhere"
    if not math.isfinite(choice.start_s):
        return f"placed {job.id} on {device.id} at {choice.start_s}"
    if choice.start_s <= view.now_s and not view.is_free(device):
        return f"placed {job.id} on {device.id}, which is busy"
    return None
