"""Puts the values of secrets into orders, on their way to a board and nowhere else."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from jetsched.cluster.protocol import Key, Order, Report
from jetsched.cluster.secretstore import Secrets
from jetsched.cluster.transfers import Courier
from jetsched.records import Outcome


class SecretCourier:
    """A courier that another one does the work of; it never sees a value."""

    def __init__(self, courier: Courier, secrets: Secrets) -> None:
        self._courier = courier
        self._secrets = secrets

    def prepare(self, device_id: str, order: Order) -> Future[Order]:
        """Have the order's files brought, then fill in the values.

        The answer's exception is :class:`InputError` where a secret is gone.
        """
        if not order.job.secrets:
            return self._courier.prepare(device_id, order)
        inner = self._courier.prepare(device_id, order)
        filled: Future[Order] = _Chained(inner)

        def fill(done: Future[Order]) -> None:
            if done.cancelled() or not filled.set_running_or_notify_cancel():
                filled.cancel()
                return
            try:
                ready = done.result()
                filled.set_result(replace(ready, secrets=self._secrets.resolved(order.job.secrets)))
            except Exception as error:  # of whatever kind: the one who waits for it is told
                filled.set_exception(error)

        inner.add_done_callback(fill)
        return filled

    def ended(self, device_id: str, key: Key, outcome: Outcome, report: Report) -> bool:
        """As the other one's."""
        return self._courier.ended(device_id, key, outcome, report)

    def checkpointed(self, device_id: str, key: Key, name: str) -> None:
        """As the other one's."""
        self._courier.checkpointed(device_id, key, name)

    def seen(self, device_id: str) -> None:
        """As the other one's."""
        self._courier.seen(device_id)

    def removed(self, device_id: str) -> None:
        """As the other one's."""
        self._courier.removed(device_id)

    def close(self) -> None:
        """As the other one's."""
        self._courier.close()


class _Chained(Future[Order]):
    """A future whose cancelling cancels what it waits for."""

    def __init__(self, inner: Future[Order]) -> None:
        super().__init__()
        self._inner = inner

    def cancel(self) -> bool:
        self._inner.cancel()
        return super().cancel()
