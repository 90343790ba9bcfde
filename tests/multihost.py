"""Several hosts on one machine, for tests: each with its own network, processes, disk and clock.

A *site* is a network namespace with a bridge, and a PID namespace; each *host* is a network, PID,
mount, UTS and IPC namespace on that bridge, a memory cgroup, and a disk of limited size. Nothing of
it has a name outside: when the process that made a site ends, however it ends, the kernel ends
everything in it. Only empty cgroups can be left, which the next site removes.

Power loss is a SIGKILL of a host's first process: all its processes are gone at once, with /tmp and
/dev/shm, and its disk stays. What the machine itself had not written yet is not lost.

Needs root, iproute2 and util-linux: :func:`reason_against` says what is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from multihost_clock import ClockShim
from multihost_groups import HostGroup, sweep
from multihost_net import (
    Console,
    Elsewhere,
    entering,
    first_of,
    inside,
    members,
    pid_namespace,
    tools_missing,
)

INIT = Path(__file__).with_name("multihost_init.py")
ROOT = Path(__file__).resolve().parent.parent
#: What a host's disk holds at most, and where it is seen in the host.
DISK_MIB = 2048
DISK = Path("/mnt")
#: What is not passed on from whoever runs the tests.
FOREIGN = ("RAY_", "JETSCHED_", "PYTEST_", "PYTHON", "COV_")


def reason_against() -> str:
    """Why no site can be made here; "" where one can."""
    if sys.platform != "linux":
        return "namespaces are a matter of Linux"
    if os.geteuid() != 0:
        return "only root can make namespaces with a network"
    if missing := tools_missing(["ip", "unshare", "nsenter", "mount", "hostname"]):
        return f"not installed here: {', '.join(missing)}"
    trial = ["unshare", "-n", "-m", "-p", "-u", "-i", "-f", "--kill-child", "--mount-proc"]
    words = "ip link add one type bridge && ip link add two type veth peer name three"
    done = subprocess.run([*trial, "sh", "-c", words], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"the kernel refuses: {done.stderr.strip()}"


class Site:
    """The network that hosts stand in. As a context it ends everything in it."""

    def __init__(self) -> None:
        sweep()
        draw = random.SystemRandom()
        self.network = f"10.{draw.randrange(64, 250)}.{draw.randrange(250)}"
        gateway = f"{self.network}.254"
        command = ["unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc"]
        command += [sys.executable, "-I", "-S", str(INIT), "site", f"{gateway}/24"]
        self._process, self._namespace = _started(command)
        self.pid = first_of(self._namespace)
        self.hosts: dict[str, Host] = {}
        #: Connects to hosts; opens files by their own path where a link of /proc will not do.
        self.connector, self.opener = Elsewhere(self.pid), Elsewhere(self.pid)
        self._consoles: dict[tuple[str, int], Console] = {}

    def __enter__(self) -> Site:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def host(self, name: str, *, disk_mib: int = DISK_MIB, cpu: int | None = None) -> Host:
        """A new host, switched off. ``name`` has at most ten letters.

        With ``cpu`` it has one only: that one of ours, counted from 0, modulo how many there are.
        """
        address = f"{self.network}.{len(self.hosts) + 1}"
        inside(self.pid, "m", "mkdir", f"/mnt/{name}")
        options = f"mode=755,size={disk_mib}m"
        inside(self.pid, "m", "mount", "-t", "tmpfs", "-o", options, name, f"/mnt/{name}")
        ours = sorted(os.sched_getaffinity(0))
        cpus = ours if cpu is None else [ours[cpu % len(ours)]]
        self.hosts[name] = Host(self, name, address, cpus)
        return self.hosts[name]

    def disk(self, name: str) -> Path:
        """Where a host's disk is seen from here, also while the host is off."""
        return Path(f"/proc/{self.pid}/root/mnt/{name}")

    def console(self, address: str, port: int) -> int:
        """A port of the loopback here that leads to a port of a host."""
        if (address, port) not in self._consoles:
            self._consoles[address, port] = Console(self.connector, (address, port))
        return self._consoles[address, port].port

    def bridge(self, *command: str, check: bool = True) -> str:
        """Run a command in the site's own network."""
        return inside(self.pid, "n", *command, check=check)

    def close(self) -> None:
        """End all hosts and the site."""
        for console in self._consoles.values():
            console.close()
        self.connector.close()
        self.opener.close()
        for host in self.hosts.values():
            host.power_loss()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        for host in self.hosts.values():
            host.group.remove()


