"""Publishes what the fast path did not: any number of these run at once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from django.utils import timezone
from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project.offload import run_background
from dwp_project.wakeup import hub
from hitl.delivery import commands, outbox, publisher, resync

logger = get_logger(__name__)

# At most so many at once that what the database said of them holds until the last is published.
_BATCH = 50
_batch = _BATCH
# Then somebody else may have the thread.
_BATCHES = 100
# Between looks at the outbox: soon when something is due; else until told, at most this long.
_SHORTEST_SLEEP, _LONGEST_SLEEP = 0.02, 1.0


async def run() -> None:
    """Send what is due until cancelled; outlives a database or a Redis that is away."""
    async with hub().subscribe(outbox.TOPIC) as told:
        while True:
            try:
                pause = await run_background(send_due)
            except Exception as exc:
                logger.warning("relay_waits", error=str(exc).strip())
                await asyncio.sleep(_LONGEST_SLEEP / 2)
            else:
                await told.next(pause)


def send_due() -> float:
    """Send every entry that is due; return the seconds until it is worth looking again.

    While this process cannot reach Redis it takes none: another's link may be whole. Raises
    `redis.RedisError` then.
    """
    try:
        _requeue_after_restart()
        resync.send_missed()
    except (RedisError, OSError) as exc:
        outbox.note_redis_away(str(exc))
        raise
    global _batch  # noqa: PLW0603 - one relay for each process
    for _ in range(_BATCHES):
        entries = outbox.take_due(timezone.now(), _batch)
        if not entries:
            break
        sent = publisher.send(entries)
        if sent.is_away:
            return _LONGEST_SLEEP / 2
        # Where processors are scarce, what comes too late would come too late again.
        if sent.is_late and len(entries) == 1:
            break
        _batch = max(1, len(entries) // 2) if sent.is_late else min(_BATCH, 2 * _batch)
    due = outbox.next_due()
    if due is None:
        return _LONGEST_SLEEP
    left = (due - timezone.now()).total_seconds()
    return min(max(left, _SHORTEST_SLEEP), _LONGEST_SLEEP)


# When the Redis that is known last answered here.
_alive_at: datetime | None = None


def _requeue_after_restart() -> None:
    """Give a Redis that has begun anew what it held before; raises `redis.RedisError`.

    Of several relays that see it, each may do this: what is owed is owed once.
    """
    global _alive_at  # noqa: PLW0603 - one Redis for each process
    asked_at = timezone.now()
    memory = commands.current_run()
    if not memory.is_known:
        count = outbox.requeue_lost(asked_at - timedelta(seconds=memory.uptime), _alive_at)
        commands.remember_run(memory.run_id)
        logger.info("redis_began_anew", owed_again=count)
    _alive_at = asked_at
