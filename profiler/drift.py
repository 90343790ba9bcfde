"""Whether a board has become slower or faster than boards of its class usually are.

Each run that tells a rate (seconds per unit of work, so amounts do not matter) is compared with
what the same work took before on boards of its speed class, this one included; the logarithm of
their ratio, over its spread, is summed up by a two-sided CUSUM for each board. An estimate that
rested on nothing is never a yardstick: where the same work has not run often enough, a run is
compared with its prediction if that rested on measurements, less what such predictions are usually
wrong by on the class.

Runs of a board that has drifted are no yardstick for later ones, else the slow speed would become
the usual one by itself; a profile of the board makes it so. Where all boards of the class are off
alike, or one kind of work only, no board is at fault. docs/drift.md explains the choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log
from statistics import median
from typing import Literal

from jetsched.profiler.drift_causes import causes, facts_of
from jetsched.profiler.drift_scores import ENOUGH, Ran, Scored, Scores, is_rate
from jetsched.profiler.evidence import RATED, SWAPPED_MIB, SpeedClass, cost_key, speed_class
from jetsched.records import DeviceClass, Estimate, Measurement, Workload

#: A change below this is not worth a word.
LEAST = log(1.15)
#: How many of the last runs the shown ratio is made of.
LAST = 5


@dataclass(frozen=True, slots=True)
class Drift:
    """How a board's last runs compare with the usual."""

    verdict: Literal["steady", "slower", "faster", "unknown"]
    #: How many times as long as usual the last runs took; None: nothing to compare them with.
    ratio: float | None = None
    runs: int = 0  # how many runs that is the median of
    since_s: float | None = None  # when the first run ended that was off, on the cluster's clock
    #: The same against what was estimated before each; and how many took longer than their p90.
    predicted_ratio: float | None = None
    over_p90: int = 0
    evidence: tuple[str, ...] = ()  # what else was different about these runs, in words
    text: str = ""  # for a person, with what to do; "" where there is nothing to say


def ran_of(
    measurement: Measurement, at_s: float, estimate: Estimate | None = None, amount: float = 0.0
) -> Ran | None:
    """What a measurement tells about its board's speed; None for nothing.

    ``estimate`` is what was predicted for ``amount`` units of work before it ran; without one it
    was a profile's run. One that swapped is no sign of drift, and one without a device is nobody's.
    """
    m = measurement
    rate_s = m.rate_s
    if rate_s is None and m.outcome == "done" and m.time_s and m.amount:
        rate_s = (m.time_s - (m.load_s or 0.0)) / m.amount
    swapped = (m.swap_delta_mib or 0.0) > SWAPPED_MIB
    told = m.outcome in RATED and m.source == "measured" and not swapped
    if not is_rate(rate_s) or not told or not m.device or not isfinite(at_s):
        return None
    ran = Ran(at_s, m.device, speed_class(m.device_class), cost_key(m.workload), rate_s)
    ran = replace(ran, profiled=estimate is None, facts=facts_of(m), job_id=m.job_id)
    if estimate is None or amount <= 0:
        return ran
    predicted_s = (estimate.time_s - estimate.load_s) / amount
    if not is_rate(predicted_s):
        return ran
    ran = replace(
        ran,
        predicted_s=predicted_s,
        predicted_p90_s=predicted_s * estimate.time_p90_s / estimate.time_s,
        source=estimate.source,
    )
    # By what a command is like its time is only guessed: being off is no sign of drift.
    nothing_behind = ran.is_guessed or estimate.source == "assumed"
    return ran if nothing_behind else replace(ran, behind=estimate.measurements)


