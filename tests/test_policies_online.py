"""What the policies for mean completion of arriving jobs promise."""

from __future__ import annotations

import pytest

from jetsched import policies
from jetsched.policies.contract import PolicyContract
from jetsched.scheduler.view import Policy

#: The last two as they decide on large fleets.
NAMES = (
    "comparative_advantage",
    "response_ratio",
    "matching",
    "auto",
    "matching:most_devices=0",
    "auto:few_devices=0",
)


@pytest.mark.parametrize("name", NAMES)
class TestContract(PolicyContract):
    """Each of them keeps the contract."""

    @pytest.fixture(autouse=True)
    def _name(self, name: str) -> None:
        self.name = name

    def make(self, seed: int) -> Policy:
        return policies.load(self.name, seed=seed)
