"""Finds requests that agents write to Redis: told by Redis where it tells, else by scanning."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable

from structlog.stdlib import get_logger

from dwp_project.offload import run_sync
from dwp_project.wakeup import Pattern, Subscription, hub
from hitl import adoption, signalling
from hitl.models import ApprovalRequest
from hitl.states import Origin

logger = get_logger(__name__)

# A scan after this long, whether or not Redis tells of what is written: notifications are
# lost like any message.
_SCAN_SECONDS, _SCAN_SECONDS_WHEN_TOLD = 1.0, 20.0
_KEYS_PER_CALL, _CALLS_PER_SCAN = 1000, 50
_CONFIRM_SECONDS = 1.0
# Notifications that come together are looked up together.
_GATHER_SECONDS = 0.02


async def run() -> None:
    """Adopt what is found until cancelled; outlives a database or a Redis that is away."""
    finder = Finder()
    pattern = Pattern(signalling.keyspace_pattern())
    async with hub().subscribe(pattern) as told:
        while True:
            try:
                # Confirmed before the scan: what is written from then on is told.
                is_told = await told.confirmed(_CONFIRM_SECONDS)
                is_told = is_told and await run_sync(signalling.notifies)
                await run_sync(finder.scan)
                await _listen(finder, told, _SCAN_SECONDS_WHEN_TOLD if is_told else _SCAN_SECONDS)
            except Exception as exc:
                logger.warning("finder_waits", error=str(exc).strip())
                await asyncio.sleep(_SCAN_SECONDS)


async def _listen(finder: Finder, told: Subscription, seconds: float) -> None:
    """Adopt what Redis tells of for `seconds`; return at once when its link was lost."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        message = await told.next(left)
        if message is None:
            return
        await asyncio.sleep(_GATHER_SECONDS)
        channels = {message}
        while (more := await told.next(0)) is not None:
            channels.add(more)
        if b"" in channels:
            return  # something may have been missed: scan
        ids = [channel.decode("utf-8", "replace").split(":", 3)[-1] for channel in channels]
        await run_sync(finder.look_at, ids)


class Finder:
    """Remembers what it has seen to be no request, so that it is refused and counted once."""

    _REMEMBERED = 10_000

    def __init__(self) -> None:
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._cursor = 0

    def scan(self) -> int:
        """Look at a bounded part of the keys, going on where the last scan stopped; return
        how many requests were adopted."""
        adopted = 0
        for _ in range(_CALLS_PER_SCAN):
            following, ids = signalling.request_ids(self._cursor, _KEYS_PER_CALL)
            fresh = [name for name in ids if name not in self._refused]
            adopted += self._adopt(set(fresh) - _known(fresh))
            # Only now: what Redis or the database failed to answer for is met again.
            self._cursor = following
            if self._cursor == 0:
                break
        return adopted

    def look_at(self, ids: Iterable[str]) -> int:
        """Look at requests that were just written; return how many were adopted."""
        ids = list(ids)
        for name in ids:
            self._refused.pop(name, None)
        # What we opened ourselves is written by us; only an agent's own can contradict.
        return self._adopt(set(ids) - _known(ids, but=Origin.REDIS))

    def _adopt(self, ids: Iterable[str]) -> int:
        adopted = 0
        for name in ids:
            if adoption.look_at(name) is not None:
                adopted += 1
                continue
            self._refused[name] = None
            if len(self._refused) > self._REMEMBERED:
                self._refused.popitem(last=False)
        return adopted


def _known(ids: Iterable[str], *, but: Origin | None = None) -> set[str]:
    known = ApprovalRequest.objects.filter(request_id__in=[i for i in ids if "\0" not in i])
    if but is not None:
        known = known.exclude(origin=but)
    return set(known.values_list("request_id", flat=True))
