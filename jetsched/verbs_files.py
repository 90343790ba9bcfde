"""Verbs about files: what jobs left, what boards keep of models and data, what may go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.options import Json, print_json

_PANEL = "Live cluster"

cache = typer.Typer(
    help="What boards keep of models and data: list it, bring it there, throw it away.",
    invoke_without_command=True,
)

Older = Annotated[
    str, typer.Option("--older", metavar="AGE", help="What was not used, or ended, longer ago.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]
Device = Annotated[
    str, typer.Option("--device", metavar="ID", help="Only this board; `head` is the head itself.")
]


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    app.command(rich_help_panel=_PANEL)(fetch)
    app.command(rich_help_panel=_PANEL)(prune)
    app.add_typer(cache, name="cache", rich_help_panel=_PANEL)


def fetch(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="The job's number in `jetsched queue`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to; ./jetsched-ID if not given."),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option("--attempt", help="Which one; the last that left something.")
    ] = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="Only show what there is, with sizes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring what a job left into a folder: weights, predictions, figures.

    Checksums are looked at; what is there already is not brought again, and what was cut goes on.

    Example: jetsched fetch 7 --out results/
    """
    from jetsched import files_screen, tables
    from jetsched.cluster.client import Client
    from jetsched.cluster.client_files import FileClient

    with Client.connect() as client:
        files = FileClient(client)
        if only_list:
            found = files.artefacts(job_id, attempt)
            print_json(found) if as_json else files_screen.print_artefacts(found)
            return
        folder = out or Path(f"jetsched-{job_id}")
        with tables.progress(f"fetching job {job_id}") as tell:
            fetched = files.fetch(job_id, folder, attempt, tell)
    if as_json:
        print_json(fetched)
    else:
        files_screen.print_fetched(job_id, fetched)


def prune(
    older: Older = "30d",
    max_size: Annotated[
        str, typer.Option("--max-size", metavar="SIZE", help="And what is longest over beyond it.")
    ] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Throw away what jobs that ended have left: logs, artefacts, checkpoints, their folders.

    Never of jobs that wait, run or are held; and the history stays.

    Example: jetsched prune --older 30d --max-size 10GiB --dry-run
    """
    from jetsched import files_screen
    from jetsched.cluster.client import Client
    from jetsched.cluster.client_files import FileClient

    with Client.connect() as client:
        found = FileClient(client).prune(
            older_s=_age_s(older), most_bytes=_bytes("--max-size", max_size), dry_run=dry_run
        )
    print_json(found) if as_json else files_screen.print_pruned(found)


@cache.callback()
def bare(context: typer.Context, as_json: Json = False) -> None:
    """What boards keep of models and data. Alone it lists that."""
    if context.invoked_subcommand is None:
        ls(as_json=as_json)


@cache.command()
def ls(device: Device = "", as_json: Json = False) -> None:
    """List the models and data that boards, and the head, keep.

    Example: jetsched cache ls --device nx-1
    """
    from jetsched import files_screen
    from jetsched.cluster.client import Client
    from jetsched.cluster.client_files import FileClient

    with Client.connect() as client:
        rows = FileClient(client).caches(device)
    print_json(rows) if as_json else files_screen.print_caches(rows)


@cache.command()
def prefetch(
    names: Annotated[
        list[str],
        typer.Argument(metavar="MODEL|FILE...", help="A model as job files name it, or a path."),
    ],
    device: Device = "",
    online: Annotated[
        bool,
        typer.Option(
            "--online/--offline", help="Ask the hub for models that the head does not have."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring models or files to the boards before jobs need them.

    They come from the head; nothing else asks the network, and this only with --online.

    Example: jetsched cache prefetch gpt2 ./my-model --device nx-1
    """
    from jetsched import files_screen
    from jetsched.cluster.client import Client
    from jetsched.cluster.client_files import FileClient

    with Client.connect(timeout_s=None) as client:
        files = FileClient(client)
        rows = files.prefetch(files.named_there(names), device, online=online)
    print_json(rows) if as_json else files_screen.print_prefetched(rows)
    if any("path" not in row for row in rows):
        raise typer.Exit(1)


@cache.command("prune")
def prune_caches(
    older: Older = "",
    keep_size: Annotated[
        str, typer.Option("--keep-size", metavar="SIZE", help="And what is longest unused beyond.")
    ] = "",
    device: Device = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Throw away models and data that no running attempt uses.

    Example: jetsched cache prune --older 7d --keep-size 5GiB
    """
    from jetsched import files_screen
    from jetsched.cluster.client import Client
    from jetsched.cluster.client_files import FileClient

    with Client.connect() as client:
        rows = FileClient(client).prune_caches(
            older_s=_age_s(older),
            most_bytes=_bytes("--keep-size", keep_size),
            device=device,
            dry_run=dry_run,
        )
    print_json(rows) if as_json else files_screen.print_cache_pruned(rows, dry_run)


def _age_s(text: str) -> float | None:
    from jetsched.errors import InputError
    from jetsched.units import parse_duration_s

    try:
        return parse_duration_s(text) if text else None
    except InputError as error:
        raise InputError(f"--older {error}", hint=error.hint) from None


def _bytes(option: str, text: str) -> int | None:
    from jetsched.errors import InputError
    from jetsched.units import parse_size_mib

    try:
        return round(parse_size_mib(text) * (1 << 20)) if text else None
    except InputError as error:
        raise InputError(f"{option} {error}", hint=error.hint) from None