@dataclass
class Host:
    """One machine. Off until :meth:`power_on`; its disk is there all the time."""

    site: Site
    name: str
    address: str
    cpus: list[int]
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _namespace: str = ""
    first: int = 0  # its first process, as numbered outside

    def __post_init__(self) -> None:
        self.group = HostGroup(self.name)
        self.clock = ClockShim(self.disk)

    @property
    def disk(self) -> Path:
        """Its disk as seen from here; the host sees it as /mnt."""
        return self.site.disk(self.name)

    @property
    def is_on(self) -> bool:
        return self._process is not None

    # --------------------------------------------------------------------------------- power

    def power_on(self) -> None:
        """Boot: an empty /tmp, the disk as it was, and every unit is started."""
        assert self._process is None
        kept = _hidden([str(ROOT), sys.prefix, sys.base_prefix])
        command = entering(self.site.pid, "nmp")
        command += ["unshare", "-n", "-m", "-p", "-u", "-i", "-f", "--kill-child", "--mount-proc"]
        command += [sys.executable, "-I", "-S", str(INIT), "host", self.name, *kept]
        self._process, self._namespace = _started(command)
        self.first = first_of(self._namespace)
        os.sched_setaffinity(self.first, self.cpus)
        self.group.add(self.first)
        self._plug_in()
        for name, unit in self.units.items():
            self._order({"unit": name, **unit})

    def _plug_in(self) -> None:
        port, first = self._port, str(self.first)
        self.site.bridge("ip", "link", "delete", port, check=False)  # of a life before this one
        # The same at each boot, as of a real machine: the others remember it for a while.
        mac = "02:00:" + ":".join(f"{int(part):02x}" for part in self.address.split("."))
        peer = ["peer", "name", "eth0", "address", mac, "netns", first]
        self.site.bridge("ip", "link", "add", port, "type", "veth", *peer)
        self.site.bridge("ip", "link", "set", port, "master", "bridge", "up")
        inside(self.first, "n", "ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        inside(self.first, "n", "ip", "link", "set", "eth0", "up")

    def power_loss(self) -> None:
        """All processes of the host are gone at once. Nothing where it is off."""
        if self._process is None:
            return
        os.kill(self.first, 9)
        self._process.wait(60)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None

    # ---------------------------------------------------------------------------------- link

    @property
    def _port(self) -> str:
        return f"to-{self.name}"

    def cut(self) -> None:
        """Pull its network cable."""
        self.site.bridge("ip", "link", "set", self._port, "down")

    def heal(self) -> None:
        self.site.bridge("ip", "link", "set", self._port, "up")

    # ---------------------------------------------------------------------------------- disk

    def fill_disk(self) -> None:
        """Leave not one free page on its disk."""
        stat = os.statvfs(self.disk)
        handle = os.open(self.disk / ".filling", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            with contextlib.suppress(OSError):
                os.posix_fallocate(handle, 0, stat.f_bavail * stat.f_frsize)
            for size in (1 << 20, 4096):  # what was freed meanwhile
                with contextlib.suppress(OSError):
                    while True:
                        os.write(handle, bytes(size))
        finally:
            os.close(handle)

    def free_disk(self) -> None:
        (self.disk / ".filling").unlink(missing_ok=True)

    # ----------------------------------------------------------------------------- processes

    def unit(
        self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> None:
        """Run a program now and after each boot, again whenever it ends. Log: ``DISK/NAME.log``."""
        self.units[name] = {
            "argv": [str(word) for word in argv],
            "env": {**self.environment(), **(env or {})},
            "log": str(DISK / f"{name}.log"),
        }
        if self.is_on:
            self._order({"unit": name, **self.units[name]})

    def end_unit(self, name: str, number: int = 15) -> None:
        """Signal a unit's program, and do not start it again."""
        self.units.pop(name, None)
        if self.is_on:
            self._order({"unit": name, "signal": number})

    def _order(self, command: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def environment(self) -> dict[str, str]:
        """Of everything that runs there: this one's, without what was meant for the tests."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        kept |= {"HOME": str(DISK), "PWD": "/", **self.clock.environment(DISK)}
        return kept

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 180.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host and wait for it."""
        values = {**self.environment(), **(env or {})}
        setting = ["env", "-i", *(f"{name}={value}" for name, value in values.items())]
        return subprocess.run(
            [*entering(self.first, "muinp"), *setting, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd="/",
        )

    def processes(self) -> list[int]:
        """Everything that lives on it, as numbered outside, its first process apart."""
        if not self.is_on:
            return []
        return [pid for pid in members(self._namespace) if pid != self.first]


def _started(command: list[str]) -> tuple[subprocess.Popen[bytes], str]:
    """A first process that is ready, and its PID namespace."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd="/"
        )
        assert process.stdout is not None
        namespace = process.stdout.readline().decode().strip()
        if not namespace or namespace == pid_namespace(os.getpid()):
            process.kill()
            process.wait()
            errors.seek(0)
            raise OSError(f"{command[-1]} did not start: {errors.read().decode()}")
    return process, namespace


def _hidden(paths: Sequence[str]) -> list[str]:
    """Those that a host's own /tmp would hide."""
    return [p for p in dict.fromkeys(paths) if p.startswith(("/tmp/", "/dev/shm/", "/mnt/"))]


@contextlib.contextmanager
def a_site(*names: str) -> Iterator[tuple[Host, ...]]:
    """Hosts with these names, switched on."""
    with Site() as site:
        hosts = tuple(site.host(name) for name in names)
        for host in hosts:
            host.power_on()
        yield hosts
