"""What an attempt took beside what was thought of it: the numbers, its phases, its memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jetsched.cluster.markup import Html, tag
from jetsched.cluster.pastjobs import PastAttempt
from jetsched.cluster.storyparts import Head, Line, marked, table
from jetsched.cluster.svg_bars import Part, Stack, stacks
from jetsched.records import Estimate, Measurement
from jetsched.units import NOTHING, format_duration, format_energy, format_size, number
from jetsched.words import off_words, outcome_word

#: What the phases of a run are called.
_PHASES = {
    "forward_backward": "forward and backward",
    "optimizer": "optimizer",
    "prefill": "prefill",
    "decode": "decode",
}
#: Less than this part of a run is not worth a piece of a bar.
_TINY = 0.002


def cost_parts(attempts: Sequence[PastAttempt]) -> list[Html]:
    """The last attempt that was measured in full, and those before it folded away."""
    seen = [a for a in attempts if a.measurement is not None]
    if not seen:
        why = "No attempt of it has ended with a measurement."
        return [tag("h2", "Measured beside estimated"), tag("p", why)]
    parts = [tag("h2", "Measured beside estimated")]
    for place, attempt in enumerate(reversed(seen)):
        words = f"Try {attempt.number} on {attempt.device}: {outcome_word(attempt.outcome or '')}"
        found = [_numbers(attempt, words), *_phases(attempt), *_memory(attempt)]
        if place:
            found = [tag("details", tag("summary", words), *found)]
        parts += found
    return parts


# ----------------------------------------------------------------------------------------- numbers


def _numbers(attempt: PastAttempt, caption: str) -> Html:
    seen, thought = attempt.measurement, attempt.estimate
    assert seen is not None
    emulated = seen.emulated or attempt.device_class.emulated
    rows: list[tuple[str, float | None, float | None, str]] = [
        ("time, loading included", attempt.took_s, thought.time_s, "duration"),
        ("the run without loading", *_without_loading(attempt), "duration"),
        ("loading", seen.load_s, thought.load_s or None, "duration"),
        ("memory in tensors", seen.live_memory_mib, thought.peak_memory_mib or None, "size"),
        ("memory that it held", seen.peak_memory_mib, thought.admitted_mib or None, "size"),
        ("GPU", seen.gpu_util_pct, thought.gpu_util_pct, "percent"),
        ("energy", seen.energy_j, thought.energy_j, "energy"),
        ("power", seen.power_w, None, "power"),
        ("hottest", seen.temperature_c, None, "heat"),
        ("tokens per second", seen.tokens_per_s, None, "number"),
    ]
    lines = []
    done = attempt.outcome == "done"
    # The time of a command that nobody has measured is that of the work it is said to be like.
    guessed = seen.workload.kind == "command" and thought.source != "measured"
    for name, measured, estimated, kind in rows:
        if measured is None and (estimated is None or kind not in ("duration", "size")):
            continue
        told_by_guess = guessed and kind == "duration"
        lines.append(
            Line(
                [
                    name,
                    marked(_shown(measured, kind), "measured", emulated=emulated),
                    marked(_shown(estimated, kind), thought.source),
                    off_words(measured, estimated, whole=done and not told_by_guess) or NOTHING,
                ]
            )
        )
    heads = [Head("figure"), Head("measured"), Head("estimated"), Head("difference")]
    note = f". {thought.note}" if thought.note else ""
    spread = f" (nine of ten within {format_duration(thought.time_p90_s)})"
    return table(f"{caption}. Estimated before it began{spread}{note}.", heads, lines)


def _without_loading(attempt: PastAttempt) -> tuple[float | None, float | None]:
    """What is compared on the page Cost model, too; nothing where either side is not known."""
    seen, thought = attempt.measurement, attempt.estimate
    if seen is None or seen.time_s is None or seen.load_s is None or not thought.load_s:
        return None, None
    return seen.time_s - seen.load_s, thought.time_s - thought.load_s


def _shown(value: float | None, kind: str) -> str:
    match kind:
        case "duration":
            return format_duration(value)
        case "size":
            return format_size(value)
        case "energy":
            return format_energy(value)
        case "percent":
            return number(value, 0, " %")
        case "power":
            return number(value, 1, " W")
        case "heat":
            return number(value, 0, " °C")
    return number(value, 1)


# ------------------------------------------------------------------------------------------ phases


def _phases(attempt: PastAttempt) -> list[Html]:
    seen = attempt.measurement
    if seen is None or not attempt.took_s:
        return []
    pieces = _measured_phases(seen, attempt.took_s)
    if len(pieces) < 2:
        return []
    thought = attempt.estimate
    bars = [Stack("measured", pieces, format_duration(attempt.took_s))]
    if attempt.outcome == "done" and thought.load_s:
        bars.append(Stack("estimated", _estimated_phases(thought), format_duration(thought.time_s)))
    told = ", ".join(f"{piece.name} {piece.words}" for piece in pieces)
    return [
        tag("h3", "Where the time went"),
        stacks(bars, title=f"Phases, measured: {told}.", prefix=f"phases-{attempt.number}"),
    ]


def _measured_phases(seen: Measurement, took_s: float) -> list[Part]:
    work_s = seen.work_s or 0.0
    found = [("loading", seen.load_s or 0.0), ("warm-up", seen.warmup_s or 0.0)]
    phases = [(_PHASES.get(name, name), spent) for name, spent in seen.phases_s.items()]
    if sum(spent for _, spent in phases) > 1.001 * work_s:  # of another span than the work
        phases = []
    found += phases
    found.append(("other work" if phases else "work", work_s - sum(s for _, s in phases)))
    found.append(("the rest", took_s - sum(spent for _, spent in found)))
    return [
        Part(name, spent, format_duration(spent)) for name, spent in found if spent > _TINY * took_s
    ]


def _estimated_phases(thought: Estimate) -> list[Part]:
    rest_s = max(0.0, thought.time_s - thought.load_s)
    return [
        Part("loading", thought.load_s, format_duration(thought.load_s)),
        Part("work", rest_s, format_duration(rest_s)),
    ]


# ------------------------------------------------------------------------------------------ memory


def _memory(attempt: PastAttempt) -> list[Html]:
    """Memory over its estimate: the pieces of both, and a line at what the board has for jobs."""
    seen, thought = attempt.measurement, attempt.estimate
    has_mib = attempt.device_class.memory_mib
    bars = [
        Stack(name, parts, format_size(sum(part.value for part in parts)))
        for name, parts in (
            ("measured", _held(seen) if seen is not None else []),
            ("estimated", _thought(thought)),
        )
        if parts
    ]
    if not bars:
        return []
    told = "; ".join(
        f"{bar.name} {bar.words} ({', '.join(f'{p.name} {p.words}' for p in bar.parts)})"
        for bar in bars
    )
    limit = f"{attempt.device} has {format_size(has_mib)} for jobs"
    return [
        tag("h3", "Where the memory went"),
        stacks(
            bars,
            title=f"Memory: {told}; {limit}.",
            prefix=f"memory-{attempt.number}",
            limit=has_mib,
            limit_words=limit,
        ),
    ]


def _held(seen: Measurement) -> list[Part]:
    held, live = seen.peak_memory_mib, seen.live_memory_mib
    if held is None:
        return []
    if live is None or live > held:
        return _parts([("held by the process", held)])
    return _parts([("in tensors", live), ("runtime and allocator", held - live)])


def _thought(thought: Estimate) -> list[Part]:
    live, runtime = thought.peak_memory_mib, thought.runtime_mib
    return _parts(
        [
            ("in tensors", live),
            ("runtime and allocator", runtime),
            ("headroom", thought.admitted_mib - live - runtime),
        ]
    )


def _parts(pieces: Iterable[tuple[str, float]]) -> list[Part]:
    return [Part(name, mib, format_size(mib)) for name, mib in pieces if mib > 0.5]
