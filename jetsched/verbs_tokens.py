"""`jetsched token`: make, list and revoke the tokens of the API."""

from __future__ import annotations

from typing import Annotated

import typer

from jetsched.options import Json, print_json

_PANEL = "Live cluster"

token = typer.Typer(
    help="The tokens of the API: for people, boards and Prometheus.",
    invoke_without_command=True,
)


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    app.add_typer(token, name="token", rich_help_panel=_PANEL)


@token.callback()
def bare(context: typer.Context, as_json: Json = False) -> None:
    """The tokens of the API: for people, boards and Prometheus.

    Alone it lists them. A head that runs sees every change at once.
    """
    if context.invoked_subcommand is None:
        ls(as_json=as_json)


@token.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom or what it is for.")],
    role: Annotated[
        str,
        typer.Option(
            "--role",
            help="admin: everything; node: only to join; metrics: only to read /metrics.",
        ),
    ] = "admin",
    as_json: Json = False,
) -> None:
    """Make a token and print it, once: only its hash is kept.

    Example: (umask 077; jetsched token new nx-boards --role node > node.token)
    """
    from typing import cast

    from jetsched.cluster.tokens import TOKENS_FILE, Role, Tokens
    from jetsched.files import home

    made = Tokens(home() / TOKENS_FILE).new(name, cast(Role, role))
    if as_json:
        print_json({"name": name, "role": role, "token": made})
        return
    typer.echo(made)
    used = {
        "admin": "JETSCHED_HEAD=http://HEAD:PORT JETSCHED_TOKEN_FILE=FILE jetsched queue",
        "node": "jetsched join http://HEAD:PORT --token-file FILE",
        "metrics": "in Prometheus: authorization: {credentials_file: FILE}",
    }[role]
    typer.echo(f"  It is not shown again: put it into a file (chmod 600). Next: {used}", err=True)


@token.command()
def ls(as_json: Json = False) -> None:
    """List the tokens: name, role, since when."""
    from jetsched import tables
    from jetsched.cluster.tokens import TOKENS_FILE, Tokens
    from jetsched.files import home

    known = Tokens(home() / TOKENS_FILE).ls()
    if as_json:
        print_json([{"name": k.name, "role": k.role, "made_at": k.made_at} for k in known])
        return
    if known:
        columns = [tables.Column("NAME"), tables.Column("ROLE"), tables.Column("MADE")]
        tables.print_table(columns, [[k.name, k.role, k.made_at] for k in known])
    else:
        typer.echo("No tokens. On this machine none is needed.")
    more = ("jetsched token revoke NAME",) if known else ()
    tables.next_steps("jetsched token new NAME --role node", *more)


@token.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in `jetsched token ls`.")],
    as_json: Json = False,
) -> None:
    """Have a token open nothing any more, from the next request on.

    Example: jetsched token revoke nx-boards
    """
    from jetsched.cluster.tokens import TOKENS_FILE, Tokens
    from jetsched.files import home

    known = Tokens(home() / TOKENS_FILE).revoke(name)
    if as_json:
        print_json({"name": known.name, "role": known.role, "revoked": True})
    else:
        typer.echo(f"{known.name} ({known.role}) opens nothing any more.")
        typer.echo("Next: jetsched token ls")
