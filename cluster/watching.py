"""The queue as it changes: looked at when the head says that something has, and not too often."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jetsched.cluster.client import Client, Json
from jetsched.errors import JetschedError

#: Two looks are at least so far apart, and at most: times go on without an event.
LEAST_S = 0.5
MOST_S = 5.0


@dataclass(frozen=True)
class Look:
    """A page of the queue, and the scheduler's status at about that time."""

    jobs: list[Json]
    status: Json
    is_full: bool  # there may be more behind it

    def count(self, states: Iterable[str]) -> int:
        """How many jobs there are in these states, on this page or not."""
        return sum(int(self.status["states"][state]) for state in states)


def look(client: Client, states: str, limit: int, after: str = "") -> Look:
    """The first jobs of the queue, or those behind one, in the order in which they are served."""
    jobs = client.page(states=states, order="queue", limit=limit, after=after)
    return Look(jobs, client.status(), len(jobs) == limit)


def watch(client: Client, states: str, limit: int) -> Iterator[Look]:
    """Look now, and again after whatever changes; until the head is gone, which is raised."""
    changed, ended = threading.Event(), list[JetschedError]()

    def listen() -> None:
        try:
            for _ in client.follow():
                changed.set()
        except JetschedError as error:
            ended.append(error)
            changed.set()

    threading.Thread(target=listen, name="listens", daemon=True).start()
    while True:
        changed.clear()
        yield look(client, states, limit)
        time.sleep(LEAST_S)
        changed.wait(MOST_S - LEAST_S)
        if ended:
            raise ended[0]
