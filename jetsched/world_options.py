"""The options that make a simulated world, and what gives all of them to a verb."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from jetsched.cluster.worldoptions import ARRIVALS, WorldOptions
from jetsched.options import Seed


def _duration(text: str) -> float:
    from jetsched.errors import InputError
    from jetsched.units import parse_duration_s

    try:
        return parse_duration_s(text)
    except InputError as error:
        raise typer.BadParameter(f"{error} {error.hint}".rstrip()) from None


def _counts(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isascii() and word.isdigit() and len(word) < 8 for word in words):
        raise typer.BadParameter(f"--counts {text}: whole numbers, such as 4,4")
    return tuple(map(int, words))


#: In the order of `--help`; each goes by the name of its field in :class:`WorldOptions`.
_OPTIONS: dict[str, Any] = {
    "trace": Annotated[
        Path | None,
        typer.Option("--trace", help="Jobs from a file: .csv or .jsonl.", show_default=False),
    ],
    "generate": Annotated[
        int | None,
        typer.Option(
            "--generate", metavar="N", help="N jobs of the paper's mix instead of a trace."
        ),
    ],
    "replay": Annotated[
        str | None,
        typer.Option(
            "--replay",
            metavar="all|last-week|7d",
            help="The jobs that this cluster has had, in that time.",
            show_default=False,
        ),
    ],
    "history": Annotated[
        Path | None,
        typer.Option(
            "--history",
            metavar="FILE",
            help="The journal to replay, instead of this machine's own.",
            show_default=False,
        ),
    ],
    "fleet": Annotated[
        str | None,
        typer.Option(
            "--fleet",
            metavar="FILE|MODEL:N,...",
            help="A fleet file, or e.g. orin-nano:4,xavier-nx:4; else one board of each.",
            show_default=False,
        ),
    ],
    "counts": Annotated[
        str,
        typer.Option(
            "--counts",
            metavar="N,N,...",
            help="How many boards each entry of the fleet has instead.",
            show_default=False,
        ),
    ],
    "load": Annotated[
        float | None,
        typer.Option("--load", help="How busy arriving jobs would keep the fleet at best: 0.9."),
    ],
    "arrivals": Annotated[
        Literal[ARRIVALS] | None,
        typer.Option("--arrivals", help="When jobs come; with --load poisson.", show_default=False),
    ],
    "burstiness": Annotated[
        float,
        typer.Option("--burstiness", metavar="CV", help="Of bursty arrivals: how uneven gaps are."),
    ],
    "period_s": Annotated[
        float | None,
        typer.Option(
            "--period",
            metavar="DURATION",
            parser=_duration,
            help="Of diurnal arrivals; about 24h.",
            show_default=False,
        ),
    ],
    "mix": Annotated[
        str | None,
        typer.Option(
            "--mix",
            metavar="paper",
            help="What the jobs of a trace are that tells only their durations.",
            show_default=False,
        ),
    ],
    "model": Annotated[
        str | None,
        typer.Option(
            "--model", help="The model that a trace of requests is for.", show_default=False
        ),
    ],
    "window_s": Annotated[
        float,
        typer.Option(
            "--window",
            metavar="DURATION",
            parser=_duration,
            help="How long requests are gathered before they become jobs.",
        ),
    ],
    "batch": Annotated[
        int, typer.Option("--batch", help="How many requests run in one batch, at most.")
    ],
    "outages": Annotated[
        str | None,
        typer.Option(
            "--outages",
            metavar="MTBF,MTTR",
            help="Boards fail at random, and come back: 24h,30m.",
            show_default=False,
        ),
    ],
    "link": Annotated[
        str | None,
        typer.Option(
            "--link",
            metavar="SIZE",
            help="Boards fetch a model that they lack at so much per second: 50MiB.",
            show_default=False,
        ),
    ],
    "cache": Annotated[
        str | None,
        typer.Option(
            "--cache",
            metavar="SIZE",
            help="How much of what it fetched a board keeps: 16GiB.",
            show_default=False,
        ),
    ],
    "disk": Annotated[
        str | None,
        typer.Option(
            "--disk",
            metavar="SIZE",
            help="Boards write and read checkpoints at so much per second: 400MiB.",
            show_default=False,
        ),
    ],
    "share": Annotated[
        int,
        typer.Option(
            "--share", metavar="N", help="Jobs that a board runs at a time, for `colocation`."
        ),
    ],
    "seed": Seed,
    "estimate_error": Annotated[
        float,
        typer.Option("--estimate-error", metavar="SIGMA", help="Lognormal error of the estimates."),
    ],
    "skip_bad_rows": Annotated[
        bool,
        typer.Option("--skip-bad-rows", help="Leave bad rows of a trace out, and count them."),
    ],
}


Warmup = Annotated[
    float,
    typer.Option(
        "--warmup",
        metavar="PART",
        help="Leave the jobs of the first part of the time, e.g. 0.1, out of the figures.",
    ),
]


def takes_world(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb every option of a world; it gets them as its argument ``world``, one record.

    ``seeds`` is not among them: a verb that runs several says so itself.
    """
    hints = get_type_hints(verb, include_extras=True)
    defaults = WorldOptions()
    worldly = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=_shown(name, defaults), annotation=option)
        for name, option in _OPTIONS.items()
    ]
    own = [
        parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
        for parameter in signature(verb).parameters.values()
        if parameter.name != "world"
    ]

    def with_world(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _OPTIONS}
        chosen["counts"] = _counts(chosen["counts"])
        verb(world=WorldOptions(**chosen), **given)

    parameters = [*worldly, *own]
    with_world.__name__, with_world.__doc__ = verb.__name__, verb.__doc__
    with_world.__signature__ = signature(verb).replace(parameters=parameters)  # type: ignore[attr-defined]
    with_world.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return with_world


def _shown(name: str, defaults: WorldOptions) -> Any:
    """The default as a person would write it: durations are parsed, so they are text here."""
    value = getattr(defaults, name)
    if name == "counts":
        return ""
    return f"{value:g}s" if name.endswith("_s") and value is not None else value
