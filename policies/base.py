"""A policy that scores one placement at a time; most policies need nothing more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from jetsched.records import Job, Placement
from jetsched.scheduler.view import View


class Greedy(ABC):
    """In the order of the queue, give each job the device with the lowest score.

    A subclass writes :meth:`score` and nothing else. It may have a constructor with options that
    all have defaults; ``seed``, if it takes one, is given to it by the caller.
    """

    #: What a person calls it; the name of the class where this is empty.
    name: str = ""

    #: How many jobs one decision may hold for devices that are still busy. The jobs behind those
    #: are not looked at until the next event, so that a decision costs the same with ten jobs
    #: waiting or a million. A larger bound finds more jobs for a device that nobody ahead wants.
    lookahead: int = 32

    @abstractmethod
    def score(self, placement: Placement, view: View) -> float:
        """How bad a placement is: a finite number or infinity; the lowest one wins.

        Asked for the earliest device of every class that can run the job, never for one where it
        cannot. A busy device comes with the ``start_s`` (> ``view.now_s``) at which it should be
        free; if that wins, the job is held for it. Equal scores go to the earlier start, then to
        the device id that sorts first. Must not change anything.
        """

    def decide(self, view: View) -> Iterator[Placement]:
        """One placement per job, until no device is free or enough jobs are held."""
        return self.in_order(view, 0)

    def in_order(self, view: View, held: int) -> Iterator[Placement]:
        """:meth:`decide`, after so many jobs are held already."""
        for job in view.queue():
            if not view.free_count or held >= self.lookahead:
                return
            best = self.best(job, view)
            if best is not None:
                held += best.start_s > view.now_s
                yield best

    def best(self, job: Job, view: View) -> Placement | None:
        """The placement of the job with the lowest score; None where no device there can run it.

        Raises ValueError for a score that is not a number.
        """
        options = view.options(job)
        if not options:
            return None
        scores = [self.score(placement, view) for placement in options]
        for placement, score in zip(options, scores, strict=True):
            if score != score:
                raise ValueError(f"score() is not a number for {job.id} on {placement.device.id}")
        ranked = zip(scores, options, strict=True)
        _, best = min(ranked, key=lambda pair: (pair[0], pair[1].start_s, pair[1].device.id))
        view.note(job, options, scores, best)
        return best
