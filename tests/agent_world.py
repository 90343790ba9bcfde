"""One agent in this process, asked directly: its children are real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from attempt_worlds import SOON_S

from jetsched.cluster.agent import Agent, NodeConfig
from jetsched.cluster.protocol import Key, Order, Report
from jetsched.profiler.limits import Limits
from jetsched.records import Device, DeviceClass, Job, Workload

T = TypeVar("T")
NX = Device("nx-1", DeviceClass("xavier-nx", "emulated", "", 150.0, emulated=True))


def a_job(id: str, run: str, **changes: Any) -> Job:
    """A job that runs a shell command."""
    return replace(Job(id, Workload("command", "", command=run)), **changes)


class OneAgent:
    """An agent with an event loop; as a context it ends what it has started."""

    def __init__(self, folder: Path, **node: Any) -> None:
        config = NodeConfig(
            **{"device": NX, "folder": str(folder), "limits": Limits(memory_mib=150.0), **node}
        )
        self.folder = folder
        self.agent = Agent(config, patience_s=0.2)
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> OneAgent:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self.agent._runs.values():
            run.stop("lost", 0.2)
        for run in self.agent._runs.values():
            run.wait(SOON_S)
        self.agent.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def ask(self, call: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(call)

    def start(self, id: str, run: str, attempt: int = 1, **changes: Any) -> Key:
        return self.start_job(a_job(id, run, **changes), attempt)

    def start_job(self, job: Job, attempt: int = 1) -> Key:
        order = Order(job, attempt)
        self.ask(self.agent.start(order))
        return order.key

    def report(self, key: Key) -> Report:
        return self.ask(self.agent.poll({key: 0}))[key]

    def until(self, fact: Callable[[], Any]) -> Any:
        """Wait until something is true; the agent goes on meanwhile."""

        async def wait() -> Any:
            end = asyncio.get_running_loop().time() + SOON_S
            while not (value := fact()):
                assert asyncio.get_running_loop().time() < end, "it did not become true"
                await asyncio.sleep(0.02)
            return value

        return self.ask(wait())

    def until_ended(self, key: Key) -> Report:
        async def wait() -> Report:
            end = asyncio.get_running_loop().time() + SOON_S
            while (report := (await self.agent.poll({key: 0}))[key]).phase != "ended":
                assert report.phase != "unknown", report.text
                assert asyncio.get_running_loop().time() < end, "it did not end"
                await asyncio.sleep(0.02)
            return report

        return self.ask(wait())

    def place(self, key: Key) -> Path:
        return self.agent._attempt(key)
