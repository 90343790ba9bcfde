"""Every error that jetsched raises on purpose.

An exception means bad input, a broken contract or a part that cannot be reached. "This job cannot
run there" is not an exception but data: see :class:`jetsched.records.Never`.
"""

from __future__ import annotations


class JetschedError(Exception):
    """Base of all of them: the command line prints it without a traceback.

    ``hint`` is one sentence that says what to do about it; ``exit_code`` is what a verb ends with.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(JetschedError):
    """Something a person wrote is wrong: a file, an option, a name."""

    exit_code = 2


class NeverFitsError(JetschedError):
    """No device of the fleet can ever run the job."""

    exit_code = 3


class JobFailedError(JetschedError):
    """A job that the command waited for did not end well."""

    exit_code = 4


class UnreachableError(JetschedError):
    """The scheduler, or a node, does not answer."""

    exit_code = 5


class PolicyError(JetschedError):
    """A policy broke its contract; its placement was refused and nothing was started."""


class MissingToolError(JetschedError):
    """A tool or library that the verb needs is missing on this machine."""
