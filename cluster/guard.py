"""A time budget for policies: an endless loop in one does not stop the scheduler.

A decision is watched by one thread of the process, which looks ten times a second who is inside a
policy. Who is that for too long gets an exception, raised in the policy or in what it has called
itself, not while the scheduler works for it, with its cost model and its lists: so the report names
the line, nothing of the scheduler is left halfway, and it goes on with the fallback. A decision
that is in time costs a microsecond. What cannot be stopped is a call into C that never returns, and
a policy that catches everything (``except:`` without a name) and goes on.

The budget counts CPU seconds of the deciding thread, so that a busy machine makes no policy slow;
ten times as many seconds on the clock count too, for one that sleeps.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from math import inf, isfinite
from types import FrameType
from typing import Any, TypeVar

from jetsched import policies
from jetsched.errors import InputError
from jetsched.records import Placement
from jetsched.scheduler.blame import PolicyError, where_raised
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.view import Choice, Policy, View

T = TypeVar("T")

#: CPU seconds that one decision may take, far more than a sound one does. Live, boards idle
#: meanwhile; a simulation that hangs has to say so soon. Who plans for longer sets another budget.
LIVE_S = 5.0
SIMULATED_S = 5.0
#: Another budget for all of them, in seconds; 0 is no budget at all.
VARIABLE = "JETSCHED_POLICY_BUDGET"
#: After so many overruns, one right after the other, a policy is not asked any more.
PATIENCE = 3
#: A policy that sleeps uses no CPU; the clock on the wall may go on so much further.
_WALL = 10.0

_LOOK_S, _AIM_S = 0.1, 0.001
#: Where no good moment comes, the others are looked at meanwhile; and who caught the exception gets
#: it again.
_AIM_FOR_S, _AGAIN_S = 2.0, 0.5


class Overrun(BaseException):
    """Raised in a policy that takes too long. No ``Exception``: those are often caught."""


def guarded(policy: Policy, budget_s: float, *, built_in: bool = True) -> Policy:
    """The policy with a budget of CPU seconds per decision; without one where that is infinite.

    After a time-out the fallback decides, and this one is asked again at the next event;
    after :data:`PATIENCE` in a row it is not asked any more. ``built_in=False`` leaves those of
    jetsched itself as they are. The environment variable :data:`VARIABLE` stands over ``budget_s``.
    """
    if isinstance(policy, Guarded):
        return policy
    if not built_in and type(policy).__module__.startswith(policies.__name__ + "."):
        return policy
    budget_s = _from_environment(budget_s)
    return Guarded(policy, budget_s) if isfinite(budget_s) else policy


def _from_environment(budget_s: float) -> float:
    text = os.environ.get(VARIABLE, "")
    if not text:
        return budget_s
    try:
        asked_s = float(text)
    except ValueError:
        asked_s = -1.0
    if not asked_s >= 0:
        raise InputError(f"{VARIABLE}={text} is no number of seconds", hint="0 is no budget")
    return asked_s or inf


@dataclass
class _Record:
    """Of the decisions of one kind: how many, which was the last to overrun, how many in a row."""

    asked: int = 0
    late: int = -1
    in_a_row: int = 0


class Standing:
    """How a policy has behaved; copies of it share this.

    Decisions and looks ahead count apart: who only hangs in the one is in time in the other. With
    ``forgets=False`` overruns count also where it was in time between them.
    """

    def __init__(self, *, forgets: bool = True) -> None:
        self.dropped = False
        self._forgets = forgets
        self._records = {False: _Record(), True: _Record()}

    def ask(self, planning: bool) -> int:
        """The number of a decision that begins now, or of a look ahead."""
        record = self._records[planning]
        record.asked += 1
        return record.asked

    def overran(self, planning: bool, number: int) -> None:
        """Take note that the one of this number took too long."""
        record = self._records[planning]
        goes_on = number <= record.late + 1 or not self._forgets
        record.in_a_row = record.in_a_row + 1 if goes_on else 1
        record.late = number
        self.dropped = self.dropped or record.in_a_row >= PATIENCE


class Guarded:
    """A policy with a time budget; ``__wrapped__`` is the policy itself."""

    def __init__(self, policy: Policy, budget_s: float, standing: Standing | None = None) -> None:
        self.__wrapped__ = policy
        self.name = policy_name(policy)
        self.budget_s = budget_s
        self.standing = standing or Standing()
        self._instead: Policy = policies.load(policies.FALLBACK)

    def __deepcopy__(self, memo: dict[int, Any]) -> Guarded:
        copying = _Watched(self, planning=True)
        copied = copying.run(lambda: deepcopy(self.__wrapped__, memo))
        return Guarded(copied, self.budget_s, self.standing)

    def decide(self, view: View) -> Iterator[Choice]:
        """What the policy decides; its iterator raises :class:`PolicyError` after a time-out."""
        if self.standing.dropped:
            own = policy_name(self.__wrapped__)
            self.name = f"{policy_name(self._instead)} ({own} was dropped)"
            return iter(self._instead.decide(view))
        return _Decision(self, view)

    def overran(self, stop: Overrun, planning: bool, number: int) -> PolicyError:
        """Take note of a time-out, and say it."""
        self.standing.overran(planning, number)
        where = where_raised(stop, self.__wrapped__)
        what = "looking ahead" if planning else "one decision"
        text = f"took more than {self.budget_s:g} s of CPU time for {what} ({where})"
        if self.standing.dropped:
            text += f"; after {PATIENCE} times in a row it is not asked any more"
        return PolicyError(text)


class _Watched:
    """Something that a policy is asked, within its budget.

    The fields without an underscore are what the watchdog sees. It fires only at who is
    ``inside``, and says before that it does: so who leaves knows whether an exception is coming.
    """

    __slots__ = (
        "_guarded", "budget_s", "clock", "fired", "firing", "inside", "pardon_s", "planning",
        "since_s", "thread",
    )  # fmt: skip

    def __init__(self, guarded: Guarded, planning: bool) -> None:
        self._guarded = guarded
        self.planning = planning
        self.budget_s = guarded.budget_s
        self.thread = threading.get_ident()
        self.clock = _cpu_clock(self.thread)
        self.since_s: tuple[float, float] | None = None  # CPU and wall, when it was first seen
        self.pardon_s = 0.0  # until then it is left alone, on the wall's clock
        self.inside = self.firing = self.fired = False

    def run(self, call: Callable[[], T]) -> T:
        """What the call returns. Raises :class:`PolicyError` when it takes too long."""
        self.inside = True
        _WATCHDOG.enter(self)
        try:
            try:
                return call()
            finally:
                self._leave()
        except Overrun as stop:
            self.inside = False  # from now on nothing is fired, so at most one more is on its way
            try:
                self._leave()
            except Overrun:
                self._leave()
            raise self._guarded.overran(stop, self.planning, self._number()) from None
        except SystemExit as end:
            if not self._is_own(end):
                raise
            where = where_raised(end, self._guarded.__wrapped__)
            raise PolicyError(f"wanted to end the program ({where})") from None

    def _number(self) -> int:
        """A copy is the begin of a look ahead, which there is none of where it takes too long."""
        return self._guarded.standing.ask(self.planning)

    def _leave(self) -> None:
        """Be outside, with no exception on its way any more."""
        while True:
            try:
                self.inside = False
                _WATCHDOG.inside.discard(self)
                if self.fired:
                    while self.firing:
                        time.sleep(0.0001)
                    _raise_in(self.thread, None)
                    self.fired = False
                return
            except Overrun:
                pass

    def _is_own(self, end: SystemExit) -> bool:
        """Whether the policy itself wants to exit, and not a signal's handler that came upon it."""
        trace, names = end.__traceback__, [""]
        while trace is not None:
            names.append(trace.tb_frame.f_globals.get("__name__", ""))
            trace = trace.tb_next
        own = type(self._guarded.__wrapped__).__module__
        return names[-1] in (own, "_sitebuiltins")


