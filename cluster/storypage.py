"""The page of one job: its life, why it ran where it did, what it took beside what was thought."""

from __future__ import annotations

from collections.abc import Iterable

from jetsched.cluster.markup import Html, joined, tag
from jetsched.cluster.pastjobs import PastAttempt, PastJob
from jetsched.cluster.story import JobStory
from jetsched.cluster.storycosts import cost_parts
from jetsched.cluster.storyparts import (
    Head,
    Line,
    bullets,
    facts,
    marked,
    moment,
    next_commands,
    short_moment,
    table,
    whole_page,
)
from jetsched.cluster.summaries import Bar, label
from jetsched.cluster.svg_lanes import Lanes, Track, lanes
from jetsched.cluster.timescale import on_the_clock
from jetsched.records import Decision
from jetsched.units import NOTHING, format_duration, format_energy, format_size
from jetsched.words import DECISION, decision_cells, outcome_word, state_word

_TEXT_COLUMNS = ("VERDICT",)


def job_page(story: JobStory) -> str:
    """The whole page, one file."""
    job = story.past.job
    name = f" {job.name}" if job.name else ""
    body = [
        tag("h1", f"Job {job.id}{name}"),
        *_summary(story),
        *_life(story),
        *_why(story),
        *_attempts(story),
        *cost_parts(story.past.attempts),
        *_log(story),
        *_reading(story),
        next_commands(f"jetsched why {job.id}", f"jetsched logs {job.id}", "jetsched history"),
    ]
    return whole_page(f"jetsched: job {job.id}{name}", body)


# --------------------------------------------------------------------------------------- its parts


def _summary(story: JobStory) -> list[Html]:
    past, job, last = story.past, story.past.job, story.last
    labels = [tag("span", state_of(story), class_="label")]
    if story.emulated:
        labels.append(
            tag("span", "emulated", class_="label", title="it ran on boards that are none")
        )
    waited_s = past.attempts[0].start_s - past.submitted_s if past.attempts else None
    ended_s = past.end_s if past.over else None
    pairs: list[tuple[str, str]] = [
        ("work", job.workload.label),
        ("amount", f"{job.amount:,.10g}" if job.amount != 1 else ""),
        ("by", job.user),
        ("priority", str(job.priority)),
        ("submitted", moment(past.submitted_s)),
        ("waited for its first start", "" if waited_s is None else format_duration(waited_s)),
        ("ended", "" if ended_s is None else moment(ended_s)),
    ]
    if ended_s is not None:
        pairs.append(("from submission to end", format_duration(ended_s - past.submitted_s)))
    pairs += [("deadline", _deadline(story)), ("ran on", ", ".join(_boards(past.attempts)))]
    pairs.append(("energy", _energy(past.attempts)))
    parts = [joined(labels, " "), facts(pairs)]
    bad = [a for a in past.attempts if a.outcome not in (None, "done")]
    if past.given_up:
        parts.append(tag("p", f"Given up: {past.given_up}", class_="bad"))
    elif bad and bad[-1] is last and bad[-1].text:
        parts.append(
            tag("p", f"{outcome_word(str(bad[-1].outcome))}: {bad[-1].text}", class_="bad")
        )
    if story.now is None and bad and bad[-1] is last and not past.over:
        parts.append(tag("p", "It is not over: it waits for another try."))
    if story.now is not None and story.now.words:
        parts.append(tag("p", f"Now: {story.now.words}"))
    return parts


def state_of(story: JobStory) -> str:
    """``DONE``, ``KILLED(memory)``, ``WAITING``: as the screens show it."""
    if story.now is not None:
        return state_word(story.now.state, story.past.outcome)
    return past_state(story.past)


def past_state(past: PastJob) -> str:
    """The same, of a job as the history has it."""
    if past.outcome == "running":
        return "RUNNING"
    return outcome_word(past.outcome) if past.over else "WAITING"


def _deadline(story: JobStory) -> str:
    deadline_s, end_s = story.past.job.deadline_s, story.past.end_s
    if deadline_s is None:
        return ""
    words = moment(deadline_s)
    if story.past.outcome == "done" and end_s is not None:
        off = format_duration(abs(end_s - deadline_s))
        return f"{words}: {'met' if end_s <= deadline_s else 'missed'}, by {off}"
    return f"{words}: passed" if story.at_s > deadline_s else words


def _boards(attempts: Iterable[PastAttempt]) -> list[str]:
    return list(dict.fromkeys(f"{a.device} ({a.device_class.label})" for a in attempts))


def _energy(attempts: Iterable[PastAttempt]) -> str:
    seen = [a.measurement for a in attempts if a.measurement is not None]
    known = [m.energy_j for m in seen if m.energy_j is not None]
    if not known:
        return ""
    few = "" if len(known) == len(seen) else f", of {len(known)} of {len(seen)} attempts"
    emulated = any(m.emulated for m in seen)
    return joined((marked(format_energy(sum(known)), "measured", emulated=emulated), few))


