"""A large live fleet for tests, screenshots and measurements: a real service over computed boards.

    with many_boards(tmp_path, boards=200, jobs=300) as world:
        with Served(world) as served: ...          # tests/api_world.py

The boards have lively sensors, run what they are given for about as long as it is estimated to
take, and some are in trouble. With ``hours`` the world has a past: its clock begins so long ago and
catches up within seconds, so that the journal holds what a service would really have decided then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from live_world import LiveWorld
from simulated_boards import CLOSINGS, KINDS, OTHERS, SimulatedBoard

from jetsched.cluster.boards import Timing
from jetsched.cluster.link import AgentGone
from jetsched.jobfile import JobSpec, job_of_json
from jetsched.jobmodel import Surroundings
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.costs import CostModel
from jetsched.records import Device
from jetsched.scheduler.view import Costs

#: One board of each trouble in a fleet that has them, *gone* among them: no node any more.
TROUBLES = ("hot", "throttled", "slow", "crowded", "full", "mode", "silent", "gone")
#: A board that falls silent, or goes, does so when the world is so old.
HEARD_S = 2.0
#: So many jobs are handed in together.
AT_ONCE = 500
USERS = ("ada", "grace", "lin", "edsger")


def fleet(count: int, *, emulated: bool = True) -> list[Device]:
    """So many boards, two Xavier NX to three Orin Nano, in this order of ids."""
    numbers = {"xavier-nx": 0, "orin-nano": 0}
    found = []
    for place in range(count):
        model = "xavier-nx" if place % 5 in (0, 2) else "orin-nano"
        numbers[model] += 1
        name = "nx" if model == "xavier-nx" else "orin"
        kind = replace(KINDS[model], emulated=emulated)
        found.append(Device(f"{name}-{numbers[model]}", kind, (f"rack-{place // 20 + 1}",)))
    return found


def job_values(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Job files as JSON values: a lab's mix of training, inference-like commands and sweeps."""
    random = Random(seed)
    for number in range(count):
        kind = random.choices(("train", "lora", "tiny", "command"), (4, 3, 3, 3))[0]
        samples = random.choice((64, 128, 256, 400))
        model = random.choice(("distilgpt2", "distilgpt2", "gpt2"))
        base: dict[str, Any] = {
            "kind": "train",
            "dataset": f"squad[:{samples}]",
            "precision": "fp32",
        }
        base["epochs"] = random.choice((1, 2, 3))
        work: dict[str, Any]
        if kind == "train":
            work = {**base, "model": model, "batch_size": random.choice((4, 8)), "seq_len": 256}
        elif kind == "lora":
            work = {**base, "model": model, "batch_size": 4, "seq_len": 384, "method": "lora"}
        elif kind == "tiny":
            work = {**base, "model": "tiny-gpt2", "batch_size": 8, "seq_len": 128, "epochs": 30}
        else:
            like = {"kind": "infer", "model": "distilgpt2", "max_new_tokens": 128}
            work = {
                "kind": "command",
                "run": f"python evaluate.py --part {number % 40}",
                "like": like,
            }
        values: dict[str, Any] = {
            "name": f"{kind}-{model if kind in ('train', 'lora') else 'small'}-{number + 1}",
            "work": work,
            "user": random.choice(USERS),
            "priority": random.choice((30, 50, 50, 50, 70, 90)),
            "labels": {"project": random.choice(("qa", "summaries", "paper"))},
        }
        if random.random() < 0.2:
            values["deadline"] = f"{random.choice((30, 60, 120))}m"
        yield values


def job_specs(count: int, seed: int = 0) -> list[JobSpec]:
    """The same, as the desk takes them."""
    return [job_of_json(v, "<job>", Surroundings()) for v in job_values(count, seed)]