class DriftWatch:
    """Watches all boards. Answers depend on the runs that are known, not on when they became so."""

    def __init__(self, runs: Iterable[Ran] = ()) -> None:
        self._classes: dict[SpeedClass, Scores] = {}
        self._last: dict[str, Ran] = {}  # by device
        self.changes = 0  # how many runs were taken in
        for ran in runs:
            self.add(ran)

    def add(self, ran: Ran) -> bool:
        """Take a run into account; False where its numbers are none."""
        if not ran.is_sound:
            return False
        self._classes.setdefault(ran.speed, Scores()).add(ran)
        last = self._last.get(ran.device)
        if last is None or last.order < ran.order:
            self._last[ran.device] = ran
        self.changes += 1
        return True

    @property
    def boards(self) -> list[str]:
        """The ids of boards of which a run is known."""
        return sorted(self._last)

    def runs(self, device: str, most: int = LAST) -> list[Scored]:
        """The last runs of a board as what it is now, each beside the usual, oldest first."""
        last = self._last.get(device)
        if last is None:
            return []
        scores = self._classes[last.speed]
        scores.strayed(device)  # else some of them may not be scored yet
        return scores.of_board.get(device, [])[-most:]

    def drift(self, device: str, device_class: DeviceClass | None = None) -> Drift:
        """How a board is doing. ``device_class``: what it is now, where that is known."""
        last = self._last.get(device)
        if last is None:
            return Drift("unknown")
        speed = last.speed if device_class is None else speed_class(device_class)
        if speed != last.speed:
            return Drift("unknown", text=_other_class(last.speed, speed))
        return _verdict(self._classes[speed], device)


def _verdict(scores: Scores, device: str) -> Drift:
    board = scores.strayed(device)
    known = scores.of_board.get(device, [])
    own = [s for s in known if s.off is not None]
    if len(own) < ENOUGH:
        return Drift("unknown", runs=len(own))
    if board.since is None:
        return _summary("steady", own[-LAST:])
    first = board.since
    off = [s for s in own if s.ran.order >= first.order]
    ratio = _middle(off[-LAST:])
    if abs(ratio) < LEAST:  # too little, or the last runs are as usual again
        return _summary("steady", own[-LAST:])
    innocent = _innocent(scores, device, off, ratio)
    if innocent:
        found = _summary("steady", off[-LAST:], first.at_s)
        # Once the estimates have followed there is nothing to say any more.
        followed = abs(log(found.predicted_ratio or inf)) < LEAST
        return found if followed else replace(found, text=innocent)
    before = [s.ran.facts for s in known if s.counts]
    off = off[-LAST:]
    seen, advice = causes(before[-LAST:], [s.ran.facts for s in off], slower=ratio > 0)
    text = "; ".join([f"{_times(ratio)} than usual in its last {len(off)} runs", *seen])
    found = _summary("slower" if ratio > 0 else "faster", off, first.at_s)
    return replace(found, evidence=seen, text=f"{text}: {advice}")


def _innocent(scores: Scores, device: str, off: list[Scored], ratio: float) -> str:
    """Why it is not the board that is off, in words; "" where it is."""
    works: dict[Workload, list[Scored]] = {}
    for scored in off:
        works.setdefault(scored.ran.workload, []).append(scored)
    since_s = off[0].ran.at_s
    others = [
        s
        for s in scores.scored
        if s.ran.device != device
        and s.ran.at_s >= since_s
        and s.ran.workload in works
        and s.off is not None
    ]
    if len(others) >= ENOUGH:
        alike = _middle(others) / ratio > 0.5
        return f"all boards of its class are {_times(ratio)} than usual" if alike else ""
    guilty = [work for work, runs in works.items() if _middle(runs) / ratio > 0.5]
    if len(guilty) != 1 or len(works) == 1:
        return ""
    return f"only {guilty[0].label} is {_times(_middle(works[guilty[0]]))} than usual there"


def _summary(
    verdict: Literal["steady", "slower", "faster"],
    scored: list[Scored],
    since_s: float | None = None,
) -> Drift:
    errors = [error for s in scored if (error := s.ran.error) is not None]
    return Drift(
        verdict,
        exp(_middle(scored)),
        len(scored),
        since_s,
        exp(median(errors)) if errors else None,
        sum(s.ran.over_p90 for s in scored),
    )


def _middle(scored: list[Scored]) -> float:
    return median(s.off for s in scored if s.off is not None)


def _times(ratio: float) -> str:
    """``1.6x slower``, from a logarithm."""
    return f"{exp(abs(ratio)):.1f}x {'slower' if ratio > 0 else 'faster'}"


def _other_class(old: SpeedClass, new: SpeedClass) -> str:
    """What became another one since the board's last run."""
    pairs = ((old.model, new.model), (old.power_mode, new.power_mode), (old.software, new.software))
    changed = [f"{was} > {now}" for was, now in pairs if was != now and was and now]
    if not changed:
        return ""
    return f"since its last run {', '.join(changed)}: run jetsched profile there"
