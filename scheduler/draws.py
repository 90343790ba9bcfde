"""Random numbers that depend on what they are for, not on the order in which they are drawn.

A draw is a hash of its key, so that the same seed gives the same numbers in every process, in
simulated and live runs alike, whatever happened before.
"""

from __future__ import annotations

from hashlib import blake2b
from statistics import NormalDist

_NORMAL = NormalDist()


def uniform(*key: str | int) -> float:
    """A number in the open interval (0, 1), the same one for the same key."""
    text = "\x1f".join(map(str, key)).encode("utf-8", "surrogatepass")
    bits = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 12
    return (bits + 0.5) / 2.0**52


def normal(*key: str | int) -> float:
    """A number from the standard normal distribution, the same one for the same key."""
    return _NORMAL.inv_cdf(uniform(*key))
