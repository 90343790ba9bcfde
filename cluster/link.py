"""How the head reaches the agents: calls that answer later, through Ray."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from jetsched.cluster.agent import Agent
from jetsched.errors import JetschedError

#: The label of a Ray node that says which device it is, and the one that says which model.
DEVICE_LABEL = "jetsched/device"
MODEL_LABEL = "jetsched/model"
NAMESPACE = "jetsched"


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


class RayLink:
    """Agents as Ray actors, pinned to their nodes. Needs a connected Ray driver.

    The actors are detached: they outlive the scheduler's process, and the next one finds them.
    """

    def __init__(self) -> None:
        self._agents: dict[str, Any] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ray-nodes")

    def nodes(self) -> Future[dict[str, str]]:
        return self._pool.submit(_living_nodes)

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        try:
            agent = self._agent(device_id)
            inner = getattr(agent, method).remote(*args).future()
        except Exception as error:
            answer.set_exception(_translated(error))
            return answer

        def take(done: Future[Any]) -> None:
            if _is_dead(done.exception()) and self._agents.get(device_id) is agent:
                del self._agents[device_id]
            _settle(answer, done.result)

        inner.add_done_callback(take)
        return answer

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _agent(self, device_id: str) -> Any:
        if device_id not in self._agents:
            import ray

            self._agents[device_id] = (
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
        return self._agents[device_id]


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
