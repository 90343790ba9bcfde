"""What is kept of a decision is all of it, in a tenth of the room."""

from __future__ import annotations

import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from jetsched.records import Decision, Reason, Row
from jetsched.scheduler.packed import PackedDecision

numbers = st.none() | st.integers(0, 1 << 40) | st.floats(allow_nan=False)
rows = st.builds(
    Row,
    st.text(max_size=20),
    st.sampled_from(("fits", "tight", "never", "busy")),
    st.none() | st.just("DeviceBusy"),
    st.text(max_size=40),
    *[numbers] * 9,
    st.none() | st.just("measured"),
    st.booleans(),
    numbers,
)
decisions = st.builds(
    Decision,
    st.floats(0, 1e10),
    st.text(max_size=5),
    st.just("makespan"),
    st.none() | st.just("nx-1"),
    st.none() | st.builds(Reason, st.just("Behind"), st.text()),
    st.lists(rows, max_size=5).map(tuple),
    st.text(max_size=20),
    st.text(max_size=20),
)


@given(decisions)
def test_unpacked_it_is_what_was_packed(decision: Decision) -> None:
    """Whole numbers stay whole, infinite ones infinite; so what `why` prints is the same."""
    found = PackedDecision(decision).unpacked()
    assert found == decision and repr(found) == repr(decision)
    assert PackedDecision(found) == PackedDecision(decision)


def test_a_number_of_numpy_is_kept_as_a_number() -> None:
    """A policy may score with arrays."""
    import numpy as np

    row = Row("nx-1", "fits", score=np.float64(0.1), start_s=np.float32(0.5))  # type: ignore[arg-type]
    (found,) = PackedDecision(Decision(0.0, "1", "p", None, None, (row,))).unpacked().rows
    assert (found.score, found.start_s) == (0.1, 0.5) and type(found.score) is float


def test_a_table_of_200_boards_takes_less_than_8_kb() -> None:
    """As objects it is 50: of ten thousand jobs that ran, half a gigabyte."""
    began = time.time()
    table = tuple(
        Row(
            f"orin-{place}",
            "busy",
            "DeviceBusy",
            f"busy for another {place * 7 % 60}m {place * 13 % 60}s",
            2515.0,
            3472.1,
            6900.0,
            began + place * 1.37,
            161.2345,
            190.1234,
            began + place * 1.37 + 161.2345,
            1800.5,
            None,
            "estimated",
        )
        for place in range(200)
    )
    packed = PackedDecision(Decision(began, "7", "earliest_finish", "orin-1", None, table))
    assert sys.getsizeof(packed._rows) < 8000
