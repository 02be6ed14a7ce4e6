"""An event loop whose clock leaps to its next timer, so that minutes of waiting take a moment."""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from dwp_project import clocks, offload

# How long nothing may come before the clock leaps. Chosen: what is on its way comes sooner.
_GRACE_SECONDS = 0.03
# Steps of the clock in a second, a power of two and whole microseconds: sums of times are then
# exact, and no two runs differ by how they were rounded.
_STEPS = 64


class LeapingClock:
    """Stands still but for its leaps. Threads' own waits and sockets' time-outs are real."""

    def __init__(self) -> None:
        self._leapt = 0.0
        self._running = 0
        # Says whether something else is awaited that takes no time by this clock.
        self.is_answer_awaited: Callable[[], bool] = lambda: False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this process read its uptime here, by which it knows the database's time, and count
        the calls that run in threads: the clock waits for them. The host's clock goes on: tokens
        are judged by it."""
        began_at = _on_grid(time.monotonic())
        kinds = (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC)
        uptimes: Mapping[int, float] = {kind: _on_grid(time.clock_gettime(kind)) for kind in kinds}
        real = time.clock_gettime

        def uptime(kind: int) -> float:
            return uptimes[kind] + self._leapt if kind in uptimes else real(kind)

        if (clock := clocks.distant_database()) and (reading := clock._reading):
            exact = replace(reading, offset=_on_grid(reading.offset))
            monkeypatch.setattr(clock, "_reading", exact)
        monkeypatch.setattr(time, "monotonic", lambda: began_at + self._leapt)
        monkeypatch.setattr(time, "clock_gettime", uptime)
        submit = offload._submit

        def counted(*args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = submit(*args, **kwargs)
            self._running += 1
            future.add_done_callback(self._ended)
            return future

        monkeypatch.setattr(offload, "_submit", counted)

    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_Selector(self))

    def _ended(self, _: Future[Any]) -> None:
        self._running -= 1

    def is_still(self) -> bool:
        return self._running > 0 or self.is_answer_awaited()

    def leap(self, seconds: float) -> None:
        self._leapt += _on_grid(seconds)


def _on_grid(seconds: float) -> float:
    return math.ceil(seconds * _STEPS) / _STEPS


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type,unused-ignore]
    """Waits for files as long as calls run, and leaps instead of waiting for a timer."""

    def __init__(self, clock: LeapingClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        while True:
            # A call that ends meanwhile may have something to say that is not here yet.
            was_still = self._clock.is_still()
            if ready := super().select(_GRACE_SECONDS):
                return ready
            if not was_still:
                self._clock.leap(timeout)
                return ready
