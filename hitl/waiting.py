"""Waits for a request's end: subscribe, have it confirmed, read, sleep until woken, read again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from dwp_project.wakeup import CONFIRM_SECONDS, AwaitedTable, hub, reader
from hitl import services
from hitl.audit import decision_record
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import Status

logger = get_logger(__name__)

T = TypeVar("T")
# What a waiter makes of the request, and of the records of its end if they were read with it.
Step = Callable[[ApprovalRequest, Sequence[AuditRecord] | None], T]

# The requests that have ended: a term is a timer of the waiter's own.
AWAITED = AwaitedTable(ApprovalRequest._meta.db_table, "stored.status <> 'pending'")

# How soon to read again after a failed read: its wake-up will not come again. Chosen.
_RETRY_SECONDS = 0.5


async def until_ended(request_id: str, *, seconds: float | None = None) -> ApprovalRequest:
    """Wait until the request has left `pending` and return it; holds no thread meanwhile.

    With `seconds`, return it after that time even if it is pending. If the database is away, wait
    for it as long, then raise its error. Raises `DoesNotExist` for an unknown request.
    """
    return await result_of(_as_it_is, request_id, seconds=seconds)


async def result_of(step: Step[T], request_id: str, *, seconds: float | None = None) -> T:
    """Wait as `until_ended` does, and return what `step` makes of the request.

    It runs in the thread that has read the request: to change threads again takes as long as to
    read. It is run again if the database goes away meanwhile; what else it raises is raised here.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (math.inf if seconds is None else seconds)
    async with hub().subscribe(services.wake_topic(request_id)) as subscription:
        await subscription.confirmed(CONFIRM_SECONDS)
        while True:
            left = deadline - loop.time()
            try:
                request, results = await run_sync(_read, step, request_id, left <= 0)
            except DATABASE_AWAY as exc:
                if left <= 0:
                    raise
                logger.warning("database_away", request_id=request_id, error=str(exc).strip())
                await subscription.next(min(left, _RETRY_SECONDS))
            else:
                for result in results:
                    return result
                due = (request.expires_at - clocks.estimate()).total_seconds()
                with reader(AWAITED).awaiting(request.pk, 0, subscription):
                    await subscription.next(min(left, max(due, 0.01)))


def _read(step: Step[T], request_id: str, is_last: bool) -> tuple[ApprovalRequest, list[T]]:
    """Return the request, and what `step` makes of it if it has ended or this is the last time."""
    request, records = decision_record.read(request_id)
    # What ends here and now has records that were not read.
    known = None if request.status == Status.PENDING else records
    services.settle(request)
    is_over = request.status != Status.PENDING or is_last
    return request, [step(request, known)] if is_over else []


def _as_it_is(request: ApprovalRequest, _: Sequence[AuditRecord] | None) -> ApprovalRequest:
    return request
