"""The scheduler's own process for `make bench-ui`: as it is, but one Ray actor plays all boards.

    PYTHONPATH=tests:tools python tools/ui_service.py --home HOME --socket FD

The calls are Ray's as always; only whom they reach differs, so the service costs what it costs.
"""

from __future__ import annotations

import os
import sys
from typing import Any

#: How many boards; what the actor is called.
BOARDS_VARIABLE, NAME = "BENCH_UI_BOARDS", "boards"


class Fleet:
    """The actor: all boards of a fleet."""

    def __init__(self, count: int) -> None:
        from many_boards import ManyBoards, fleet

        from jetsched.profiler.bundled import bundled_profile
        from jetsched.profiler.costs import CostModel

        self._boards = ManyBoards(fleet(count), CostModel(bundled_profile()))

    def nodes(self) -> dict[str, str]:
        """The nodes that are there."""
        return self._boards.nodes_now()

    def call(self, device_id: str, method: str, *args: Any) -> Any:
        """What a board's agent answers."""
        return self._boards.call_now(device_id, method, *args)


class Agent:
    """Looks like the handle of one board's actor."""

    def __init__(self, fleet: Any, device_id: str) -> None:
        self._fleet, self._device_id = fleet, device_id

    def __getattr__(self, method: str) -> Any:
        fleet, device_id = self._fleet, self._device_id

        class Method:
            def remote(self, *args: Any) -> Any:
                return fleet.call.remote(device_id, method, *args)

        return Method()


def play_boards(count: int) -> None:
    """Have the link find the fleet's actor where it looks for nodes and agents."""
    import ray
    from ui_service import Fleet as Named  # Ray finds a class by its module's name

    from jetsched.cluster import link

    made: list[Any] = []

    def the_fleet() -> Any:
        if not made:
            actor = ray.remote(Named).options(name=NAME, num_cpus=0, get_if_exists=True)
            made.append(actor.remote(count))
        return made[0]

    link._living_nodes = lambda: ray.get(the_fleet().nodes.remote())
    link._agent_of = lambda device_id: Agent(the_fleet(), device_id)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    play_boards(int(os.environ[BOARDS_VARIABLE]))
    from jetsched.cluster import service

    sys.exit(service.main())
