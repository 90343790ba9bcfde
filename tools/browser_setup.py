"""Bring in what the tests of the page need: a Chromium, Playwright and axe-core (`make browser`).

Debian's Chromium comes through apt, where this runs as root; Playwright with the extra `dev`;
axe-core, which looks for what keeps people out, from npm. What cannot be had is said in a word, and
the tests that want it are skipped: it is no failure. What was found stands in FOUND, which
tests/browser.py reads. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv/browser"
FOUND = FOLDER / "found.json"

#: Another browser than the ones that are looked for.
VARIABLE = "JETSCHED_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
#: A browser without a font shows boxes; the package is 7 MB.
DEBIAN = ("chromium", "fonts-dejavu-core")
#: Only repairs: a new rule would be a new demand on the page.
AXE = "axe-core@~4.14.1"
#: Against hanging only: Chromium is 100 MB to download.
APT_S, NPM_S = 1200.0, 300.0


class SkippedError(Exception):
    """Something cannot be had here; the text says what, and what to do about it."""


@dataclass(frozen=True)
class Found:
    """Paths of what there is, an empty text for what there is not, and why it is not there."""

    chromium: str = ""
    playwright: str = ""  # its version
    axe: str = ""
    missing: dict[str, str] = field(default_factory=dict)


def browser(environ: Mapping[str, str]) -> str:
    """The first browser that answers. Raises :class:`SkippedError` where there is none."""
    named = environ.get(VARIABLE, "")
    for name in (named,) if named else NAMES:
        path = shutil.which(name, path=environ.get("PATH"))
        if path and answers(path):  # Ubuntu's package is a stub that asks for a snap
            return path
    if named:
        raise SkippedError(f"{VARIABLE}={named} is no browser that answers")
    raise SkippedError(f"no {', '.join(NAMES)} here: apt-get install chromium, or set {VARIABLE}")


def answers(path: str) -> bool:
    try:
        return not subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def install_browser(environ: Mapping[str, str]) -> None:
    """Install Debian's, as root. Raises :class:`SkippedError` where that is not to be had."""
    if shutil.which("apt-get", path=environ.get("PATH")) is None:
        raise SkippedError(f"no browser, and no apt-get to bring one: set {VARIABLE}=PATH")
    if os.geteuid() != 0:
        raise SkippedError("no browser: as root, apt-get install chromium")
    quiet = {**environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN]
    run(["apt-get", "update", "-qq"], quiet, APT_S)
    run(install, quiet, APT_S)


def install_axe(folder: Path, environ: Mapping[str, str]) -> None:
    """Put axe-core below a folder. Raises :class:`SkippedError` where npm cannot bring it."""
    npm = shutil.which("npm", path=environ.get("PATH"))
    if npm is None:
        raise SkippedError("no npm here, which would bring axe-core: apt-get install npm")
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    run([npm, "install", *options, "--prefix", str(folder), AXE], environ, NPM_S)


def run(command: list[str], environ: Mapping[str, str], limit_s: float) -> None:
    """Raises :class:`SkippedError` with the last words of a command that fails or hangs."""
    name = " ".join(command[:2])
    with tempfile.TemporaryFile() as log:
        try:
            code = subprocess.call(
                command,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired:
            raise SkippedError(f"{name} was not done after {limit_s:.0f} s") from None
        except OSError as error:
            raise SkippedError(f"{name}: {error.strerror}") from None
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
    if code:
        raise SkippedError(f"{name} ended with {code}: {' / '.join(said[-2:])}")


def playwright_version() -> str:
    """Of the one in this Python. Raises :class:`SkippedError` where there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("playwright")
    except PackageNotFoundError:
        raise SkippedError("no playwright in .venv: pip install playwright") from None


def axe_in(folder: Path) -> str:
    """The script of axe-core. Raises :class:`SkippedError` where it is not there."""
    script = folder / "node_modules/axe-core/axe.min.js"
    if not script.is_file():
        raise SkippedError("axe-core is not there")
    return str(script)


def look(folder: Path, environ: Mapping[str, str]) -> Found:
    """What there is, without bringing anything in."""
    finders: dict[str, Callable[[], str]] = {
        "chromium": lambda: browser(environ),
        "playwright": playwright_version,
        "axe": lambda: axe_in(folder),
    }
    there, missing = {}, {}
    for name, find in finders.items():
        try:
            there[name] = find()
        except SkippedError as error:
            missing[name] = str(error)
    return Found(**there, missing=missing)


def set_up(folder: Path, environ: Mapping[str, str]) -> Found:
    """Bring in what is missing, as far as it can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    found, refused = look(folder, environ), {}
    bringers: dict[str, Callable[[], None]] = {"axe": lambda: install_axe(folder, environ)}
    if not environ.get(VARIABLE):
        bringers["chromium"] = lambda: install_browser(environ)
    for name, bring in bringers.items():
        try:
            if name in found.missing:
                bring()
        except SkippedError as error:
            refused[name] = str(error)
    found = look(folder, environ)
    return replace(found, missing={**found.missing, **refused})


def main() -> int:
    began = time.monotonic()
    found = set_up(FOLDER, os.environ)
    FOUND.write_text(json.dumps(asdict(found), indent=1) + "\n")
    names = [found.chromium, found.playwright and f"Playwright {found.playwright}"]
    names += [found.axe and Path(found.axe).parent.name]
    there = ", ".join(filter(None, names)) or "nothing"
    print(f"The browser of the tests: {there} ({time.monotonic() - began:.0f} s).")
    for word in found.missing.values():
        print(f"  Skipped: {word}. Tests that want it are skipped too.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
