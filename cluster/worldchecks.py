"""Options of a world that make no sense, told before anything is read."""

from __future__ import annotations

from decimal import Decimal

from jetsched.cluster.worldoptions import ARRIVALS, BURSTINESS, WorldOptions
from jetsched.errors import InputError
from jetsched.problems import did_you_mean, listed, quoted
from jetsched.units import parse_duration_s, parse_size_mib

MOST_JOBS = 10_000_000
_OUTAGES_HINT = "mean time between failures, and to repair: --outages 24h,30m"


def check(options: WorldOptions) -> None:
    """Raises :class:`InputError` for what is out of range or does not go together."""
    sources = [options.trace, options.generate, options.replay]
    if sum(source is not None for source in sources) != 1:
        raise InputError("give one of --trace FILE, --generate N and --replay SPAN")
    if options.history is not None and options.replay is None:
        raise InputError("--history is for --replay", hint="--replay all --history FILE")
    _check_generated(options)
    _check_arrivals(options)
    if options.mix not in (None, "paper"):
        raise InputError(f"there is no mix {quoted(options.mix)}", hint="--mix paper")
    for name in ("mix", "model"):
        if getattr(options, name) is not None and options.trace is None:
            raise InputError(f"--{name} is for --trace")
    if not 1e-3 <= options.window_s <= 1e9:
        raise InputError(f"--window {options.window_s:g}s", hint="--window 60s")
    if not 1 <= options.batch <= 4096:
        raise InputError(f"--batch {options.batch} is not between 1 and 4096")
    if not 0 <= options.estimate_error <= 3:
        raise InputError(
            f"--estimate-error {options.estimate_error:g} is not between 0 and 3",
            hint="it is the sigma of a lognormal error: 0.5 is large",
        )
    if options.outages is not None:
        mean_times_s(options.outages)
    _check_moves(options)


def _check_moves(options: WorldOptions) -> None:
    for name in ("link", "cache", "disk"):
        size_mib(name, getattr(options, name))
    if options.cache is not None and options.link is None:
        raise InputError("--cache is for --link", hint="--link 50MiB --cache 16GiB")
    if not 1 <= options.share <= 64:
        raise InputError(f"--share {options.share} is not between 1 and 64")


def size_mib(name: str, text: str | None) -> float | None:
    """MiB of an option such as ``--link 50MiB``; None where it is not given."""
    if text is None:
        return None
    try:
        found = parse_size_mib(text)
    except InputError as error:
        raise InputError(f"--{name} {text}: {error}", hint=error.hint) from None
    if not 1e-3 <= found <= 1e9:
        raise InputError(f"--{name} {text} is out of range", hint=f"--{name} 100MiB")
    return found


def _check_generated(options: WorldOptions) -> None:
    count = options.generate
    if count is not None and not 1 <= count <= MOST_JOBS:
        raise InputError(f"cannot generate {count} jobs", hint="--generate 1000")
    if count is not None and options.skip_bad_rows:
        raise InputError("--skip-bad-rows is for --trace")


def _check_arrivals(options: WorldOptions) -> None:
    load, kind = options.load, options.arrivals
    if load is not None and not 1e-6 <= load <= 1e6:
        raise InputError(f"--load {load:g} is not a number above 0", hint="--load 0.9")
    if kind not in (None, *ARRIVALS):
        hint = did_you_mean(str(kind), ARRIVALS) or f"one of {listed(ARRIVALS)}"
        raise InputError(f"there are no {quoted(kind)} arrivals", hint=hint)
    if load is not None and kind == "static":
        raise InputError("jobs that all come at once have no --load")
    if kind not in (None, "static") and load is None and options.generate is not None:
        raise InputError(f"--arrivals {kind} needs a --load", hint="--load 0.9")
    if not 0.05 <= options.burstiness <= 100:
        raise InputError(f"--burstiness {options.burstiness:g} is not between 0.05 and 100")
    if options.burstiness != BURSTINESS and kind != "bursty":
        raise InputError("--burstiness is for --arrivals bursty")
    if options.period_s is not None and (kind != "diurnal" or not 1e-3 <= options.period_s <= 1e9):
        raise InputError("--period is a time above 0, for --arrivals diurnal", hint="--period 24h")


