"""Requests that agents wrote to Redis themselves (docs/reference/wire.md, 5.3).

They are adopted into the database when somebody asks for one, when Redis notifies of it, or when
a scan meets it. A value that cannot be read is refused, counted and left alone; the
agent that wrote it listens all the same, so approvals in its session are withheld.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

from django.db import transaction
from structlog.stdlib import get_logger

from dwp_project import clocks, wakeup
from hitl import metrics
from hitl.adoption import insert, redis_requests
from hitl.audit import record
from hitl.delivery import redis_state, withholding
from hitl.delivery.parser import (
    Malformed,
    WrittenRequest,
    is_same,
    parse_request,
    waiting_sessions,
)
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import AuditEvent

logger = get_logger(__name__)

# The most bytes of values that are adopted together; parsed they take several times as much memory.
# Chosen.
_BYTES_AT_ONCE = 1024 * 1024

# How many refused values a process remembers, so that it neither counts nor logs them again; the
# scanner remembers as many. Chosen: twice the keys that one scan reads.
MOST_REMEMBERED = 100_000
_refused: OrderedDict[tuple[str, bytes], None] = OrderedDict()
_lock = threading.Lock()


def adopt_request(request_id: str) -> ApprovalRequest | None:
    """Return the request under this id, adopting what an agent wrote; None if there is none.

    A request that the database knows is never changed by what Redis holds; a contradiction is
    audited, once. With Redis away only the database is asked.
    """
    with wakeup.redis_may_be_away("redis_away"):
        return adopt_or_raise(request_id)
    return insert.known_requests([request_id]).get(request_id)


def adopt_or_raise(request_id: str) -> ApprovalRequest | None:
    """Do as `adopt_request` does; raises `redis.RedisError` if Redis does not answer."""
    return adopt_all([request_id]).get(request_id)


def adopt_all(request_ids: Sequence[str]) -> dict[str, ApprovalRequest]:
    """Do as `adopt_or_raise` does for up to `redis_requests.MOST_AT_ONCE` ids; return the
    requests by their ids.

    Adopting many costs hardly more than adopting one: the round trips to the database and
    Redis take longest.
    """
    # Redis first: once it says that a request has ended, the database says so too. In the other
    # order, a request that is adopted and decided in between would seem to be neither known nor
    # open.
    values = redis_requests.read_values(request_ids)
    requests = insert.known_requests(request_ids)
    new: list[insert.NewRequest] = []
    contradictions: list[tuple[ApprovalRequest, WrittenRequest]] = []
    ends: dict[str, datetime] = {}
    size = 0
    for request_id, value in zip(request_ids, values, strict=True):
        if value is None:
            continue
        known = requests.get(request_id)
        written = _parse(request_id, value, is_known=known is not None)
        if known is None and written is not None:
            size += len(value.text)
            if size > _BYTES_AT_ONCE:
                requests |= insert.adopt_new(new)
                new, size = [], len(value.text)
            new.append(insert.NewRequest(written, value))
            continue
        named = {written.session_id} if written is not None else waiting_sessions(value.text)
        # The value of a known request is itself, not another agent's question.
        _add_ends(ends, value, named - {known.session_id} if known is not None else named)
        if known is not None and written is not None:
            contradictions.append((known, written))
    redis_state.note_unadopted(ends)
    for request, contradicting in contradictions:
        _audit_contradiction(request, contradicting, clocks.now())
    return requests | insert.adopt_new(new)


def note_unadopted(request_id: str) -> None:
    """Note that an agent may be waiting for this question, whose adoption failed: approvals in its
    session are withheld. Raises `redis.RedisError`."""
    [value] = redis_requests.read_values([request_id])
    ends: dict[str, datetime] = {}
    if value is not None:
        _add_ends(ends, value, waiting_sessions(value.text))
    redis_state.note_unadopted(ends)


def _add_ends(
    ends: dict[str, datetime], value: redis_requests.RedisValue, session_ids: Iterable[str]
) -> None:
    """Add until when an agent that wrote `value` may be waiting in these sessions."""
    until = value.written_at + withholding.WAITING
    if until > clocks.now():
        for session_id in session_ids:
            ends[session_id] = max(until, ends.get(session_id, until))


def _parse(
    request_id: str, value: redis_requests.RedisValue, *, is_known: bool
) -> WrittenRequest | None:
    try:
        written = parse_request(request_id, value.text)
    except Malformed as exc:
        if not is_known and _is_new_value(request_id, value.text):
            metrics.malformed_requests.inc()
            logger.warning("malformed_request", request_id=request_id[:200], why=str(exc))
        return None
    return written if written.is_pending else None


def _is_new_value(request_id: str, text: bytes) -> bool:
    """Say whether this value was not refused here lately: each is counted and logged once."""
    value = (request_id, sha256(text).digest())
    with _lock:
        is_new = value not in _refused
        _refused[value] = None
        if len(_refused) > MOST_REMEMBERED:
            _refused.popitem(last=False)
    return is_new


def _audit_contradiction(known: ApprovalRequest, written: WrittenRequest, now: datetime) -> None:
    """Audit, once, that Redis holds another question under a known request's id."""
    if is_same(known, written):
        return
    event = AuditEvent.REQUEST_CONTRADICTED
    with transaction.atomic():
        agent = insert.agent_of(written, tenant_id=known.tenant_id)
        ApprovalRequest.objects.select_for_update().get(pk=known.pk)
        if AuditRecord.objects.filter(request_id=known.request_id, event=event).exists():
            return
        details = {"written": insert.body_digest(written)}
        record.write(event, agent, now, request=known, details=details)
    metrics.contradicted_requests.inc()
    logger.warning("request_contradicted", request_id=known.request_id)
