"""Make the pictures of the docs: the pages over a computed fleet (`make screenshots`).

The fleet is that of tests/many_boards.py: a real service decides, the boards are computed. A band
under every picture says it. With names (fleet, queue, ...) only those pictures are made.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from api_world import Served
from browser import DARK, LIGHT, PHONE, Chrome, Look, Tab, chrome
from many_boards import many_boards
from terminal_picture import top_picture

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs/pictures"
BAND = "An emulated fleet: computed boards under the real scheduler; no Jetson was at work."
#: So that the docs stay quick to load.
MOST_BYTES = 250_000
#: Work that the fleet has measured.
MEASURED = "/ui/fit?kind=train&batch_size=4&seq_len=256"
BOARDS, JOBS, HOURS = 12, 140, 8
#: The fleet runs so long before the first picture, for its lines to have a past.
SETTLES_S = 20.0


@dataclass(frozen=True)
class Shot:
    """A picture of a page: where it is, what is done there first, and how high it may be."""

    path: str
    look: Look = LIGHT
    height: int = 900
    before: Callable[[Tab], None] = lambda tab: None


def open_drawer(link: str) -> Callable[[Tab], None]:
    """Opens what a link leads to, beside the page."""

    def opened(tab: Tab) -> None:
        tab.page.locator(f"{link}:visible").first.click()
        tab.page.locator("#drawer[open] :is(h1, h2)").first.wait_for()

    return opened


def plan_example(tab: Tab) -> None:
    tab.page.get_by_label("Example").select_option(label="train-distilgpt2.yaml")
    tab.page.get_by_role("button", name="Check and plan").click()
    tab.page.locator("#looked h2").wait_for()


def ask_what_if(tab: Tab) -> None:
    """When what waits now would be done with four boards more."""
    tab.page.locator("select[name=of]").select_option("queue")
    tab.page.locator("input[name=count]").fill("4")
    tab.page.get_by_role("button", name="Work it out").click()
    tab.page.locator("#whatif-came table.whatif").wait_for()
    tab.page.locator("#told p").wait_for(state="detached")


SHOTS = {
    "fleet": Shot("/ui/fleet"),
    "fleet-dark": Shot("/ui/fleet", DARK),
    "fleet-phone": Shot("/ui/fleet", PHONE, 740),
    "board": Shot("/ui/fleet", before=open_drawer("a[href$='/devices/nx-4']")),
    "queue": Shot("/ui/queue", height=760),
    "why": Shot("/ui/queue?state=waiting", before=open_drawer("a[data-drawer]")),
    "submit": Shot("/ui/submit", height=1000, before=plan_example),
    "timeline": Shot("/ui/timeline?span=day", height=760),
    "fit": Shot("/ui/fit", height=860),
    "fit-memory": Shot(MEASURED, before=open_drawer("tr:has(th:text-is('distilgpt2')) td.fit a")),
    "whatif": Shot("/ui/whatif", height=1000, before=ask_what_if),
    "costs": Shot("/ui/costs", height=860),
}
TOP = "top"


def banded(png: bytes, scale: int) -> bytes:
    """The picture with the band under it."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    font = ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), 12 * scale)
    words, margin = BAND, 8 * scale
    while font.getlength(words) > picture.width - 2 * margin and " " in words:
        words = words.rpartition(" ")[0]
    lines = [words, BAND[len(words) :].strip()]
    lines = [line for line in lines if line]
    band = Image.new("RGB", (picture.width, (16 * len(lines) + 10) * scale), "#3b3a36")
    for number, line in enumerate(lines):
        place = (margin, (5 + 16 * number) * scale)
        ImageDraw.Draw(band).text(place, line, fill="#ffffff", font=font)
    whole = Image.new("RGB", (picture.width, picture.height + band.height))
    whole.paste(picture, (0, 0))
    whole.paste(band, (0, picture.height))
    out = io.BytesIO()
    # Not with a palette: the colours that matter, a kill's or a warning's, are the rarest.
    whole.save(out, "PNG", optimize=True)
    return out.getvalue()


def taken(browser: Chrome, served: Served, shot: Shot) -> bytes:
    """A PNG of a page as it is now."""
    wide = 390 if shot.look.phone else 1200
    scale = 2 if shot.look.phone else 1
    viewport = {"width": wide, "height": shot.height}
    tab = browser.tab(served.url, shot.look, viewport=viewport, device_scale_factor=scale)
    tab.open(shot.path)
    tab.page.wait_for_timeout(1500)  # until sparks and moments are drawn
    shot.before(tab)
    tab.page.wait_for_timeout(500)
    png = tab.page.screenshot()
    tab.check()
    browser.close_tabs()
    return banded(png, scale)


def made(name: str, browser: Chrome, served: Served) -> bytes:
    if name == TOP:
        return banded(top_picture(served, served.world.home), 1)
    return taken(browser, served, SHOTS[name])


def main(names: list[str]) -> int:
    known = [*SHOTS, TOP]
    if wrong := [name for name in names if name not in known]:
        print(f"no picture is called {', '.join(wrong)}: {', '.join(known)}", file=sys.stderr)
        return 2
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        many_boards(Path(home), BOARDS, JOBS, hours=HOURS) as world,
        Served(world, home=world.home) as served,
        chrome() as browser,
    ):
        time.sleep(SETTLES_S)
        for name in names or known:
            png = made(name, browser, served)
            if len(png) > MOST_BYTES:
                raise SystemExit(f"{name}.png has {len(png):,} bytes, {MOST_BYTES:,} are allowed")
            (PICTURES / f"{name}.png").write_bytes(png)
            print(f"docs/pictures/{name}.png  {len(png) / 1000:.0f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
