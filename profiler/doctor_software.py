"""The doctor's checks of the two interpreters: the agent's own, and the workload's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jetsched.profiler.findings import Finding, World

#: What Ray 2.60 publishes wheels for begins here.
RAY_PYTHON = (3, 10)
#: The workload side's lowest Python, and torch.
CHILD_PYTHON, CHILD_TORCH = (3, 8), (1, 12)
#: transformers from this version on -> the lowest torch that it works with (JETSON.md).
NEEDS_TORCH: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = (
    ((5, 0), (2, 6)),
    ((4, 57), (2, 2)),
)
#: The newest that Python 3.8, and so JetPack 5, can have.
LAST_FOR_JETPACK_5 = "4.46.3"

#: Where NVIDIA's own torch comes from, by JetPack's major version.
TORCH_FOR: dict[str, str] = {
    "5": "install NVIDIA's wheel for JetPack 5 (cp38): see"
    " https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform",
    "6": "install torch for {python} from the Jetson AI Lab's index for JetPack 6 (jp6/cu126), as"
    " NVIDIA's page on PyTorch for Jetson says",
}
ANY_TORCH = "{python} -m pip install torch"


def check_agent_python(world: World) -> Iterator[Finding]:
    """Ray refuses another Python than the head's, down to the patch level."""
    own, cluster = world.agent_python, world.cluster
    if version(own) < RAY_PYTHON:
        text = f"jetsched runs on Python {own}: Ray needs 3.10 or later"
        fix = "uv python install 3.11 && make setup PYTHON=$(uv python find 3.11)"
        yield Finding("agent python", "fail", text, fix)
    elif cluster is not None and cluster.python and cluster.python != own:
        text = f"jetsched runs on Python {own}, the head on {cluster.python}: Ray refuses the node"
        fix = f"make setup PYTHON=$(uv python find {cluster.python})"
        yield Finding("agent python", "fail", text, fix)
    else:
        same = ", as the head's" if cluster is not None and cluster.python else ""
        yield Finding("agent python", "ok", f"{own}{same}")


def check_workload_python(world: World) -> Iterator[Finding]:
    """The interpreter that has the board's own torch."""
    here = world.identity
    software, path = here.software, here.workload_python
    fix = "jetsched doctor --workload-python PATH    # e.g. /usr/bin/python3"
    if software.problem:
        yield Finding("workload python", "fail", software.problem, fix)
    elif version(software.python) < CHILD_PYTHON:
        text = f"{path} is Python {software.python}: 3.8 is the lowest"
        yield Finding("workload python", "fail", text, fix)
    else:
        yield Finding("workload python", "ok", f"{path} (Python {software.python})")


def check_torch(world: World) -> Iterator[Finding]:
    """Is it there, and does it compute on the GPU?"""
    here = world.identity
    software, path = here.software, here.workload_python
    if software.problem:
        return  # said already
    get = TORCH_FOR.get(here.jetpack.partition(".")[0], ANY_TORCH).format(python=path)
    if not software.torch:
        yield Finding("torch", "fail", f"{path} has no torch", get)
    elif version(software.torch) < CHILD_TORCH:
        text = f"torch {software.torch} is too old: 1.12 is the lowest"
        yield Finding("torch", "fail", text, get)
    elif not software.cuda and here.kind != "cpu":
        text = f"torch {software.torch} is CPU-only: it leaves the GPU of this board unused"
        yield Finding("torch", "fail", text, get)
    elif here.kind == "cpu":
        yield Finding("torch", "ok", f"{software.torch}, on the CPU")
    elif world.cuda is False:
        text = f"torch {software.torch} is for CUDA {software.cuda}, but sees no GPU"
        fix = "sudo usermod -aG video,render $USER, then log in again"
        if here.kind == "gpu":
            fix = f"nvidia-smi must work, with a driver for CUDA {software.cuda}"
        yield Finding("torch", "fail", text, fix)
    else:
        yield Finding("torch", "ok", f"{software.torch} with CUDA {software.cuda}")


def check_transformers(world: World) -> Iterator[Finding]:
    """It must fit the torch beside it."""
    here = world.identity
    software = here.software
    pip = f"{here.workload_python} -m pip install"
    if software.problem or not software.torch:
        return  # said already
    old = here.jetpack.startswith("5.") or version(software.python)[:2] < (3, 9)
    if not software.transformers:
        wanted = f"transformers=={LAST_FOR_JETPACK_5}" if old else "transformers"
        text = f"{here.workload_python} has no transformers"
        yield Finding("transformers", "fail", text, f"{pip} {wanted}")
        return
    needs = next(
        (torch for since, torch in NEEDS_TORCH if version(software.transformers) >= since), None
    )
    if needs is not None and version(software.torch) < needs:
        lowest = ".".join(map(str, needs))
        text = f"{software.transformers} turns torch {software.torch} off: it wants {lowest}"
        fix = f"{pip} 'transformers=={LAST_FOR_JETPACK_5}'"
        yield Finding("transformers", "fail", text, fix)
    elif old and version(software.transformers) > version(LAST_FOR_JETPACK_5):
        text = f"{software.transformers}: JetPack 5 was only tried with {LAST_FOR_JETPACK_5}"
        fix = f"{pip} 'transformers=={LAST_FOR_JETPACK_5}'"
        yield Finding("transformers", "warn", text, fix)
    else:
        yield Finding("transformers", "ok", software.transformers)


def version(text: str) -> tuple[int, ...]:
    """Major and minor; (0, 0) where there is none."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
