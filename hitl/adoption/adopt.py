"""Requests that agents wrote to Redis themselves (docs/reference/wire.md, 5.3).

They are taken into the database as they are met: when somebody asks for one, when Redis
tells of it, when a scan finds it. What cannot be read is refused, counted and left alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from django.db import transaction
from django.utils import timezone
from structlog.stdlib import get_logger

from dwp_project import wakeup
from dwp_project.jsontext import digest
from hitl import metrics
from hitl.adoption import insert, redis_requests
from hitl.adoption.parser import Malformed, WrittenRequest, parse_request
from hitl.audit import record
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import AuditEvent

logger = get_logger(__name__)

# So many bytes are taken in together: read, they are several times as much.
_BYTES_AT_ONCE = 1024 * 1024

_REMEMBERED = 100_000
_refused: OrderedDict[tuple[str, bytes], None] = OrderedDict()
_lock = threading.Lock()


def adopt_request(request_id: str) -> ApprovalRequest | None:
    """Return the request under this id, adopting what an agent wrote; None if there is none.

    A request that is known already is never changed by what stands in Redis; a
    contradiction is audited, once. With Redis away only the database is asked.
    """
    with wakeup.redis_may_be_away("redis_away"):
        return adopt_or_raise(request_id)
    return insert.known_requests([request_id]).get(request_id)


def adopt_or_raise(request_id: str) -> ApprovalRequest | None:
    """Do as `adopt` does; raises `redis.RedisError` where Redis does not answer."""
    return adopt_all([request_id]).get(request_id)


def adopt_all(request_ids: Sequence[str]) -> dict[str, ApprovalRequest]:
    """Do as `look_at` does for as many as `redis_reading.MOST_AT_ONCE`; return the requests by
    their ids.

    To adopt many costs hardly more than to adopt one: what takes long is to ask the database
    and Redis again and again.
    """
    # Redis first: what it says of an end, the database knows by then. The other way round, a
    # request that is adopted and decided in between would be neither known nor asked.
    written_by_agents = redis_requests.read_values(request_ids)
    requests = insert.known_requests(request_ids)
    new: list[insert.NewRequest] = []
    size = 0
    for request_id, written in zip(request_ids, written_by_agents, strict=True):
        if written is None:
            continue
        known = requests.get(request_id)
        found = _read(request_id, written, is_known=known is not None)
        if found is None:
            continue
        if known is not None:
            _audit_contradiction(known, found, timezone.now())
            continue
        size += len(written.text)
        if size > _BYTES_AT_ONCE:
            requests |= insert.adopt_new(new)
            new, size = [], len(written.text)
        new.append(insert.NewRequest(found, written))
    return requests | insert.adopt_new(new)


def _read(
    request_id: str, written: redis_requests.RedisValue, *, is_known: bool
) -> WrittenRequest | None:
    try:
        return parse_request(request_id, written.text)
    except Malformed as exc:
        if not is_known and _is_new_value(request_id, written.text):
            metrics.malformed_requests.inc()
            logger.warning("malformed_request", request_id=request_id[:200], why=str(exc))
        return None


def _is_new_value(request_id: str, text: bytes) -> bool:
    """Say whether this value was not met here lately: each is counted and logged once."""
    value = (request_id, sha256(text).digest())
    with _lock:
        is_news = value not in _refused
        _refused[value] = None
        if len(_refused) > _REMEMBERED:
            _refused.popitem(last=False)
    return is_news


def _audit_contradiction(known: ApprovalRequest, found: WrittenRequest, now: datetime) -> None:
    """Audit, once, that Redis says of a known request what the database does not."""
    if _is_same(known, found):
        return
    told = AuditEvent.REQUEST_CONTRADICTED
    with transaction.atomic():
        agent = insert.agent_of(found, tenant_id=known.tenant_id)
        ApprovalRequest.objects.select_for_update().get(pk=known.pk)
        if AuditRecord.objects.filter(request_id=known.request_id, event=told).exists():
            return
        details = {"written": insert.body_digest(found)}
        record.write(told, agent, now, request=known, details=details)
    metrics.contradicted_requests.inc()
    logger.warning("request_contradicted", request_id=known.request_id)


def _is_same(known: ApprovalRequest, found: WrittenRequest) -> bool:
    return (
        known.session_id,
        known.tenant_id,
        known.user_id,
        known.action_type,
        known.message,
        known.context_digest,
    ) == (
        found.session_id,
        found.tenant_id,
        found.user_id,
        found.action_type,
        found.message,
        digest(found.context),
    )
