"""`jetsched report`: a job or a week as one page to keep, or to hand to somebody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.options import Json, print_json

_PANEL = "History"


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
    # A job "-1" is told what is wrong with it, instead of that there is no such option.
    settings = {"ignore_unknown_options": True}
    app.command(rich_help_panel=_PANEL, context_settings=settings)(report)


def report(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB|WEEK",
            help="A job's number; or a time: 2026-W47, 2026-11-24, last-week, 12h, 7d, all.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            "--last",
            metavar="SPAN",
            help="Instead of a week: so far back from now: 12h, 7d.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.html",
            help="The page: one file, no network.",
            show_default=False,
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            "--journal",
            metavar="FILE",
            help="A journal.db, or a file that was exported of one; without it that of the head"
            " that JETSCHED_HEAD names, or this machine's.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is no report.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a page about a job or a week: what ran, what became of it, and what was thought before.

    Read from the journal: no scheduler needs to run. With --json what is in it is printed.

    Example: jetsched report last-week --out week.html
    """
    from jetsched import report_screen
    from jetsched.cluster.storytelling import check_out, tell

    target = check_out(what, last, out, needed=not as_json, force=force)
    told = tell(what, last, journal, target)
    if as_json:
        print_json(told.story.to_json())
    else:
        report_screen.print_written(told)
