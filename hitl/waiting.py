"""Waits for a request's end: subscribe, have it confirmed, read, sleep until woken, read again."""

from __future__ import annotations

import asyncio
import math

from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from dwp_project.wakeup import CONFIRM_SECONDS, AwaitedTable, hub, reader
from hitl import services
from hitl.models import ApprovalRequest
from hitl.states import Status

logger = get_logger(__name__)

# The requests that have ended: a term is a timer of the waiter's own.
AWAITED = AwaitedTable(ApprovalRequest._meta.db_table, "stored.status <> 'pending'")

# How soon to read again after a failed read: its wake-up will not come again. Chosen.
_RETRY_SECONDS = 0.5


async def until_ended(request_id: str, *, seconds: float | None = None) -> ApprovalRequest:
    """Wait until the request has left `pending` and return it; holds no thread meanwhile.

    With `seconds`, return it after that time even if it is pending. If the database is away, wait
    for it as long, then raise its error. Raises `DoesNotExist` for an unknown request.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (math.inf if seconds is None else seconds)
    async with hub().subscribe(services.wake_topic(request_id)) as subscription:
        await subscription.confirmed(CONFIRM_SECONDS)
        while True:
            left = deadline - loop.time()
            try:
                request = await run_sync(_settled, request_id)
            except DATABASE_AWAY as exc:
                if left <= 0:
                    raise
                logger.warning("database_away", request_id=request_id, error=str(exc).strip())
                await subscription.next(min(left, _RETRY_SECONDS))
            else:
                if request.status != Status.PENDING or left <= 0:
                    return request
                due = (request.expires_at - clocks.estimate()).total_seconds()
                with reader(AWAITED).awaiting(request.pk, 0, subscription):
                    await subscription.next(min(left, max(due, 0.01)))


def _settled(request_id: str) -> ApprovalRequest:
    return services.settle(ApprovalRequest.objects.get(request_id=request_id))
