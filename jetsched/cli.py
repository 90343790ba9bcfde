"""The `jetsched` command: puts the verbs together and turns errors into words and exit codes.

Nothing heavy is imported here: `jetsched --help` answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn

import typer

import jetsched.verbs_boards as boards
import jetsched.verbs_compare as compare
import jetsched.verbs_control as control
import jetsched.verbs_costs as costs
import jetsched.verbs_dashboard as dashboard
import jetsched.verbs_doctor as doctor
import jetsched.verbs_estimate as estimate
import jetsched.verbs_files as files
import jetsched.verbs_head as head
import jetsched.verbs_history as history
import jetsched.verbs_live as live
import jetsched.verbs_local as local
import jetsched.verbs_nodes as nodes
import jetsched.verbs_policies as policies
import jetsched.verbs_report as report
import jetsched.verbs_secrets as secret_verbs
import jetsched.verbs_simulate as simulate
import jetsched.verbs_tokens as tokens
import jetsched.verbs_top as top
from jetsched.errors import InputError, JetschedError

#: The disk, or one's share of it, is full. Such an error does not say which file it was.
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: What ends a verb: Ctrl-C, `kill`, a closed terminal.
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What a shell reports of a program that one of them ended.
_ENDED = tuple(128 + number for number in _ENDS)

HELP = """Place LLM fine-tuning and inference jobs on a fleet of unlike Jetson boards.

First steps without a board:  jetsched demo

A head on another machine: the variables JETSCHED_HEAD (http://HOST:PORT),
JETSCHED_TOKEN_FILE and JETSCHED_CA_FILE (PEM) name it.

Exit codes: 0 ok, 1 internal error or (doctor) findings, 2 bad input, 3 can never run,
4 the job failed, 5 the scheduler cannot be reached, 10 (plan) it would wait.
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verbs in (
    estimate,
    simulate,
    local,
    compare,
    policies,
    head,
    nodes,
    live,
    top,
    dashboard,
    control,
    files,
    history,
    report,
    boards,
    costs,
    doctor,
    secret_verbs,
    tokens,
):
    verbs.add_to(app)


def _version(asked: bool) -> None:
    if asked:
        from jetsched import __version__

        print(f"jetsched {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")
    ] = False,
) -> None:
    if debug:
        os.environ["JETSCHED_DEBUG"] = "1"


def main() -> None:
    """Run the command. What went wrong is said in a sentence, and what to do about it."""
    _make_streams_safe()
    try:
        with _ending_cleanly():
            app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # click and rich make an exit code of it
            _end_quietly()
        if end.code in _ENDED:
            with suppress(OSError):  # a terminal that was closed
                print("\nStopped.", file=sys.stderr)
        raise
    except BrokenPipeError:
        _end_quietly()
    except JetschedError as error:
        if os.environ.get("JETSCHED_DEBUG"):
            raise
        text = str(error)
        print(text if text.startswith("✗") else f"✗ {text}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if os.environ.get("JETSCHED_DEBUG"):
            raise
        if error.filename is None and error.errno not in _FULL:
            _say_internal(error)
        _say_unusable(error)
    except Exception as error:
        if os.environ.get("JETSCHED_DEBUG"):
            raise
        _say_internal(error)


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """Any signal that ends a verb goes through its clean-up, which no second one interrupts."""

    def end(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    before = {n: signal.getsignal(n) for n in _ENDS}
    before = {n: old for n, old in before.items() if old is not signal.SIG_IGN}  # nohup
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _make_streams_safe() -> None:
    """A terminal that has no ✗ gets a question mark, and a closed stream swallows what it gets."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - the same
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _end_quietly() -> NoReturn:
    """The reader of a pipe has seen enough."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the interpreter's own last flush
    sys.exit(0)


def _say_unusable(error: OSError) -> NoReturn:
    """A file or folder that cannot be read or written is nearly always the user's to change."""
    from jetsched.files import home

    where = "" if error.filename is None else f"{error.filename}: "
    print(f"✗ {where}{error.strerror}", file=sys.stderr)
    if str(error.filename).startswith(str(home())):
        print("  JETSCHED_HOME names the data folder; it must be writable", file=sys.stderr)
    sys.exit(InputError.exit_code)


def _say_internal(error: Exception) -> NoReturn:
    print(f"✗ internal error: {type(error).__name__}: {error}", file=sys.stderr)
    print("  This is a bug in jetsched. More with: jetsched --debug ...", file=sys.stderr)
    sys.exit(1)
