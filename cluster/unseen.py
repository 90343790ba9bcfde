"""Each measured workload predicted without its own runs, worked out beside the service.

``python -m jetsched.cluster.unseen HOME``: see :mod:`~jetsched.cluster.aside`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jetsched.cluster.aside import work_aside
from jetsched.files import from_json, to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.heldout import Guess, held_out, score
from jetsched.profiler.store import MeasurementStore

#: So many guesses are told one by one, evenly taken out of all.
MOST = 300


def work(home: Path, said: Callable[[int, int], None]) -> dict[str, Any]:
    """The guesses, and what they say together, of what was measured by now."""
    measured = MeasurementStore(home / MeasurementStore.name).read()
    guesses = held_out(measured, CalibrationStore(home / CalibrationStore.name).read(), said)
    shown = guesses[:: -(-len(guesses) // MOST) or 1]
    return {"score": to_json(score(guesses)), "guesses": to_json(shown)}


def guesses_of(result: Mapping[str, Any]) -> list[Guess]:
    """The guesses of a result."""
    return [from_json(Guess, value) for value in result["guesses"]]


if __name__ == "__main__":
    sys.exit(work_aside(lambda given, said: work(Path(sys.argv[1]), said)))
