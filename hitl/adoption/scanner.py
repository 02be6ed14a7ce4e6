"""Finds requests that agents write to Redis: told by Redis where it tells, else by scanning."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project.offload import run_background
from dwp_project.outages import DATABASE_AWAY
from dwp_project.wakeup import Pattern, Subscription, hub
from hitl.adoption import adopt, redis_requests
from hitl.models import ApprovalRequest
from hitl.states import Origin, Status

T = TypeVar("T")

logger = get_logger(__name__)

# A scan after this long, whether or not Redis tells of what is written: notifications are
# lost like any message.
_SCAN_SECONDS, _SCAN_SECONDS_WHEN_TOLD = 0.5, 20.0
_KEYS_PER_CALL, _CALLS_PER_SCAN = 1000, 50
_CONFIRM_SECONDS = 1.0
# Notifications that come together are looked up together; and not at the same moment by all
# processes, which hear the same: what one has adopted the others need not.
_GATHER_SECONDS = (0.02, 0.15)
# An agent's own request that waits: what stands in Redis may contradict it.
_OPEN = (Origin.REDIS, Status.PENDING)


async def run() -> None:
    """Adopt what is found until cancelled; outlives a database or a Redis that is away."""
    finder = Scanner()
    pattern = Pattern(redis_requests.keyspace_pattern())
    was_told = False
    async with hub().subscribe(pattern) as told:
        while True:
            try:
                # Confirmed before the scan: what is written from then on is told.
                is_told = await told.confirmed(_CONFIRM_SECONDS)
                is_told = is_told and await run_background(redis_requests.is_notifying)
                if is_told and not was_told:
                    finder.begin()
                was_told = is_told
                await run_background(finder.scan)
                while is_told and not finder.is_round:
                    # Before it relies on being told, it has met every key.
                    await run_background(finder.scan)
                # Not in step with other processes, which find the same.
                seconds = _SCAN_SECONDS_WHEN_TOLD if is_told else _SCAN_SECONDS
                await _listen(finder, told, seconds * random.uniform(0.8, 1.2))  # noqa: S311
            except Exception as exc:
                logger.warning("finder_waits", error=str(exc).strip())
                await asyncio.sleep(_SCAN_SECONDS)


async def _listen(finder: Scanner, told: Subscription, seconds: float) -> None:
    """Adopt what Redis tells of for `seconds`; return at once when its link was lost."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        message = await told.next(left)
        if message is None:
            return
        await asyncio.sleep(random.uniform(*_GATHER_SECONDS))  # noqa: S311
        channels = {message}
        while (more := await told.next(0)) is not None:
            channels.add(more)
        if b"" in channels:
            return  # something may have been missed: scan
        ids = [channel.decode("utf-8", "replace").split(":", 3)[-1] for channel in channels]
        await run_background(finder.adopt_written, ids)


