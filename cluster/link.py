"""How the head reaches the agents: calls that answer later, through Ray."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from jetsched.cluster.agent import Agent
from jetsched.errors import JetschedError

#: The label of a Ray node that says which device it is, and the one that says which model.
DEVICE_LABEL = "jetsched/device"
MODEL_LABEL = "jetsched/model"
NAMESPACE = "jetsched"

log = logging.getLogger(__name__)


class AgentGone(JetschedError):
    """The agent did not answer: it died, or its node is gone. The call may or may not have run."""


class Link(Protocol):
    """Nothing here blocks, and every future is set, if late."""

    def nodes(self) -> Future[dict[str, str]]:
        """The nodes that are alive now: device id -> the node's own id, another after a restart."""
        ...

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        """Call a method of a device's agent.

        The future raises :class:`AgentGone`, or whatever the agent raised.
        """
        ...

    def renew(self, device_id: str) -> None:
        """Have another agent in the place of one that does not answer; what it ran ends."""
        ...


class RayLink:
    """Agents as Ray actors, pinned to their nodes. Needs a connected Ray driver.

    The actors are detached: they outlive the scheduler's process, and the next one finds them. What
    may wait for Ray's head is done in a thread of its own; if that hangs, so do the futures.
    """

    def __init__(self) -> None:
        self._agents: dict[str, Any] = {}
        self._nodes = ThreadPoolExecutor(1, thread_name_prefix="ray-nodes")
        self._finder = ThreadPoolExecutor(1, thread_name_prefix="ray-agents")

    def nodes(self) -> Future[dict[str, str]]:
        return self._nodes.submit(_living_nodes)

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        agent = self._agents.get(device_id)
        if agent is not None:
            self._send(device_id, agent, method, args, answer)
        else:
            self._finder.submit(self._find_and_send, device_id, method, args, answer)
        return answer

    def renew(self, device_id: str) -> None:
        agent = self._agents.pop(device_id, None)
        if agent is not None:
            self._finder.submit(_kill, agent)

    def close(self) -> None:
        for pool in (self._nodes, self._finder):
            pool.shutdown(wait=False, cancel_futures=True)

    def _find_and_send(
        self, device_id: str, method: str, args: tuple[Any, ...], answer: Future[Any]
    ) -> None:
        try:
            agent = self._agents.get(device_id) or _agent_of(device_id)
        except Exception as error:
            answer.set_exception(_translated(error))
            return
        self._agents[device_id] = agent
        self._send(device_id, agent, method, args, answer)

    def _send(
        self, device_id: str, agent: Any, method: str, args: tuple[Any, ...], answer: Future[Any]
    ) -> None:
        def take(done: Future[Any]) -> None:
            if _is_dead(done.exception()) and self._agents.get(device_id) is agent:
                self._agents.pop(device_id, None)
            _settle(answer, done.result)

        try:
            getattr(agent, method).remote(*args).future().add_done_callback(take)
        except Exception as error:
            answer.set_exception(_translated(error))


def _agent_of(device_id: str) -> Any:
    """The agent of a device, which is made where there is none yet."""
    import ray

    return (
        ray.remote(Agent)
        .options(
            name=f"agent-{device_id}",
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_task_retries=0,  # a start must not run twice
            num_cpus=0,
            resources={agent_resource(device_id): 1},
            label_selector={DEVICE_LABEL: device_id},
        )
        .remote()
    )


def _kill(agent: Any) -> None:
    import ray

    try:
        ray.kill(agent, no_restart=False)
    except Exception as error:
        log.warning("an agent cannot be ended: %s", error)


def agent_resource(device_id: str) -> str:
    """The custom resource of a device's node; its agent takes all of it, so there is only one."""
    return f"jetsched-{device_id}"


def _living_nodes() -> dict[str, str]:
    import ray

    return {
        node["Labels"][DEVICE_LABEL]: node["NodeID"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and DEVICE_LABEL in node.get("Labels", {})
    }


def _settle(answer: Future[Any], result: Callable[[], Any]) -> None:
    try:
        value = result()
    except Exception as error:
        answer.set_exception(_translated(error))
    else:
        answer.set_result(value)


def _is_dead(error: BaseException | None) -> bool:
    """Whether an actor may be dead for good, which one is that failed when it was created: then the
    next call must make another one. Where Ray restarts it, the next call finds it by its name."""
    from ray.exceptions import ActorDiedError

    return isinstance(error, ActorDiedError)


def _translated(error: Exception) -> Exception:
    """Ray's own errors mean that the agent is gone; what the agent itself raised stays."""
    from ray.exceptions import RayError, RayTaskError

    if isinstance(error, RayTaskError) or not isinstance(error, RayError):
        return error
    return AgentGone(f"{type(error).__name__}: {str(error).splitlines()[0]}")
