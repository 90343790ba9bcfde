"""Make .venv ready for jetsched: what `make setup` runs. When nothing changed it is done at once.

Standard library only, since nothing else is there yet. The one delicate thing is which build of
torch comes in: a plain install on x86 brings several GB of CUDA libraries, a laptop without a GPU
has no use for them, and a Jetson must keep NVIDIA's own build (see
docs/decisions/003-setup-and-torch.md).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTED_TORCH = "torch==2.13.0"
ANY_TORCH = "torch>=2.3"

#: A torch wheel without CUDA is below 250 MB on every platform, one with it above 400 MB.
BIG_DOWNLOAD_MB = 300.0
CUDA_PACKAGE = re.compile(r"^(nvidia|cuda)-|^triton$", re.IGNORECASE)
DOWNLOADING = re.compile(r"Downloading \S+ \(([\d.]+) ([kMG])B\)")
MB_PER_UNIT = {"k": 0.001, "M": 1.0, "G": 1000.0}


class SetupError(Exception):
    """A step failed; the text says what, where, and what to do."""


@dataclass(frozen=True)
class Plan:
    """What pip would install for torch: ``packages`` is empty when no version fits this Python."""

    packages: tuple[str, ...]
    cuda: bool


@dataclass(frozen=True)
class State:
    """How far the set-up came; written beside the environment, and read by the next run."""

    step: str  # creating | installing | ready
    key: str = ""
    torch_spec: str = ""
    note: str = ""


class Environment:
    """One virtual environment: its files, its pip, and what is known about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.log = folder / "jetsched-setup.log"
        self._state = folder / "jetsched-setup.json"

    def state(self) -> State | None:
        """None when this tool has never worked on it."""
        try:
            return State(**json.loads(self._state.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # cut off while it was written
            return State("installing")

    def write_state(self, state: State) -> None:
        self._state.write_text(json.dumps(asdict(state), indent=1) + "\n")

    def create(self) -> None:
        """Make it, or take over one that a person made; what we left half-made starts afresh."""
        state = self.state()
        works = self.python.exists()  # False too where it links to a Python that is gone
        if state is not None and (state.step == "creating" or not works):
            shutil.rmtree(self.folder)
            works = False
        if works:
            self.refuse_another_python()
        else:
            self.folder.mkdir(exist_ok=True)
            self.write_state(State("creating"))
            self.run([base_python(), "-m", "venv", str(self.folder)], "making .venv")
        self.write_state(State("installing"))
        # Older pips download whole wheels in order to say what they would install.
        self.pip("install", "pip>=25.3")

    def refuse_another_python(self) -> None:
        version = subprocess.run([self.python, "-V"], capture_output=True, text=True).stdout.strip()
        wanted = f"Python {sys.version.split()[0]}"
        if version != wanted:
            raise SetupError(
                f"{self.folder} is {version or 'broken'}, asked for is {wanted}.\n"
                "  Leave PYTHON= out to keep it, or remove that folder to start afresh."
            )

    def remove_half_installed(self) -> None:
        """Let pip see as missing what it was killed while installing: RECORD is written last."""
        for info in self.folder.glob("lib/python3*/site-packages/*.dist-info"):
            if not (info / "RECORD").exists():
                shutil.rmtree(info)

    def pip(self, *arguments: str) -> None:
        self.run(self.pip_command(*arguments), "pip " + shlex.join(arguments))

    def pip_command(self, *arguments: str) -> list[str]:
        quiet = ["--disable-pip-version-check", "--no-input"]
        return [str(self.python), "-u", "-m", "pip", *quiet, *arguments]

    def run(self, command: list[str], title: str) -> None:
        """Run to its end, all output into the log; raises SetupError with the lines that matter."""
        with self.log.open("ab") as log:
            log.write(f"\n$ {shlex.join(command)}\n".encode())
            log.flush()
            start = log.tell()
            code = subprocess.call(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        if code == 0:
            return
        said = self.log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
        errors = [line for line in said if re.match(r"\s*(error|cause)\b", line, re.IGNORECASE)]
        telling = errors if 0 < len(errors) <= 4 else [*errors[:1], *(errors or said)[-3:]]
        lines = "\n".join("    " + line.strip() for line in telling)
        raise SetupError(
            f"{title} ended with exit code {code}:\n{lines}\n"
            f"  All of it: {self.log}\n  Run it again: it goes on from here."
        )

    def torch_version(self) -> str:
        """The version of the torch in it, or an empty text."""
        script = (
            "import importlib.metadata as m\n"
            "try: print(m.version('torch'))\nexcept m.PackageNotFoundError: pass"
        )
        command = [str(self.python), "-c", script]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def base_python() -> str:
    """The interpreter itself, also when this runs inside the environment that is to be made."""
    return str(getattr(sys, "_base_executable", sys.executable))


def project_key(pyproject: str, root: Path) -> str:
    """A hash of all that makes an installed environment stale: dependencies, Python, place."""
    tables = re.split(r"^(?=\[)", pyproject, flags=re.MULTILINE)
    ours = [t for t in tables if t.startswith(("[build-system]", "[project", "[tool.setuptools"))]
    parts = [*ours, sys.version, str(root)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def is_jetson(root: Path = Path("/")) -> bool:
    return (root / "etc/nv_tegra_release").exists()


def has_nvidia_gpu() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return found.returncode == 0 and "GPU" in found.stdout


def read_plan(lines: Iterable[str], report: Path) -> Plan | None:
    """What `pip install --dry-run --report` says it would install.

    ``lines`` is its output as it comes. Where the index offers no separate metadata pip downloads
    the wheel itself just to read it: None means that such a download began and was too big.
    """
    for line in lines:
        found = DOWNLOADING.search(line)
        if found and float(found[1]) * MB_PER_UNIT[found[2]] > BIG_DOWNLOAD_MB:
            return None
    if not report.exists():
        return Plan((), cuda=False)
    entries = json.loads(report.read_text())["install"]
    names = tuple(f"{e['metadata']['name']} {e['metadata']['version']}" for e in entries)
    return Plan(names, cuda=any(CUDA_PACKAGE.match(name.split()[0]) for name in names))


def ask_pip(env: Environment, requirement: str) -> Plan:
    """Installs nothing, and stops before anything big is downloaded."""
    report = env.folder / "torch-plan.json"
    report.unlink(missing_ok=True)
    # --ignore-installed: the answer must not depend on what a broken-off set-up left.
    command = env.pip_command(
        *("install", "--dry-run", "--ignore-installed", "--progress-bar", "off"),
        *("--report", str(report), requirement),
    )
    with (
        env.log.open("a") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as pip,
    ):
        log.write(f"\n$ {shlex.join(command)}\n")
        assert pip.stdout is not None
        plan = read_plan(pip.stdout, report)
        if plan is None:
            pip.kill()
            log.write("stopped: it began to download a CUDA build\n")
            return Plan((requirement,), cuda=True)
    return plan


def install_torch(env: Environment) -> str:
    """Bring in the build that suits this machine and return a note on it; see decision 003.

    Raises SetupError when none can be had without several GB that nobody asked for.
    """
    spec = os.environ.get("JETSCHED_TORCH_SPEC", "")
    if spec:
        env.pip("install", *shlex.split(spec))
        return "from JETSCHED_TORCH_SPEC"
    if env.torch_version():
        return "already here"
    for requirement in (TESTED_TORCH, ANY_TORCH):
        plan = ask_pip(env, requirement)
        if plan.packages:
            break
    else:
        raise SetupError(f"pip finds no torch for Python {sys.version.split()[0]} here")
    if not plan.cuda:
        env.pip("install", requirement)
        return "no CUDA libraries"
    if has_nvidia_gpu():
        env.pip("install", requirement)
        return "CUDA build, for the NVIDIA GPU here"
    # uv knows where the CPU builds are; pip would need an index named in our files.
    env.pip("install", "uv")
    uv = [str(env.folder / "bin" / "uv"), "pip", "install", "--python", str(env.python)]
    env.run([*uv, "--torch-backend=cpu", requirement], "uv, which takes the CPU build of torch,")
    return "CPU build"


def install_project(env: Environment, extras: str) -> None:
    """Install jetsched, editable, and all it needs; a torch that is there stays as it is."""
    constraints = env.folder / "torch-constraint.txt"
    version = env.torch_version()
    constraints.write_text(f"torch=={version}\n" if version else "")
    env.pip("install", "-c", str(constraints), "-e", f".[{extras}]")
    env.pip("check")


def board_torch() -> str:
    """What the board's own Python has, as a note."""
    script = "import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda)"
    found = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True)
    if found.returncode == 0:
        return f"Workloads run on the board's /usr/bin/python3: {found.stdout.strip()}."
    return (
        "The board's /usr/bin/python3 has no torch yet: install NVIDIA's wheel for this JetPack\n"
        "  there (the one on the package index is CPU-only), then ask `jetsched doctor`."
    )


@contextlib.contextmanager
def step(title: str) -> Iterator[list[str]]:
    """One line of progress; what the body appends to the list is shown behind the seconds."""
    print(f"  {title:<34}", end="", flush=True)
    began = time.monotonic()
    notes: list[str] = []
    try:
        yield notes
    except BaseException:
        print("stopped", flush=True)
        raise
    print(f"{time.monotonic() - began:4.0f} s  {', '.join(notes)}".rstrip(), flush=True)


def bring_in_torch(env: Environment) -> tuple[bool, str]:
    """Return whether the workload side can be installed, and a note that later runs repeat."""
    if is_jetson():
        return False, board_torch()
    if os.environ.get("JETSCHED_TORCH_SPEC") == "none":
        return False, "No torch here, as JETSCHED_TORCH_SPEC=none asked: no workload can run."
    try:
        with step("torch") as notes:
            notes.append(install_torch(env))
            notes.insert(0, env.torch_version())
    except SetupError as error:
        if os.environ.get("JETSCHED_TORCH_SPEC"):
            raise  # it was asked for: going on without it would hide the mistake
        print(f"  Going on without torch. {error}")
        return False, (
            "NO TORCH HERE: simulation, policies and planning work; profiles, live jobs and their\n"
            "  tests do not. To give it one (a wheel, or any pip requirement with its options):\n"
            "    make setup JETSCHED_TORCH_SPEC=/path/to/torch.whl\n"
            "  To look for one again:  rm .venv/jetsched-setup.json; make setup"
        )
    return True, ""


def set_up(env: Environment, key: str) -> State:
    """From whatever is there to a complete environment; each step can be repeated."""
    print(f"Setting up {env.folder} (log: {env.log.name} in it)", flush=True)
    interrupted = env.state() is not None
    with step("environment") as notes:
        env.create()
        notes.append(f"Python {sys.version.split()[0]}")
        if interrupted:
            env.remove_half_installed()
    has_torch, note = bring_in_torch(env)
    extras = "workload,ui,dev" if has_torch else "ui,dev"
    with step(f"jetsched[{extras}]"):
        install_project(env, extras)
    state = State("ready", key, os.environ.get("JETSCHED_TORCH_SPEC", ""), note)
    env.write_state(state)
    return state


def main() -> int:
    env = Environment(ROOT / ".venv")
    key = project_key((ROOT / "pyproject.toml").read_text(), ROOT)
    # Two `make` at once: the second waits and then finds everything done.
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = env.state()
        spec = os.environ.get("JETSCHED_TORCH_SPEC", "")
        current = state is not None and (state.step, state.key) == ("ready", key)
        if current and state is not None and spec in ("", state.torch_spec):
            done = state
            print(f"{env.folder.name} is up to date.")
        else:
            began = time.monotonic()
            try:
                done = set_up(env, key)
            except SetupError as error:
                print(f"Set-up stopped. {error}")
                return 1
            except KeyboardInterrupt:
                print("Interrupted. Run it again: it goes on from here.")
                return 130
            print(f"Ready after {time.monotonic() - began:.0f} s.")
    if done.note:
        print(done.note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
