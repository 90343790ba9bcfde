"""`jetsched report`: reads the story of a job or of a span of time, and writes its page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jetsched.cluster.story import JobStory, job_story
from jetsched.cluster.storypage import job_page
from jetsched.cluster.storyparts import GENERATOR, moment
from jetsched.cluster.storysource import source
from jetsched.cluster.storyspan import span_named, span_of
from jetsched.cluster.storyweek import WeekStory, week_story
from jetsched.cluster.storyweekpage import week_page
from jetsched.errors import InputError
from jetsched.files import write_atomically
from jetsched.units import counted, format_size

_ENDINGS = (".html", ".htm")
#: A report says so in its first bytes.
_BEGIN = 1024


@dataclass(frozen=True)
class Told:
    """A story, what it is about in words, and the page of it where one was written."""

    story: JobStory | WeekStory
    words: str
    path: Path | None
    size: int = 0

    @property
    def job_id(self) -> str | None:
        """The job that it is about, if it is one."""
        return self.story.past.job.id if isinstance(self.story, JobStory) else None


def check_out(
    what: str | None, last: str | None, out: Path | None, *, needed: bool, force: bool = False
) -> Path | None:
    """A path that the page can be written to. Raises InputError, before anything is read.

    What is there is written over only with ``force``, or where it is a report.
    """
    if what is not None and what.startswith("-"):
        raise InputError(
            f"{what} is no job's number" if what[1:].isdigit() else f"there is no option {what}",
            hint="e.g. jetsched report 1 --out job-1.html; see: jetsched report --help",
        )
    if what is not None and last is not None:
        raise InputError(
            f"a report is about {what} or about --last {last}, not about both",
            hint="leave one of them out",
        )
    if what is None and last is None:
        raise InputError(
            "say what the report is about: a job's number or a week, or --last SPAN",
            hint="e.g. jetsched report last-week --out week.html",
        )
    if out is None:
        if needed:
            name = _file_name(what or last or "")
            raise InputError("where to? --out names the file", hint=f"e.g. --out {name}")
        return None
    if out.suffix.lower() not in _ENDINGS:
        raise InputError(
            f"--out {out}: a page's name ends in .html",
            hint=f"e.g. --out {out.with_suffix('.html') if out.name else _file_name('')}",
        )
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder", hint=f"e.g. --out {out / 'report.html'}")
    if not out.parent.is_dir():
        raise InputError(
            f"--out {out}: there is no folder {out.parent}", hint=f"mkdir -p {out.parent}"
        )
    if not force:
        _check_is_ours(out)
    return out


def _check_is_ours(out: Path) -> None:
    try:
        with out.open("rb") as file:
            begin = file.read(_BEGIN)
            there = os.fstat(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}", hint="name another file") from None
    if GENERATOR.encode() not in begin:
        size = format_size(there.st_size / (1 << 20))
        raise InputError(
            f"--out {out}: is there already ({size}, of {moment(there.st_mtime)}), and it is no"
            " report",
            hint="name another file; to write over it: --force",
        )


def _file_name(what: str) -> str:
    if what.isdigit():
        return f"job-{what}.html"
    return f"{what}.html" if what.replace("-", "").isalnum() else "report.html"


def tell(what: str | None, last: str | None, journal: Path | None, out: Path | None) -> Told:
    """Read the story; where ``out`` is given, write its page.

    Raises :class:`InputError` for a job that never was, and for a time in which nothing happened.
    """
    story: JobStory | WeekStory
    span = span_of(last or "") if what is None else span_named(what)
    with source(journal) as found:
        if span is not None:
            story = week_story(span, found)
            words = f"{span.name}, {counted(len(story.jobs), 'job')}"
        else:
            story = job_story(what or "", found)
            words = f"job {what}"
    if out is None:
        return Told(story, words, None)
    page = week_page(story) if isinstance(story, WeekStory) else job_page(story)
    data = page.encode("utf-8", "backslashreplace")
    write_atomically(out, data)
    return Told(story, words, out, len(data))
