"""Verbs that talk to a running cluster: submit jobs, look, ask why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jetsched.options import JobFiles, Json, PolicyName, print_json

if TYPE_CHECKING:
    from jetsched.cluster.watching import Look

_PANEL = "Live cluster"

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's number in `jetsched queue`.")]


def add_to(app: typer.Typer) -> None:
    """Put the verbs into the command."""
    for verb in (devices, plan, submit, queue, why, logs):
        app.command(rich_help_panel=_PANEL)(verb)


def devices(as_json: Json = False) -> None:
    """Show the boards: state, memory, GPU, watts, heat, what runs there and until when.

    Example: jetsched devices
    """
    from jetsched import nodes_screen, tables
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        found = client.devices()
    if as_json:
        print_json(found)
        return
    nodes_screen.print_devices(found)
    tables.next_steps("jetsched queue", "jetsched drain DEVICE", "jetsched profiles")


def plan(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A job file; - is the standard input.", show_default=False
        ),
    ],
    fleet: Annotated[
        Path | None,
        typer.Option("--fleet", help="Plan for this fleet file, without a cluster."),
    ] = None,
    policy: PolicyName = None,
    as_json: Json = False,
) -> None:
    """Say which board would take a job, when, and for how long. Submits nothing.

    Exit code 0: it would start now; 10: it would wait; 3: it can never run.

    Example: jetsched plan examples/train-gpt2.yaml --fleet examples/fleet.yaml
    """
    from jetsched import screens
    from jetsched.cluster.planning import plan_file, plan_live
    from jetsched.records import Decision

    if fleet is not None:
        found = plan_file(file, fleet, policy, say=lambda text: typer.echo(text, err=True))
    else:
        found = plan_live(file, policy)
    if as_json:
        print_json(found)
    else:
        screens.print_plan(found)
    decision: Decision = found.decision
    if decision.chosen is None:
        raise typer.Exit(3 if all(row.verdict == "never" for row in decision.rows) else 10)
    chosen = next(row for row in decision.rows if row.chosen)
    raise typer.Exit(10 if chosen.verdict == "busy" else 0)


def submit(
    files: JobFiles,
    hold: Annotated[
        bool, typer.Option("--hold", help="Queue it even if no device can run it now.")
    ] = False,
    key: Annotated[
        str,
        typer.Option(
            "--key", metavar="TEXT", help="Of your own: the same key again submits nothing again."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Hand in job files: all of them, or none if anything in them is wrong.

    Example: jetsched submit examples/train-distilgpt2.yaml examples/infer-small.yaml
    """
    from jetsched import screens, tables
    from jetsched.cluster.client import Client
    from jetsched.jobfile import load_jobs
    from jetsched.problems import FileProblems
    from jetsched.profiler.models import positions

    try:
        load_jobs(files, positions=positions)  # what is wrong with a file is said without a cluster
        with Client.connect() as client:
            jobs = client.submit(files, hold=hold, user=_user(), key=key)
    except FileProblems as problems:
        if as_json:
            print_json(problems.to_json())
        else:
            typer.echo(problems.text("Nothing was submitted."), err=True)
        raise typer.Exit(problems.exit_code) from None
    if as_json:
        print_json(jobs)
        return
    screens.print_queue(jobs)
    ids = [job["id"] for job in jobs]
    tables.next_steps("jetsched queue", f"jetsched why {ids[0]}", f"jetsched logs -f {ids[0]}")


def queue(
    all_jobs: Annotated[
        bool, typer.Option("--all", "-a", help="Show the jobs that have ended, too.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="How many rows, at most.")
    ] = 50,
    after: Annotated[
        str, typer.Option("--after", metavar="ID", help="Go on behind this job.")
    ] = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it as it changes; end: Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the jobs: what runs, what waits in turn and why, what is held.

    With --json it prints all of them, whatever --limit says.

    Example: jetsched queue --watch
    """
    from jetsched import screens
    from jetsched.cluster import watching
    from jetsched.cluster.client import Client

    states = "" if all_jobs else "open"
    with Client.connect() as client:
        if as_json:
            print_json(client.jobs(open_only=not all_jobs))
        elif watch:
            for look in watching.watch(client, states, limit):
                screens.clear()
                _print_queue(look, all_jobs)
        else:
            _print_queue(watching.look(client, states, limit, after), all_jobs)


def _print_queue(look: Look, all_jobs: bool) -> None:
    from jetsched import control_screen, screens, tables

    control_screen.print_paused(look.status)
    if look.jobs:
        screens.print_queue(look.jobs)
        total = look.count(screens.shown_states(all_jobs))
        if look.is_full and total > len(look.jobs):
            screens.print_more(look.jobs, total)
    else:
        typer.echo("No jobs." if all_jobs else "No job is waiting or running.")
    screens.print_policy_error(look.status)
    more = () if all_jobs else ("jetsched queue --all",)
    tables.next_steps("jetsched submit FILE.yaml", "jetsched why ID", *more)


def why(job_id: JobId, as_json: Json = False) -> None:
    """Say why a job runs where it runs, or why it waits: what the policy saw.

    Example: jetsched why 7
    """
    from jetsched import screens
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        found = client.why(job_id)
    if as_json:
        print_json(found)
    else:
        screens.print_why(found)


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", help="Which attempt; the last one if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a job has written. Kept on the head, also when its board is gone.

    Example: jetsched logs -f 7
    """
    from jetsched.cluster.client import Client

    with Client.connect() as client:
        if follow and not as_json:
            silent = True
            for text in client.follow_log(job_id, attempt=attempt):
                typer.echo(text, nl=False)
                silent = False
            if silent:
                typer.echo(f"Job {job_id} wrote nothing. See: jetsched why {job_id}", err=True)
            return
        part: dict[str, Any] = {"offset": 0}
        whole = ""
        while True:
            part = client.log(job_id, attempt=attempt, offset=part["offset"])
            if not part["text"]:
                break
            whole += part["text"]
        if as_json:
            print_json({**part, "text": whole})
        elif whole:
            typer.echo(whole, nl=False)
        else:
            so_far = "" if part["ended"] else " so far"
            typer.echo(f"Job {job_id} wrote nothing{so_far}.", err=True)


def _user() -> str:
    """Who submits, as the system calls them; in a bare container there may be no name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
