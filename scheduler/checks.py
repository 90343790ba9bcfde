"""The core checks the policy: what it may decide, and who decides when it breaks the contract."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from jetsched.records import Job, Never, Placement, Preempt, Remark
from jetsched.scheduler.blame import PolicyError, where_raised, where_yielded
from jetsched.scheduler.closed import closed_reason
from jetsched.scheduler.view import Choice, Policy, View

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
) -> Iterator[Choice]:
    """The policy's legal choices, one at a time; ``fallback`` decides where it errs.

    The caller must lay each placement over the view before it asks for the next. What went wrong is
    appended to ``errors`` and, per job id, put into ``notes``, with the place in the source.
    """
    illegal = 0
    heard: Iterable[Choice] = ()
    try:
        heard = policy.decide(view)
        for choice in heard:
            if view.sound(choice):
                yield choice  # the view made it, just now: nothing about it can be wrong
                continue
            wrong = _wrong(view, choice)
            if wrong is None:
                yield _trusted(view, choice)
                continue
            wrong = f"{wrong} ({where_yielded(heard, policy)})"
            job = _waiting_job(view, choice)
            yield from _instead(policy, fallback, view, wrong, job, errors, notes)
            illegal += 1
            if illegal == PATIENCE:
                wrong = f"broke its contract {illegal} times, then: it {wrong}"
                break
        else:
            return
    except PolicyError as error:
        wrong = str(error)
    except Exception as error:  # a plug-in's bug must not take the scheduler down
        where = where_raised(error, policy, heard)
        wrong = f"failed: {type(error).__name__}: {error} ({where})"
    errors.append(f"policy {policy_name(policy)} {wrong}")
    if fallback is not None:  # it decides about all the others
        yield from _listen_to(fallback, policy, view, wrong, errors, notes)


def _instead(
    policy: Policy,
    fallback: Policy | None,
    view: View,
    wrong: str,
    job: Job | None,
    errors: list[str],
    notes: dict[str, str],
) -> Iterator[Choice]:
    """What the fallback decides about a waiting job that the policy has placed wrongly."""
    errors.append(f"policy {policy_name(policy)} {wrong}")
    if fallback is not None and job is not None:
        yield from _listen_to(fallback, policy, view.only(job), wrong, errors, notes)


def _listen_to(
    fallback: Policy,
    policy: Policy,
    view: View,
    wrong: str,
    errors: list[str],
    notes: dict[str, str],
) -> Iterator[Choice]:
    note = f"{policy_name(policy)} {wrong}; {policy_name(fallback)} decided instead"
    for choice in choices(fallback, None, view, errors, {}):
        if isinstance(choice, Placement):
            notes[choice.job.id] = note
        yield choice


def _trusted(view: View, choice: Choice) -> Choice:
    """The choice with the scheduler's own records in it, whatever the policy put there."""
    if not isinstance(choice, Placement):
        return choice
    device = view.devices[choice.device.id]
    job = view.record(choice.job.id).job
    estimate = view.verdict(job, device)
    assert not isinstance(estimate, Never)
    start_s = max(choice.start_s, view.now_s)
    finish_s = start_s + (view.fetch_s(job, device) or 0.0) + estimate.time_s
    return Placement(job, device, estimate, start_s, finish_s)


def _waiting_job(view: View, choice: object) -> Job | None:
    """The job of a choice, if it is one that waits for a placement."""
    if isinstance(choice, Placement) and isinstance(choice.job, Job):
        try:
            record = view.record(choice.job.id)
        except KeyError:
            return None
        if record.state == "waiting" and not view.is_placed(record.job.id):
            return record.job
    return None


def _wrong(view: View, choice: object) -> str | None:
    """What is wrong with a choice, as the rest of a sentence; None if it is legal."""
    if isinstance(choice, Preempt):
        try:
            running = view.record(choice.job_id).current is not None
        except KeyError:
            running = False
        if running and not isinstance(choice.text, str):
            return f"wanted to preempt {choice.job_id}, but its text is none"
        return None if running else f"wanted to preempt {choice.job_id}, which is not running"
    if isinstance(choice, Remark):
        waits = view.waits(choice.job_id) and isinstance(choice.text, str)
        return None if waits else f"remarked on {choice.job_id}, which is not waiting"
    if not isinstance(choice, Placement):
        return f"returned a {type(choice).__name__}, not a Placement"
    job, device = _waiting_job(view, choice), choice.device
    if job is None:
        return f"placed {choice.job.id}, which is not waiting"
    if view.devices.get(device.id) is None:
        closed = closed_reason(view.closings(device.id))
        if closed is not None and device.id in view.all_devices:
            return f"placed {job.id} on {device.id}, which takes no new jobs: {closed.text}"
        return f"placed {job.id} on {device.id}, which is not there"
    device = view.devices[device.id]
    verdict = view.verdict(job, device)
    if isinstance(verdict, Never):
        return f"placed {job.id} on {device.id}, where it never runs: {verdict.text}"
    if verdict.fit == "tight" and not view.admits_tight(job):
        return f"placed {job.id} on {device.id}, where it is tight, and it fits elsewhere"
    if not math.isfinite(choice.start_s):
        return f"placed {job.id} on {device.id} at {choice.start_s}"
    if choice.start_s <= view.now_s and not view.is_free(device):
        if view.share > 1:
            if view.beside(job, device) is not None:
                return None
            return f"placed {job.id} on {device.id}, which has no room for it beside others"
        return f"placed {job.id} on {device.id}, which is busy"
    return None
