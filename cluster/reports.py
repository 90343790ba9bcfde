"""What agents report of attempts, as events: begun, ended, unknown, or nobody's any more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Protocol

from jetsched.cluster.boards import Board, Roster, Watched, is_wanted
from jetsched.cluster.exchange import Answers, Wishes
from jetsched.cluster.joblogs import JobLogs
from jetsched.cluster.protocol import Key, Report
from jetsched.records import Measurement, Outcome
from jetsched.scheduler.book import LATE_OUTCOMES
from jetsched.scheduler.control import ControlledBook
from jetsched.scheduler.events import Event, Finished, Started

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """Whoever brings what attempts leave to the head. Nothing here blocks."""

    def ended(self, device_id: str, key: Key, outcome: Outcome, report: Report) -> bool:
        """True if the agent must not forget the attempt before it says so."""
        ...

    def checkpointed(self, device_id: str, key: Key, name: str) -> None:
        """An attempt has written a newer checkpoint."""
        ...


class Reports:
    """For the loop's thread; every event that it yields is handled before the next step.

    ``stopped`` are attempts that went down with an earlier cluster: what is lost of them is
    *preempted*, which is no fault of a board and uses up no retry. ``is_known`` says of a
    measurement whether it has been learnt.
    """

    def __init__(
        self,
        roster: Roster,
        book: ControlledBook,
        logs: JobLogs,
        keeper: Keeper,
        is_known: Callable[[Measurement], bool],
        now_s: Callable[[], float],
        stopped: Collection[Key],
    ) -> None:
        self._roster = roster
        self._book = book
        self._logs = logs
        self._keeper = keeper
        self._is_known = is_known
        self._now_s = now_s
        self._stopped = stopped

    def take(self, board: Board, wishes: Wishes, answers: Answers) -> Iterator[Event]:
        """The answer to a call that carried these wishes."""
        for key, outcome in wishes.stops:
            watched = board.attempts.get(key)
            if watched is not None and watched.stop == outcome:
                watched.stop = None  # its agent knows
        for key, text in answers.failed.items():
            if key in board.attempts:
                self._roster.unwatch(key)
                told = f"the agent could not start it: {text}"
                yield Finished(self._now_s(), *key, "failed", None, told)
        for key, report in answers.reports.items():
            watched = board.attempts.get(key)
            if watched is not None:
                if watched.ordered:
                    yield from self._take_watched(board, watched, report)
            elif key not in board.forget and key not in board.kept:
                yield from self._take_foreign(board, key, report)

    # ------------------------------------------------------------------- the job's current attempt

    def _take_watched(self, board: Board, watched: Watched, report: Report) -> Iterator[Event]:
        key = watched.key
        self._take_log(board, watched, report)
        self._take_progress(watched, report)
        if report.phase == "unknown":
            self._roster.unwatch(key)
            said = self._logs.clean(report.text) or "its agent was started again"
            text = f"{board.id} knows nothing of it: {said}"
            yield self._finished(key, "lost", None, text)
        elif report.measurement is not None:
            self._roster.unwatch(key)
            measured = self._clean(report.measurement)
            yield self._finished(key, measured.outcome, measured, measured.text)
            self._let_go(board, key, report)
        elif report.phase == "running" and not watched.started:
            watched.started = True
            yield Started(self._now_s(), *key)

    def _take_log(self, board: Board, watched: Watched, report: Report) -> None:
        if report.log:
            self._logs.keep(watched.key, watched.log_bytes, report.log)
            watched.log_bytes += len(report.log)
        if report.more:
            board.hurry()

    def _take_progress(self, watched: Watched, report: Report) -> None:
        old, new = watched.progress, report.progress
        if new is None:
            return
        watched.progress = new
        if new.checkpoint and (old is None or old.checkpoint != new.checkpoint):
            self._keeper.checkpointed(watched.device_id, watched.key, new.checkpoint)

    def _let_go(self, board: Board, key: Key, report: Report) -> None:
        """The head has the result; the agent may forget the attempt once its files are here."""
        outcome = report.measurement.outcome if report.measurement is not None else "lost"
        if self._keeper.ended(board.id, key, outcome, report):
            board.kept.add(key)
        else:
            board.forget.add(key)

    def _clean(self, measured: Measurement) -> Measurement:
        """A measurement in whose words there are no secrets."""
        text = self._logs.clean(measured.text)
        evidence = tuple(self._logs.clean(word) for word in measured.evidence)
        return replace(measured, text=text, evidence=evidence)

    def _finished(
        self, key: Key, outcome: Outcome, measurement: Measurement | None, text: str
    ) -> Finished:
        if outcome == "lost" and key in self._stopped:
            outcome, text = "preempted", "Ray's head ended while it ran"
        return Finished(self._now_s(), *key, outcome, measurement, text)

    # ------------------------------------------------------------------------- what was given up

    def _take_foreign(self, board: Board, key: Key, report: Report) -> Iterator[Event]:
        """An attempt that had been given up.

        If its job has not gone on elsewhere, its result counts, and it goes on if it lives. Else it
        is stopped, but what it has cost is learnt.
        """
        wanted = is_wanted(self._book, key)
        board.living.discard(key)
        board.unwanted.discard(key)
        if report.measurement is not None:
            if report.log:  # only of one that may still count
                self._logs.keep(key, self._logs.size(key), report.log)
            board.foreign.discard(key)
            measured = self._clean(report.measurement)
            if not self._is_known(measured) or self._may_count(key, measured.outcome):
                yield Finished(self._now_s(), *key, measured.outcome, measured, measured.text)
            if self._has_counted(key, measured.outcome):
                self._let_go(board, key, report)
            else:
                board.forget.add(key)
            return
        if report.phase == "unknown":
            board.foreign.discard(key)
            return
        board.foreign.add(key)
        if wanted:
            if report.log:
                self._logs.keep(key, self._logs.size(key), report.log)
                board.hurry()
            board.living.add(key)
        else:
            board.unwanted.add(key)

    def _may_count(self, key: Key, outcome: Outcome) -> bool:
        """Whether the scheduler waits for this, though the measurement may be known already: it was
        kept in the data home by a scheduler that ended before it could write down the rest."""
        return outcome in LATE_OUTCOMES and self._book.given_up(*key) is not None

    def _has_counted(self, key: Key, outcome: Outcome) -> bool:
        """Whether the attempt ended so for the scheduler, now or at an earlier time."""
        record = self._book.jobs.get(key[0])
        attempts = record.attempts if record is not None else []
        return key[1] <= len(attempts) and attempts[key[1] - 1].outcome == outcome
