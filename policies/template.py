"""The files that `jetsched policies new` writes: a policy that runs, and tests of its contract."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Collection

from jetsched.errors import InputError

_POLICY = '''"""A placement policy for jetsched.

Look at it: jetsched policies test {name}.py
Compare it: jetsched compare --generate 100 --policies all,{name}.py
Use it:     jetsched policies use {name}.py
"""

from __future__ import annotations

from jetsched.policies.base import Greedy
from jetsched.records import Placement
from jetsched.scheduler.view import View


class {cls}(Greedy):
    """Finish early, but a watt-hour is worth two minutes to me.

    The first line is what `jetsched policies` shows. Say below it where the idea comes from, when
    it is good and when it is bad.
    """

    name = "{name}"
    #: One word: baseline, size-aware, batch, deadline, energy, fairness or preemptive.
    kind = "energy"
    #: True promises that no job waits for ever while others keep coming; the contract tests it.
    ages = True

    def __init__(self, seconds_per_wh: float = 120.0) -> None:
        # Every option has a default; another value is given as {name}.py:seconds_per_wh=60
        if not seconds_per_wh >= 0:
            raise ValueError(f"seconds_per_wh must not be negative, but is {{seconds_per_wh}}")
        self.seconds_per_wh = seconds_per_wh

    def score(self, placement: Placement, view: View) -> float:
        """How bad it is to run the job there: the lowest score wins.

        Jobs come in the order of the queue. Asked is for each kind of device that can run the job
        at all, busy ones too: `placement.start_s` is then later than `view.now_s`, and if it wins
        all the same, the job waits for that device.
        """
        estimate = placement.estimate  # time_s, load_s, admitted_mib, gpu_util_pct, energy_j...
        energy_wh = (estimate.energy_j or 0.0) / 3600  # None where nobody knows it
        return placement.finish_s + self.seconds_per_wh * energy_wh


# A score must depend on nothing but its arguments and the options: no clock, no files, no random
# numbers but those that a `seed` in the constructor gives. For more than a score, such as looking
# at many jobs together or preempting what runs, write a class with a method decide(view).
'''

_TESTS = '''"""The contract that every placement policy must keep, on {name}.py."""

from __future__ import annotations

from jetsched.policies.contract import PolicyContract
from jetsched.scheduler.view import Policy

from {name} import {cls}


class Test{cls}(PolicyContract):
    def make(self, seed: int) -> Policy:  # a new one for each small random world
        return {cls}()
'''


def class_name(name: str) -> str:
    """``cool_first`` -> ``CoolFirst``."""
    return "".join(word.capitalize() for word in name.split("_"))


def policy_text(name: str) -> str:
    """The source of a new policy."""
    return _POLICY.format(name=name, cls=class_name(name))


def tests_text(name: str) -> str:
    """The source of its tests, for pytest, in a file beside it."""
    return _TESTS.format(name=name, cls=class_name(name))


def check_name(name: str, taken: Collection[str]) -> None:
    """Raises :class:`InputError` for a name that a policy of one's own cannot have."""
    hint = "lower-case letters, digits and _, e.g. cool_first"
    if not (name.isascii() and name.isidentifier() and name.islower() and name[0] != "_"):
        raise InputError(f"{name!r} cannot be the name of a policy", hint=hint)
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "jetsched":
        raise InputError(f"{name!r} is a word of Python's own", hint=f"e.g. my_{name}")
    if name in taken:
        raise InputError(f"there is a policy {name!r} already", hint=f"e.g. my_{name}")
