"""What a terminal sends for keys, as their names."""

from __future__ import annotations

_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[C": "right",
    b"\x1bOC": "right",
    b"\x1b[D": "left",
    b"\x1bOD": "left",
    b"\x1b[5~": "pgup",
    b"\x1b[6~": "pgdn",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[7~": "home",
    b"\x1b[F": "end",
    b"\x1bOF": "end",
    b"\x1b[4~": "end",
    b"\x1b[8~": "end",
    b"\x1b[Z": "backtab",
}
_SINGLES = {
    b"\t": "tab",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
}


def decode_keys(data: bytes, *, whole: bool = False) -> tuple[list[str], bytes]:
    """The names of keys, or their characters, and the bytes that may be the start of one more.

    ``whole``: nothing follows, so a lone Esc is one. What is unknown is passed over.
    """
    keys: list[str] = []
    while data:
        length, key = _first(data, whole)
        if not length:
            break
        if key:
            keys.append(key)
        data = data[length:]
    return keys, data


def _first(data: bytes, whole: bool) -> tuple[int, str]:
    """How long the first key is, and its name; length 0 where it may not be complete."""
    if data[:1] != b"\x1b":
        return _character(data, whole)
    if data[1:2] == b"\x1b":
        return 1, "esc"
    length = _length_of_sequence(data)
    if length is not None:
        return length, _SEQUENCES.get(data[:length], "")
    return (1, "esc") if whole else (0, "")


def _length_of_sequence(data: bytes) -> int | None:
    """Of what begins with Esc; None where it is not complete, or nothing more than that."""
    if len(data) == 1:
        return None
    if data[1:2] == b"O":
        return 3 if len(data) >= 3 else None
    if data[1:2] != b"[":
        return 2  # with Alt: nothing here
    for place in range(2, len(data)):
        if 0x40 <= data[place] <= 0x7E:
            return place + 1
    return None


def _character(data: bytes, whole: bool) -> tuple[int, str]:
    if data[:1] in _SINGLES:
        return 1, _SINGLES[data[:1]]
    byte = data[0]
    width = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if len(data) < width and not whole:
        return 0, ""
    text = data[:width].decode("utf-8", "ignore")
    return min(width, len(data)), text if text.isprintable() else ""
