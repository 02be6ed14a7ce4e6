"""Looks for requests that agents write to Redis: by its notifications if it sends them, and by
scanning its keys (docs/adr/0024)."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.offload import run_background
from dwp_project.outages import DATABASE_AWAY
from dwp_project.wakeup import CONFIRM_SECONDS, Pattern, Subscription, hub
from hitl.adoption import adopt, redis_requests
from hitl.delivery import redis_state, withholding
from hitl.delivery.parser import waiting_sessions
from hitl.models import ApprovalRequest
from hitl.states import Origin, Status

T = TypeVar("T")

logger = get_logger(__name__)

# Seconds between scans, and where Redis notifies of writes: a notification may be lost like any
# message. Operators see a request within 2 s (delivery.md).
_SCAN_SECONDS, _SCAN_SECONDS_IF_NOTIFIED = 0.5, 20.0
# One scan reads up to 50,000 keys, for which delivery.md promises those 2 s.
_KEYS_PER_CALL, _CALLS_PER_SCAN = 1000, 50
# While approvals wait: a call blocks Redis for 1.5 ms. With 5,000 keys it is 3.5 ms, and a scan of
# 1.5 million keys takes 1.3 s instead of 1.6.
_KEYS_PER_CALL_IF_ASKED = 2000
# How soon a scan follows on a question that Redis notified of: approvals of it are sent when it is
# 2 s old, and wait for a scan that began after it (wire.md, 5.3).
_AFTER_QUESTION_SECONDS = 1.0
# Notifications that arrive within this time are handled together. Random, because all processes get
# the same ones, and need not adopt what another has adopted. Chosen.
_GATHER_SECONDS = (0.02, 0.15)
# An agent's own pending request: the value in Redis may contradict it.
_OPEN = (Origin.REDIS, Status.PENDING)


async def run() -> None:
    """Adopt requests until cancelled; if the database or Redis is away, go on when it is back."""
    scanner = Scanner()
    is_asked = False
    pattern = Pattern(redis_requests.keyspace_pattern())
    was_notified = False
    async with (
        hub().subscribe(pattern) as notifications,
        hub().subscribe(withholding.SCAN_TOPIC) as wishes,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_pass_on(wishes, notifications))
        while True:
            try:
                # Confirmed before the scan: Redis notifies of whatever is written afterwards.
                is_notified = await notifications.confirmed(CONFIRM_SECONDS)
                is_notified = is_notified and await run_background(redis_requests.is_notifying)
                if is_asked or (is_notified and not was_notified):
                    scanner.begin()
                was_notified = is_notified
                keys_per_call = _KEYS_PER_CALL_IF_ASKED if is_asked else _KEYS_PER_CALL
                await run_background(scanner.scan, keys_per_call)
                while (is_asked or is_notified) and not scanner.is_round:
                    # Every key is met once before notifications are relied on, and for approvals
                    # that wait for it.
                    await run_background(scanner.scan, keys_per_call)
                if is_asked:
                    await run_background(withholding.resume_after_scan, scanner.began_at)
                # Not in step with other processes, which meet the same keys.
                seconds = _SCAN_SECONDS_IF_NOTIFIED if is_notified else _SCAN_SECONDS
                seconds *= random.uniform(0.8, 1.2)  # noqa: S311
                is_asked = await _listen(scanner, notifications, seconds)
            except Exception as exc:
                logger.warning("scanner_waits", error=str(exc).strip())
                # Another Redis may answer next, in which a cursor of this one means nothing.
                scanner.begin()
                await asyncio.sleep(_SCAN_SECONDS)


async def _pass_on(wishes: Subscription, notifications: Subscription) -> None:
    """Have a scan of all keys follow on each wish for one: an empty notification does that."""
    while True:
        if await wishes.next(_SCAN_SECONDS_IF_NOTIFIED) is not None:
            notifications.deliver(b"")


async def _listen(scanner: Scanner, notifications: Subscription, seconds: float) -> bool:
    """Adopt what Redis notifies of for `seconds`; return at once, and true, when all keys must be
    scanned: somebody wishes it, or the link to Redis was lost."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        message = await notifications.next(left)
        if message is None:
            break
        await asyncio.sleep(random.uniform(*_GATHER_SECONDS))  # noqa: S311
        channels = {message}
        while (more := await notifications.next(0)) is not None:
            channels.add(more)
        if b"" in channels:
            return True
        ids = [channel.decode("utf-8", "replace").split(":", 3)[-1] for channel in channels]
        if await run_background(scanner.adopt_written, ids):
            deadline = min(deadline, time.monotonic() + _AFTER_QUESTION_SECONDS)
    return False


