"""Sends Redis the openings, adoptions and ends without a decision that it missed, because it was
away or the process died before it sent them.

Until Redis has it, a session's key may hold the answer to the question before, and a request's
key may say `pending`. Decisions are not marked here: the outbox sends their signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection
from redis.exceptions import ResponseError
from structlog.stdlib import get_logger

from dwp_project import exchange
from dwp_project.exchange import Statement
from dwp_project.jsontext import InvalidJSON
from dwp_project.outages import DATABASE_AWAY
from hitl import sessions
from hitl.delivery import commands, request_key
from hitl.models import ApprovalRequest
from hitl.states import Origin, Status

logger = get_logger(__name__)

# As SQL, because each withdrawal does it. Whoever locks several rows does it in the order of their
# keys.
_CLEAR = """
    UPDATE hitl_approvalrequest SET is_missed_by_redis = false WHERE id IN (
           SELECT id FROM hitl_approvalrequest WHERE {as_sent} ORDER BY id{lock})"""
_AS_SENT = "(id = %s AND status = %s AND approvals = %s AND escalated_at {})"
# After this many requests another task gets the thread. Chosen.
_AT_ONCE = 100


def mark_missed(request: ApprovalRequest) -> None:
    """Have a relay send the request to Redis as soon as it can; never raises."""
    try:
        ApprovalRequest.objects.filter(pk=request.pk).update(is_missed_by_redis=True)
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())


def clear_missed(*requests: ApprovalRequest) -> None:
    """Record that Redis has the requests as these objects have them; one whose row was changed
    since stays marked."""
    sent = [request for request in requests if request.is_missed_by_redis]
    if not sent:
        return
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    as_sent: list[str] = []
    values: list[Any] = []
    for request in sent:
        escalated_at = exchange.adapted(request.escalated_at)
        as_sent.append(_AS_SENT.format("IS NULL" if escalated_at is None else "= %s"))
        values += [request.pk, request.status, request.approvals]
        values += [] if escalated_at is None else [escalated_at]
    exchange.send(Statement(_CLEAR.format(as_sent=" OR ".join(as_sent), lock=lock), values))


def drop_older_signals(*requests: ApprovalRequest) -> None:
    """Remove the answer to an older question from the keys of adopted requests' sessions; raises
    `redis.RedisError`."""
    newest = sessions.latest_opened_at([request.session_id for request in requests])
    commands.forget_other_signals(
        [request for request in requests if newest.get(request.session_id) == request.created_at]
    )


def forget_lost_ends(requests: Sequence[ApprovalRequest]) -> None:
    """Have Redis forget that these pending requests have ended, because the database has lost it,
    and a relay announce anew those that were opened here; raises `redis.RedisError`."""
    for request in commands.forget_lost_ends(requests):
        mark_missed(request)


def send_missed() -> None:
    """Send Redis what it has missed, in its present state; raises `redis.RedisError`.

    Any number of processes may do this at once.
    """
    missed = ApprovalRequest.objects.filter(is_missed_by_redis=True)
    for request in missed.order_by("pk")[:_AT_ONCE]:
        try:
            _send(request)
        except ResponseError as exc:
            # Redis answers, but refuses this one request's keys: the others are still sent.
            logger.warning("redis_refuses", request_id=request.request_id, error=str(exc))
            if "WRONGTYPE" not in str(exc):
                continue  # out of memory or read-only, which ends: send it again then
            # Somebody else uses this key, with another type: it is not sent again.
        except InvalidJSON as exc:
            # The row was changed by hand and cannot be sent; the others still are.
            logger.error("request_unreadable", request_id=request.request_id, error=str(exc))
        clear_missed(request)


def _send(request: ApprovalRequest) -> None:
    if request.origin != Origin.REDIS:
        commands.announce(request)
        return
    # Its session's key is its agent's own, and so is its text until its end.
    if request.status != Status.PENDING:
        request_key.refresh(request)
    drop_older_signals(request)
