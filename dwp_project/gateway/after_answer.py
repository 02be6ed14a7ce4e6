"""Work that waits until the answer is sent, so that the time of the answer says nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock

Call = Callable[[], None]


class CallsAfterAnswer:
    """What is to be called once one request is answered."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._is_answered = False
        self._lock = Lock()

    def add(self, call: Call) -> bool:
        """Keep `call`; return False if the answer is sent, or the client gone, already."""
        with self._lock:
            if not self._is_answered:
                self._calls.append(call)
            return not self._is_answered

    def end(self) -> list[Call]:
        """Return the calls to make now; from here on none is kept."""
        with self._lock:
            self._is_answered = True
            return self._calls


_calls: ContextVar[CallsAfterAnswer | None] = ContextVar("calls_after_answer", default=None)


def begin() -> CallsAfterAnswer:
    """Have `run` keep calls in this context, and in those copied from it, until `end`."""
    calls = CallsAfterAnswer()
    _calls.set(calls)
    return calls


def run(call: Call) -> None:
    """Call it once the request is answered; now, where no server says when that is."""
    calls = _calls.get()
    if calls is None or not calls.add(call):
        call()
