"""A policy in which a free device takes the waiting job that ranks first for its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jetsched.policies.index import Index
from jetsched.records import Estimate, Job, Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class Ranked:
    """Give each free device the waiting job with the lowest rank on its kind.

    A subclass writes :meth:`rank`. Priority comes before rank, and submission decides between equal
    ranks; where several kinds are free, the best of their first jobs goes first, and a job that is
    first on several of them to the one where it runs shortest.

    Ranks are asked for once while a job waits, and kept in heaps, one per kind: a decision costs
    O(kinds x log jobs), with ten jobs waiting or a million. A rank must therefore depend on nothing
    that changes meanwhile: the clock, who else waits, or what is busy. Where it does, use
    :class:`~jetsched.policies.base.Greedy`.
    """

    #: What a person calls it; the name of the class where this is empty.
    name: str = ""

    _index: Index | None = None

    def rank(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        """How much the job is wanted on each of ``view.kinds``: the lowest number first.

        ``costs`` are those of the job on the same kinds, None where it cannot go; so must be its
        rank there. None elsewhere means that it never starts on that kind: it is held, though a
        device may be free. Asked again when kinds or costs may be others. Must not change anything.
        """
        raise NotImplementedError(f"{type(self).__name__} lacks rank() or ranks()")

    def ranks(self, job: Job, view: View) -> Sequence[float | None]:
        """:meth:`rank`, for a subclass that needs run times only: ``view.times`` is cheaper."""
        return self.rank(job, view.costs(job), view)

    def scores(
        self, job: Job, costs: Sequence[Estimate | None], view: View
    ) -> Sequence[float | None]:
        """What `why` shows on each of ``view.kinds``: the rank, if a subclass says nothing else."""
        return self.ranks(job, view)

    def decide(self, view: View) -> Iterable[Placement]:
        """The best pair of a waiting job and a free device, as long as there is one."""
        if view.queue_length == 1:
            alone = self._alone(view)
            return () if alone is None else (alone,)
        return self._pairs(view) if view.free_count else ()

    def _pairs(self, view: View) -> Iterator[Placement]:
        if self._index is None:
            self._index = Index()
        index = self._index.follow(view, self.ranks)
        while (found := self._best(view, index)) is not None:
            placement = view.place(index.take(found)[-1], found)
            if placement is None or (placement.start_s > view.now_s and not view.planning):
                continue  # those of the kind that suit it are gone, or busy
            self._note(view, placement)
            yield placement

    def _best(self, view: View, index: Index) -> ClassState | None:
        """The kind whose first job is to start next; None if nothing can start."""
        best: tuple[float, ...] | None = None
        found: ClassState | None = None
        for position, kind in enumerate(view.kinds):
            start_s = view.now_s
            if not view.free_in(kind):
                if not view.planning:
                    continue
                start_s = view.earliest_s(kind)
            key = index.first(kind, view)
            if key is None:
                continue
            time_s = view.times(key[-1])[position]
            order = (start_s, key[0], key[1], time_s or 0.0, key[2])
            if best is None or order < best:
                best, found = order, kind
        return found

    def _followed(self, view: View) -> Index:
        """The index of what waits, for a subclass that goes on after the starts."""
        if self._index is None:
            self._index = Index()
        return self._index.follow(view, self.ranks) if view.untouched else self._index

    def _alone(self, view: View) -> Placement | None:
        """A job that waits alone needs no index: the usual case while devices are free."""
        job = view.first()
        planning = view.planning
        best: tuple[float, float, float] | None = None
        chosen: Placement | None = None
        for kind, rank in zip(view.kinds, self.ranks(job, view), strict=True):
            if rank is None or not (planning or view.free_in(kind)):
                continue
            start_s = view.earliest_s(kind) if planning else 0.0
            if best is not None and (start_s > best[0] or (start_s == best[0] and rank > best[1])):
                continue
            placement = view.place(job, kind)
            if placement is None or (placement.start_s > view.now_s and not view.planning):
                continue
            order = (start_s, rank, placement.estimate.time_s)
            if best is None or order < best:
                best, chosen = order, placement
        if chosen is not None:
            self._note(view, chosen)
        return chosen

    def _note(self, view: View, chosen: Placement) -> None:
        """Keep what was thought of the job that starts."""
        if not view.explains:
            return
        options, scores = [], []
        job = chosen.job
        for kind, score in zip(view.kinds, self.scores(job, view.costs(job), view), strict=True):
            placement = view.place(job, kind) if score is not None else None
            if placement is not None and score is not None:
                options.append(placement)
                scores.append(score)
        view.note(job, options, scores, chosen)

    def __deepcopy__(self, memo: dict[int, Any]) -> Ranked:
        """A copy without the index: that is a cache, and looking ahead must not move it on."""
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._index = None
        return copy
