"""Each run of a board beside the usual, and how far boards have strayed from it.

Pure sums: drift.py makes a verdict of them, docs/drift.md has the figures behind the constants.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from math import inf, isfinite, log
from statistics import median
from typing import TypeGuard

from jetsched.profiler.drift_causes import NO_FACTS, Facts
from jetsched.profiler.evidence import SpeedClass
from jetsched.records import Source, Workload

#: So many earlier runs make a yardstick, and so many stand behind a prediction that counts.
ENOUGH = 3
#: How many of the earlier runs are looked at, the latest ones.
YARDSTICK = 30
#: Spread of log rates before the runs themselves have told it: of the same work, of a prediction.
#: The first is also the least that is believed: a smaller change is of no use to anybody.
SIGMA_SAME, SIGMA_PREDICTED = 0.1, 0.25
#: How many steps between runs that first guess counts for, and how many steps are looked at.
SIGMA_WEIGHT, STEPS = 3, 50
#: The CUSUM, in spreads: what is let pass of each run, where it alarms, and the most that one run
#: and all of them together can add. One wild run, or two, do not suffice; three do.
SLACK, ALARM, MOST_OF_ONE, MOST = 1.0, 5.0, 3.4, 8.0
#: How many runs of a board are kept when it has had twice as many.
KEPT = 200


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that told how fast it was."""

    at_s: float  # when it ended, on the cluster's clock
    device: str
    speed: SpeedClass
    workload: Workload  # a cost key
    rate_s: float  # seconds per unit of work
    #: What an estimate made before it said, and what nine of ten runs should stay below; or None.
    predicted_s: float | None = None
    predicted_p90_s: float | None = None
    #: How many measurements stood behind that estimate.
    behind: int = 0
    profiled: bool = False  # by `jetsched profile`, which makes the speed the board's own
    facts: Facts = NO_FACTS
    source: Source | None = None  # of the estimate
    job_id: str = ""

    @property
    def order(self) -> tuple[float, str, float, str, int]:
        """When it counts; the same whatever order runs become known in."""
        return (self.at_s, self.device, self.rate_s, self.workload.model, self.workload.batch_size)

    @property
    def is_sound(self) -> bool:
        """Whether its numbers are any."""
        return is_rate(self.rate_s) and isfinite(self.at_s)

    @property
    def error(self) -> float | None:
        """Log of measured over predicted; None where nothing was predicted."""
        return log(self.rate_s / self.predicted_s) if is_rate(self.predicted_s) else None

    @property
    def is_guessed(self) -> bool:
        """Whether its time was only that of the work which its command is said to be like."""
        return self.workload.kind == "command" and self.source != "measured"

    @property
    def over_p90(self) -> bool:
        return self.predicted_p90_s is not None and self.rate_s > self.predicted_p90_s


def is_rate(value: float | None) -> TypeGuard[float]:
    """Whether it can be seconds per unit of work."""
    return value is not None and isfinite(value) and value > 0


@dataclass(frozen=True, slots=True)
class Strayed:
    """A board's running sums, and with which run the present rise of each began."""

    up: float = 0.0
    down: float = 0.0
    up_since: Ran | None = None
    down_since: Ran | None = None
    profiled_s: float = -inf  # older runs of its own count no more

    @property
    def since(self) -> Ran | None:
        """The run with which it began to stray so far that it is an alarm; None for none."""
        if self.up > ALARM:
            return self.up_since
        return self.down_since if self.down > ALARM else None

    def after(self, z: float, ran: Ran) -> Strayed:
        """The sums with a run that was so many spreads off."""
        z = max(-MOST_OF_ONE, min(MOST_OF_ONE, z))
        up = min(MOST, max(0.0, self.up + z - SLACK))
        down = min(MOST, max(0.0, self.down - z - SLACK))
        up_since, down_since = _began(up, self.up_since, ran), _began(down, self.down_since, ran)
        return Strayed(up, down, up_since, down_since, self.profiled_s)


def _began(total: float, since: Ran | None, ran: Ran) -> Ran | None:
    if not total:
        return None
    return ran if since is None else since


