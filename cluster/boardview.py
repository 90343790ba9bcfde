"""What the pages show of a board, taken from its row: what stays, and what each reading changes.

Data of parts must be equal as long as they look alike, so numbers are words here already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jetsched.cluster.recent import Recent
from jetsched.cluster.sparks import Levels, levels
from jetsched.units import number
from jetsched.words import emulated_words, gib, share_done, speed_word, troubles

Json = Mapping[str, Any]

#: The sign and the look of a board's state: colour alone says nothing.
STATES: Mapping[str, tuple[str, str]] = {
    "ready": ("✓", "good"),
    "busy": ("▶", "busy"),
    "degraded": ("!", "warn"),
    "draining": ("↓", ""),
    "suspect": ("?", "warn"),
    "offline": ("✗", "bad"),
}
PROFILES: Mapping[str, tuple[str, str]] = {
    "fresh": ("✓", "good"),
    "stale": ("!", "warn"),
    "none": ("\u2013", ""),
}
LEVELS: Mapping[str, tuple[str, str]] = {
    "ok": ("✓", "good"),
    "warn": ("!", "warn"),
    "fail": ("✗", "bad"),
}
#: So many samples make up a spark-line.
SPARK = 60
#: Quantity -> its word, its unit, and the least that the top of its line stands for.
LINES: Mapping[str, tuple[str, str, float]] = {
    "gpu_util_pct": ("GPU", "%", 100.0),
    "memory_mib": ("memory of jobs", "MiB", 1.0),
    "power_w": ("power", "W", 10.0),
    "temperature_c": ("temperature", "°C", 100.0),
}


def what(row: Json) -> dict[str, Any]:
    """What stays as it is while a board only works on: state, job, profile, troubles."""
    closed = {closing["code"] for closing in row["closings"]}
    return {
        "id": row["id"],
        "state": row["state"],
        "model": row["model"] or "",
        "mode": mode_of(row),
        "emulated": emulated_words(row),
        "labels": labels_of(row),
        "job": (row["job_id"], row["job_name"]) if row["job_id"] else None,
        "start_s": row["start_s"],
        "finish_s": row["finish_s"],
        "profile": _of(row["profile"], "verdict", "text"),
        "speed": speed_word(row["drift"]),
        "troubles": tuple(troubles(row)),
        "findings": _findings(row["findings"]),
        "examined_s": row["examined_s"],
        "drained": "Draining" in closed,
    }


def now(row: Json, sparks: Mapping[str, Levels], last_s: float | None) -> dict[str, Any]:
    """What each reading changes: numbers as they are shown, and their lines.

    ``last_s`` is when that was; it is said where it may be long ago.
    """
    share = share_done(row["progress"])
    return {
        "id": row["id"],
        "done": None if share is None else round(100 * share),
        "gpu": number(row["gpu_util_pct"], 0, " %"),
        "power": number(row["power_w"], 1, " W"),
        "temperature": number(row["temperature_c"], 0, " °C"),
        "throttled": bool(row["throttled"]),
        "memory": memory(row),
        "sparks": dict(sparks),
        "seen_s": last_s if row["state"] in ("suspect", "offline") else None,
    }


def memory(row: Json) -> dict[str, Any] | None:
    """Whose a board's memory is, in GiB as words and in parts of 1,000; None where unknown."""
    jobs, others, free = row["memory_mib"], row["others_mib"], row["memory_free_mib"]
    if jobs is None or free is None or others is None:
        return None
    # What jobs hold was seen at another moment than what is free: the sum may be a little off.
    total = max(row["memory_total_mib"], jobs + others + free, 1.0)
    has = row["has_mib"]
    return {
        "jobs": gib(jobs),
        "others": gib(others),
        "free": gib(free),
        "total": gib(row["memory_total_mib"]),
        "has": gib(has),
        "parts": tuple(round(1000 * part / total) for part in (jobs, others, free)),
        "limit": None if not has else min(1000, round(1000 * has / total)),
    }


def sparks(recent: Recent, total_mib: float | None) -> dict[str, Levels]:
    """The last minutes as lines, by quantity; what nobody knows has none."""
    found = {}
    for name, (_, _, least) in LINES.items():
        values = recent.newest(name, SPARK)
        known = [value for value in values if value == value]  # a number
        if known:
            found[name] = levels(values, *scale(name, known, total_mib, least))
    return found


def scale(
    name: str, known: list[float], total_mib: float | None, least: float
) -> tuple[float, float]:
    """From where to where the axis of a quantity goes."""
    if name == "memory_mib":
        return 0.0, max([least, *known]) if total_mib is None else total_mib
    if name == "temperature_c":
        return min([20.0, *known]), max([least, *known])
    return 0.0, max([least, *known])


def mode_of(row: Json) -> str:
    """Its power mode; an emulated board has none, and says that it is emulated elsewhere."""
    mode = row["power_mode"] or ""
    return "" if row["emulated"] and mode == "emulated" else mode


def labels_of(row: Json) -> tuple[str, ...]:
    """Its labels, but for the one that says again that it is emulated."""
    return tuple(label for label in row["labels"] if label != "emulated" or not row["emulated"])


def _of(found: Json | None, *names: str) -> tuple[str, ...] | None:
    return None if found is None else tuple(found[name] for name in names)


def _findings(found: list[Json] | None) -> tuple[tuple[str, ...], ...] | None:
    if found is None:
        return None
    return tuple((f["check"], f["level"], f["text"], f["fix"]) for f in found)
