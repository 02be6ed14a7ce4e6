"""Repeats: sends what the first publication did not deliver. Any number of relays may run."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from redis.exceptions import RedisError
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.offload import run_background
from dwp_project.wakeup import hub
from hitl.delivery import deployments, outbox, publisher, redis_state, resync

logger = get_logger(__name__)

# How many entries are sent together. Chosen; halved when sending them takes longer than the
# database's answer about them may be acted on (`commands.VALID_SECONDS`).
_BATCH = 50
_batch = _BATCH
# After this many batches another task gets the thread. Chosen.
_BATCHES = 100
# Seconds between looks at the outbox: soon if something is due, else until woken up. Chosen.
_SHORTEST_SLEEP, _LONGEST_SLEEP = 0.02, 1.0

# When the Redis run that this process knows last answered it.
_alive_at: datetime | None = None


async def run() -> None:
    """Send what is due until cancelled; if the database or Redis is away, go on when it is back."""
    async with hub().subscribe(outbox.TOPIC) as wakeups:
        while True:
            try:
                pause = await run_background(send_due)
            except Exception as exc:
                logger.warning("relay_waits", error=str(exc).strip())
                await asyncio.sleep(_LONGEST_SLEEP / 2)
            else:
                await wakeups.next(pause)


def send_due() -> float:
    """Send every entry that is due; return the seconds until it is worth looking again.

    If this process cannot reach Redis it takes none, since another process may reach it, and
    raises `redis.RedisError`.
    """
    try:
        _requeue_after_restart()
        deployments.beat()
        resync.send_missed()
    except (RedisError, OSError) as exc:
        # Raised again: the loop then sleeps and ignores wake-ups, which would only fail again.
        outbox.note_redis_away(str(exc))
        raise
    global _batch  # noqa: PLW0603 - one relay for each process
    for _ in range(_BATCHES):
        entries = outbox.take_due(clocks.now(), _batch)
        if not entries:
            break
        sent = publisher.send(entries)
        if sent.is_away:
            return _LONGEST_SLEEP / 2
        # On a machine this slow even a single entry would be too late again.
        if sent.is_late and len(entries) == 1:
            break
        _batch = max(1, len(entries) // 2) if sent.is_late else min(_BATCH, 2 * _batch)
    due = outbox.next_due()
    if due is None:
        return _LONGEST_SLEEP
    left = (due - clocks.now()).total_seconds()
    return min(max(left, _SHORTEST_SLEEP), _LONGEST_SLEEP)


def _requeue_after_restart() -> None:
    """Have the signals that a restarted Redis lost sent again; raises `redis.RedisError`.

    Several relays may notice the restart and each do this: an entry is requeued once.
    """
    global _alive_at  # noqa: PLW0603 - one Redis for each process
    asked_at = clocks.now()
    redis_run = redis_state.current_run()
    if not redis_run.is_known:
        count = outbox.requeue_lost(asked_at - timedelta(seconds=redis_run.uptime), _alive_at)
        redis_state.remember_run(redis_run.run_id)
        logger.info("redis_began_anew", owed_again=count)
    _alive_at = asked_at