class Scanner:
    """Scans the keys of requests, and remembers values that are not requests, so that it does not
    read them in every scan."""

    # Twice the keys of one scan: with fewer, each scan would read all of them again.
    _REMEMBERED = adopt.MOST_REMEMBERED
    # A refused value may have become a request since: how soon one may be read again, and how many
    # of each thousand keys are. Chosen.
    _AGAIN_SECONDS = 1.0
    _AGAIN_AT_ONCE = 200
    # How often an agent's open request is compared with the value in Redis. Chosen.
    _COMPARE_SECONDS = 10.0

    def __init__(self) -> None:
        self._refused: OrderedDict[str, float] = OrderedDict()
        # The hash of each refused value that has been read more than once.
        self._read: OrderedDict[str, int] = OrderedDict()
        self._compared: OrderedDict[str, float] = OrderedDict()
        # Known, and either ours or decided: never adopted or compared again.
        self._settled: OrderedDict[str, None] = OrderedDict()
        self._cursor = 0
        # When the scan of all keys began that goes on.
        self._began_at = 0.0

    @property
    def is_round(self) -> bool:
        """Whether the last scan has reached the end of the keys."""
        return self._cursor == 0

    @property
    def began_at(self) -> datetime:
        """When the scan of all keys began that goes on or was the last."""
        return datetime.fromtimestamp(self._began_at, UTC)

    def begin(self) -> None:
        """Have the next scan start with the first of the keys."""
        self._cursor = 0

    def scan(self, keys_per_call: int | None = None) -> int:
        """Adopt from a bounded part of the keys, going on where the last scan stopped; return
        how many requests were adopted."""
        keys_per_call = keys_per_call or _KEYS_PER_CALL
        most_again = self._AGAIN_AT_ONCE * max(1, keys_per_call // 1000)
        adopted = 0
        for _ in range(_CALLS_PER_SCAN):
            if self.is_round:
                # By the clock by which questions are dated; it is Redis's own or the database's.
                self._began_at = min(redis_state.clock(), clocks.now().timestamp())
            following, ids = redis_requests.request_ids(self._cursor, keys_per_call)
            ids = [name for name in ids if name not in self._settled]
            states = self._states(ids)
            fresh = {name for name in ids if name not in states}
            old = [name for name in fresh if name in self._refused]
            due = [name for name in old if _is_over(self._refused[name], self._AGAIN_SECONDS)]
            # Those that have waited longest, so that each has its turn however many there are.
            due = sorted(due, key=self._refused.__getitem__)[:most_again]
            self._note_unread(set(old).difference(due))
            # New ones separately: a value that fails again and again does not delay them.
            adopted += self._adopt(dict.fromkeys(fresh.difference(old)))
            adopted += self._adopt(self._rewritten(due))
            self._compare(states)
            # Moved only now: if Redis or the database fails, the same keys are scanned again.
            self._cursor = following
            if self.is_round:
                redis_state.note_scanned(self._began_at)
                break
        return adopted

    def _note_unread(self, names: Iterable[str]) -> None:
        """Date the scan no later than the last reading of refused values that it does not read
        again: they may have become requests since."""
        ages = [time.monotonic() - self._refused[name] for name in names]
        if ages:
            self._began_at = min(self._began_at, clocks.now().timestamp() - max(ages))

    def _rewritten(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the ids whose value may have changed since it was refused, each with the hash of
        its present value. Reading a value costs about a hundredth of adopting it."""
        rewritten = {}
        for name, text in zip(ids, redis_requests.read_texts(ids), strict=True):
            if self._read.get(name) == hash(text):
                self._remember(self._refused, name, time.monotonic())
            else:
                rewritten[name] = hash(text)
        return rewritten

    def adopt_written(self, ids: Collection[str]) -> int:
        """Adopt requests that were just written; return how many of them agents wrote to Redis and
        nobody has decided."""
        settled = [name for name in ids if name in self._settled]
        ids = [name for name in ids if name not in self._settled]
        for name in ids:
            self._compared.pop(name, None)
        states = self._states(ids)
        # New ones first.
        adopted = self._adopt(dict.fromkeys(set(ids) - states.keys()))
        self._compare(states)
        # An agent may have asked under such an id, in another session.
        texts = zip(settled, redis_requests.read_texts(settled), strict=True)
        asked = [name for name, text in texts if text is not None and waiting_sessions(text)]
        for _ in _adopt_together(asked):
            pass
        return adopted + sum(state == _OPEN for state in states.values())

    def _adopt(self, texts: Mapping[str, int | None]) -> int:
        """Adopt those that are requests; return how many were. `texts` gives the hash of each value
        that was just read: one that is written after that differs from it."""
        adopted = 0
        # In random order: other processes have met the same keys.
        for name, is_adopted in _adopt_together(random.sample(list(texts), len(texts))):
            for memory in (self._refused, self._read):
                memory.pop(name, None)
            if is_adopted:
                adopted += 1
                continue
            self._remember(self._refused, name, time.monotonic())
            if is_adopted is None:
                adopt.note_unadopted(name)
            text = texts[name]
            # A value whose adoption failed may be adopted later without a change.
            if is_adopted is not None and text is not None:
                self._remember(self._read, name, text)
        return adopted

    def _compare(self, states: Mapping[str, tuple[str, str]]) -> None:
        """Compare agents' own open requests with their values in Redis. The values of decided
        requests, and of those that were opened here, are written by us."""
        due = [
            name
            for name, state in states.items()
            if state == _OPEN and _is_over(self._compared.get(name), self._COMPARE_SECONDS)
        ]
        for name, _ in _adopt_together(due):
            self._remember(self._compared, name, time.monotonic())

    def _states(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return origin and status of those that the database knows."""
        known = ApprovalRequest.objects.filter(request_id__in=[i for i in ids if "\0" not in i])
        rows = known.values_list("request_id", "origin", "status") if ids else ()
        states = {name: (origin, status) for name, origin, status in rows}
        for name, state in states.items():
            if state != _OPEN:
                self._remember(self._settled, name, None)
        return states

    def _remember(self, memory: OrderedDict[str, T], name: str, value: T) -> None:
        memory[name] = value
        memory.move_to_end(name)
        if len(memory) > self._REMEMBERED:
            memory.popitem(last=False)


def _adopt_together(names: Sequence[str]) -> Iterator[tuple[str, bool | None]]:
    """Adopt many together; yield each with whether it is a request now, or None if its adoption
    failed. One failure, for example of a tenant whose chain takes no record, does not stop the
    others. Raises the errors that say that Redis or the database is away."""
    for start in range(0, len(names), redis_requests.MOST_AT_ONCE):
        together = names[start : start + redis_requests.MOST_AT_ONCE]
        try:
            requests = adopt.adopt_all(together)
        except (RedisError, OSError, *DATABASE_AWAY):
            raise  # not the fault of one value: `run` tries again later
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
