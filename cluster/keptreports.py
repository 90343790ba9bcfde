"""Reports that are kept in the data home, so that the dashboard can show them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from jetsched.errors import InputError
from jetsched.problems import quoted

#: In the data home; a folder for each report, with index.html in it, or a page by itself.
REPORTS = "reports"
INDEX = "index.html"
#: What may be shown of a report, and as what.
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".jsonl": "text/plain; charset=utf-8",
}
#: So many are listed, the newest.
MOST_REPORTS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class NoReportError(InputError):
    """There is no such report."""


@dataclass(frozen=True)
class KeptReport:
    """A report: its name, where it is on the dashboard, and when it was made."""

    name: str
    path: str
    made_s: float


def report_folder(home: Path, name: str) -> Path:
    """Where a report of a name goes. Raises :class:`InputError` for a name that is no good one."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{quoted(name)} is no name of a report", hint="letters, digits, '.', '_' and '-'"
        )
    return home / REPORTS / name


def kept_reports(home: Path) -> list[KeptReport]:
    """Those that are there and can be opened, the newest first: no links, which may lead out."""
    found = []
    folder = home / REPORTS
    for path in folder.iterdir() if folder.is_dir() else ():
        page = path / INDEX if path.is_dir() else path
        if not _NAME.fullmatch(path.name) or path.is_symlink() or page.is_symlink():
            continue
        if page.suffix == ".html" and page.is_file():
            place = f"{path.name}/{INDEX}" if path.is_dir() else path.name
            found.append(KeptReport(path.name, place, page.stat().st_mtime))
    return sorted(found, key=lambda one: -one.made_s)[:MOST_REPORTS]


def is_folder_of_report(home: Path, path: str) -> bool:
    """Whether it names a report that is a folder, with or without a slash behind it."""
    name = path.removesuffix("/")
    folder = home / REPORTS / name
    return bool(_NAME.fullmatch(name)) and not folder.is_symlink() and folder.is_dir()


def file_of_report(home: Path, path: str) -> Path:
    """A file of a report. Raises :class:`NoReportError` for what is none, or leads elsewhere."""
    parts = path.split("/")
    root = (home / REPORTS).resolve()
    if 1 <= len(parts) <= 2 and all(_NAME.fullmatch(part) for part in parts):
        file = (root / path).resolve()  # a link may lead out of it
        if file.is_relative_to(root) and file.suffix in MEDIA and file.is_file():
            return file
    raise NoReportError(f"there is no report {quoted(path)}", hint="see the page What if")
