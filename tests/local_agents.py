"""Agents without Ray: in this process, on an event loop of their own. Their children are real."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from jetsched.cluster.agent import Agent, NodeConfig
from jetsched.cluster.link import AgentGone
from jetsched.profiler.limits import Limits
from jetsched.records import Device


class LocalAgents:
    """A :class:`~jetsched.cluster.link.Link` to agents in this process.

    ``cut`` makes calls fail as if the agent had died; those to one that is ``hung`` are carried out
    when it heals, in their order, however late. ``unplug`` makes a node vanish.
    """

    def __init__(self, folder: Path, boards: dict[str, tuple[Device, Limits]], **node: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._folder, self._boards, self._node = folder, boards, node
        self._lives: dict[str, int] = {}
        self._agents: dict[str, Agent] = {}
        self.calls: list[tuple[str, str]] = []
        self.cut: set[str] = set()
        self.hung: set[str] = set()
        self._late: list[tuple[str, str, tuple[Any, ...], Future[Any]]] = []
        for device_id in boards:
            self.plug(device_id)

    @property
    def plugged(self) -> set[str]:
        return set(self._agents)

    def heal(self, device_id: str) -> None:
        self.cut.discard(device_id)
        self.hung.discard(device_id)
        late, self._late = self._late, []
        for call in late:
            if call[0] != device_id:
                self._late.append(call)
            elif device_id in self._agents:
                self._carry_out(*call)

    def plug(self, device_id: str) -> None:
        """The node is there, with an agent that remembers nothing."""
        device, limits = self._boards[device_id]
        place = self._folder / device_id
        place.mkdir(parents=True, exist_ok=True)
        self._agents[device_id] = Agent(NodeConfig(device, str(place), limits, **self._node))
        self._lives[device_id] = self._lives.get(device_id, 0) + 1

    def restart(self, device_id: str) -> None:
        """The agent dies and comes again on the same node: what it held is gone."""
        life = self._lives[device_id]
        self._drop(device_id)
        self.plug(device_id)
        self._lives[device_id] = life

    def unplug(self, device_id: str) -> None:
        self._drop(device_id)
        del self._agents[device_id]

    def _drop(self, device_id: str) -> None:
        self._agents[device_id].close()  # what the kernel does when the process dies

    def nodes(self) -> Future[dict[str, str]]:
        answer: Future[dict[str, str]] = Future()
        answer.set_result({d: f"{d}/{self._lives[d]}" for d in self._agents})
        return answer

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        self.calls.append((device_id, method))
        if device_id in self.cut or device_id not in self._agents:
            gone: Future[Any] = Future()
            gone.set_exception(AgentGone("cut off"))
            return gone
        answer: Future[Any] = Future()
        if device_id in self.hung:
            self._late.append((device_id, method, args, answer))
        else:
            self._carry_out(device_id, method, args, answer)
        return answer

    def _carry_out(
        self, device_id: str, method: str, args: tuple[Any, ...], answer: Future[Any]
    ) -> None:
        def take(done: Future[Any]) -> None:
            if done.cancelled():
                answer.set_exception(AgentGone("the agent has ended"))
            elif (error := done.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(done.result())

        work = getattr(self._agents[device_id], method)(*args)
        asyncio.run_coroutine_threadsafe(work, self._loop).add_done_callback(take)

    def renew(self, device_id: str) -> None:
        if device_id in self._agents:
            self.restart(device_id)

    def _end_tasks(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    def close(self) -> None:
        """End everything that still runs, and wait for it. Twice is the same as once."""
        if self._loop.is_closed():
            return
        for agent in self._agents.values():
            for run in agent._runs.values():
                run.stop("lost", 0.5)
            for run in agent._runs.values():
                run.wait(30)
            agent.close()
        self._loop.call_soon_threadsafe(self._end_tasks)
        self._thread.join(10)
        self._loop.close()
