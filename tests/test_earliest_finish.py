"""The quick way to the earliest finish is that of any greedy policy, decision by decision."""

from __future__ import annotations

from itertools import product

import pytest

from jetsched.policies.base import Greedy
from jetsched.policies.contract_play import play
from jetsched.policies.contract_worlds import equal_world, random_world
from jetsched.policies.earliest_finish import EarliestFinish
from jetsched.records import Placement
from jetsched.scheduler.view import View


class Plain(Greedy):
    def score(self, placement: Placement, view: View) -> float:
        return placement.finish_s


@pytest.mark.parametrize("lookahead", [1, 3, 32])
def test_it_decides_what_a_greedy_policy_with_its_score_decides(lookahead: int) -> None:
    """In random worlds with kills, losses, priorities, and jobs that name their devices."""
    for seed, world in product(range(40), (random_world, equal_world)):
        quick, plain = EarliestFinish(), Plain()
        quick.lookahead = plain.lookahead = lookahead
        expected = play(plain, world(seed)).lines()
        assert expected and play(quick, world(seed)).lines() == expected, seed
