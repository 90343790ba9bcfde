"""A courier over agents in this process, without a scheduler; calls can be cut in the middle."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from live_world import BOARDS, SOON_S, a_command
from local_agents import LocalAgents

from jetsched.cluster.courier import Courier, CourierOptions
from jetsched.cluster.fetching import Sizes
from jetsched.cluster.link import AgentGone
from jetsched.cluster.protocol import Key, Order, Report
from jetsched.records import Job

#: No room is kept free: the machine that tests may be nearly full.
SIZES = Sizes(reserve_mib=0.0)


class CutLink(LocalAgents):
    """Agents whose file calls can be cut: ``fails(name, args)`` says of each call whether it is.

    ``damage(name, answer)`` changes what comes back.
    """

    fails: Callable[[str, tuple[Any, ...]], bool] = staticmethod(lambda name, args: False)
    damage: Callable[[str, Any], Any] = staticmethod(lambda name, answer: answer)

    def __init__(self, *args: Any, **node: Any) -> None:
        self.file_calls: list[tuple[str, tuple[Any, ...]]] = []
        super().__init__(*args, **node)

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        if method != "files":
            return super().call(device_id, method, *args)
        name, rest = args[0], args[1:]
        self.file_calls.append((name, rest))
        if self.fails(name, rest):
            gone: Future[Any] = Future()
            gone.set_exception(AgentGone("cut"))
            return gone
        inner = super().call(device_id, method, *args)
        answer: Future[Any] = Future()

        def take(done: Future[Any]) -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(self.damage(name, done.result()))
            except BaseException as error:
                answer.set_exception(error)

        inner.add_done_callback(take)
        return answer

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of all file calls of a name."""
        return [args for called, args in self.file_calls if called == name]


class CourierWorld:
    """A home, two boards, a courier. As a context it ends everything it started."""

    def __init__(self, folder: Path, *, link_here: bool = False, sizes: Sizes = SIZES) -> None:
        self.folder, self.home = folder, folder / "home"
        self.link = CutLink(folder / "nodes", BOARDS)
        self.options = CourierOptions(sizes, link_here=link_here)
        self.forgot: list[tuple[str, Key]] = []
        self.courier = self.new_courier()

    def new_courier(self) -> Courier:
        """The head is started (again)."""
        self.courier = Courier(
            self.link, self.home, lambda *item: self.forgot.append(item), options=self.options
        )
        self.courier._fetching._again_s = 0.05
        return self.courier

    def __enter__(self) -> CourierWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.courier.close()
        self.link.close()

    def agent(self, device_id: str, method: str, *args: Any) -> Any:
        return self.link.call(device_id, method, *args).result(SOON_S)

    def run(self, device_id: str, job: Job, attempt: int = 1) -> Report:
        """Run an attempt to its end; returns its last report."""
        order = self.courier.prepare(device_id, Order(job, attempt)).result(SOON_S)
        self.agent(device_id, "start", order)
        return self.ended(device_id, order.key)

    def ended(self, device_id: str, key: Key) -> Report:
        report: Report = self.wait(lambda: self._ended(device_id, key))
        return report

    def _ended(self, device_id: str, key: Key) -> Report | None:
        report: Report = self.agent(device_id, "poll", {key: 0})[key]
        assert report.phase != "unknown", report.text
        return report if report.phase == "ended" else None

    def writing(self, run: str, id: str = "1") -> tuple[Report, Key]:
        """A command that leaves something, over and not fetched yet."""
        report = self.run("nx-1", a_command(id, run))
        assert report.measurement is not None and report.measurement.outcome == "done", report
        return report, (id, 1)

    def wait(self, fact: Callable[[], Any]) -> Any:
        end = time.monotonic() + SOON_S
        while not (value := fact()):
            assert time.monotonic() < end, "it did not become true"
            time.sleep(0.01)
        return value

    def until_state(self, key: Key, state: str) -> None:
        self.wait(lambda: self.courier.artefacts(key).state == state)
