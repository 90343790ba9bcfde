"""The one loop: simulated and live runs differ only in the cluster passed in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Action, Event


class Cluster(Protocol):
    """Where jobs run. It owns the clock: every event carries the time it happened."""

    def events(self) -> Iterator[Event]:
        """Yield what happens, in order of time, waiting for it where that is real time."""
        ...

    def perform(self, action: Action) -> None:
        """Do what the scheduler decided. It is journalled already; this must not raise."""
        ...


def run(scheduler: Scheduler, cluster: Cluster) -> Iterator[tuple[Event, list[Action]]]:
    """Handle the cluster's events until there are no more, yielding each with its actions."""
    for event in cluster.events():
        actions = scheduler.handle(event)
        for action in actions:
            cluster.perform(action)
        yield event, actions
