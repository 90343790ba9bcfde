"""What a simulated world is asked to be: every option of `simulate` and `compare` that makes one.

Imports nothing of weight, so that the command line can name it at its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Arrivals = Literal["poisson", "bursty", "diurnal", "static"]
ARRIVALS: tuple[Arrivals, ...] = get_args(Arrivals)

#: Coefficient of variation of the gaps between bursty arrivals; 1 would be Poisson.
BURSTINESS = 4.0
#: How long requests are gathered before they become jobs, and how many share a batch.
WINDOW_S, BATCH = 60.0, 8
#: The model that requests are for, where none is named.
REQUEST_MODEL = "tinyllama-1.1b"


@dataclass(frozen=True)
class WorldOptions:
    """A world: where its jobs come from, when they come, what they run on, and what is not so.

    Exactly one of ``trace``, ``generate`` and ``replay`` is given. None means: as that source has
    it. Hashable and small, so that it can be sent to another process instead of a world.
    """

    trace: Path | None = None
    generate: int | None = None  # so many jobs of the mix
    replay: str | None = None  # one's own history: all, last-week, 7d
    history: Path | None = None  # the journal that is replayed; the data home's by default
    load: float | None = None  # offered work over the fleet's LP capacity
    arrivals: Arrivals | None = None
    burstiness: float = BURSTINESS
    period_s: float | None = None  # of diurnal arrivals; about a day
    mix: str | None = None  # what jobs of a stream that has only durations are; "paper"
    fleet: str | None = None  # a file, or orin-nano:4,xavier-nx:4
    counts: tuple[int, ...] = ()  # how many boards each entry of the fleet has instead
    outages: str | None = None  # mean time between failures, and to repair: "24h,30m"
    link: str | None = (
        None  # boards fetch models at so much per second: "50MiB"; None: they have them
    )
    cache: str | None = None  # how much of that a board keeps: "16GiB"; None: all
    disk: str | None = None  # checkpoints are written at so much per second
    share: int = 1  # how many jobs a board may run at a time, where a policy puts them together
    model: str | None = None  # of request traces
    window_s: float = WINDOW_S
    batch: int = BATCH
    seed: int = 0
    estimate_error: float = 0.0
    skip_bad_rows: bool = False
