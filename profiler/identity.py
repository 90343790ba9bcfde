"""What machine this is: Jetson, computer with an NVIDIA GPU, or plain CPU. No serial numbers.

Everything is read below a root folder, so tests give a board's files in a folder of their own; the
workload's software is asked of the workload's interpreter, without importing torch.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jetsched.profiler import hub_cache
from jetsched.profiler.clocks import clocks_of
from jetsched.profiler.procfs import number_after
from jetsched.profiler.storage import storage_of
from jetsched.records import Device, DeviceClass

#: Parts of the name in the device tree -> our name, the more special ones first.
BOARDS: tuple[tuple[str, str], ...] = (
    ("xavier nx", "xavier-nx"),
    ("orin nano", "orin-nano"),
    ("orin nx", "orin-nx"),
    ("agx orin", "agx-orin"),
    ("agx xavier", "agx-xavier"),
    ("jetson-agx", "agx-xavier"),  # as JetPack 4 calls it
    ("jetson nano", "jetson-nano"),
)

#: L4T release -> JetPack (NVIDIA's archive of both); what is not here is told by its major part.
JETPACKS: Mapping[str, str] = {
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.5.0": "6.2.2",
    "39.2.0": "7.2",
}
JETPACK_MAJORS: Mapping[str, str] = {"32": "4", "35": "5", "36": "6", "38": "7", "39": "7"}

DESKTOPS = frozenset({"Xorg", "Xwayland", "gnome-shell", "lxsession", "gdm3", "lightdm"})

#: Memory for jobs is told in steps of this, so that boards of a kind fall into one device class.
STEP_MIB = 256.0


@dataclass(frozen=True)
class Software:
    """What a workload interpreter has. Empty: it is missing there."""

    python: str = ""
    torch: str = ""
    cuda: str = ""  # the version that torch was built for; "" means a CPU-only torch
    transformers: str = ""
    datasets: str = ""
    problem: str = ""  # why the interpreter could not be asked

    @property
    def label(self) -> str:
        """As in a device class, e.g. ``torch-2.1.0``."""
        return f"torch-{self.torch}" if self.torch else ""


@dataclass(frozen=True)
class Identity:
    """A machine, as far as it changes what a workload costs. None and "": not known."""

    kind: Literal["jetson", "gpu", "cpu"]
    model: str  # as in profiler/devices.py, or made of the GPU's name
    title: str  # as the machine calls itself
    power_mode: str = ""
    l4t: str = ""
    jetpack: str = ""
    memory_total_mib: float | None = None
    memory_available_mib: float | None = None  # at the moment of asking
    gpu_memory_mib: float | None = None  # of its own; a Jetson has none
    headless: bool | None = None
    cpu: str = ""
    cpus_online: str = ""  # e.g. "0-5"
    cpu_min_mhz: float | None = None
    cpu_max_mhz: float | None = None
    gpu_min_mhz: float | None = None
    gpu_max_mhz: float | None = None
    gpu_mhz: float | None = None  # at the moment of asking
    clocks_locked: bool | None = None  # nothing can move, as jetson_clocks leaves it
    storage: str = ""  # what the cache of models lies on, e.g. sd-card
    driver: str = ""
    python: str = ""  # of jetsched
    workload_python: str = ""  # the path of the workload's interpreter
    software: Software = Software()
    torch_cpu_only: bool | None = None  # its torch cannot use a GPU; None: there is no torch
    problems: tuple[str, ...] = ()

    def device_class(self) -> DeviceClass:
        """The class for estimates: its memory is what was free for jobs, in steps of 256 MiB.

        On a board that is MemAvailable, at most MemTotal; on a GPU with memory of its own, that.
        """
        memory = self.gpu_memory_mib or self.memory_available_mib or 0.0
        words = [f"jetpack-{self.jetpack}" if self.jetpack else "", self.software.label]
        return DeviceClass(
            model=self.model,
            power_mode=self.power_mode,
            software=" ".join(word for word in words if word),
            memory_mib=memory // STEP_MIB * STEP_MIB,
        )

    def device(self, id: str, labels: tuple[str, ...] = ()) -> Device:
        return Device(id, self.device_class(), labels)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for the ``identity`` of a measurement; what is not known is left out."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if value not in (None, "", ())
        }


Ask = Callable[[list[str]], str]


def ask(argv: list[str]) -> str:
    """Standard output of a command; empty when it is missing, fails or hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def identify(root: Path = Path("/"), python: str = sys.executable, *, ask: Ask = ask) -> Identity:
    """Tell what this machine is.

    ``root`` is where /proc, /sys and /etc are looked for; ``python`` is the workload's
    interpreter; ``ask`` runs a command (nvidia-smi). Nothing is raised for what cannot be read.
    """
    tree = _text(root / "proc/device-tree/model")
    release = _text(root / "etc/nv_tegra_release")
    memory = _text(root / "proc/meminfo")
    clocks, software = clocks_of(root), software_of(python)
    base = Identity(
        kind="cpu",
        model="cpu",
        title=tree or _cpu_name(root) or platform.machine(),
        memory_total_mib=_mib(number_after("MemTotal:", memory)),
        memory_available_mib=_mib(number_after("MemAvailable:", memory)),
        headless=_headless(root),
        cpu=_cpu_name(root),
        cpus_online=_text(root / "sys/devices/system/cpu/online"),
        cpu_min_mhz=clocks.cpu_min,
        cpu_max_mhz=clocks.cpu_max,
        gpu_min_mhz=clocks.gpu_min,
        gpu_max_mhz=clocks.gpu_max,
        gpu_mhz=clocks.gpu_now,
        clocks_locked=clocks.locked,
        storage=storage_of(Path(hub_cache.folder()), root),
        python=platform.python_version(),
        workload_python=os.path.abspath(shutil.which(python) or python),
        software=software,
        torch_cpu_only=not software.cuda if software.torch else None,
    )
    if release or "jetson" in tree.lower() or "orin" in tree.lower():
        found = _jetson(base, root, tree, release)
    else:
        found = _with_gpu(base, ask) or base
    return replace(found, problems=_problems(found, python))


