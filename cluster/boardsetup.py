"""What `jetsched join` finds out about a board before it joins, and what keeps it from joining."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from jetsched.cluster.asked import ray_tls_of
from jetsched.cluster.checkup import OF_EMULATED, only
from jetsched.cluster.nodeconfig import NodeConfig
from jetsched.cluster.noderunner import NodeSetup, read_setup, write_setup
from jetsched.cluster.rayplace import RayTls
from jetsched.cluster.state import read_state
from jetsched.errors import InputError
from jetsched.profiler.doctor import examine
from jetsched.profiler.emulation import SHORT_NAMES
from jetsched.profiler.findings import Finding, this_world
from jetsched.profiler.session import this_board
from jetsched.units import parse_size_mib


@dataclass(frozen=True)
class Wish:
    """The words of the command line."""

    url: str
    token_file: Path
    home: Path
    name: str = ""
    python: str = sys.executable
    emulate: str | None = None
    labels: Sequence[str] = ()
    memory_limit: str | None = None
    cache: str | None = None  # a size, as the next one
    disk_min: str | None = None
    power_mode: str = ""
    ca: Path | None = None
    ray_tls: Path | None = None


def preflight(wish: Wish) -> list[Finding]:
    """What the doctor finds; those at level *fail* keep the board from joining."""
    findings = examine(this_world(wish.python, wish.home))
    if wish.emulate is not None:
        return list(only(findings, OF_EMULATED))
    return [finding for finding in findings if finding.check != "token"]


def set_up(wish: Wish) -> NodeSetup:
    """Write down how this board joins; the runner reads it. Raises :class:`InputError`."""
    _check_url(wish.url)
    if not wish.token_file.expanduser().is_file():
        raise InputError(
            f"--token-file {wish.token_file}: there is no such file",
            hint="on the head: jetsched token new NAME --role node > FILE, and bring it here",
        )
    for label in wish.labels:
        if not label or label != label.strip() or "," in label:
            raise InputError(f"--label {label!r}: a word, or several with '-' between them")
    board = this_board(wish.emulate, wish.python, wish.memory_limit)
    limits, scale = board.limits, 1.0
    if wish.emulate is not None:
        scale = float(board.identity.get("emulated_scale", 1.0))
        if len(os.sched_getaffinity(0)) > 1:
            limits = replace(limits, cpus=())  # several boards of one machine: the kernel spreads
    model = board.device.model
    device = replace(board.device, labels=(*board.device.labels, *wish.labels))
    config = NodeConfig(
        device=device,
        folder="",
        limits=limits,
        python=board.python,
        scale=scale,
        home=str(wish.home) if not _is_heads(wish.home) else "",
        identity=board.identity,
        power_mode=wish.power_mode,
    )
    if wish.cache is not None:
        config = replace(config, cache_mib=_size_mib("--cache", wish.cache))
    if wish.disk_min is not None:
        config = replace(config, disk_min_mib=_size_mib("--disk-min", wish.disk_min))
    setup = NodeSetup(
        url=wish.url.rstrip("/"),
        token_file=str(wish.token_file.expanduser().absolute()),
        key=_key(wish.home),
        short=SHORT_NAMES.get(model, model),
        config=config,
        name=wish.name,
        ca=str(wish.ca.expanduser().absolute()) if wish.ca is not None else "",
        ray_tls=ray_tls_of(wish.ray_tls) if wish.ray_tls is not None else RayTls(),
    )
    write_setup(wish.home, setup)
    return setup


def _size_mib(option: str, text: str) -> float:
    try:
        return parse_size_mib(text)
    except InputError as error:
        raise InputError(f"{option} {text!r}: {error}", hint=error.hint) from None


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    try:
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname and parts.port)
    except ValueError:
        is_good = False
    if not is_good or parts.path.strip("/") or parts.query:
        hint = "as `jetsched up` prints it: http://10.0.0.5:8640"
        raise InputError(f"{url!r} is no address of a head", hint=hint)


def _key(home: Path) -> str:
    """By which a head knows this board again: the one it had, or a new one."""
    try:
        return read_setup(home).key
    except (InputError, KeyError, TypeError):
        return secrets.token_hex(16)


def _is_heads(home: Path) -> bool:
    """Whether a head keeps its data there too: then it reads what is measured by itself."""
    try:
        return read_state(home) is not None
    except InputError:
        return True
