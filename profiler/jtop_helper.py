"""Prints what jetson-stats sees, one JSON object a line, until nobody reads it any more.

Run by path, ``python jtop_helper.py INTERVAL_S``, on whichever interpreter has jetson-stats, the
system's Python 3.6 included. A process of its own because importing jtop makes multiprocessing
fork everywhere in the process that does so. It imports nothing of jetsched.
"""

import importlib
import json
import sys
from typing import Any, Dict, List, Optional  # noqa: UP035 - Python 3.6


def main(argv: List[str]) -> int:  # noqa: UP006
    jtop = importlib.import_module("jtop")  # AGPL, untyped, and rarely installed
    try:
        with jtop.jtop(interval=float(argv[1])) as board:
            while board.ok():
                print(json.dumps(reading(board)), flush=True)
    except jtop.JtopException as error:
        print(json.dumps({"problem": str(error)}), flush=True)
        return 1
    except (BrokenPipeError, KeyboardInterrupt):
        sys.stderr.close()  # or Python complains while it ends
    return 0


def reading(board: Any) -> Dict[str, Any]:  # noqa: UP006
    """The fields of `sensors.Reading`, as far as this board has them."""
    gpu = integrated_gpu(board.gpu)
    return {
        "gpu_util_pct": number(gpu, "status", "load"),
        "gpu_mhz": number(gpu, "freq", "cur", divisor=1e3),
        "gpu_memory_mib": number(board.memory, "RAM", "shared", divisor=1024),
        "swap_used_mib": number(board.memory, "SWAP", "used", divisor=1024),
        "power_w": number(board.power, "tot", "power", divisor=1e3),
        "temperatures_c": {
            str(name): number(zone, "temp")
            for name, zone in dict(board.temperature).items()
            if zone.get("online", True) and number(zone, "temp") is not None
        },
    }


def integrated_gpu(gpus: Any) -> Any:
    """A board may have a graphics card too; the one that we mean is part of the chip."""
    found = list(dict(gpus).values())
    return next((gpu for gpu in found if gpu.get("type") == "integrated"), (found or [{}])[0])


def number(value: Any, *path: str, divisor: float = 1.0) -> Optional[float]:  # noqa: UP045
    """What lies below the keys, in our unit; None where one of them is missing."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, TypeError):
            return None
    try:
        return float(value) / divisor
    except (TypeError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv))