class Scanner:
    """Remembers what it has looked at in vain, so that it does not look at it all the time."""

    # More than the keys that are scanned in the promised time, or each scan would ask of all.
    _REMEMBERED = 100_000
    # What was no request may have become one; of each thousand keys so many are read again.
    _AGAIN_SECONDS = 1.0
    _AGAIN_AT_ONCE = 200
    # How often an agent's open request is compared with what stands in Redis now.
    _COMPARE_SECONDS = 10.0

    def __init__(self) -> None:
        self._refused: OrderedDict[str, float] = OrderedDict()
        # What was read under those that have been looked at more than once.
        self._read: OrderedDict[str, int] = OrderedDict()
        self._compared: OrderedDict[str, float] = OrderedDict()
        # Known, and ours or decided: neither to be adopted nor to be compared ever again.
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._cursor = 0

    @property
    def is_round(self) -> bool:
        """Whether the last scan has met the last of the keys."""
        return self._cursor == 0

    def begin(self) -> None:
        """Have the next scan meet the first of the keys first."""
        self._cursor = 0

    def scan(self) -> int:
        """Look at a bounded part of the keys, going on where the last scan stopped; return
        how many requests were adopted."""
        adopted = 0
        for _ in range(_CALLS_PER_SCAN):
            following, ids = redis_requests.request_ids(self._cursor, _KEYS_PER_CALL)
            ids = [name for name in ids if name not in self._settled]
            states = self._states(ids)
            fresh = {name for name in ids if name not in states}
            old = [name for name in fresh if name in self._refused]
            due = [name for name in old if _is_over(self._refused[name], self._AGAIN_SECONDS)]
            # Whichever has waited longest: it is every one's turn, however many there are.
            due = sorted(due, key=self._refused.__getitem__)[: self._AGAIN_AT_ONCE]
            # New ones by themselves: what fails again and again holds up no others.
            adopted += self._adopt(dict.fromkeys(fresh.difference(old)))
            adopted += self._adopt(self._rewritten(due))
            self._compare(states)
            # Only now: what Redis or the database failed to answer for is met again.
            self._cursor = following
            if self.is_round:
                break
        return adopted

    def _rewritten(self, ids: Sequence[str]) -> dict[str, int]:
        """Return those that are not known to say what they said when they were looked at, with
        what they say now. To read it costs a hundredth of looking at it."""
        rewritten = {}
        for name, text in zip(ids, redis_requests.read_texts(ids), strict=True):
            if self._read.get(name) == hash(text):
                self._note(self._refused, name, time.monotonic())
            else:
                rewritten[name] = hash(text)
        return rewritten

    def adopt_written(self, ids: Iterable[str]) -> int:
        """Look at requests that were just written; return how many were adopted."""
        ids = [name for name in ids if name not in self._settled]
        for name in ids:
            self._compared.pop(name, None)
        states = self._states(ids)
        # New ones first.
        adopted = self._adopt(dict.fromkeys(set(ids) - states.keys()))
        self._compare(states)
        return adopted

    def _adopt(self, texts: Mapping[str, int | None]) -> int:
        """Adopt what can be; return how many were. `texts` are what they said a moment ago,
        where that was read: what is written since is found to differ."""
        adopted = 0
        # In an order of one's own: other processes have found the same.
        for name, is_adopted in _adopt_together(random.sample(list(texts), len(texts))):
            for seen in (self._refused, self._read):
                seen.pop(name, None)
            if is_adopted:
                adopted += 1
                continue
            self._note(self._refused, name, time.monotonic())
            text = texts[name]
            # Where it failed, it may be adopted another time, as it is.
            if is_adopted is not None and text is not None:
                self._note(self._read, name, text)
        return adopted

    def _compare(self, states: Mapping[str, tuple[str, str]]) -> None:
        """Look whether Redis contradicts agents' own open requests. What is decided, and what
        we opened ourselves, is written by us."""
        due = [
            name
            for name, state in states.items()
            if state == _OPEN and _is_over(self._compared.get(name), self._COMPARE_SECONDS)
        ]
        for name, _ in _adopt_together(due):
            self._note(self._compared, name, time.monotonic())

    def _states(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return origin and status of those that are known."""
        known = ApprovalRequest.objects.filter(request_id__in=[i for i in ids if "\0" not in i])
        found = known.values_list("request_id", "origin", "status") if ids else ()
        states = {name: (origin, status) for name, origin, status in found}
        for name, state in states.items():
            if state != _OPEN:
                self._note(self._settled, name, None)
        return states

    def _note(self, seen: OrderedDict[str, T], name: str, what: T) -> None:
        seen[name] = what
        seen.move_to_end(name)
        if len(seen) > self._REMEMBERED:
            seen.popitem(last=False)


def _adopt_together(names: Sequence[str]) -> Iterator[tuple[str, bool | None]]:
    """Look at what is written, many together, and yield of each whether it is a request by now;
    None where that failed for a reason of its own, a tenant's chain that takes no record, say: it
    keeps no other from being looked at. Raises what says that Redis or the database is away."""
    for start in range(0, len(names), redis_requests.MOST_AT_ONCE):
        together = names[start : start + redis_requests.MOST_AT_ONCE]
        try:
            requests = adopt.adopt_all(together)
        except (RedisError, OSError, *DATABASE_AWAY):
            raise
        except Exception as exc:
            if len(together) > 1:
                logger.warning("requests_not_looked_at_together", error=str(exc).strip())
                for name in together:
                    yield from _adopt_together([name])
                continue
            logger.error(
                "request_not_looked_at", request_id=together[0][:200], error=str(exc).strip()
            )
            yield together[0], None
        else:
            yield from ((name, name in requests) for name in together)


def _is_over(since: float | None, seconds: float) -> bool:
    return since is None or time.monotonic() - since >= seconds