class CatchingUp:
    """A wall clock that is ``behind_s`` at first, and right ``within_s`` later."""

    def __init__(self, behind_s: float = 0.0, within_s: float = 10.0) -> None:
        self._behind_s, self._within_s, self._began = behind_s, within_s, time.monotonic()

    @property
    def share(self) -> float:
        """How much of the time that it was behind has gone by, up to 1."""
        if not self._behind_s:
            return 1.0
        return min(1.0, (time.monotonic() - self._began) / self._within_s)

    def __call__(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time() - self._behind_s * (1.0 - self.share)


class ManyBoards:
    """A :class:`~jetsched.cluster.link.Link` to computed boards; each call is answered at once."""

    def __init__(
        self,
        devices: Sequence[Device],
        costs: Costs,
        now_s: Callable[[], float] = time.time,
        troubles: Sequence[str] = (),
    ) -> None:
        assert set(troubles) <= {*CLOSINGS, *OTHERS, "gone"}
        wrong = dict(zip(devices[1::2], troubles, strict=False))  # spread over the first ones
        self.boards = {
            device.id: SimulatedBoard(device, costs, now_s, wrong.get(device, ""))
            for device in devices
        }
        self._began = time.monotonic()

    def call_now(self, device_id: str, method: str, *args: Any) -> Any:
        """What a board answers. Raises AgentGone for one that does not."""
        board = self.boards[device_id]
        if board.trouble in ("silent", "gone") and self._is_late():
            raise AgentGone("its agent does not answer")
        return board.call(method, *args)

    def nodes_now(self) -> dict[str, str]:
        """The nodes that are there: device id -> the node's own."""
        late = self._is_late()
        return {
            id: f"node-{id}" for id, b in self.boards.items() if b.trouble != "gone" or not late
        }

    def nodes(self) -> Future[dict[str, str]]:
        answer: Future[dict[str, str]] = Future()
        answer.set_result(self.nodes_now())
        return answer

    def call(self, device_id: str, method: str, *args: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        try:
            answer.set_result(self.call_now(device_id, method, *args))
        except Exception as error:  # as an agent's would come: through the future
            answer.set_exception(error)
        return answer

    def renew(self, device_id: str) -> None:
        """Another agent would be as silent."""

    def _is_late(self) -> bool:
        return time.monotonic() - self._began > HEARD_S


def timing_for(boards: int) -> Timing:
    """As quick as one core can follow, whatever the number of boards."""
    poll_s = max(0.02, boards / 1000)
    return Timing(
        poll_s=poll_s,
        quick_poll_s=poll_s,
        idle_poll_s=max(0.1, poll_s),
        look_s=1.0,
        scan_s=0.5,
        begin_s=1.0,
        suspect_s=10.0,  # machines are busy at times
        silence_s=1e9,  # it stays suspect, to be looked at
        rest_s=0.3,
        lone_rest_s=0.2,
        longest_rest_s=1.0,
    )


@contextmanager
def many_boards(
    home: Path,
    boards: int = 200,
    jobs: int = 300,
    *,
    hours: float = 0.0,
    within_s: float = 10.0,
    emulated: bool = True,
    troubles: Sequence[str] = TROUBLES,
    seed: int = 0,
    **world: Any,
) -> Iterator[LiveWorld]:
    """A running service with so many boards, and jobs handed in.

    With ``hours`` half of the jobs came evenly over that time, and are over or run; the rest waits.
    ``world`` is for :class:`LiveWorld`; ``troubles=()`` for a fleet in good health.
    """
    clock = CatchingUp(hours * 3600.0, within_s)
    devices, specs = fleet(boards, emulated=emulated), job_specs(jobs, seed)
    # What the boards do is not to change by what the scheduler learns of it.
    link = ManyBoards(devices, CostModel(bundled_profile()), clock, troubles)
    world = {"timing": timing_for(boards), "wall": clock, **world}
    with LiveWorld(home, CostModel(bundled_profile()), link=link, **world) as running:
        running.until(lambda s: len(s.fleet.devices) == boards)
        past = len(specs) // 2 if hours else 0
        for place, spec in enumerate(specs[:past]):
            while clock.share < place / past:
                time.sleep(0.002)
            running.desk.submit([spec], hold=True)
        running.wait(lambda: clock.share == 1.0)
        for first in range(past, len(specs), AT_ONCE):
            running.desk.submit(specs[first : first + AT_ONCE], hold=True)
        yield running
