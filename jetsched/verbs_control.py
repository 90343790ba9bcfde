"""Verbs that steer a running cluster: stop, hold and retry jobs, pause the queue, drain boards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from jetsched.options import Json, print_json

_PANEL = "Live cluster"

JobIds = Annotated[list[str], typer.Argument(metavar="ID...", help="Numbers of jobs.")]
DeviceIds = Annotated[
    list[str], typer.Argument(metavar="DEVICE...", help="Boards, as in `jetsched devices`.")
]
Text = Annotated[
    str, typer.Option("--text", "-t", help="Why, for whoever asks later.", show_default=False)
]

Row = dict[str, Any]


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    for verb in (cancel, hold, release, retry, pause, resume, drain, undrain, remove):
        app.command(rich_help_panel=_PANEL)(verb)


def cancel(job_ids: JobIds, as_json: Json = False) -> None:
    """Stop jobs that wait or run. A training job writes a checkpoint first.

    What cannot be stopped is said, and the others are stopped all the same; then it ends with 2.

    Example: jetsched cancel 7 9
    """
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        _about_jobs(job_ids, client.cancel, as_json)


def hold(job_ids: JobIds, text: Text = "", as_json: Json = False) -> None:
    """Keep back jobs that have not started, until they are released.

    Example: jetsched hold 7 --text "wait for the new data"
    """
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        _about_jobs(
            job_ids, lambda job_id: client.hold(job_id, text), as_json, "jetsched release ID"
        )


def release(job_ids: JobIds, as_json: Json = False) -> None:
    """Let jobs wait again that somebody holds.

    Example: jetsched release 7
    """
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        _about_jobs(job_ids, client.release, as_json, "jetsched why ID")


def retry(job_ids: JobIds, as_json: Json = False) -> None:
    """Try jobs again that failed, were killed, lost or cancelled.

    The numbers of their attempts go on, and a training job goes on from its checkpoint. How often
    they may be tried is counted anew.

    Example: jetsched retry 4
    """
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        _about_jobs(job_ids, client.retry, as_json, "jetsched logs -f ID")


def pause(text: Text = "", as_json: Json = False) -> None:
    """Start no more jobs, on any board. What runs goes on; jobs may be submitted all the same.

    Example: jetsched pause --text "the room is too hot"
    """
    from jetsched import control_screen, tables
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        found = client.pause(text)
    if as_json:
        print_json(found)
        return
    control_screen.print_pausing(found)
    tables.next_steps("jetsched queue", "jetsched resume")


def resume(as_json: Json = False) -> None:
    """Start jobs again after `jetsched pause`.

    Example: jetsched resume
    """
    from jetsched import control_screen, tables
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        found = client.resume()
    if as_json:
        print_json(found)
        return
    control_screen.print_pausing(found)
    tables.next_steps("jetsched queue")


def drain(device_ids: DeviceIds, text: Text = "", as_json: Json = False) -> None:
    """Give boards no new jobs, and show what still runs there. That goes on to its end.

    Example: jetsched drain nx-1 --text "the SD card is swapped"
    """
    from jetsched import control_screen
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        found, refused = _each(device_ids, lambda device_id: client.drain(device_id, text))
    if not as_json:
        control_screen.print_drained(found)
    back = [f"jetsched undrain {found[0]['device']}"] if found else []
    _end(found, refused, as_json, "jetsched devices", *back)


def undrain(device_ids: DeviceIds, as_json: Json = False) -> None:
    """Give boards jobs again after `jetsched drain`.

    Example: jetsched undrain nx-1
    """
    from jetsched import control_screen
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        found, refused = _each(device_ids, client.undrain)
    if not as_json:
        control_screen.print_undrained(found)
    _end(found, refused, as_json, "jetsched devices", "jetsched queue")


def remove(
    device_id: Annotated[
        str, typer.Argument(metavar="DEVICE", help="A board, as in `jetsched devices`.")
    ],
    as_json: Json = False,
) -> None:
    """Forget a board that is gone for good. Jobs that only it could run are held then.

    Example: jetsched remove nx-1
    """
    from jetsched import tables
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        found = client.remove(device_id)
    if as_json:
        print_json(found)
        return
    left = ", ".join(found["devices"]) or "none"
    typer.echo(f"{device_id} is forgotten. Boards that are left: {left}.")
    tables.next_steps("jetsched devices", "jetsched queue")


def _about_jobs(
    job_ids: Iterable[str], ask: Callable[[str], Row], as_json: bool, *following: str
) -> None:
    """Ask for each of the jobs, print their rows, and end with 2 where anything was refused."""
    from jetsched import screens

    rows, refused = _each(job_ids, ask)
    if rows and not as_json:
        screens.print_queue(rows)
    more = [command.replace("ID", str(rows[0]["id"])) for command in following] if rows else []
    _end(rows, refused, as_json, "jetsched queue" if rows else "jetsched queue --all", *more)


def _each(ids: Iterable[str], ask: Callable[[str], Row]) -> tuple[list[Row], list[str]]:
    """The answers about each id, and what was refused: the others are asked for all the same."""
    from jetsched.errors import InputError

    found, refused = [], []
    for one in dict.fromkeys(ids):
        try:
            found.append(ask(one))
        except InputError as error:
            refused.append(f"{error}; {error.hint}" if error.hint else str(error))
    return found, refused


def _end(found: list[Row], refused: list[str], as_json: bool, *following: str) -> None:
    from jetsched import tables
    from jetsched.errors import InputError

    if as_json:
        print_json(found)
    for text in refused:
        typer.echo(f"✗ {text}", err=True)
    if not as_json:
        tables.next_steps(*following)
    if refused:
        raise typer.Exit(InputError.exit_code)
