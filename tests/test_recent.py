"""The readings of the last minutes: a ring per board, and what the API tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, isnan
from pathlib import Path

import httpx
import pytest
from api_world import TOKEN, Served
from hypothesis import given
from hypothesis import strategies as st
from live_world import LiveWorld

from jetsched.cluster.recent import QUANTITIES, Recent, told_of

VALUES = st.none() | st.floats(0, 1e6, width=32)
SAMPLES = st.lists(st.tuples(st.integers(0, 10**6), VALUES, VALUES, VALUES, VALUES), max_size=40)


@given(SAMPLES, st.integers(1, 12), st.integers(0, 15), st.none() | st.integers(-1, 10**6))
def test_the_newest_are_told_in_their_order_and_nothing_else(
    samples: list[tuple[int, ...]], kept: int, most: int, after_s: int | None
) -> None:
    """Whatever comes, the answer is that of a list which is cut to its end."""
    recent, newest = Recent(kept), -1
    expected = []
    for at_s, *values in samples:
        recent.add(float(at_s), values)
        if at_s > newest:
            newest = at_s
            expected.append((float(at_s), *values))
    expected = expected[-kept:][-most:] if most else []
    told = recent.told(after_s, most)
    found = list(zip(*(told[name] for name in ("at_s", *QUANTITIES)), strict=True))
    wanted = [row for row in expected if after_s is None or row[0] > after_s]
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for value, was in zip(one, other, strict=True):
            if value is None or was is None:
                assert value is was
            else:
                assert isclose(value, was, abs_tol=0.0051)


def test_a_copy_does_not_see_what_comes_later() -> None:
    recent = Recent(3)
    recent.add(1.0, (1, 2, None, None))
    copy = recent.copy()
    recent.add(2.0, (3, 4, None, None))
    assert copy.told()["at_s"] == [1.0]
    assert recent.told()["at_s"] == [1.0, 2.0]


def test_the_newest_of_one_quantity_are_those_that_are_told() -> None:
    """Also over the end of the ring, where the newest stands before the oldest."""
    recent = Recent(4)
    for place in range(7):
        recent.add(float(place), (float(place), None, None, None))
        for most in (1, 2, 4, 9):
            told = recent.told(most=most)["gpu_util_pct"]
            assert list(recent.newest("gpu_util_pct", most)) == told
    assert all(map(isnan, recent.newest("power_w", 4)))


def test_who_asks_for_what_is_newer_than_the_last_gets_none_twice() -> None:
    """Moments are told as they are kept, so that comparing them is exact."""
    recent = Recent()
    recent.add(1_790_000_000.123456, (1, 2, 3, 4))
    last = recent.told()["at_s"][-1]
    assert recent.told(last)["at_s"] == []
    assert told_of({"nx-1": recent}, last) == {}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with LiveWorld(tmp_path_factory.mktemp("recent")) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world) as served:
            yield served


def test_the_api_tells_each_board_and_goes_on_from_where_one_was(served: Served) -> None:
    found = served.world.wait(lambda: served.client.recent())
    told = found["nx-1"]
    assert set(told) == {"at_s", *QUANTITIES}
    assert len({len(column) for column in told.values()}) == 1
    assert told["memory_mib"][-1] == 0.0  # nothing runs there
    assert told["power_w"][-1] is None  # an emulated board has no sensor
    last = told["at_s"][-1]
    served.world.wait(lambda: "nx-1" in served.client.recent(after_s=last))
    assert min(served.client.recent(after_s=last)["nx-1"]["at_s"]) > last
    assert len(served.client.recent(most=1)["nx-1"]["at_s"]) == 1


def test_a_wrong_number_of_samples_is_refused_with_its_place(served: Served) -> None:
    header = {"Authorization": f"Bearer {TOKEN}"}
    for most in ("0", "-3", "100000", "many"):
        answer = httpx.get(
            f"{served.url}/devices/recent", params={"most": most}, headers=header, trust_env=False
        )
        assert answer.status_code == 422
        assert "most" in answer.json()["error"]


def test_a_board_that_was_removed_tells_nothing_any_more(tmp_path: Path) -> None:
    with LiveWorld(tmp_path) as world:
        world.until_devices("nx-1", "orin-1")
        world.wait(lambda: set(world.desk.recent()) == {"nx-1", "orin-1"})
        world.agents.unplug("nx-1")
        world.until_devices("orin-1")
        assert "nx-1" in world.desk.recent()  # what was is still of interest
        world.desk.remove("nx-1")
        assert set(world.desk.recent()) == {"orin-1"}
