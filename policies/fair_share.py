"""Max-min fairness between users, in seconds of an average device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from jetsched.policies.accounts import Account, Accounts, equal_share_s
from jetsched.policies.implied import STRETCH, implied_deadlines
from jetsched.policies.situation import is_private
from jetsched.records import Job, Placement
from jetsched.scheduler.state import ClassState
from jetsched.scheduler.view import View


class FairShare:
    """Give a free device to the user who has had the least of the fleet, of those who wait.

    Max-min fairness: nobody can get more without taking it from somebody who has no more (Bertsekas
    and Gallager, *Data Networks*, 1992; in a queue, start-time fair queueing). What a job takes is
    counted in *seconds of an average device*: as long as it would run on an equal share of the
    fleet, wherever it does run. So a second on a board that is slow for the job counts less than
    one on a fast board, in proportion to what gets done in it, and a user who is sent to the slow
    boards is not billed for their slowness. That is the measure by which Gavel compares users
    (Narayanan et al., *Heterogeneity-aware cluster scheduling policies for deep learning
    workloads*, OSDI 2020: throughput over that of an equal share); and as boards that cannot run a
    job count as infinitely slow, a job that needs the few large ones is billed for what is scarce,
    as by dominant resource fairness (Ghodsi et al., NSDI 2011).

    No device is left idle while anybody's job could run there. Priorities order a user's own jobs
    only; those of equal priority go in the order of their implied deadlines
    (:mod:`~jetsched.policies.implied`), which is good for mean completion and starves none.
    Who comes, or comes back, gets an equal share from then on, and no credit for the time before.

    Good: one user's thousand jobs do not keep the others waiting. Bad: mean completion, where the
    short jobs are all one user's.
    """

    name = "fair_share"
    ages = True
    heeds_priority = False  # of one user only

    def __init__(self, stretch: float = STRETCH) -> None:
        if not 0 <= stretch <= 1e6:
            raise ValueError(f"stretch must lie in 0..1e6, not {stretch}")
        self.stretch = stretch
        self._accounts = Accounts()
        self._index = _UserIndex(stretch)

    def decide(self, view: View) -> Iterator[Placement]:
        """The next job of whoever has had the least, as long as a device is free."""
        if not view.free_count:
            return
        accounts, index = self._accounts, self._index
        if view.planning or is_private(view):
            accounts, index = accounts.copy(), _UserIndex(self.stretch)
        for account in accounts.settle(view):
            index.changed(account, view)
        index.follow(view, accounts)
        while (found := _next(view, index)) is not None:
            kind, account = found
            job = index.take(account, kind)
            placement = view.place(job, kind)
            if placement is None or (placement.start_s > view.now_s and not view.planning):
                continue  # those of the kind that suit it are busy
            accounts.book(account, job, equal_share_s(view.costs(job), view), view)
            index.changed(account, view)
            if view.explains:
                options = view.options(job)
                view.note(job, options, [option.finish_s for option in options], placement)
            yield placement

    def __deepcopy__(self, memo: dict[int, Any]) -> FairShare:
        """A copy with the same accounts. The index is a cache, and left out."""
        copy = FairShare(self.stretch)
        copy._accounts = self._accounts.copy()
        copy._index.mark = self._index.mark
        return copy


def _next(view: View, index: _UserIndex) -> tuple[ClassState, Account] | None:
    """The kind that takes a job next, and whose: the least had, then the job's rank there."""
    best: tuple[float, ...] | None = None
    found: tuple[ClassState, Account] | None = None
    for kind in view.kinds:
        if view.planning:
            start_s = view.earliest_s(kind)
        elif view.free_in(kind):
            start_s = view.now_s
        else:
            continue
        account = index.first(kind, view)
        if account is not None:
            key = index.jobs(account, kind, view)[0]
            order = (start_s, account.had_s, account.number, *key[:3])
            if best is None or order < best:
                best, found = order, (kind, account)
    return found


#: Priority (negative), rank, order of submission, a number that breaks ties, the job.
_Key = tuple[float, float, int, int, Job]


