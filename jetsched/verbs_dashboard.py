"""The verb that opens the page of the head."""

from __future__ import annotations

from typing import Annotated

import typer

from jetsched.options import Json, print_json


def add_to(app: typer.Typer) -> None:
    """Put the verb into the command."""
    app.command(rich_help_panel="Live cluster")(dashboard)


def dashboard(
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address; --json does, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Open the head's page in a browser: the fleet, the queue, what fits where, what comes when.

    On the machine and as the user of the head nobody has to log in. Else a link is made that logs
    in once, within a minute; after that the page asks for a token (jetsched token new NAME).

    Examples: jetsched dashboard     jetsched dashboard --no-browser
    """
    from jetsched import tables
    from jetsched.cluster.client import Client
    from jetsched.cluster.dashboard import door, open_in_browser

    with Client.connect() as client:
        found = door(client)
    if as_json:
        print_json({"url": found.url, "link": found.link, "once": found.once})
        return
    why_not = "" if no_browser else open_in_browser(found.link)
    if no_browser or why_not:
        typer.echo(f"Open {found.link}" + (f"    ({why_not})" if why_not else ""))
        if found.once:
            typer.echo("  It logs in once, within a minute.")
        if found.tunnel:
            typer.echo(f"  On another machine the same address, after: {found.tunnel}")
    else:
        typer.echo(f"{found.url} is in your browser.")
    tables.next_steps("jetsched top", "jetsched queue")
