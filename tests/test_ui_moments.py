"""Times of day on pages: those of the head's time zone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from jetsched.cluster.ui_moments import freshened, moment, seconds_of, zone

NOON_S = 1_795_521_600.0  # 2026-11-24 12:00 UTC


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/St_Johns"])
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The head's time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_a_moment_carries_the_head_s_day_and_time(name: str) -> None:
    """time.js shows these, whatever the zone of the browser; they are the same moment."""
    stamp = re.search('datetime="([^"]+)"', moment(NOON_S))
    assert stamp is not None
    assert seconds_of(stamp[1]) == NOON_S
    assert stamp[1][:16] == time.strftime("%Y-%m-%dT%H:%M", time.localtime(NOON_S))
    assert freshened(moment(NOON_S)) == moment(NOON_S)


def test_the_zone_says_how_far_it_is_from_utc(name: str) -> None:
    found = zone()
    assert found.ahead_s == time.localtime().tm_gmtoff
    assert (
        found.words
        == {
            "UTC": "UTC",
            "Asia/Kolkata": "IST (UTC+05:30)",
            "America/St_Johns": time.strftime("%Z", time.localtime())
            + (" (UTC-02:30)" if time.localtime().tm_isdst else " (UTC-03:30)"),
        }[name]
    )


def test_a_stamp_without_a_zone_is_utc_s_and_nonsense_is_no_moment() -> None:
    assert seconds_of("2026-11-24T12:00:00") == seconds_of("2026-11-24T12:00:00Z") == NOON_S
    assert seconds_of("") is None and seconds_of("noon") is None
