"""Verbs that start and stop the head: Ray, the scheduler, and boards that are emulated here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jetsched.options import Json, PolicyName, print_json

_PANEL = "Live cluster"


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    for verb in (up, down):
        app.command(rich_help_panel=_PANEL)(verb)


def up(
    emulate: Annotated[
        str,
        typer.Option(
            "--emulate",
            metavar="BOARDS",
            help="Boards to emulate on this machine; `:0.5` scales a board's memory.",
        ),
    ] = "",
    policy: PolicyName = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="This machine's address for boards and other machines; else only this one.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Of the API; 0: the one it had.")
    ] = 0,
    ray: Annotated[
        str,
        typer.Option(
            "--ray",
            metavar="HOST:PORT",
            help="Use this Ray, whose token RAY_AUTH_TOKEN has; `down` leaves it.",
        ),
    ] = "",
    health: Annotated[
        str | None,
        typer.Option(
            "--health",
            metavar="tight|default|slow",
            help="How soon a silent board is given up; also tight:failures=5.",
            show_default=False,
        ),
    ] = None,
    lease: Annotated[
        str | None,
        typer.Option(
            "--lease",
            metavar="TIME",
            help="A board that is cut off stops its job after so long (60s).",
            show_default=False,
        ),
    ] = None,
    aging: Annotated[
        str | None,
        typer.Option(
            "--aging",
            metavar="TIME|off",
            help="A job gains a point of priority per so long a wait (10m).",
            show_default=False,
        ),
    ] = None,
    commands: Annotated[
        bool | None,
        typer.Option(
            "--allow-commands/--no-allow-commands",
            help="Take jobs of kind `command`; unless said, only where nobody else can reach it.",
            show_default=False,
        ),
    ] = None,
    checkpoints: Annotated[
        bool | None,
        typer.Option(
            "--checkpoints-to-head/--no-checkpoints-to-head",
            help="Bring the newest checkpoint of each job here, for another board to go on from.",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate of the API (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key (PEM).")] = None,
    ray_tls: Annotated[
        Path | None,
        typer.Option("--ray-tls", metavar="FOLDER", help="Of cert.pem, key.pem, ca.pem for Ray."),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop it all at SIGTERM: for systemd.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start the head: Ray and the scheduler, with a node per emulated board; return when ready.

    What dies is started again. Real boards come with `jetsched join`. Emulated ones are real Ray
    nodes and real child processes under a memory cap that the kernel enforces; all that they
    measure is marked *emulated*.

    Examples: jetsched up --emulate xavier-nx:0.5,orin-nano:0.5     jetsched up --host 10.0.0.5
    """
    from jetsched import nodes_screen, tables
    from jetsched.cluster.asked import Asked
    from jetsched.cluster.client import Client
    from jetsched.cluster.up import up as start
    from jetsched.cluster.up import up_in_foreground

    asked = Asked(
        emulate=emulate,
        policy=policy,
        host=host,
        port=port,
        foreign_ray=ray,
        health=health,
        lease=lease,
        aging=aging,
        allow_commands=commands,
        checkpoints_to_head=checkpoints,
        tls_cert=tls_cert,
        tls_key=tls_key,
        ray_tls=ray_tls,
    )
    if foreground:
        up_in_foreground(asked)
    began = start(asked, say=lambda text: typer.echo(f"  {text}", err=True))
    with Client.to(began.state) as client:
        found = client.devices()
    if as_json:
        print_json(
            {
                "what": began.what,
                "seconds": began.seconds,
                "url": began.state.url,
                "devices": found,
            }
        )
        return
    words = {"started": "is up", "running": "was running already", "revived": "is back"}
    typer.echo(f"The cluster {words[began.what]}, policy {began.state.policy}.")
    if began.what != "started" and began.differs(asked):
        typer.echo(
            "  It keeps what it has. Another policy: jetsched policies use NAME; the rest: jetsched"
            " down, then up again."
        )
    if found:
        nodes_screen.print_devices(found)
        tables.next_steps("jetsched submit FILE.yaml", "jetsched queue", "jetsched down")
    else:
        typer.echo(f"It waits for boards at {began.state.url}.")
        tables.next_steps(
            "jetsched token new NAME --role node > FILE",
            f"jetsched join {began.state.url} --token-file FILE    (on each board)",
            "jetsched devices",
        )


def down(as_json: Json = False) -> None:
    """Stop what `jetsched up` started here, and nothing else. The history stays.

    Jobs that run are stopped, and go on after the next `up`. Boards that joined wait for the head.

    Example: jetsched down
    """
    from jetsched.cluster.up import down as stop

    state = stop()
    if as_json:
        print_json({"stopped": state is not None})
    else:
        typer.echo("Stopped; nothing of it is left running." if state else "Nothing is running.")
