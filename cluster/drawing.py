"""What the pictures of comparisons have in common: colours, a canvas, the same bytes always."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetsched.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, which people with any colour vision can tell apart; with a hatch or a
#: dash each, so that the colour is never the only carrier.
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00", "#999999")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "ooo", "---")
INK = "#222222"
GREY = "#555555"
FAINT = "#D8D8D8"

DPI = 150


@contextmanager
def drawing() -> Iterator[None]:
    """Pictures are built and written within this: names stay text, the same picture same bytes."""
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        "text.parse_math": False,  # a job may be called $x$
        "svg.hashsalt": "jetsched",
        "font.family": "DejaVu Sans",  # it comes with matplotlib
    }
    with rc_context(settings):
        yield


def canvas(width_in: float, height_in: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def as_bytes(figure: Figure, form: str) -> bytes:
    """The picture as ``png`` or ``svg``, without the time it was made at."""
    made = BytesIO()
    metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
    figure.savefig(made, format=form, dpi=DPI, metadata=metadata)
    return made.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG."""
    write_atomically(path, as_bytes(figure, "png"))


def bare(axis: Axes) -> None:
    """No frame, but for a faint line at the bottom."""
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(FAINT)


def time_unit(span_s: float) -> tuple[float, str]:
    """Seconds of the unit that such a span is best told in, and its name."""
    if span_s > 3 * 86400:
        return 86400.0, "days"
    if span_s > 3 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if span_s >= 300 else (1.0, "seconds")