class _Decision(_Watched):
    """The choices of one decision; ``__wrapped__`` is the policy's own iterator."""

    __slots__ = ("__wrapped__", "_asked", "_view")

    def __init__(self, guarded: Guarded, view: View) -> None:
        super().__init__(guarded, view.planning)
        self._asked = guarded.standing.ask(view.planning)
        self.__wrapped__: Iterator[Choice] | None = None
        self._view: View | None = view

    def __iter__(self) -> _Decision:
        return self

    def __next__(self) -> Choice:
        choice = self.run(self._step)
        if self.planning and isinstance(choice, Placement):
            self.since_s = None  # as many as there are jobs: each has its own time
        return choice

    def _number(self) -> int:
        return self._asked

    def _step(self) -> Choice:
        if self.__wrapped__ is None:
            view, self._view = self._view, None
            assert view is not None
            self.__wrapped__ = iter(self._guarded.__wrapped__.decide(view))
            del view
        return next(self.__wrapped__)


class _Watchdog:
    """The thread that looks who is inside a policy. It sleeps when nobody has been for a while."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked process has the lists of its parent, but not its threads."""
        self.inside: set[_Watched] = set()
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._wake = threading.Event()
        self._starting = threading.Lock()

    def enter(self, decision: _Watched) -> None:
        self.inside.add(decision)
        if self._asleep:  # which it says before it looks for the last time
            self._start()

    def _start(self) -> None:
        with self._starting:
            self._start_once()

    def _start_once(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="policy-watchdog", daemon=True)
            self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        quiet = 0
        while True:
            if quiet > 20:
                self._asleep = True
                if not self.inside:
                    self._wake.wait()
            if self._asleep:
                self._wake.clear()
                self._asleep, quiet = False, 0
            time.sleep(_LOOK_S)
            seen = tuple(self.inside)
            quiet = 0 if seen else quiet + 1
            for decision in seen:
                if _is_over(decision):
                    _stop(decision)


