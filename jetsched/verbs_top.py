"""The verb that shows the fleet on one screen of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jetsched.options import Json, print_json

if TYPE_CHECKING:
    from jetsched.cluster.top import Look


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
    app.command(rich_help_panel="Live cluster")(top)


def top(
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="How often to look: 1s, 500ms.")
    ] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Print it once, as text.")] = False,
    as_json: Json = False,
) -> None:
    """Show boards, queue and what happens, live on one screen: ? there tells the keys.

    In a pipe, or with --once, it is printed once as plain text. If the head is lost it says so,
    keeps what it knew, and goes on once it is back.

    Example: jetsched top
    """
    from jetsched import top_screen
    from jetsched.cluster import top as live
    from jetsched.cluster.client import Client

    every_s = live.period_s(every)
    if not once and not as_json and live.is_for_a_person():
        live.run(top_screen.draw, every_s=every_s)
        return
    with Client.connect() as client:
        look = live.look_once(client)
    if as_json:
        print_json(look)
    else:
        _print(look)


def _print(look: Look) -> None:
    from jetsched import control_screen, nodes_screen, screens, tables, top_screen

    control_screen.print_paused(look.status)
    nodes_screen.print_devices(look.devices)
    typer.echo("")
    if look.jobs:
        screens.print_queue(look.jobs)
        total = look.count()
        if total > len(look.jobs):
            screens.print_more(look.jobs, total)
    else:
        typer.echo("No job is waiting or running.")
    top_screen.print_events(look.events)
    screens.print_policy_error(look.status)
    tables.next_steps("jetsched top", "jetsched why ID", "jetsched devices")
