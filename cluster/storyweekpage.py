"""The page of a week: who ran what, what ended badly and why, how the boards were used."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from jetsched.cluster.markup import Html, joined, tag
from jetsched.cluster.pastjobs import PastJob
from jetsched.cluster.presences import BoardPast
from jetsched.cluster.storyguess import guess_parts
from jetsched.cluster.storypage import past_state
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
from jetsched.cluster.storyweek import Ended, WeekStory, energy_of
from jetsched.cluster.summaries import Bar, label
from jetsched.cluster.svg_lanes import Lanes, Track, lanes
from jetsched.cluster.timescale import on_the_clock
from jetsched.units import NOTHING, format_duration, format_energy, format_size
from jetsched.words import outcome_word

#: So many boards are drawn, and so many rows of a table are worth reading.
MOST_BOARDS, MOST_ROWS = 60, 200
#: Ends that a person wants to know the cause of.
_BAD = ("killed_memory", "killed_time", "killed_heat", "failed", "lost", "preempted")


def week_page(story: WeekStory) -> str:
    """The whole page, one file."""
    title = f"jetsched: {story.name}"
    body = [
        tag("h1", f"The fleet, {story.name}"),
        *_summary(story),
        *_picture(story),
        *_bad_ends(story),
        *_boards(story),
        *guess_parts(story),
        *_jobs(story),
        *_told(story),
        *_reading(story),
        next_commands(
            "jetsched history", "jetsched report JOB --out job.html",
            "jetsched compare --replay last-week --policies all --out report",
        ),
    ]  # fmt: skip
    return whole_page(title, body)


# ----------------------------------------------------------------------------------------- summary


def _summary(story: WeekStory) -> list[Html]:
    outcomes, energy = story.outcomes, energy_of(a for _, a in story.ended)
    completions = [(job.end_s or 0.0) - job.submitted_s for job in story.done]
    waits = [job.attempts[0].start_s - job.submitted_s for job in story.done]
    killed = sum(count for name, count in outcomes.items() if name.startswith("killed"))
    still = [job for job in story.jobs if not job.over]
    few = f", of {energy.of:,} of {energy.ended:,} attempts" if energy.of < energy.ended else ""
    used = joined(
        (marked(format_energy(energy.energy_j), "measured", emulated=story.emulated), few)
    )
    labels = [tag("span", "emulated", class_="label")] if story.emulated else []
    busy_s = sum(story.busy_s(board.id) for board in story.boards)
    there_s = sum(board.there_s for board in story.boards)
    return [
        joined(labels),
        facts(
            [
                ("from", moment(story.from_s)),
                ("until", moment(story.until_s)),
                ("jobs submitted", f"{len(story.submitted):,}"),
                ("jobs done", f"{len(story.done):,}"),
                ("killed", f"{killed:,} attempt{'s' * (killed > 1)}" if killed else "none"),
                ("failed", _count(outcomes["failed"])),
                ("lost with a board", _count(outcomes["lost"])),
                ("cancelled", _count(sum(j.outcome == "cancelled" for j in story.jobs))),
                ("missed deadlines", _count(len(_late(story)))),
                ("not over at the end", _count(len(still))),
                ("from submission to done", _times(completions)),
                ("of which waiting", _times(waits)),
                ("boards in use", _share(busy_s, there_s)),
                ("energy", used if energy.energy_j is not None else ""),
            ]
        ),
    ]


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


def _times(values: Sequence[float]) -> str:
    """Mean, and what 95 of 100 are within."""
    if not values:
        return ""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return joined(
        (
            marked(format_duration(mean(values)), "measured"),
            f" on average, 95 % within {format_duration(p95)}",
        )
    )


def _share(part_s: float, whole_s: float) -> str:
    return f"{100 * part_s / whole_s:.0f} %" if whole_s else NOTHING


def _late(story: WeekStory) -> list[PastJob]:
    return [
        job
        for job in story.jobs
        if job.job.deadline_s is not None
        and job.outcome != "cancelled"
        and story.from_s <= job.job.deadline_s < story.until_s
        and (job.outcome != "done" or (job.end_s or 0.0) > job.job.deadline_s)
    ]


# ----------------------------------------------------------------------------------------- picture


def _picture(story: WeekStory) -> list[Html]:
    if not story.boards:
        return [tag("h2", "Who ran what"), tag("p", "No board was there in that time.")]
    shown = _worth_drawing(story)
    tracks = []
    for board in shown:
        bars = [
            Bar(job.job.id, label(job.job), a.start_s, a.end_s, a.outcome)
            for job, a in sorted(story.on[board.id], key=lambda one: one.attempt.start_s)
        ]
        use = _share(story.busy_s(board.id), board.there_s)
        name = f"{board.id} · {board.device_class.label} · {use} in use"
        tracks.append(Track(name, bars, board.away))
    outcomes = ", ".join(f"{outcome_word(o)} {count:,}" for o, count in story.outcomes.items())
    parts = [
        tag("h2", "Who ran what"),
        lanes(
            [Lanes(tracks)],
            on_the_clock(story.from_s, story.until_s),
            title=f"A lane per board with its jobs over time. Attempts that ended: {outcomes}."
            " The tables below have them.",
            prefix="week",
        ),
    ]
    if len(shown) < len(story.boards):
        text = f"The {len(shown)} busiest of {len(story.boards):,} boards are drawn."
        parts.append(tag("p", text, class_="soft"))
    return parts


def _worth_drawing(story: WeekStory) -> list[BoardPast]:
    """The busiest, in the order of their ids."""
    busiest = sorted(story.boards, key=lambda board: -story.busy_s(board.id))[:MOST_BOARDS]
    return sorted(busiest, key=lambda board: (len(board.id), board.id))


# --------------------------------------------------------------------------------- what ended badly


def _bad_ends(story: WeekStory) -> list[Html]:
    bad = [one for one in story.ended if one.attempt.outcome in _BAD]
    head = tag("h2", "What ended badly, and why")
    if not bad:
        return [head, tag("p", "Nothing: no attempt was killed, failed or lost.")]
    heads = [
        *(Head("when"), Head("job", words=True), Head("on", words=True)),
        *(Head("how", words=True), Head("after"), Head("why", words=True)),
        Head("and then", words=True),
    ]
    lines = [Line(_bad_cells(story, one)) for one in bad[-MOST_ROWS:]]
    return [head, table("", heads, lines), *_more(len(lines), len(bad))]


def _bad_cells(story: WeekStory, one: Ended) -> list[str]:
    job, attempt = one
    return [
        short_moment(attempt.end_s or 0.0),
        f"{job.job.id} {job.job.name}".rstrip(),
        attempt.device,
        outcome_word(str(attempt.outcome)),
        format_duration((attempt.end_s or 0.0) - attempt.start_s),
        _cause(one),
        _then(job, attempt.number, story.until_s),
    ]


def _cause(one: Ended) -> str:
    """What was told of it, and the evidence that there is."""
    seen = one.attempt.measurement
    told = [one.attempt.text or (seen.text if seen is not None else "")]
    told += list(seen.evidence[:2]) if seen is not None else []
    return " · ".join(dict.fromkeys(text for text in told if text)) or NOTHING


def _then(job: PastJob, number: int, until_s: float) -> str:
    later = [a for a in job.attempts if a.number > number]
    if later:
        ended = "runs" if later[0].outcome is None else outcome_word(later[0].outcome)
        return f"try {later[0].number} on {later[0].device}: {ended}"
    if job.given_up:
        return f"given up: {job.given_up}"
    if job.outcome == "cancelled":
        return "cancelled"
    return NOTHING if job.over else "waits for another try"


# ------------------------------------------------------------------------------------------ tables


def _boards(story: WeekStory) -> list[Html]:
    heads = [
        *(Head("board"), Head("kind", words=True), Head("there"), Head("busy"), Head("in use")),
        *(Head("attempts"), Head("done"), Head("killed"), Head("lost"), Head("energy")),
        Head("memory at most"),
    ]
    lines = [Line(_board_cells(story, board)) for board in story.boards[:MOST_ROWS]]
    return [
        tag("h2", "How the boards were used"),
        table("", heads, lines),
        *_more(len(lines), len(story.boards)),
    ]


def _board_cells(story: WeekStory, board: BoardPast) -> list[str]:
    attempts = [a for _, a in story.on[board.id]]
    busy_s, energy = story.busy_s(board.id), energy_of(attempts)
    outcomes = [a.outcome or "" for a in attempts]
    held = [a.measurement.peak_memory_mib for a in attempts if a.measurement is not None]
    most_mib = max((mib for mib in held if mib is not None), default=None)
    has = format_size(board.device_class.memory_mib)
    memory = NOTHING if most_mib is None else f"{format_size(most_mib)} of {has}"
    emulated = board.device_class.emulated
    return [
        board.id,
        board.device_class.label,
        format_duration(board.there_s),
        format_duration(busy_s),
        _share(busy_s, board.there_s),
        str(len(attempts)),
        str(outcomes.count("done")),
        str(sum(outcome.startswith("killed") for outcome in outcomes)),
        str(outcomes.count("lost")),
        marked(format_energy(energy.energy_j), "measured", emulated=emulated),
        marked(memory, "measured", emulated=emulated),
    ]


def _jobs(story: WeekStory) -> list[Html]:
    heads = [
        *(Head("job"), Head("name", words=True), Head("work", words=True), Head("submitted")),
        *(Head("waited"), Head("on", words=True), Head("took"), Head("estimated")),
        *(Head("energy"), Head("ended", words=True)),
    ]
    shown = story.jobs[-MOST_ROWS:]
    lines = [Line(_job_cells(job)) for job in shown]
    return [tag("h2", "Jobs"), table("", heads, lines), *_more(len(shown), len(story.jobs))]


def _job_cells(job: PastJob) -> list[str]:
    last = job.attempts[-1] if job.attempts else None
    energy = energy_of(job.attempts)
    emulated = last is not None and last.device_class.emulated
    took = marked(format_duration(last.took_s), "measured", emulated=emulated) if last else NOTHING
    thought = marked(format_duration(last.estimated_s), last.estimate.source) if last else NOTHING
    return [
        job.job.id,
        job.job.name or NOTHING,
        job.job.workload.label,
        short_moment(job.submitted_s),
        NOTHING if last is None else format_duration(job.attempts[0].start_s - job.submitted_s),
        ", ".join(dict.fromkeys(a.device for a in job.attempts)) or NOTHING,
        took,
        thought,
        marked(format_energy(energy.energy_j), "measured", emulated=emulated),
        past_state(job),
    ]


def _told(story: WeekStory) -> list[Html]:
    if not story.told:
        return []
    lines = [Line([short_moment(one.at_s), one.text]) for one in story.told[-MOST_ROWS:]]
    heads = [Head("when"), Head("what happened", words=True)]
    return [
        tag("h2", "Boards, policies, the queue"),
        table("", heads, lines),
        *_more(len(lines), len(story.told)),
    ]


def _more(shown: int, there: int) -> list[Html]:
    if shown >= there:
        return []
    words = f"{shown:,} of {there:,} are shown. All of them: jetsched report --json."
    return [tag("p", words, class_="soft")]


def _reading(story: WeekStory) -> list[Html]:
    lines = [
        f"From {story.source}. Jobs and attempts are as they stood at the end of that time.",
        "(m) is measured, (e) estimated by the cost model, (a) assumed from data sheets.",
        "In use is the part of the time that a board was there in which something ran on it.",
        "Energy is that of the measured part of attempts that ended in that time, on boards that"
        " have a sensor; idle boards use some as well, which is not in it.",
    ]
    if story.emulated:
        lines.append(
            "Emulated boards are real processes under a memory cap, slowed down: their times and"
            " sizes are measured, and say nothing about a real board."
        )
    return [tag("h2", "How to read this"), bullets(lines)]