def _life(story: JobStory) -> list[Html]:
    past = story.past
    rows = [Line([short_moment(told.at_s), told.text]) for told in story.told]
    parts = [tag("h2", "Its life")]
    if past.attempts:
        parts.append(_picture(story))
    parts.append(table("", [Head("when"), Head("what happened", words=True)], rows))
    return parts


def _picture(story: JobStory) -> Html:
    past = story.past
    last_s = max([a.end_s or 0.0 for a in past.attempts])
    until_s = last_s if past.over else max(last_s, story.at_s)
    tracks = []
    for device in dict.fromkeys(a.device for a in past.attempts):
        bars = [
            Bar(f"try {a.number}", label(past.job), a.start_s, a.end_s, a.outcome)
            for a in past.attempts
            if a.device == device
        ]
        tracks.append(Track(device, bars))
    ends = ", ".join(
        f"try {a.number} on {a.device}: {outcome_word(a.outcome or 'running')}"
        for a in past.attempts
    )
    return lanes(
        [Lanes(tracks)],
        on_the_clock(past.submitted_s, until_s),
        title=f"Its attempts from submission on. {ends}.",
        prefix="life",
    )


def _why(story: JobStory) -> list[Html]:
    now = story.now.decision if story.now is not None else None
    if now is None and not story.decisions:
        why = "The history does not say what the policy saw: no attempt was started with it."
        return [tag("h2", "Why there"), tag("p", why)]
    parts = [tag("h2", "Why there")]
    if now is not None:
        parts += _decision(now, f"What policy {now.policy} sees now:")
    for number, decision in reversed(list(story.decisions.items())):
        words = f"Try {number}: policy {decision.policy} chose {decision.chosen}"
        found = _decision(decision, f"{words}, {moment(decision.at_s)}.")
        if len(parts) > 1:
            found = [tag("details", tag("summary", words), *found)]
        parts += found
    return parts


def _decision(decision: Decision, caption: str) -> list[Html]:
    """The very table of `why`."""
    best = min((r.score for r in decision.rows if r.score is not None), default=0.0)
    heads = [Head(title.lower(), words=title in _TEXT_COLUMNS) for title in DECISION]
    lines = [
        Line(decision_cells(row, decision.at_s, best), "chosen" if row.chosen else None)
        for row in decision.rows
    ]
    parts = [table(caption, heads, lines)]
    parts += [tag("p", f"Note: {text}") for text in (decision.note, decision.remark) if text]
    if decision.chosen is None and decision.reason is not None:
        parts.append(tag("p", f"It waits: {decision.reason.code}: {decision.reason.text}"))
    return parts


def _attempts(story: JobStory) -> list[Html]:
    if not story.past.attempts:
        return [tag("h2", "Attempts"), tag("p", "None so far.")]
    heads = [
        *(Head("try"), Head("on"), Head("started"), Head("took"), Head("estimated")),
        *(Head("memory held"), Head("energy"), Head("ended", words=True)),
    ]
    return [
        tag("h2", "Attempts"),
        table("", heads, [Line(_attempt_cells(a)) for a in story.past.attempts]),
    ]


def _attempt_cells(attempt: PastAttempt) -> list[str]:
    seen, emulated = attempt.measurement, attempt.device_class.emulated
    ended = "runs" if attempt.outcome is None else outcome_word(attempt.outcome)
    if attempt.reattached:
        ended += " (its board was away meanwhile)"
    held = NOTHING if seen is None else format_size(seen.peak_memory_mib)
    energy = NOTHING if seen is None else format_energy(seen.energy_j)
    return [
        str(attempt.number),
        attempt.device,
        short_moment(attempt.start_s),
        marked(format_duration(attempt.took_s), "measured", emulated=emulated),
        marked(format_duration(attempt.estimated_s), attempt.estimate.source),
        marked(held, "measured", emulated=emulated),
        marked(energy, "measured", emulated=emulated),
        ended + (f": {attempt.text}" if attempt.text else ""),
    ]


def _log(story: JobStory) -> list[Html]:
    if story.log is None:
        return [tag("h2", "The end of its log"), tag("p", "There is no log of it here.")]
    log = story.log
    before = f" Before it, {log.left_out:,} bytes are left out." if log.left_out else ""
    return [
        tag("h2", "The end of its log"),
        tag("p", f"Of try {log.attempt}.{before}", class_="soft"),
        tag("pre", log.text, class_="log", tabindex="0", role="region", aria_label="log"),
    ]


def _reading(story: JobStory) -> list[Html]:
    lines = [
        f"From {story.source}, as of {moment(story.at_s)}.",
        "(m) is measured, (e) estimated by the cost model, (a) assumed from data sheets.",
        "What was estimated is what the policy saw when it placed the attempt.",
    ]
    if story.emulated:
        lines.append(
            "Emulated boards are real processes under a memory cap, slowed down: their times and"
            " sizes are measured, and say nothing about a real board."
        )
    return [tag("h2", "How to read this"), bullets(lines)]
