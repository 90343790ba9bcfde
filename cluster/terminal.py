"""A terminal as a screen that is painted again and again: only what has changed is sent.

Measured beside the standard curses and rich's Live in docs/log.md.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import NamedTuple

from jetsched.cluster.keys import decode_keys
from jetsched.cluster.top_marks import clean

#: A piece of a line, and its style.
Span = tuple[str, str]

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "bold red": "1;31",
}
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # another page, no cursor, no wrapping
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
#: An Esc is one if nothing follows it within so many seconds.
ESCAPE_S = 0.05
#: What says that it has no size has this one.
USUAL_SIZE = (80, 24)


@dataclass(frozen=True)
class Line:
    """A line of the screen; ``marked``: the one that the keys are about."""

    spans: Sequence[Span]
    marked: bool = False

    def encode(self, coloured: bool) -> str:
        """What is sent for it. Nothing in it can be taken for a command."""
        if not coloured:
            return "".join([clean(text) for text, _ in self.spans])
        parts = ["\x1b[7m"] if self.marked else []
        for text, style in self.spans:
            code = None if self.marked else _STYLES.get(style)
            parts.append(f"\x1b[{code}m{clean(text)}\x1b[m" if code else clean(text))
        if self.marked:
            parts.append("\x1b[m")
        return "".join(parts)


class Size(NamedTuple):
    """In characters."""

    width: int
    height: int


class Gone(Exception):
    """The terminal was closed."""


class Terminal:
    """The terminal of this process, taken over for as long as the context lasts.

    :meth:`wake` is for any thread; the rest for the main one. Raises :class:`Gone` once nobody is
    there any more.
    """

    def __init__(self, *, coloured: bool = True) -> None:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._coloured = coloured
        self._shown: list[str] = []
        self._size = Size(0, 0)
        self._rest = b""
        self._bell_out, self._bell = os.pipe()
        for end in (self._bell_out, self._bell):
            os.set_blocking(end, False)

    def __enter__(self) -> Terminal:
        self._before = termios.tcgetattr(self._in)
        self._handlers = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGWINCH, self._resized),
                (signal.SIGTSTP, self._stopped),
                (signal.SIGCONT, self._continued),
            )
        }
        self._take_over()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._give_back()
        for end in (self._bell_out, self._bell):
            os.close(end)

    def _take_over(self) -> None:
        tty.setcbreak(self._in)
        self._shown = []
        self._write(_ENTER)

    def _give_back(self) -> None:
        with suppress(Gone):
            self._write(_LEAVE)
        with suppress(termios.error):
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    # -- signals: each handler only notes something, but for the one that stops the process --------

    def _resized(self, number: int, frame: FrameType | None) -> None:
        self._shown = []
        self.wake()

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was, then its turn; without one we go on."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stopped)
        self._continued(number, frame)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        with suppress(Gone, termios.error):
            self._take_over()
        self.wake()

    # -- out ---------------------------------------------------------------------------------------

    def size(self) -> Size:
        """As it is now."""
        try:
            width, height = os.get_terminal_size(self._out)
        except OSError:
            width, height = USUAL_SIZE
        return Size(width or USUAL_SIZE[0], height or USUAL_SIZE[1])

    def paint(self, lines: Sequence[Line], size: Size) -> None:
        """Show these lines from the top; what is below them is empty."""
        encoded = [line.encode(self._coloured) for line in lines[: size.height]]
        before, parts = self._shown, list[str]()
        if size != self._size or not before:
            before = []
            parts.append("\x1b[2J")
        for row, text in enumerate(encoded):
            if row >= len(before) or before[row] != text:
                parts.append(f"\x1b[{row + 1};1H{text}\x1b[K")
        if len(encoded) < len(before):
            parts.append(f"\x1b[{len(encoded) + 1};1H\x1b[J")
        self._shown, self._size = encoded, size
        if parts:
            self._write("".join(parts))

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "utf-8", "replace")
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except OSError as error:
            raise Gone from error

    # -- in ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have :meth:`wait` return. For any thread."""
        with suppress(OSError):  # it is full, so it will; or closed, and nobody waits
            os.write(self._bell, b"!")

    def wait(self, limit_s: float) -> list[str]:
        """The keys that were pressed, once there are some; none when woken or after a while."""
        ready, _, _ = select.select([self._in, self._bell_out], [], [], limit_s)
        if self._bell_out in ready:
            with suppress(BlockingIOError):
                os.read(self._bell_out, 4096)
        if self._in not in ready:
            return []
        keys, self._rest = decode_keys(self._rest + self._read())
        while self._rest and select.select([self._in], [], [], ESCAPE_S)[0]:
            more, self._rest = decode_keys(self._rest + self._read())
            keys += more
        if self._rest:
            keys += decode_keys(self._rest, whole=True)[0]
            self._rest = b""
        return keys

    def _read(self) -> bytes:
        try:
            data = os.read(self._in, 4096)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        return data
