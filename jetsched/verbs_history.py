"""Verbs about what was: the history, whether it would be decided so again, and keeping it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from jetsched.options import Json, PolicyName, print_json

_PANEL = "History"

Journal = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="A journal.db, or a file that was exported of one; without it this machine's.",
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help='From a local date and time on: "2026-11-20 08:00".',
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    for verb in (history, replay, backup, restore):
        app.command(rich_help_panel=_PANEL)(verb)


def history(
    job_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Everything about this job.", show_default=False),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            "--last", metavar="SPAN", help="Only so far back from now: 12h, 7d.", show_default=False
        ),
    ] = None,
    since: Since = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="ID", help="Only what concerns this board.", show_default=False
        ),
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="What happened, line by line, instead of the jobs.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the last.")] = 50,
    journal: Journal = None,
    as_json: Json = False,
) -> None:
    """Tell what was: jobs with their attempts, all about one job, or events line by line.

    Read from the journal: no scheduler needs to run.

    Example: jetsched history --last 7d --device nx-1
    """
    from jetsched import history_screen
    from jetsched.cluster import past

    if job_id is not None:
        found = past.past_job(job_id, journal)
    else:
        since_s = past.since_s(last, since)
        tells = past.past_events if events else past.past_jobs
        found = tells(journal, since_s=since_s, device=device, limit=limit)
    if as_json:
        print_json(found.to_json())
    elif job_id is not None:
        history_screen.print_job(found)
    elif events:
        history_screen.print_events(found)
    else:
        history_screen.print_jobs(found)


def replay(
    journal: Journal = None,
    last: Annotated[
        str | None,
        typer.Option(
            "--last",
            metavar="SPAN",
            help="Only the last part: last-day, last-week, 12h, 7d. It ends with the last entry.",
            show_default=False,
        ),
    ] = None,
    since: Since = None,
    mode: Annotated[
        Literal["both", "exact", "free"],
        typer.Option(
            "--mode",
            help="exact: events at their recorded times; free: in the simulator, on its own clock.",
        ),
    ] = "both",
    policy: PolicyName = None,
    as_json: Json = False,
) -> None:
    """Feed a live history through the scheduler once more: are the decisions the same, and why not.

    Exit code 0: all decisions are the same; 1: some are not. It may run beside the live cluster.

    Example: jetsched replay --last 12h
    """
    from jetsched import history_screen, tables
    from jetsched.cluster.replaying import replay as replay_journal

    with tables.progress("entries followed") as hears:
        found = replay_journal(
            journal, since=since, last=last, policy=policy, mode=mode, watch=hears
        )
    if as_json:
        print_json(found.to_json())
    else:
        history_screen.print_replay(found)
    if not found.same:
        raise typer.Exit(1)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, e.g. head.tar.gz.")],
    artefacts: Annotated[
        bool,
        typer.Option("--artefacts", help="Also what jobs left: artefacts, checkpoints, logs."),
    ] = False,
    secrets: Annotated[
        bool,
        typer.Option(
            "--secrets", help="Also what opens doors: tokens' hashes, jobs' secrets, Ray's token."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Keep the head's history and knowledge in one file. The cluster may go on meanwhile.

    Example: jetsched backup /media/usb/head-2026-11-24.tar.gz
    """
    from jetsched import history_screen, tables
    from jetsched.cluster.backup import backup as back_up

    with tables.progress("kept") as hears:
        found = back_up(file, artefacts=artefacts, secrets=secrets, watch=hears)
    if as_json:
        print_json(found.to_json())
    else:
        history_screen.print_backup(found)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `jetsched backup` wrote.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Move what is in the way into a folder of the data home."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in place, here or on another machine. Refused while a cluster runs here.

    Every byte is checked before anything is touched; with --force nothing is lost either.

    Example: jetsched restore /media/usb/head-2026-11-24.tar.gz
    """
    from jetsched import history_screen, tables
    from jetsched.cluster.restoring import restore as put_back

    with tables.progress("unpacked") as hears:
        found = put_back(file, force=force, watch=hears)
    if as_json:
        print_json(found.to_json())
    else:
        history_screen.print_restored(found)
