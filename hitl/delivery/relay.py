"""Repeats: sends what the first publication did not deliver. Any number of relays may run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.offload import run_background
from dwp_project.wakeup import hub
from hitl.delivery import (
    deployments,
    held,
    lost_signals,
    outbox,
    publisher,
    redis_state,
    resync,
    rounds,
)
from hitl.delivery.leases import LOOK_SECONDS, lease
from hitl.models import OutboxEntry

logger = get_logger(__name__)

# How many entries are sent together. Chosen; halved when sending them takes longer than the
# database's answer about them may be acted on (`commands.VALID_SECONDS`).
_BATCH = 50
_batch = _BATCH
_was_late = False
# After this many batches another task gets the thread. Chosen.
_BATCHES = 100
# Seconds between turns: soon if something is due, else until woken up. Chosen.
_SHORTEST_SLEEP, _LONGEST_SLEEP = 0.02, 1.0

# When the Redis run that this process knows last answered it.
_alive_at: datetime | None = None


async def run() -> None:
    """Send what is due until cancelled; if the database or Redis is away, go on when it is back."""
    async with hub().subscribe(outbox.TOPIC) as wakeups:
        step: Callable[[], float] = send_due
        asked_at = looked_at = time.monotonic()
        while True:
            try:
                pause = await run_background(step)
            except Exception as exc:
                logger.warning("relay_waits", error=str(exc).strip())
                await asyncio.sleep(_LONGEST_SLEEP / 2)
                step = send_due
                continue
            left = looked_at + LOOK_SECONDS - time.monotonic()
            payload = await wakeups.next(min(pause, max(left, _SHORTEST_SLEEP)))
            now = time.monotonic()
            is_called = payload is not None and payload != outbox.HELD
            if (
                is_called
                or held.entries.is_ringing(clocks.estimate())
                or now - looked_at >= LOOK_SECONDS
            ):
                step = send_due
            else:
                step = _send_owed if now - asked_at >= _LONGEST_SLEEP else send_held
            if step != send_held:
                asked_at = now
            if step == send_due:
                looked_at = now


def send_due() -> float:
    """Send every entry that is due, whoever left it; return the seconds until it is worth looking
    again.

    If this process cannot reach Redis it takes none and gives back what it has, since another
    process may reach it, and raises `redis.RedisError`.
    """
    with _giving_back():
        _ask_redis()
        now = clocks.now()
        lease.begin(now)
        looked = outbox.look(now, outbox.LOOKED_AT)
        # What this process owns and does not know of: its commit was late, or its step failed.
        unknown = held.entries.hurry(looked.own, now)
        is_there = _send(outbox.own(unknown)) and _send_held() and _send_taken(looked)
    return _pause() if is_there else _LONGEST_SLEEP / 2


def send_held() -> float:
    """Send what this process holds and is due; return the seconds until it is worth looking
    again. If Redis is away, gives back all of it and raises `redis.RedisError`."""
    with _giving_back():
        is_there = _send_held()
    return _pause() if is_there else _LONGEST_SLEEP / 2


def _send_owed() -> float:
    """Send what Redis has missed or lost, and what this process holds, as `send_held` does."""
    with _giving_back():
        _ask_redis()
    return send_held()


@contextmanager
def _giving_back() -> Iterator[None]:
    """Own nothing any more if Redis is away: another process may reach it."""
    try:
        yield
    except (RedisError, OSError) as exc:
        outbox.give_back()
        held.entries.clear()
        # Raised again: the loop then sleeps and ignores wake-ups, which would only fail again.
        lost_signals.note_redis_away(str(exc))
        raise


def _ask_redis() -> None:
    _requeue_after_restart()
    deployments.beat()
    resync.send_missed()


def _send_held() -> bool:
    rest = rounds.run(clocks.now())
    entries = outbox.own(rest)
    # The others are settled by now, or another process's.
    for pk in {*rest} - {entry.pk for entry in entries}:
        held.entries.drop(pk)
    return _send(entries)


def _send_taken(looked: outbox.OutboxLook) -> bool:
    """Take what nobody else sends, and send it; say whether Redis was reached."""
    entries = outbox.take_due(clocks.now(), _batch, looked)
    for _ in range(_BATCHES):
        if not entries:
            break
        if not _send(entries):
            return False
        # On a machine this slow even a single entry would be too late again.
        if _batch == 1 and _was_late:
            break
        entries = outbox.take_due(clocks.now(), _batch)
    return True


def _send(entries: Sequence[OutboxEntry]) -> bool:
    """Send entries, fewer at once after some came too late; say whether Redis was reached."""
    global _batch, _was_late  # noqa: PLW0603 - one relay for each process
    start = 0
    while start < len(entries):
        some = entries[start : start + _batch]
        start += len(some)
        sent = publisher.send(some)
        if sent.is_away:
            return False
        _was_late = sent.is_late
        _batch = max(1, len(some) // 2) if sent.is_late else min(_BATCH, 2 * _batch)
    return True


def _pause() -> float:
    next_at = held.entries.next_at()
    if next_at is None:
        return _LONGEST_SLEEP
    left = (next_at - clocks.now()).total_seconds()
    return min(max(left, _SHORTEST_SLEEP), _LONGEST_SLEEP)


def _requeue_after_restart() -> None:
    """Have the signals that a restarted Redis lost sent again; raises `redis.RedisError`.

    Several relays may notice the restart and each do this: an entry is requeued once.
    """
    global _alive_at  # noqa: PLW0603 - one Redis for each process
    asked_at = clocks.now()
    redis_run = redis_state.current_run()
    if not redis_run.is_known:
        count = lost_signals.requeue_lost(asked_at - timedelta(seconds=redis_run.uptime), _alive_at)
        redis_state.remember_run(redis_run.run_id)
        logger.info("redis_began_anew", owed_again=count)
    _alive_at = asked_at
