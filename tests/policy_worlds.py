"""Policies in files, and a scheduler that they decide for: for tests of what policies do wrong."""

from __future__ import annotations

from pathlib import Path

from builders import a_job, nx, orin, paper_costs

from jetsched import policies
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import DeviceJoined, Start, Submitted
from jetsched.scheduler.view import Policy

LOOPS = """\
class Loops:
    '''Never comes to an end.'''

    name = "loops"

    def decide(self, view):
        while True:
            pass
        yield
"""


def in_file(folder: Path, text: str, name: str = "mine.py") -> Policy:
    (folder / name).write_text(text)
    return policies.load(str(folder / name))


def line_of(text: str, words: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), start=1) if words in line)


def a_scheduler(policy: Policy) -> Scheduler:
    scheduler = Scheduler(policy, paper_costs(), fallback=policies.load("earliest_finish"))
    for device in (nx(), orin()):
        scheduler.handle(DeviceJoined(0, device))
    return scheduler


def submit(scheduler: Scheduler, job_id: str = "1") -> list[str]:
    """Submit a job; returns the devices on which something started."""
    actions = scheduler.handle(Submitted(scheduler.now_s + 1, (a_job(job_id),)))
    return [a.placement.device.id for a in actions if isinstance(a, Start)]