def _jetson(base: Identity, root: Path, tree: str, release: str) -> Identity:
    match = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release)
    l4t = f"{match[1]}.{match[2]}" if match else ""
    three = ".".join([*l4t.split("."), "0", "0"][:3])
    jetpack = JETPACKS.get(three) or JETPACK_MAJORS.get(l4t.partition(".")[0], "")
    return replace(
        base,
        kind="jetson",
        model=next(
            (name for part, name in BOARDS if part in tree.lower()), _slug(tree) or "jetson"
        ),
        title=tree or "NVIDIA Jetson",
        power_mode=power_mode(root),
        l4t=l4t,
        jetpack=jetpack,
    )


def power_mode(root: Path) -> str:
    """The present one's name, "" on what has none; nvpmodel's ids differ from board to board."""
    match = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status"))
    if not match:
        return ""
    wanted = int(match[1])
    names = [name for name, number in power_modes(root).items() if number == wanted]
    return names[0] if names else f"mode-{wanted}"


def power_modes(root: Path = Path("/")) -> dict[str, int]:
    """The board's power modes, by name, with the number that ``nvpmodel -m`` takes."""
    table = _text(root / "etc/nvpmodel.conf")
    found = re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", table)
    return {str(name).removeprefix("MODE_"): int(number) for number, name in found}


def _with_gpu(base: Identity, ask: Ask) -> Identity | None:
    """The first GPU that nvidia-smi lists, or None."""
    query = "--query-gpu=name,memory.total,driver_version,clocks.max.sm"
    answer = ask(["nvidia-smi", query, "--format=csv,noheader,nounits"]).strip()
    fields = [field.strip() for field in answer.partition("\n")[0].split(",")]
    if len(fields) != 4:
        return None
    name, memory, driver, clock = fields
    return replace(
        base,
        kind="gpu",
        model=_slug(name.removeprefix("NVIDIA ")),
        title=name,
        gpu_memory_mib=_number(memory),
        driver=driver,
        gpu_max_mhz=_number(clock),
    )


def _problems(found: Identity, python: str) -> tuple[str, ...]:
    """What makes a profile of this machine say less than it seems to."""
    software, problems = found.software, []
    if software.problem:
        problems.append(software.problem)
    elif not software.torch:
        problems.append(f"{python} has no torch")
    elif not software.cuda and found.kind != "cpu":
        problems.append(
            f"torch {software.torch} of {python} is CPU-only: this is no profile of the GPU"
        )
    if software.torch and not software.transformers:
        problems.append(f"{python} has no transformers")
    if found.kind == "jetson" and found.headless is False:
        problems.append("a desktop runs; it takes 0.8 to 2 GB that jobs could have")
    return tuple(problems)


#: Runs in the workload's interpreter (Python >= 3.8). torch/version.py is a file of constants.
_QUESTION = """
import importlib.util, json, os, platform, runpy
try:
    from importlib.metadata import version, PackageNotFoundError
except ImportError:
    raise SystemExit("Python %s is older than 3.8" % platform.python_version())
found = {"python": platform.python_version()}
for name in ("torch", "transformers", "datasets"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
spec = importlib.util.find_spec("torch")
if spec is not None and spec.origin:
    file = os.path.join(os.path.dirname(spec.origin), "version.py")
    if os.path.exists(file):
        constants = runpy.run_path(file)
        found["torch"] = str(constants.get("__version__") or found.get("torch", ""))
        found["cuda"] = constants.get("cuda") or ""
print(json.dumps(found))
"""


def software_of(python: str) -> Software:
    """Versions that a workload interpreter has; asked once per interpreter and change of it."""
    found = shutil.which(python)
    if found is None:
        return Software(problem=f"{python} is not there, or is no program")
    return _software(found, os.stat(found).st_mtime_ns)


def ask_python(python: str, question: str, *, timeout_s: float) -> str:
    """What an interpreter prints when it runs the question, with nothing of ours around it.

    Raises OSError or subprocess.SubprocessError.
    """
    done = subprocess.run(
        [python, "-c", question],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
        cwd="/",  # Python looks for modules there first
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RAY_"))},
    )
    return done.stdout


@lru_cache(maxsize=16)
def _software(python: str, changed: int) -> Software:
    try:
        return Software(**json.loads(ask_python(python, _QUESTION, timeout_s=60)))
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        return Software(problem=f"{python}: {last}")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Software(problem=f"{python}: {error}")


def _headless(root: Path) -> bool | None:
    """Whether no desktop runs; None where processes cannot be seen."""
    names = [_text(path) for path in (root / "proc").glob("[0-9]*/comm")]
    return not DESKTOPS & set(names) if names else None


def _cpu_name(root: Path) -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return match[1].strip() if match else ""


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _text(path: Path) -> str:
    """A file of /proc or /sys; the device tree ends its strings with a zero byte."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _mib(kib: int | None) -> float | None:
    return None if kib is None else kib / 1024


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
