"""What each user has had of the fleet, in seconds of an average device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jetsched.records import Estimate, Job
from jetsched.scheduler.view import View

#: A run that differs from its estimate by no more than this part has lasted as estimated.
ROUNDING = 1e-9

#: What runs is looked at, to see what has ended, when this part of it was started since the last
#: time: that keeps the work for each job the same on any fleet.
PART = 8


def equal_share_s(costs: Sequence[Estimate | None], view: View) -> float:
    """How long one device's share of the fleet would take for a job that costs this.

    The harmonic mean of its run times over all devices, those that cannot run it counting as
    infinitely slow; 0 if none can.
    """
    devices = rate = 0.0
    for kind, cost in zip(view.kinds, costs, strict=True):
        devices += len(kind.devices)
        if cost is not None and cost.time_s > 0:
            rate += len(kind.devices) / cost.time_s
    return devices / rate if rate else 0.0


@dataclass(slots=True)
class Account:
    """One user's. ``had_s`` is booked when a job starts, and set right after it has ended."""

    user: str
    number: int  # in the order in which users first came
    had_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Booking:
    """An attempt that is to start, with what the account had and the virtual time before."""

    account: Account
    job_id: str
    attempt: int
    seconds: float
    had_s: float
    virtual_s: float


class Accounts:
    """The accounts of all users, in virtual time: what the last one served had had by then.

    Start-time fair queueing (Goyal, Vin and Cheng, *Start-time fair queueing*, SIGCOMM 1996): who
    comes back after a while is set to that time, and so gets an equal share from then on, without
    credit for having been away.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._virtual_s = 0.0
        #: Attempts that may still run, in the order in which they were started.
        self._open: list[_Booking] = []
        #: How many were started since all of them were looked at: before the time of the last
        #: start, and then.
        self._since, self._then, self._then_s = 0, 0, 0.0
        #: What the last decision booked.
        self._booked: list[_Booking] = []

    def of(self, user: str, view: View) -> Account:
        """The user's account; a new one holds what the user's jobs have had before this policy."""
        account = self._accounts.get(user)
        if account is None:
            had_s = max(self._virtual_s, view.used_s(user))
            account = self._accounts[user] = Account(user, len(self._accounts), had_s)
        return account

    def returns(self, account: Account) -> bool:
        """The user had nothing that waited, and has now. True if the account has changed."""
        behind = account.had_s < self._virtual_s
        account.had_s = max(account.had_s, self._virtual_s)
        return behind

    def book(self, account: Account, job: Job, seconds: float, view: View) -> None:
        """The job is to start now."""
        attempt = len(view.record(job.id).attempts) + 1
        booking = _Booking(account, job.id, attempt, seconds, account.had_s, self._virtual_s)
        self._booked.append(booking)
        self._virtual_s = max(self._virtual_s, account.had_s)
        account.had_s += seconds

    def settle(self, view: View) -> list[Account]:
        """Take back what was booked and not started, and set right what has ended.

        Returns the accounts that may have changed by it.
        """
        booked, self._booked = self._booked, []
        for booking in reversed(booked):  # to the very numbers that there were before
            booking.account.had_s, self._virtual_s = booking.had_s, booking.virtual_s
        for booking in booked:
            attempts = view.record(booking.job_id).attempts
            if len(attempts) >= booking.attempt:
                self._open_one(booking, attempts[booking.attempt - 1].start_s)
        changed = [booking.account for booking in booked]
        if self._then_s < view.now_s:  # what is asked again at the same time must change nothing
            self._since, self._then = self._since + self._then, 0
        if PART * self._since > len(self._open):
            self._since = 0
            changed += self._close(view)
        return list({account.number: account for account in changed}.values())

    def _open_one(self, booking: _Booking, start_s: float) -> None:
        account = booking.account
        self._virtual_s = max(self._virtual_s, account.had_s)
        account.had_s += booking.seconds
        self._open.append(booking)
        if start_s > self._then_s:
            self._since, self._then, self._then_s = self._since + self._then, 0, start_s
        self._then += 1

    def _close(self, view: View) -> list[Account]:
        """Set right what has ended: in proportion to how long it ran."""
        still, changed = [], []
        for booking in self._open:
            attempt = view.record(booking.job_id).attempts[booking.attempt - 1]
            if attempt.end_s is None:
                still.append(booking)
            elif attempt.estimate.time_s > 0:
                beyond = (attempt.end_s - attempt.start_s) / attempt.estimate.time_s - 1
                if abs(beyond) > ROUNDING:
                    booking.account.had_s += booking.seconds * beyond
                    changed.append(booking.account)
        self._open = still
        return changed

    def copy(self) -> Accounts:
        """Others that say the same."""
        made = Accounts()
        made._virtual_s = self._virtual_s
        made._since, made._then, made._then_s = self._since, self._then, self._then_s
        made._accounts = {
            user: Account(user, account.number, account.had_s)
            for user, account in self._accounts.items()
        }
        made._booked = [made._own(booking) for booking in self._booked]
        made._open = [made._own(booking) for booking in self._open]
        return made

    def _own(self, booking: _Booking) -> _Booking:
        return replace(booking, account=self._accounts[booking.account.user])
