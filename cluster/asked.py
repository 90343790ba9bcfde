"""What a person asked `jetsched up` for, checked and completed."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from jetsched.cluster.health import parse_health
from jetsched.cluster.rayplace import RayTls
from jetsched.cluster.state import LOOPBACK, ClusterState, Options
from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.errors import InputError
from jetsched.units import parse_duration_s

_NEW_TOKEN = "first: jetsched token new NAME --role node > FILE (its text goes to the board)"


@dataclass(frozen=True)
class Asked:
    """The words of the command line. "", 0 and None: not asked for."""

    emulate: str = ""
    policy: str | None = None
    host: str | None = None
    port: int = 0  # the API's
    foreign_ray: str = ""
    health: str | None = None
    lease: str | None = None
    aging: str | None = None
    allow_commands: bool | None = None
    checkpoints_to_head: bool | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ray_tls: Path | None = None

    def completed(self, old: ClusterState | None) -> Asked:
        """With what an earlier head had that was not taken down, where nothing was asked for."""
        if old is None:
            return self
        return replace(
            self,
            emulate=self.emulate or old.emulate,
            host=self.host or old.host,
            foreign_ray=self.foreign_ray or old.foreign_ray,
        )

    def options(self, old: Options | None = None) -> Options:
        """As the head keeps them. Raises :class:`InputError` for what is wrong with them."""
        options = old or Options(allow_commands=self.address == LOOPBACK)
        if self.health is not None:
            options = replace(options, health=parse_health(self.health))
        if self.lease is not None:
            options = replace(options, lease_s=_seconds("--lease", self.lease))
        if self.aging is not None:
            off = self.aging.strip().lower() == "off"
            options = replace(options, aging_s=0.0 if off else _seconds("--aging", self.aging))
        if self.allow_commands is not None:
            options = replace(options, allow_commands=self.allow_commands)
        if self.checkpoints_to_head is not None:
            options = replace(options, checkpoints_to_head=self.checkpoints_to_head)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InputError("--tls-cert and --tls-key go together")
        if self.tls_cert is not None and self.tls_key is not None:
            cert, key = _file("--tls-cert", self.tls_cert), _file("--tls-key", self.tls_key)
            options = replace(options, tls_cert=cert, tls_key=key)
        if self.ray_tls is not None:
            options = replace(options, ray_tls=ray_tls_of(self.ray_tls))
        return options

    @property
    def address(self) -> str:
        """Where Ray and the API are to listen."""
        return self.host or LOOPBACK

    def check_address(self, home: Path) -> None:
        """Raise :class:`InputError` where nobody could, or anybody could, come in."""
        if self.address == LOOPBACK:
            return
        try:
            ip = ipaddress.ip_address(self.address)
        except ValueError:
            raise InputError(
                f"--host {self.address} is not an address", hint="one of: ip -brief address"
            ) from None
        if ip.is_unspecified:
            raise InputError(
                f"--host {self.address}: boards need one address, by which they reach this machine",
                hint="one of: ip -brief address",
            )
        try:
            family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
            with socket.socket(family) as probe:
                probe.bind((self.address, 0))
        except OSError:
            text = f"--host {self.address} is no address of this machine"
            raise InputError(text, hint="one of: ip -brief address") from None
        if not ip.is_loopback and not Tokens(home / TOKENS_FILE).ls():
            text = f"--host {self.address}: others could reach the API, and there is no token yet"
            raise InputError(text, hint=_NEW_TOKEN)


def ray_tls_of(folder: Path) -> RayTls:
    """Of a folder with cert.pem, key.pem and ca.pem. Raises :class:`InputError`."""
    names = ("cert.pem", "key.pem", "ca.pem")
    return RayTls(*(_file("--ray-tls", folder / name) for name in names))


def _file(option: str, path: Path) -> str:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise InputError(f"{option}: {path} is not there")
    return str(path)


def _seconds(option: str, text: str) -> float:
    try:
        seconds = parse_duration_s(text)
    except (InputError, ValueError) as error:
        raise InputError(f"{option} {text}: {error}") from None
    if seconds < 1:
        raise InputError(f"{option} {text} is less than a second")
    return seconds
