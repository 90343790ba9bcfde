"""Orders on their way to a board: what they need is brought there first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Protocol

from jetsched.cluster.boards import Roster
from jetsched.cluster.filecache import DamagedError, NoDiskError
from jetsched.cluster.link import AgentGone
from jetsched.cluster.protocol import Key, Order, Report
from jetsched.cluster.reports import Keeper
from jetsched.records import Outcome
from jetsched.scheduler.events import DeviceClosed, Event, Finished

Tell = Callable[[Callable[[], Iterable[Event]]], None]


class Courier(Keeper, Protocol):
    """Whoever brings files to the boards, and what attempts leave to the head; nothing blocks."""

    def prepare(self, device_id: str, order: Order) -> Future[Order]:
        """Bring what the order needs; done at once where nothing is missing."""
        ...

    def seen(self, device_id: str) -> None:
        """A board is ready (again)."""
        ...

    def removed(self, device_id: str) -> None:
        """A board will not come back."""
        ...

    def close(self) -> None:
        """End at once."""
        ...


class NoCourier:
    """Nothing is brought anywhere."""

    def prepare(self, device_id: str, order: Order) -> Future[Order]:
        done: Future[Order] = Future()
        done.set_result(order)
        return done

    def ended(self, device_id: str, key: Key, outcome: Outcome, report: Report) -> bool:
        return False

    def checkpointed(self, device_id: str, key: Key, name: str) -> None:
        pass

    def seen(self, device_id: str) -> None:
        pass

    def removed(self, device_id: str) -> None:
        pass

    def close(self) -> None:
        pass


class Transfers:
    """For the loop's thread. ``tell`` has something done on it later."""

    def __init__(
        self, roster: Roster, courier: Courier, tell: Tell, now_s: Callable[[], float]
    ) -> None:
        self._roster = roster
        self._courier = courier
        self._tell = tell
        self._now_s = now_s
        self._orders: list[tuple[str, Order]] = []
        self._withdrawn: list[Key] = []
        self._under_way: dict[Key, Future[Order]] = {}

    def order(self, device_id: str, order: Order) -> None:
        """It has been decided, and is not written down yet."""
        self._orders.append((device_id, order))

    def withdraw(self, key: Key) -> None:
        """An attempt that its agent has not heard of is to be stopped."""
        self._withdrawn.append(key)

    def withdrawn(self) -> Iterator[Event]:
        """The ends of those that were withdrawn before their agents have heard of them."""
        keys, self._withdrawn = self._withdrawn, []
        for key in keys:
            watched = self._roster.watched.get(key)
            if watched is not None and watched.stop is not None and not watched.ordered:
                self._roster.unwatch(key)
                self._cancel(key)
                yield Finished(self._now_s(), *key, watched.stop, None, "it had not begun")

    def begin(self) -> None:
        """Everything that was decided is written down: bring it on its way."""
        orders, self._orders = self._orders, []
        for device_id, order in orders:
            if order.key not in self._roster.watched:
                continue  # lost or withdrawn in the same turn
            transfer = self._courier.prepare(device_id, order)
            if transfer.done() and not transfer.cancelled() and transfer.exception() is None:
                self._hand_over(device_id, transfer.result())
                continue
            self._under_way[order.key] = transfer
            transfer.add_done_callback(self._teller(device_id, order))

    def _teller(self, device_id: str, order: Order) -> Callable[[Future[Order]], None]:
        return lambda done: self._tell(lambda: self._take(device_id, order, done))

    def drop_lost(self) -> None:
        """Bring nothing any more for attempts that were given up."""
        for key in [key for key in self._under_way if key not in self._roster.watched]:
            self._cancel(key)

    def _cancel(self, key: Key) -> None:
        transfer = self._under_way.pop(key, None)
        if transfer is not None:
            transfer.cancel()

    def _hand_over(self, device_id: str, order: Order) -> None:
        board = self._roster.board(device_id)
        board.starts[order.key] = order
        board.hurry()

    def _take(self, device_id: str, order: Order, transfer: Future[Order]) -> Iterable[Event]:
        self._under_way.pop(order.key, None)
        watched = self._roster.watched.get(order.key)
        if watched is None or watched.ordered:
            return
        try:
            self._hand_over(device_id, transfer.result())
        except (CancelledError, AgentGone, DamagedError) as error:
            self._roster.unwatch(order.key)
            text = f"its files did not come to {device_id}: {error}"
            yield Finished(self._now_s(), *order.key, "lost", None, text)
        except NoDiskError as error:  # its node says so too, until there is room
            self._roster.unwatch(order.key)
            yield DeviceClosed(self._now_s(), device_id, "NoDisk", str(error))
            yield Finished(self._now_s(), *order.key, "preempted", None, str(error))
        except Exception as error:
            self._roster.unwatch(order.key)
            text = f"its files cannot be brought to {device_id}: {error}"
            yield Finished(self._now_s(), *order.key, "failed", None, text)
