"""A terminal in which a test runs a command, and sees what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyte

from jetsched.cluster.terminal import Size

#: Against hanging only.
SOON_S = 180.0


class TerminalRun:
    """A command in a pseudo-terminal of its own. As a context it ends the command."""

    def __init__(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        *,
        width: int = 120,
        height: int = 40,
    ) -> None:
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = bytearray()
        self._master, slave = pty.openpty()
        _set_size(slave, width, height)
        self.process = subprocess.Popen(
            words,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **env},
            preexec_fn=lambda: _own_terminal(slave),
        )
        os.close(slave)

    def __enter__(self) -> TerminalRun:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SOON_S)
        self.close()

    def close(self) -> None:
        """Close the window; the command hears of it."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def press(self, keys: str) -> None:
        """As if somebody typed these characters."""
        os.write(self._master, keys.encode())

    def resize(self, width: int, height: int) -> None:
        self.screen.resize(height, width)
        self.tell_size(Size(width, height))

    def tell_size(self, size: Size) -> None:
        """What the command hears of the size, whatever it is."""
        _set_size(self._master, size.width, size.height)

    def read(self, limit_s: float = 0.1) -> bool:
        """Take in what the command has written; whether there was anything."""
        ready, _, _ = select.select([self._master], [], [], limit_s)
        if not ready:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # the command has ended, and with it the other side
            return False
        self.sent += data
        self._stream.feed(data)
        return bool(data)

    @property
    def lines(self) -> list[str]:
        """The screen, without the spaces at the ends of lines."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, fact: Callable[[str], Any], what: str = "") -> Any:
        """Wait until something is true of the screen's text."""
        end = time.monotonic() + SOON_S
        while not (value := fact(self.text)):
            assert time.monotonic() < end, f"{what or 'it'} did not come:\n{self.text}"
            assert self.read() or self.process.poll() is None, f"it has ended:\n{self.text}"
        return value

    def until_shown(self, words: str) -> str:
        """Wait until the screen shows these words; returns the line with them."""
        self.until(lambda text: words in text, repr(words))
        return next((line for line in self.lines if words in line), "")

    def end(self) -> int:
        """Wait for the command's end; returns its exit code."""
        end = time.monotonic() + SOON_S
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end:\n{self.text}"
            self.read()
        while self.read(0.0):
            pass
        return self.process.returncode


def _own_terminal(slave: int) -> None:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGTSTP, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _set_size(terminal: int, width: int, height: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
