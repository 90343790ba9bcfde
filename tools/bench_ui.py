"""How the dashboard stands beside its bars (`make bench-ui`), about six minutes.

    python tools/bench_ui.py                  all parts
    python tools/bench_ui.py paint change     some parts

Real Ray, the scheduler's own process, 200 computed boards behind one actor, 10,000 jobs, and real
Chromium. On a machine where something else runs the figures are worse than they are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

from bench_live import show
from browser import Chrome, Tab, chrome
from live_bars import Row, command, p90, spread
from ui_world import World, ui_world

if TYPE_CHECKING:
    from playwright.sync_api import Page

BOARDS, JOBS = 200, 10_000
PAINT_S, CHANGE_S, CPU_PCT, MEMORY_MB = 1.5, 1.0, 5.0, 250.0
PAGES = ("fleet", "queue", "timeline", "fit", "costs", "whatif", "submit", "jobs/1")
#: What five people look at. Those that change by themselves are dearest.
OPEN = ("fleet", "queue", "timeline", "jobs/1", "costs")
LOADS, CHANGES = 7, 15
#: The service's own work comes and goes: with and without pages is measured in turn.
ROUNDS, ROUND_S = 6, 15.0
SETTLE_S = 10.0
#: Chromium needs to have painted; the entry comes a moment later than `load`.
PAINTED = """() => new Promise((tell) => {
    const look = () => {
        const found = performance.getEntriesByName('first-contentful-paint')[0];
        found ? tell(found.startTime) : setTimeout(look, 5);
    };
    look();
})"""
#: When a text was first seen on the page, by the machine's clock in seconds. Against hanging: 30 s.
SEEN = """(text) => new Promise((tell, fail) => {
    const end = Date.now() + 30000;
    const look = () => {
        if (document.querySelector('main').textContent.includes(text))
            requestAnimationFrame(() => tell(Date.now() / 1000));
        else if (Date.now() > end) fail(new Error(`${text} did not come`));
        else requestAnimationFrame(look);
    };
    look();
})"""


def paint(world: World, browser: Chrome) -> Iterator[Row]:
    """From the address to the first thing that is painted, in a new window each time."""
    for name in pages_of(browser, world):
        times = []
        for _ in range(LOADS):
            tab = opened(browser, world, name)
            times.append(tab.page.evaluate(PAINTED) / 1000)
            browser.close_tabs()
        most = max(times)
        yield Row(
            f"first paint of /ui/{name}", spread(times), f"< {PAINT_S:g} s", median(times) < PAINT_S
        )
        print(f"    (longest of {LOADS}: {most:.2f} s)", file=sys.stderr, flush=True)


def change(world: World, browser: Chrome) -> Iterator[Row]:
    """From the moment at which an event is asked for to its being on the screen."""
    page = opened(browser, world, "queue?text=seen-").page
    times = []
    for number in range(CHANGES):
        name = f"seen-{time.monotonic_ns()}"
        asked_s, (event_s, seen_s) = time.time(), seen(page, name, partial(submit, world, name))
        times.append((seen_s - event_s, seen_s - asked_s))
        time.sleep(0.3 + 0.07 * number)  # at no fixed beat of the page's own
    yield from changed("job handed in", "the queue's page", times)
    browser.close_tabs()
    page = opened(browser, world, "fleet").page
    times = []
    (board, *_) = [row["id"] for row in world.client.devices() if row["state"] == "busy"]
    for number in range(CHANGES):
        text = f"drained for {time.monotonic_ns()}"
        asked_s, (event_s, seen_s) = (
            time.time(),
            seen(page, text, partial(drain, world, board, text)),
        )
        times.append((seen_s - event_s, seen_s - asked_s))
        world.client.undrain(board)
        time.sleep(0.3 + 0.07 * number)
    yield from changed("board drained", "the fleet's page", times)
    browser.close_tabs()


def cost(world: World, browser: Chrome) -> Iterator[Row]:
    """What five open pages cost the service: with and without them in turn."""
    names = [name for name in OPEN if name in pages_of(browser, world)]
    without, watched = [], []
    for _ in range(ROUNDS):
        without.append(world.cpu_share(ROUND_S))
        for name in names:
            opened(browser, world, name)
        time.sleep(2.0)  # to open them is paint's business
        watched.append(world.cpu_share(ROUND_S))
        browser.close_tabs()
        time.sleep(2.0)
    extra = 100 * (mean(watched) - mean(without))
    pairs = [100 * (b - a) for a, b in zip(without, watched, strict=True)]
    yield Row(
        f"extra CPU of the service, pages {', '.join(names)}",
        f"{extra:.1f} % of a core (rounds {min(pairs):.1f} to {max(pairs):.1f}; without "
        f"{100 * mean(without):.0f} %)",
        f"< {CPU_PCT:g} %",
        extra < CPU_PCT,
    )


def memory(world: World, browser: Chrome) -> Iterator[Row]:
    """With five pages open, after all that went before."""
    for name in OPEN:
        opened(browser, world, name)
    time.sleep(SETTLE_S)
    rss, pss = world.memory_mb()
    browser.close_tabs()
    yield Row(
        "service's memory, five pages open",
        f"RSS {rss:.0f} MB, PSS {pss:.0f} MB",
        f"< {MEMORY_MB:g} MB",
        rss < MEMORY_MB,
    )


PARTS: dict[str, Callable[[World, Chrome], Iterator[Row]]] = {
    "paint": paint,
    "change": change,
    "cost": cost,
    "memory": memory,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all without")
    parser.add_argument("--boards", type=int, default=BOARDS)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    options = parser.parse_args(argv)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    rows: list[Row] = []
    with ui_world(options.boards) as world, chrome() as browser:
        for row in measured(world, browser, options.parts or list(PARTS), options.jobs):
            rows.append(row)
            show(row)
    if options.json:
        options.json.write_text(json.dumps([row.to_json() for row in rows], indent=2) + "\n")
    return 1 if any(row.met is False for row in rows) else 0


def measured(world: World, browser: Chrome, parts: list[str], jobs: int) -> Iterator[Row]:
    """What the parts yield; one that cannot be run is a row that misses its bar."""
    rss, pss = world.memory_mb()
    yield Row("service's memory, no jobs", f"RSS {rss:.0f} MB, PSS {pss:.0f} MB")
    took_s = world.fill(jobs)
    time.sleep(SETTLE_S)
    rss, pss = world.memory_mb()
    yield Row(
        f"{jobs:,} jobs handed in",
        f"{took_s:.1f} s; RSS {rss:.0f} MB, PSS {pss:.0f} MB",
    )
    for part in parts:
        try:
            yield from PARTS[part](world, browser)
        except Exception as error:
            browser.close_tabs()
            text = str(error).splitlines()[0]
            yield Row(part, f"{type(error).__name__}: {text}", "to run", False)


# ------------------------------------------------------------------------------------- helpers


def pages_of(browser: Chrome, world: World) -> list[str]:
    """The pages that are there."""
    request = browser.tab(world.state.url).page.request
    found = [name for name in PAGES if request.get(f"{world.state.url}/ui/{name}").ok]
    browser.close_tabs()
    return found


def opened(browser: Chrome, world: World, name: str) -> Tab:
    return browser.tab(world.state.url).open(f"/ui/{name}")


def seen(page: Page, text: str, do: Callable[[], float]) -> tuple[float, float]:
    """When the event was that ``do`` leads to, and when the text was on the page; wall clock."""
    page.evaluate(f"(text) => {{ window.seenText = ({SEEN})(text); }}", text)
    event_s = do()
    seen_s: float = page.evaluate("() => window.seenText")
    return event_s, seen_s


def submit(world: World, name: str) -> float:
    """Hand in a job that is the first of all that wait; returns when it was there."""
    (row,) = world.client.submit_specs([command("true", name=name, priority=100)])
    return float(row["submitted_s"])


def drain(world: World, board: str, text: str) -> float:
    """Drain a board; returns when the scheduler had done so."""
    world.client.drain(board, text)
    return time.time()


def changed(what: str, where: str, times: list[tuple[float, float]]) -> Iterator[Row]:
    """From the event, which the bar is about; and from when somebody asked for it."""
    after = [event for event, _ in times]
    bar = f"p90 < {CHANGE_S:g} s"
    yield Row(f"{what} -> on {where}", spread(after), bar, p90(after) < CHANGE_S)
    yield Row("  from the asking, with the scheduler's turn", spread([a for _, a in times]))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
