"""The verb that makes a machine a board of a cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
    app.command(rich_help_panel="Live cluster")(join)


def join(
    head: Annotated[
        str, typer.Argument(metavar="URL", help="The head, as `jetsched up` prints it.")
    ],
    token_file: Annotated[
        Path,
        typer.Option(
            "--token-file", metavar="FILE", help="Holds a token of role node.", show_default=False
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="ID", help="Of this board; else the head finds one.")
    ] = "",
    python: Annotated[
        str,
        typer.Option("--workload-python", help="The interpreter with the board's own torch."),
    ] = sys.executable,
    emulate: Annotated[
        str | None,
        typer.Option("--emulate", metavar="BOARD", help="Be an emulated board: xavier-nx:0.5."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="What `needs: {device: ...}` may name; may be repeated."),
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option("--memory-limit", metavar="SIZE", help="Cap every job's memory: 5GiB."),
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option("--cache", metavar="SIZE", help="The most to keep of models and data: 20GiB."),
    ] = None,
    disk_min: Annotated[
        str | None,
        typer.Option("--disk-min", metavar="SIZE", help="With less disk free, no new job: 500MiB."),
    ] = None,
    power_mode: Annotated[
        str,
        typer.Option("--power-mode", metavar="NAME", help="In any other one it takes no new job."),
    ] = "",
    home: Annotated[
        Path | None,
        typer.Option("--home", help="This board's data folder.", show_default=False),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option("--tls-ca", metavar="FILE", help="Who signed the head's certificate (PEM)."),
    ] = None,
    ray_tls: Annotated[
        Path | None,
        typer.Option("--ray-tls", metavar="FOLDER", help="Of cert.pem, key.pem, ca.pem for Ray."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Join despite what the doctor finds.")
    ] = False,
) -> None:
    """Make this machine a board of a cluster, until Ctrl-C or SIGTERM.

    Looks at the board first, as `jetsched doctor` does. Stays in the foreground and starts again
    what ends; deploy/jetsched-node.service runs it at every boot.

    Example: jetsched join http://10.0.0.5:8640 --token-file token --workload-python python3
    """
    from jetsched import nodes_screen
    from jetsched.cluster.boardsetup import Wish, preflight, set_up
    from jetsched.cluster.noderunner import command
    from jetsched.files import home as data_home

    wish = Wish(
        url=head,
        token_file=token_file,
        home=(home or data_home()).expanduser().absolute(),
        name=name,
        python=python,
        emulate=emulate,
        labels=tuple(label or ()),
        memory_limit=memory_limit,
        cache=cache,
        disk_min=disk_min,
        power_mode=power_mode,
        ca=tls_ca,
        ray_tls=ray_tls,
    )
    os.environ["JETSCHED_HOME"] = str(wish.home)
    nodes_screen.print_preflight(preflight(wish), force=force)
    set_up(wish)
    sys.stdout.flush()
    argv = command(wish.home)
    os.execv(argv[0], argv)  # a small process that stays; the command's own modules go