class _UserIndex:
    """The waiting jobs of each user on each kind, and the users on each kind by what they had.

    A cache, brought up to date in O(new jobs); what waits no longer is dropped at the top.
    """

    def __init__(self, stretch: float) -> None:
        self._stretch = stretch
        #: Generation and length of the log of arrivals that the accounts know.
        self.mark = (-2, 0)
        self._built = -2  # the generation that the heaps are of
        self._jobs: dict[tuple[str, int], list[_Key]] = {}
        #: By kind: what was had, number of the account, the account. Valid if it still says so.
        self._users: dict[int, list[tuple[float, int, Account]]] = {}
        self._taken: list[tuple[Account, ClassState, _Key]] = []
        self._serial = 0

    def follow(self, view: View, accounts: Accounts) -> None:
        """Take in what has come, and who has come back with it."""
        generation, length = view.mark
        known = generation == self.mark[0]
        new = [job for job in view.arrivals(self.mark[1]) if view.waits(job.id)] if known else []
        if generation != self._built:
            self._rebuild(view, accounts, {job.id for job in new})
            self._built = generation
        for account, kind, key in self._taken:
            if view.waits(key[-1].id):
                self._push(account, kind, key, view)
        self._taken.clear()
        for job in new:
            account = accounts.of(job.user, view)
            back = not any(self.jobs(account, kind, view) for kind in view.kinds)
            if back and accounts.returns(account):
                self.changed(account, view)
            self._add(job, account, view)
        self.mark = (generation, length)

    def _rebuild(self, view: View, accounts: Accounts, but: set[str]) -> None:
        self._jobs.clear()
        self._taken.clear()
        self._users = {kind.index: [] for kind in view.kinds}
        for job in view.queue():
            if job.id not in but:
                self._add(job, accounts.of(job.user, view), view)

    def _add(self, job: Job, account: Account, view: View) -> None:
        self._serial += 1
        record = view.record(job.id)
        level, order = float(-record.level), record.order
        ranks: Sequence[float | None] = implied_deadlines(job, view.costs(job), self._stretch)
        for kind, rank in zip(view.kinds, ranks, strict=True):
            if rank is not None:
                key = (level, rank, order, self._serial, job)
                self._push(account, kind, key, view)

    def _push(self, account: Account, kind: ClassState, key: _Key, view: View) -> None:
        self.jobs(account, kind, view)
        heap = self._jobs.setdefault((account.user, kind.index), [])
        heappush(heap, key)
        if len(heap) == 1:
            self._enter(account, kind)

    def _enter(self, account: Account, kind: ClassState) -> None:
        heappush(self._users[kind.index], (account.had_s, account.number, account))

    def jobs(self, account: Account, kind: ClassState, view: View) -> list[_Key]:
        """The user's jobs on the kind; the first one, if there is one, waits."""
        heap = self._jobs.get((account.user, kind.index))
        if heap is None:
            return []
        while heap and not view.waits(heap[0][-1].id):
            key = heappop(heap)
            if view.is_placed(key[-1].id):
                self._taken.append((account, kind, key))  # in this decision: it may yet wait on
        if not heap:  # there may be a million users
            del self._jobs[account.user, kind.index]
        if len(heap) > 2 * view.queue_length + 64:
            heap[:] = [key for key in heap if view.waits(key[-1].id)]
            heapify(heap)
        return heap

    def first(self, kind: ClassState, view: View) -> Account | None:
        """The user who has had the least, of those with a job for the kind."""
        heap = self._users[kind.index]
        while heap:
            had_s, _, account = heap[0]
            if had_s == account.had_s and self.jobs(account, kind, view):
                return account
            heappop(heap)
        return None

    def take(self, account: Account, kind: ClassState) -> Job:
        """Take the user's first job on the kind out. It is back next time if it still waits."""
        key = heappop(self._jobs[account.user, kind.index])
        self._taken.append((account, kind, key))
        return key[-1]

    def changed(self, account: Account, view: View) -> None:
        """The user has had more, or less, than what the heaps say."""
        if self._built == view.mark[0]:
            for kind in view.kinds:
                if self._jobs.get((account.user, kind.index)):
                    self._enter(account, kind)
