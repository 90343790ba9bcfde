"""The picture of an answer: told by the child as figures, drawn by whoever shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jetsched.cluster.markup import Html
from jetsched.cluster.svg_lanes import Lanes, lanes
from jetsched.cluster.timescale import elapsed


@dataclass(frozen=True)
class Picture:
    """Lanes of boards in each of the worlds, from 0 to ``span_s``.

    ``words`` say all of it to those who do not see it, ``caption`` stands below.
    """

    groups: Sequence[Lanes] = ()
    span_s: float = 1.0
    words: str = ""
    caption: str = ""

    @property
    def drawn(self) -> Html:
        """As HTML. Nothing that the child says is taken for markup."""
        scale = elapsed(self.span_s, self.caption)
        return lanes(self.groups, scale, title=self.words, prefix="whatif")
