"""`jetsched secret`: values that jobs name and nobody sees."""

from __future__ import annotations

from typing import Annotated

import typer

from jetsched.options import Json, print_json

secret = typer.Typer(
    help="Values that jobs name and nobody sees, such as tokens of a hub.",
    invoke_without_command=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="As a job file names it.")]


def add_to(app: typer.Typer) -> None:
    """Put the group into the command."""
    app.add_typer(secret, name="secret", rich_help_panel="Live cluster")


@secret.callback()
def bare(context: typer.Context, as_json: Json = False) -> None:
    """Values that jobs name and nobody sees, such as tokens of a hub.

    Kept on the head; a job file says env: {HF_TOKEN: {secret: NAME}}.
    """
    if context.invoked_subcommand is None:
        ls(as_json=as_json)


@secret.command("set")
def set_secret(name: Name, as_json: Json = False) -> None:
    """Keep a value under a name: from a pipe, or typed without being shown.

    Example: printf %s "$TOKEN" | jetsched secret set hf
    """
    from jetsched.cluster.secretstore import SECRETS, Secrets, typed
    from jetsched.files import home

    Secrets(home() / SECRETS).set(name, typed(name))
    if as_json:
        print_json({"name": name})
        return
    typer.echo(f"{name} is kept. In a job file: env: {{HF_TOKEN: {{secret: {name}}}}}")
    typer.echo("Next: jetsched secret ls")


@secret.command()
def ls(as_json: Json = False) -> None:
    """List the names of what is kept."""
    from jetsched import tables
    from jetsched.cluster.secretstore import SECRETS, Secrets
    from jetsched.files import home

    names = Secrets(home() / SECRETS).names()
    if as_json:
        print_json(names)
        return
    for name in names:
        typer.echo(name)
    if not names:
        typer.echo("No secrets.")
    tables.next_steps("jetsched secret set NAME", *(["jetsched secret rm NAME"] if names else []))


@secret.command()
def rm(name: Name, as_json: Json = False) -> None:
    """Forget a value; jobs that name it and have not started fail then.

    Example: jetsched secret rm hf
    """
    from jetsched.cluster.secretstore import SECRETS, Secrets
    from jetsched.files import home

    Secrets(home() / SECRETS).remove(name)
    if as_json:
        print_json({"name": name, "removed": True})
        return
    typer.echo(f"{name} is forgotten.")
    typer.echo("Next: jetsched secret ls")
