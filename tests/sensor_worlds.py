"""Builders for tests of the board's sensors: fake trees, programs, modules, fixed sensors."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from jetsched.profiler.machine import Machine
from jetsched.profiler.sensors import Reading, Source

TREES = Path(__file__).with_name("fake_sys")
LINE = "RAM 900/7620MB (lfb 8x4MB) SWAP 64/3810MB (cached 0MB) CPU [7%@729] GR3D_FREQ {gpu}%@[612]"
LINE += " cpu@48.5C gpu@50.25C VDD_IN {mw}mW/9999mW VDD_SOC 900mW/900mW"


def a_tree(folder: Path, name: str = "xavier-nx-jetpack5") -> Path:
    """A board's files, to be changed at will."""
    return shutil.copytree(TREES / name, folder / "root")


def a_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + textwrap.dedent(script))
    path.chmod(0o755)
    return path


def a_tegrastats(folder: Path, script: str = "") -> Path:
    """A program of that name; it prints the same line for ever, if nothing else is given."""
    line = LINE.format(gpu=80, mw=10000)
    return a_program(
        folder / "bin/tegrastats", script or f"while :; do echo '{line}'; sleep 0.05; done\n"
    )


def a_jtop(folder: Path, code: str = "") -> str:
    """An interpreter that has a module jtop with the documented attributes, and its path."""
    module = folder / "modules/jtop.py"
    module.parent.mkdir()
    module.write_text(textwrap.dedent(JTOP) + textwrap.dedent(code))
    wrapper = f'PYTHONPATH={module.parent} exec {sys.executable} "$@"\n'
    return str(a_program(folder / "python-with-jtop", wrapper))


JTOP = """
    import time

    class JtopException(Exception):
        pass

    class jtop:
        def __init__(self, interval=0.5):
            self.interval = interval

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return False

        def ok(self):
            time.sleep(self.interval)
            return True

        gpu = {
            "card": {"type": "discrete", "status": {"load": 1.0}, "freq": {"cur": 1}},
            "gv11b": {"type": "integrated", "status": {"load": 63.5}, "freq": {"cur": 803250}},
        }
        memory = {
            "RAM": {"tot": 7021568, "used": 3000000, "shared": 524288},
            "SWAP": {"tot": 3510784, "used": 20480},
        }
        power = {"rail": {}, "tot": {"power": 8125, "avg": 7000}}
        temperature = {
            "CPU": {"temp": 45.5, "online": True},
            "GPU": {"temp": 47.0, "online": True},
            "CV0": {"temp": -256, "online": False},
            "PMIC": {"temp": 100.0, "online": True},
        }
"""


@dataclass
class FixedSensors:
    """Sensors that always say the same; they fail when told to."""

    reading: Reading | None = field(default_factory=Reading)
    problem: str = ""
    closed: int = 0

    def read(self) -> Reading | None:
        return self.reading

    def close(self) -> float:
        self.closed += 1
        return 0.25


def a_source(sensors: FixedSensors, name: str = "fixed", unified: bool = True) -> Source:
    return Source(name, "it is a test", lambda interval_s: sensors, unified)


def a_machine(*sensors: FixedSensors, root: Path) -> Machine:
    return Machine(lambda: [a_source(each, f"fixed-{i}") for i, each in enumerate(sensors)], root)
