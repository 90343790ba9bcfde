"""Whose process is at the other end of a connection on this machine, as the kernel tells it."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path

#: Where Linux lists the TCP connections of a network namespace.
PROC_NET = Path("/proc/self/net")

_ESTABLISHED = "01"

Address = tuple[str, int]


def uid_of_peer(client: Address, server: Address, proc_net: Path = PROC_NET) -> int | None:
    """The user id that the client's socket belongs to; None where it is not on this machine.

    ``client`` and ``server`` are the two ends of the connection as the server sees them. Also None
    once the client has closed it: such a socket belongs to nobody, and is listed as root's. Source:
    proc(5), ``/proc/net/tcp``: a line per socket, so the client's own line names it first.
    """
    try:
        ends = f"{_coded(client)} {_coded(server)} "
        name = "tcp6" if ":" in client[0] else "tcp"
        lines = (proc_net / name).read_text().splitlines()
    except (OSError, ValueError):
        return None
    for line in lines[1:]:
        _, _, rest = line.partition(": ")
        if rest.startswith(ends):
            fields = rest.split()
            state, uid, inode = fields[2], int(fields[6]), fields[8]
            return uid if state == _ESTABLISHED and inode != "0" else None
    return None


def _coded(end: Address) -> str:
    """An address as the kernel writes it: words of four bytes in the machine's order, in hex."""
    packed = ipaddress.ip_address(end[0]).packed
    words = struct.unpack(f"!{len(packed) // 4}I", packed)
    native = struct.pack(f"={len(words)}I", *words)
    swapped = struct.unpack(f"!{len(words)}I", native)
    return "".join(f"{word:08X}" for word in swapped) + f":{end[1]:04X}"
