"""What the loop does while the journal cannot be written: nothing that is not written down.

Wishes are refused, questions are answered, agents hear that the head lives, what they say is not
listened to (it is asked again), and whatever else comes is put aside. What has been handled already
is written first of all when there is room again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import Empty

from jetsched.cluster.inbox import Inbox, Item, Question, Reply
from jetsched.cluster.journalling import JournalError

#: How often it is tried again.
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Stuck:
    """For the loop's thread. ``keep_leases`` takes the monotonic time."""

    def __init__(
        self,
        inbox: Inbox,
        commit: Callable[[], None],
        keep_leases: Callable[[float], None],
        now_s: Callable[[], float],
    ) -> None:
        self._inbox = inbox
        self._commit = commit
        self._keep_leases = keep_leases
        self._now_s = now_s
        #: Why the journal cannot be written, as long as that is so.
        self.why: JournalError | None = None

    def wait(self, error: JournalError, asked: list[Question]) -> bool:
        """Return once everything is written; False: the loop is to end, and it is not.

        ``asked`` are questions whose answers wait for this; they are told, or refused, at once.
        """
        log.error("%s", error)
        self.why = error
        for question in asked:
            self._answer(question)
        asked.clear()
        aside: list[Item] = []
        next_try = time.monotonic() + RETRY_S
        while self.why is not None:
            try:
                item = self._inbox.take(max(0.0, next_try - time.monotonic()))
            except Empty:
                pass
            else:
                if item is None:
                    return False
                if isinstance(item, Question):
                    if not item.is_wish:
                        for _ in item.take(self._now_s):  # a question changes nothing
                            pass
                    self._answer(item)
                elif not (isinstance(item, Reply) and item.board is not None):  # asked again later
                    aside.append(item)
            if time.monotonic() >= next_try:
                self._try_again()
                next_try = time.monotonic() + RETRY_S
        log.warning("the journal can be written again")
        self._inbox.put_back(aside)
        return True

    def _answer(self, question: Question) -> None:
        if question.is_wish:
            question.refuse(self.why)
        else:
            question.settle()

    def _try_again(self) -> None:
        self._keep_leases(time.monotonic())
        try:
            self._commit()
        except JournalError as error:
            self.why = error
        else:
            self.why = None
