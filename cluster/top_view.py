"""Where somebody is on the screen of `jetsched top`, and what keys do there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from jetsched.cluster.boardorder import URGENT, natural
from jetsched.cluster.terminal import Size
from jetsched.cluster.top_picture import STATES, Picture, Shown, Wish

Json = Mapping[str, Any]
Pane = Literal["boards", "queue", "events"]
Mode = Literal["list", "why", "log", "board", "help", "sure"]
Order = Literal["name", "state", "gpu", "memory", "heat"]

PANES: tuple[Pane, ...] = ("boards", "queue", "events")
SHOWN: tuple[Shown, ...] = ("open", "waiting", "running", "ended")
ORDERS: tuple[Order, ...] = ("name", "state", "gpu", "memory", "heat")
#: Lines that are no rows: the two at the top, and the one at the bottom.
AROUND = 3
#: Of a pane: its title, and the titles of its columns.
HEADS: dict[Pane, int] = {"boards": 2, "queue": 2, "events": 1}
#: So many events are shown where boards and queue could fill the screen.
FEW_EVENTS = 8
MOST_JOBS = 1000
STEP = 50


class Deed(NamedTuple):
    """What is to be done beside the screen."""

    kind: Literal["quit", "cancel"]
    job_id: str = ""


@dataclass
class View:
    """Changed by :meth:`press` and, when the picture or the size is another, by :meth:`settle`."""

    mode: Mode = "list"
    pane: Pane = "boards"
    zoomed: bool = False
    shown: Shown = "open"
    order: Order = "name"
    #: What is selected, by pane: the id of a row, and where it was last.
    ids: dict[Pane, str] = field(default_factory=dict)
    places: dict[Pane, int] = field(default_factory=lambda: dict.fromkeys(PANES, 0))
    #: The first row that is shown, and how many there is room for.
    firsts: dict[Pane, int] = field(default_factory=lambda: dict.fromkeys(PANES, 0))
    rooms: dict[Pane, int] = field(default_factory=lambda: dict.fromkeys(PANES, 0))
    job_id: str = ""  # that a detail is about
    device_id: str = ""
    scroll: int = 0  # of a detail: lines from its top; of a log from its end
    is_new: bool = True
    said: str = ""  # for one key press
    saids: int = 0

    @property
    def wish(self) -> Wish:
        """What is to be asked for."""
        kind = self.mode if self.mode in ("why", "log") else ""
        behind = self.places["queue"] + 2 * max(self.rooms["queue"], 10)
        count = min(MOST_JOBS, -(-behind // STEP) * STEP)
        return Wish(self.shown, count, kind, self.job_id if kind else "")

    # -- what there is -----------------------------------------------------------------------------

    def boards(self, picture: Picture) -> list[Json]:
        """The rows of all boards, in the order that was chosen."""
        return sorted(picture.devices, key=_KEYS[self.order])

    def settle(self, picture: Picture, size: Size) -> None:
        """Keep what is selected selected, wherever its row has gone, and in sight."""
        ids = {pane: self._ids(picture, pane) for pane in PANES}
        self.rooms = arrange(size.height, {p: len(ids[p]) for p in PANES}, self)
        if self.is_new:
            self.is_new = False
            self._choose(picture)
        for pane in PANES:
            self.places[pane] = _place(ids[pane], self.ids.get(pane, ""), self.places[pane])
            # The events come in at the top: who is there sees the newest.
            at_top = pane == "events" and self.places[pane] == 0
            self.ids[pane] = ids[pane][self.places[pane]] if ids[pane] and not at_top else ""
            first, room = self.firsts[pane], self.rooms[pane]
            first = min(max(first, self.places[pane] - room + 1), self.places[pane])
            self.firsts[pane] = max(0, min(first, len(ids[pane]) - room))
        if picture.saids != self.saids:
            self.said, self.saids = picture.said, picture.saids

    def _choose(self, picture: Picture) -> None:
        """Begin with what waits where what runs would fill the pane: the boards show that too."""
        states = picture.status["states"]
        running, waiting = (
            sum(states[state] for state in STATES[w]) for w in ("running", "waiting")
        )
        if waiting and running > self.rooms["queue"] // 2:
            self.shown = "waiting"

    def _ids(self, picture: Picture, pane: Pane) -> Sequence[str]:
        if pane == "boards":
            return [device["id"] for device in self.boards(picture)]
        if pane == "queue":
            return [job["id"] for job in picture.jobs]
        return [f"{event.at_s} {event.text}" for event in picture.events]

    # -- keys --------------------------------------------------------------------------------------

    def press(self, key: str, picture: Picture) -> Deed | None:
        """A key was pressed."""
        self.said = ""
        if self.mode == "sure":
            self.mode = "list"
            if key in ("y", "Y"):
                return Deed("cancel", self.job_id)
            self.said = f"job {self.job_id} goes on"
            return None
        if self.mode != "list":
            return self._press_detail(key, picture)
        if key == "q":
            return Deed("quit")
        if key in ("tab", "right", "backtab", "left"):
            step = 1 if key in ("tab", "right") else -1
            self.pane = PANES[(PANES.index(self.pane) + step) % len(PANES)]
        elif key == "f":
            self.shown = SHOWN[(SHOWN.index(self.shown) + 1) % len(SHOWN)]
            self.places["queue"], self.ids["queue"] = 0, ""
        elif key == "s":
            self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        elif key == "z":
            self.zoomed = not self.zoomed
        elif key == "enter" and self.pane == "boards":
            self._open("board", device_id=self._device_id(picture))
        elif key == "enter":
            self._about_job("w", picture)
        elif not self._common(key, picture):
            self.places[self.pane] = self._moved(key, picture)
            self.ids[self.pane] = ""
        return None

    def _press_detail(self, key: str, picture: Picture) -> Deed | None:
        if key in ("q", "esc", "enter", "left"):
            self.mode = "list"
        elif not self._common(key, picture):
            page = max(1, self.rooms[self.pane])
            steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -page, "pgdn": page, " ": page}
            step = steps.get(key, 0) * (-1 if self.mode == "log" else 1)
            ends = {"home": 0, "end": 1 << 30}
            if self.mode == "log":
                ends = {"home": 1 << 30, "end": 0}
            self.scroll = max(0, ends.get(key, self.scroll + step))
        return None

    def _common(self, key: str, picture: Picture) -> bool:
        """What a key does wherever one is; whether it does anything."""
        if key == "?":
            self._open("help")
        elif key in ("w", "l", "c"):
            self._about_job(key, picture)
        else:
            return False
        return True

    def _about_job(self, key: str, picture: Picture) -> None:
        job_id = self.job_id if self.mode in ("why", "log") else self._job_id(picture)
        if not job_id:
            there = self._device_id(picture) if self.pane == "boards" else ""
            self.said = f"nothing runs on {there}" if there else "no job is selected"
            return
        modes: dict[str, Mode] = {"w": "why", "l": "log", "c": "sure"}
        self._open(modes[key], job_id=job_id)

    def _open(self, mode: Mode, *, job_id: str = "", device_id: str = "") -> None:
        if mode == "board" and not device_id:
            return
        self.mode, self.scroll = mode, 0
        self.job_id, self.device_id = job_id or self.job_id, device_id or self.device_id

    def _job_id(self, picture: Picture) -> str:
        """Of the job that the selected row is about."""
        place = self.places[self.pane]
        if self.pane == "queue":
            return str(picture.jobs[place]["id"]) if place < len(picture.jobs) else ""
        if self.pane == "events":
            return picture.events[place].job_id if place < len(picture.events) else ""
        boards = self.boards(picture)
        return str(boards[place]["job_id"] or "") if place < len(boards) else ""

    def _device_id(self, picture: Picture) -> str:
        boards, place = self.boards(picture), self.places["boards"]
        return str(boards[place]["id"]) if place < len(boards) else ""

    def _moved(self, key: str, picture: Picture) -> int:
        count, place = len(self._ids(picture, self.pane)), self.places[self.pane]
        page = max(1, self.rooms[self.pane] - 1)
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -page, "pgdn": page, " ": page}
        ends = {"home": 0, "end": count - 1}
        return max(0, min(ends.get(key, place + steps.get(key, 0)), count - 1))


def _place(ids: Sequence[str], wanted: str, before: int) -> int:
    """Where a row is now; one that is gone leaves the place to the next."""
    if wanted and before < len(ids) and ids[before] == wanted:
        return before
    if wanted in ids:
        return ids.index(wanted)
    return max(0, min(before, len(ids) - 1))


def arrange(height: int, counts: Mapping[Pane, int], view: View) -> dict[Pane, int]:
    """How many rows of each pane there is room for; a pane without any is not shown at all."""
    body = height - AROUND
    if view.zoomed or body < 9:
        room = max(0, body - HEADS[view.pane])
        return {pane: room if pane == view.pane else 0 for pane in PANES}
    # Each as much as it has rows for; what nobody else needs is left to the events.
    free = body - sum(HEADS.values())
    boards, queue, events = (max(1, counts[pane]) for pane in PANES)
    rest = free - min(FEW_EVENTS, max(1, body // 6), events)
    boards = min(boards, max(max(1, rest // 2), rest - queue))
    queue = min(queue, rest - boards)
    return {"boards": boards, "queue": queue, "events": free - boards - queue}


def _most(name: str) -> Any:
    """Orders boards by a reading, the highest first and those that have none last."""
    return lambda device: (device[name] is None, -(device[name] or 0.0))


def _share(device: Json) -> float:
    return float(device["memory_mib"] or 0.0) / float(device["has_mib"] or 1.0)


_KEYS: dict[Order, Any] = {
    "name": lambda device: natural(device["id"]),
    "state": lambda device: URGENT.index(device["state"]),
    "gpu": _most("gpu_util_pct"),
    "memory": lambda device: -_share(device),
    "heat": _most("temperature_c"),
}