def mean_times_s(text: str) -> tuple[float, float]:
    """(mean time between failures, mean time to repair) of ``24h,30m``, in seconds."""
    words = text.split(",")
    if len(words) != 2:
        raise InputError(f"--outages {text}: not two durations", hint=_OUTAGES_HINT)
    try:
        mtbf_s, mttr_s = (parse_duration_s(word) for word in words)
    except InputError as error:
        raise InputError(f"--outages {text}: {error}", hint=error.hint or _OUTAGES_HINT) from None
    if not (1 <= mtbf_s <= 1e10 and 1e-3 <= mttr_s <= 1e10):
        raise InputError(f"--outages {text}: out of range", hint=_OUTAGES_HINT)
    return mtbf_s, mttr_s


def describe(options: WorldOptions) -> list[str]:
    """What world it is, in sentences for a report."""
    lines = [_source(options)]
    if options.load is not None:
        kind = options.arrivals or ("poisson" if options.trace is None else "rescaled")
        lines.append(
            f"Arrivals: {kind}, at {options.load:g} of what the fleet can do at best (its linear"
            " program over kinds of jobs and devices)."
        )
    elif options.arrivals is not None:
        lines.append(f"Arrivals: {options.arrivals}.")
    elif options.generate is not None:
        lines.append("Arrivals: all at once.")
    usual = "one Xavier NX and one Orin Nano, as their data sheets have them"
    if options.replay is not None:
        usual = "the boards that were there, when they were there"
    fleet = options.fleet or usual
    if options.counts:
        fleet += f", with {', '.join(map(str, options.counts))} boards"
    lines.append(f"Fleet: {fleet}.")
    if options.estimate_error:
        lines.append(
            f"Estimates are off by a lognormal error of sigma {options.estimate_error:g},"
            " drawn once per job and device model."
        )
    if options.outages is not None:
        mtbf, mttr = options.outages.split(",")
        lines.append(f"Boards fail every {mtbf} on average, and are back after {mttr}.")
    if options.link is not None:
        kept = f", of which they keep {options.cache}" if options.cache else ""
        lines.append(f"Boards fetch models at {options.link} per second before first use{kept}.")
    if options.share > 1:
        lines.append(f"A board may run {options.share} jobs at a time.")
    return lines


def _source(options: WorldOptions) -> str:
    if options.generate is not None:
        return (
            f"{options.generate:,} jobs of the paper's mix; their sizes and batches are assumed,"
            " times come from data sheets and the paper's ratios."
        )
    if options.replay is not None:
        return f"The jobs of this cluster's history ({options.replay})."
    if options.mix is not None:
        return (
            f"Arrivals and durations of {options.trace}, as jobs of the paper's mix (assumed) that"
            " take their duration on an Orin Nano and the paper's ratios elsewhere."
        )
    return f"The jobs of {options.trace}."


def arguments(options: WorldOptions) -> list[str]:
    """The command line that asks for this world again."""
    plain = WorldOptions()
    words: list[str] = []
    for name, flag in _FLAGS.items():
        value = getattr(options, name)
        if value == getattr(plain, name) and name != "seed":
            continue
        if name == "counts":
            value = ",".join(map(str, value))
        text = exact(value) if isinstance(value, float) else f"{value}"
        words += [flag] if value is True else [flag, text + ("s" if name in _TIMES else "")]
    return words


def exact(value: float) -> str:
    """A number with all its digits and no exponent: what reads it gets the same one."""
    return f"{Decimal(repr(float(value))):f}".removesuffix(".0")


_TIMES = ("window_s", "period_s")
_FLAGS = {
    "trace": "--trace",
    "generate": "--generate",
    "replay": "--replay",
    "history": "--history",
    "fleet": "--fleet",
    "counts": "--counts",
    "load": "--load",
    "arrivals": "--arrivals",
    "burstiness": "--burstiness",
    "period_s": "--period",
    "mix": "--mix",
    "model": "--model",
    "window_s": "--window",
    "batch": "--batch",
    "outages": "--outages",
    "link": "--link",
    "cache": "--cache",
    "disk": "--disk",
    "share": "--share",
    "seed": "--seed",
    "estimate_error": "--estimate-error",
    "skip_bad_rows": "--skip-bad-rows",
}
