"""The options of `plan-fleet`: boards to choose from, what they cost, how many there may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, prod
from typing import Literal

from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import Worlds
from jetsched.errors import InputError
from jetsched.problems import did_you_mean, quoted
from jetsched.records import DeviceClass

Cost = Literal["count", "energy", "price"]

#: Mixes that a search looks at.
MOST_MIXES = 500_000
#: Mixes that are simulated where energy counts.
MOST_SIMULATED = 1_000


def models_of(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if "" in names or any(":" in name for name in names):
        raise InputError(f"--models {text}: names with commas between", hint="xavier-nx,orin-nano")
    if len(set(names)) < len(names):
        raise InputError(f"--models {text}: one is here twice")
    return names


def name_of(kind: DeviceClass) -> str:
    """The board as ``--models`` would name it."""
    return f"{kind.model}@{kind.power_mode}" if kind.power_mode else kind.model


def same_entries(world: WorldOptions, names: Sequence[str]) -> None:
    """Counts are by entry of the file: raise where two entries are the same board."""
    try:
        Worlds(replace(world, counts=tuple([1] * len(names))))
    except InputError as error:
        raise InputError(
            f"{world.fleet}: two entries are the same board", hint="name every board once"
        ) from error


def cost_of(cost: str | None, price: str | None) -> Cost:
    if cost is None:
        return "price" if price is not None else "count"
    if cost not in ("count", "energy", "price"):
        raise InputError(f"--cost {quoted(cost)}: there are count, energy and price")
    if price is not None and cost != "price":
        raise InputError(f"--price says nothing for --cost {cost}", hint="--cost price")
    return cost  # type: ignore[return-value]


def prices_of(names: Sequence[str], text: str | None, known: Mapping[str, float]) -> list[float]:
    given = dict(known)
    for part in (text or "").split(",") if text else []:
        name, equals, figure = part.strip().partition("=")
        if name not in names and name not in [n.partition("@")[0] for n in names]:
            hint = did_you_mean(name, names) or f"there are {', '.join(names)}"
            raise InputError(f"--price: {quoted(name)} is none of the models", hint=hint)
        try:
            given[name] = float(figure)
        except ValueError:
            given[name] = 0.0
        if not equals or not isfinite(given[name]) or given[name] <= 0:
            raise InputError(
                f"--price: {quoted(part.strip())} is no price", hint="--price xavier-nx=399,..."
            )
    prices = [given.get(name, given.get(name.partition("@")[0], 0.0)) for name in names]
    for name, value in zip(names, prices, strict=True):
        if not value > 0:
            raise InputError(f"there is no price of {name}", hint=f"--price {name}=399,...")
    return prices


def limit_of(most: int) -> int:
    if not 1 <= most <= 10_000:
        raise InputError(f"--most {most} leaves nothing to choose", hint="1 to 10,000 boards")
    return most


def check_size(limits: Sequence[int], cost: Cost) -> None:
    mixes = prod(limit + 1 for limit in limits)
    most = MOST_SIMULATED if cost == "energy" else MOST_MIXES
    if mixes > most:
        raise InputError(
            f"{mixes:,} mixes of up to {limits[0]} boards of {len(limits)} models are too many",
            hint=f"--most N lowers it; {most:,} mixes can be looked through",
        )