@dataclass(slots=True)
class Scored:
    """A run beside its yardstick, and what it changed, to be taken back."""

    ran: Ran
    board: Strayed  # before it
    off: float | None = None  # log of how many times as long as usual it took; None: not known
    counts: bool = True  # as a yardstick for later runs
    silenced: list[Scored] = field(default_factory=list)  # those that count no more because of it
    steps: list[_Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Step:
    """A value taken down, of the same work or else of a kind's errors, and the one before it."""

    is_same: bool
    of: object
    before: float | None
    dropped: float | None = None  # the oldest step, where there was one too many


class Scores:
    """The runs of one speed class in their order, each scored against those before it."""

    def __init__(self) -> None:
        self._runs: list[Ran] = []
        self._counts: dict[str, int] = {}
        self.scored: list[Scored] = []
        self.of_board: dict[str, list[Scored]] = {}
        self._boards: dict[str, Strayed] = {}
        self._of_work: dict[Workload, list[Scored]] = {}
        self._of_kind: dict[tuple[str, ...], list[Scored]] = {}
        #: Steps from one run of a board to its next of the same work, and of a kind's errors.
        self._steps: dict[bool, deque[float]] = {True: deque(), False: deque()}
        self._before: dict[object, float] = {}

    def add(self, ran: Ran) -> None:
        """Take a run in, wherever it stands in their order."""
        count = self._counts[ran.device] = self._counts.get(ran.device, 0) + 1
        if count > 2 * KEPT:
            self._forget(ran.device)
        if not self._runs or self._runs[-1].order <= ran.order:
            self._runs.append(ran)
            return
        place = bisect_right(self._runs, ran.order, key=lambda known: known.order)
        self._runs.insert(place, ran)
        while len(self.scored) > place:  # what came after it must be looked at again
            self._take_back()

    def strayed(self, device: str) -> Strayed:
        """How far a board has strayed after all runs; all of them are scored then."""
        self._score_all()
        return self._boards.get(device, Strayed())

    def _forget(self, device: str) -> None:
        """Drop the oldest runs of a board. What later ones were compared with stays as it was.

        The last ones that count stay too, else a slow speed would become the usual one in the end.
        """
        self._score_all()
        known = self.of_board[device]
        usual = {id(scored) for scored in [s for s in known if s.counts][-YARDSTICK:]}
        old = [scored for scored in known[:-KEPT] if id(scored) not in usual]
        gone = {id(scored) for scored in old}
        lists = [self.scored, known]
        lists += [self._of_work[work] for work in {s.ran.workload for s in old}]
        lists += [self._of_kind[kind] for kind in {_kind(s.ran.workload) for s in old}]
        for each in lists:
            each[:] = [scored for scored in each if id(scored) not in gone]
        self._runs = [scored.ran for scored in self.scored]
        self._counts[device] = len(known) + 1

    def _score_all(self) -> None:
        for ran in self._runs[len(self.scored) :]:
            self._score(ran)

    def _score(self, ran: Ran) -> None:
        scored = Scored(ran, self._boards.get(ran.device, Strayed()))
        if not ran.profiled:
            self._compare(scored)
        elif scored.board.up or scored.board.down:  # whatever it was doing is the usual from here
            self._boards[ran.device] = Strayed(profiled_s=ran.at_s)
        self._step(scored, True, (ran.device, ran.workload), log(ran.rate_s))
        self._step(scored, False, (ran.device, _kind(ran.workload)), _error(ran))
        self.scored.append(scored)
        for known in self._lists(ran):
            known.append(scored)

    def _take_back(self) -> None:
        """Be as before the last run that was scored."""
        scored = self.scored.pop()
        for known in self._lists(scored.ran):
            known.pop()
        self._boards[scored.ran.device] = scored.board
        for silenced in scored.silenced:
            silenced.counts = True
        for step in reversed(scored.steps):
            if step.before is None:
                del self._before[step.of]
                continue
            self._before[step.of] = step.before
            self._steps[step.is_same].pop()
            if step.dropped is not None:
                self._steps[step.is_same].appendleft(step.dropped)

    def _lists(self, ran: Ran) -> tuple[list[Scored], ...]:
        """Where it is looked up, beside the list of all."""
        return (
            self.of_board.setdefault(ran.device, []),
            self._of_work.setdefault(ran.workload, []),
            self._of_kind.setdefault(_kind(ran.workload), []),
        )

    def _compare(self, scored: Scored) -> None:
        ran, board = scored.ran, scored.board
        same = self._yardstick(self._of_work.get(ran.workload, []), ran, board)
        is_same, usual = True, [log(s.ran.rate_s) for s in same]
        value: float | None = log(ran.rate_s)
        if len(usual) < ENOUGH:
            alike = self._yardstick(self._of_kind.get(_kind(ran.workload), []), ran, board)
            errors = [_error(s.ran) for s in alike]
            is_same, usual = False, [error for error in errors if error is not None]
            value = _error(ran)
        if value is None or len(usual) < ENOUGH:
            return
        off = value - median(usual)
        # The median of a few runs is off by itself: by sqrt(pi / 2) of their mean's error.
        spread = self._sigma(is_same) * (1 + 1.57 / len(usual)) ** 0.5
        board = self._boards[ran.device] = board.after(off / spread, ran)
        scored.off = off
        if board.since is not None:
            scored.counts = False
            for earlier in reversed(self.of_board.get(ran.device, [])):
                if not earlier.counts or earlier.ran.order < board.since.order:
                    break
                earlier.counts = False
                scored.silenced.append(earlier)

    def _yardstick(self, known: list[Scored], ran: Ran, board: Strayed) -> list[Scored]:
        """The latest earlier runs that count; of the board itself, those since its profile."""
        counting = (
            s
            for s in reversed(known)
            if s.counts and (s.ran.device != ran.device or s.ran.at_s >= board.profiled_s)
        )
        return list(islice(counting, YARDSTICK))

    def _step(self, scored: Scored, is_same: bool, of: object, value: float | None) -> None:
        if value is None:
            return
        before, dropped, steps = self._before.get(of), None, self._steps[is_same]
        if before is not None:
            steps.append(abs(value - before))
            dropped = steps.popleft() if len(steps) > STEPS else None
        self._before[of] = value
        scored.steps.append(_Step(is_same, of, before, dropped))

    def _sigma(self, is_same: bool) -> float:
        """The spread of runs beside their yardstick.

        From the median of steps, which does not grow when a board gets slower for good.
        """
        first, steps = SIGMA_SAME if is_same else SIGMA_PREDICTED, self._steps[is_same]
        seen = median(steps) / (0.6745 * 2**0.5) if steps else 0.0
        squares = SIGMA_WEIGHT * first**2 + len(steps) * seen**2
        return float(max(SIGMA_SAME, (squares / (SIGMA_WEIGHT + len(steps))) ** 0.5))


def _error(ran: Ran) -> float | None:
    """How wrong a prediction was that rested on measurements."""
    return ran.error if ran.behind >= ENOUGH else None


def _kind(workload: Workload) -> tuple[str, ...]:
    """Predictions of work of one kind are wrong alike."""
    return (workload.kind, workload.like, workload.precision)
