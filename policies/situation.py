"""Tells whether a policy is asked again before anything has happened."""

from __future__ import annotations

from jetsched.scheduler.view import View

#: The time, the mark of the queue, how many jobs wait, how many devices are free.
Situation = tuple[float, tuple[int, int], int, int]


def situation(view: View) -> Situation:
    """The same for two views only if nothing has started, ended or come in between.

    For a policy that remembers what it has decided: when it is asked twice, what it decided first
    was not done, and has to be forgotten.
    """
    return (view.now_s, view.mark, view.queue_length, view.free_count)


def is_private(view: View) -> bool:
    """Whether the view's queue is not the scheduler's, or was placed in already.

    Such a view asks about single jobs: an index that is kept has nothing to do with it.
    """
    return view.mark[0] < 0 or not view.untouched
