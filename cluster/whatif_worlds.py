"""What a question is simulated in: a world, the policy that decides, and boards to be added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jetsched import policies
from jetsched.cluster.fleet import read_fleet
from jetsched.cluster.pastjobs import PastJob
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.whatif import Question
from jetsched.errors import InputError
from jetsched.problems import quoted
from jetsched.records import Device, DeviceClass
from jetsched.scheduler.events import Entry, PolicyChanged, ServiceStarted


@dataclass(frozen=True)
class World:
    """Something to simulate, and what was; ``past`` are the jobs of a history by id.

    Times of the scenario begin at ``origin_s`` of the journal's clock. ``policy`` is what decides
    now; ``pinned`` are jobs that run now: they take up boards, and are not compared.
    """

    scenario: Scenario
    policy: str
    origin_s: float
    notes: Sequence[str]
    past: Mapping[str, PastJob] | None = None
    pinned: frozenset[str] = frozenset()
    one_policy: bool = True


class Deciding:
    """Notes which policy decides, as entries go by."""

    def __init__(self) -> None:
        self.specs: dict[str, None] = {}

    def of(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if isinstance(entry, ServiceStarted | PolicyChanged):
                self.specs.pop(entry.policy, None)
                self.specs[entry.policy] = None
            yield entry

    def last(self, notes: list[str]) -> str:
        """The last one, if it can be loaded here."""
        spec = next(reversed(self.specs), policies.FALLBACK)
        try:
            policies.load(spec, seed=0)
        except (Exception, SystemExit) as error:  # somebody else's code, which may be anything
            notes.append(f"Policy {spec} cannot be loaded: {error}. {policies.FALLBACK} stands in.")
            return policies.FALLBACK
        return spec


def with_boards(world: World, question: Question) -> tuple[Scenario, list[Device]]:
    """The scenario with the boards that are to be added, and these. Raises InputError."""
    known = {device.id: device.device_class for device in world.scenario.devices}
    added: list[Device] = []
    for name, count in question.added:
        kind = known.get(name) or _of_sheet(name)
        first = len(added) + 1
        added += [Device(f"new-{number}", kind) for number in range(first, first + count)]
    if any(device.id in known for device in added):
        added = [replace(device, id=f"{device.id}-whatif") for device in added]
    scenario = world.scenario
    return replace(scenario, devices=[*scenario.devices, *added]), added


def _of_sheet(name: str) -> DeviceClass:
    try:
        return read_fleet(f"{name}:1").devices[0].device_class
    except InputError as error:
        raise InputError(
            f"{quoted(name)} is no board here and no model", hint=error.hint or str(error)
        ) from None