def _is_over(decision: _Watched) -> bool:
    cpu_s, wall_s = _cpu_s(decision.clock), time.monotonic()
    if decision.since_s is None:
        decision.since_s = cpu_s, wall_s
        return False
    if wall_s < decision.pardon_s:
        return False
    used_s, passed_s = cpu_s - decision.since_s[0], wall_s - decision.since_s[1]
    return used_s > decision.budget_s or passed_s > _WALL * decision.budget_s


def _stop(decision: _Watched) -> None:
    """Raise the exception in the policy, at a good moment; if none comes soon, at a later look."""
    end_s = time.monotonic() + _AIM_FOR_S
    while decision.inside and decision in _WATCHDOG.inside:
        if _is_good_moment(decision):
            decision.firing = True
            decision.fired = True
            if decision.inside:
                _raise_in(decision.thread, Overrun)
            decision.firing = False
            decision.pardon_s = time.monotonic() + _AGAIN_S  # who is inside then has caught it
            return
        if time.monotonic() > end_s:
            return
        time.sleep(_AIM_S)


def _is_good_moment(decision: _Watched) -> bool:
    """Whether the policy is at work itself, and not the scheduler or what that has called.

    The scheduler's own code, which a policy calls, must not be left halfway.
    """
    frame = sys._current_frames().get(decision.thread)
    if frame is None or _module(frame) == __name__:
        return False
    while frame is not None and frame.f_code is not _Watched.run.__code__:
        if _module(frame).startswith("jetsched.scheduler."):
            return False
        frame = frame.f_back
    return frame is not None


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Have an exception raised in a thread at its next step in Python; None takes it back."""
    what = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)


def _cpu_clock(thread: int) -> int | None:
    """The clock of the CPU time of a living thread; None where the system has none."""
    get = getattr(time, "pthread_getcpuclockid", None)
    return get(thread) if get is not None else None


def _cpu_s(clock: int | None) -> float:
    """CPU seconds; those on the wall where there is no such clock, or no such thread any more."""
    try:
        return time.clock_gettime(clock) if clock is not None else time.monotonic()
    except OSError:
        return time.monotonic()


_WATCHDOG = _Watchdog()
os.register_at_fork(after_in_child=_WATCHDOG.reset)
