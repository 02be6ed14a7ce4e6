"""Takes into the database what agents wrote to Redis, many questions at once
(docs/reference/wire.md, 5.3). A part of `hitl.adoption.adopt`, which says what is a question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone
from structlog.stdlib import get_logger

from dwp_project.jsontext import compact, digest
from dwp_project.wakeup import redis_may_be_away
from hitl import metrics
from hitl import sessions as session_owners
from hitl.actors import Actor
from hitl.adoption import redis_requests
from hitl.adoption.parser import WrittenRequest
from hitl.audit import record
from hitl.delivery import after_commit, resync
from hitl.models import ID_PATTERN, ApprovalRequest, AuditRecord
from hitl.policies import rules
from hitl.states import ActorKind, AuditEvent, Channel, Origin

logger = get_logger(__name__)

# How long a deployed agent waits for its answer, whatever it wrote (wire.md, 5.3).
WAIT_SECONDS = 300
# How exactly Redis tells a key's age: a question that its session does not wait for is not
# the newer of two that were written as close together as this.
_PRECISION = timedelta(milliseconds=2)


class NewRequest(NamedTuple):
    """What an agent wrote, as it was read and as it stood in Redis."""

    found: WrittenRequest
    written: redis_requests.RedisValue


def adopt_new(questions: Iterable[NewRequest]) -> dict[str, ApprovalRequest]:
    """Adopt what nobody knew a moment ago; return the requests by their ids, without those that
    are asked in somebody else's session."""
    # As of the moment for which Redis has told how old each is.
    now = timezone.now()
    taken: dict[str, ApprovalRequest] = {}
    # All processes insert ids in one order: those of one may stand in other sessions for another.
    for part in _split(sorted(questions, key=lambda question: question.found.request_id)):
        taken |= _adopt(part, now)
    return taken


def known_requests(request_ids: Iterable[str]) -> dict[str, ApprovalRequest]:
    """Return those of the requests that the database knows, by their ids."""
    # Asked only what can be an id: PostgreSQL takes no NUL.
    ids = [name for name in request_ids if ID_PATTERN.fullmatch(name)]
    found = ApprovalRequest.objects.filter(request_id__in=ids).order_by() if ids else ()
    return {request.request_id: request for request in found}


def agent_of(found: WrittenRequest, *, tenant_id: str | None = None) -> Actor:
    """Return the actor of what an agent wrote, in its own tenant or another."""
    return Actor(
        id=found.agent_id or found.user_id,
        tenant_id=tenant_id or found.tenant_id,
        kind=ActorKind.AGENT,
        channel=Channel.REDIS,
    )


def body_digest(found: WrittenRequest) -> str:
    """Return what tells one written question from another under its id."""
    return digest(
        [
            found.user_id,
            found.session_id,
            found.action_type,
            found.message,
            found.context,
            found.tenant_id,
        ]
    )


def _split(questions: Iterable[NewRequest]) -> Collection[list[NewRequest]]:
    """Return them in parts that can be adopted together: all of one tenant, whose chain takes
    their records, and of each session one."""
    parts: dict[tuple[str, int], list[NewRequest]] = {}
    asked: Counter[str] = Counter()
    for question in questions:
        found = question.found
        parts.setdefault((found.tenant_id, asked[found.session_id]), []).append(question)
        asked[found.session_id] += 1
    return parts.values()


def _adopt(questions: Sequence[NewRequest], now: datetime) -> dict[str, ApprovalRequest]:
    try:
        return _adopt_together(questions, now)
    except IntegrityError:
        # Another process was faster with one of these ids, in another session.
        if len(questions) == 1:
            if faster := known_requests([questions[0].found.request_id]):
                return faster
            raise
    return {name: one for question in questions for name, one in _adopt([question], now).items()}


def _adopt_together(questions: Sequence[NewRequest], now: datetime) -> dict[str, ApprovalRequest]:
    tenant_id = questions[0].found.tenant_id
    users = {question.found.session_id: question.found.user_id for question in questions}
    # Before anything is locked: a large context takes its time.
    drafts = {question.found.request_id: _draft(question.found) for question in questions}
    with transaction.atomic():
        owners = session_owners.claim_sessions(users, tenant_id, Origin.REDIS)
        rightful: list[NewRequest] = []
        refused: list[NewRequest] = []
        for question in questions:
            owner = owners[question.found.session_id]
            is_theirs = (owner.origin, owner.tenant_id) == (Origin.REDIS, tenant_id)
            (rightful if is_theirs else refused).append(question)
        # Another process was faster, while this one waited for the sessions.
        requests = known_requests(question.found.request_id for question in rightful)
        new = [question for question in rightful if question.found.request_id not in requests]
        if new:
            _complete(new, drafts, now)
            opened = [drafts[question.found.request_id] for question in new]
            requests |= {request.request_id: request for request in opened}
            ApprovalRequest.objects.bulk_create(opened)
            # The chain is locked last, as everywhere.
            record.write_all(
                tenant_id, [_audit_fact(question.found, drafts, now) for question in new]
            )
            after_commit.run(lambda: _update_redis(opened))
            after_commit.notify_desk(opened[0])
        for question in refused:
            _refuse(question.found, now)
    metrics.adopted_requests.inc(len(new))
    return requests


def _draft(found: WrittenRequest) -> ApprovalRequest:
    """Return the request as far as nobody needs to be asked."""
    return ApprovalRequest(
        request_id=found.request_id,
        session_id=found.session_id,
        tenant_id=found.tenant_id,
        user_id=found.user_id,
        origin=Origin.REDIS,
        agent_id=found.agent_id,
        action_type=found.action_type,
        message=found.message,
        context_text=compact(found.context),
        context_digest=digest(found.context),
        body_digest=body_digest(found),
        # Until an older answer is gone from its session's key, even if this process dies.
        is_missed_by_redis=True,
    )


def _complete(
    questions: Sequence[NewRequest], drafts: Mapping[str, ApprovalRequest], now: datetime
) -> None:
    """Give the drafts of one tenant's questions, of each session one, their policy and their
    times. Needs the lock of `claim_sessions`."""
    actions = {question.found.action_type for question in questions}
    applying = rules.applying_to_each(questions[0].found.tenant_id, actions)
    opened_at = _opened_at(questions)
    for found, written in questions:
        request, policy = drafts[found.request_id], applying[found.action_type]
        most = policy.timeout_seconds if policy else None
        term = min(WAIT_SECONDS, most) if most else WAIT_SECONDS
        request.policy = policy
        request.created_at = opened_at[found.request_id]
        request.expires_at = now + timedelta(seconds=term - written.age)


def _audit_fact(
    found: WrittenRequest, requests: Mapping[str, ApprovalRequest], now: datetime
) -> record.Fact:
    request = requests[found.request_id]
    details = {"actionType": request.action_type, "origin": str(Origin.REDIS)}
    details |= rules.policy_details(request)
    return record.Fact(AuditEvent.REQUEST_ADOPTED, agent_of(found), now, request, details=details)


def _opened_at(questions: Sequence[NewRequest]) -> dict[str, datetime]:
    """Return when each request was written, such that its session's newest question is the
    newest here too, in whatever order they are adopted. Needs the lock of `claim_sessions`.

    By the clock of Redis: that of this host, read before or after Redis answers, is off by
    however long that takes. The session's key is asked under the lock: with an earlier
    answer, a question asked and adopted meanwhile would become the older one.
    """
    sessions = [question.found.session_id for question in questions]
    waiting, last = _waited_for(sessions), session_owners.latest_opened_at(sessions)
    return {
        found.request_id: session_owners.strictly_after(last[found.session_id], written.at)
        if waiting[found.session_id] == found.request_id
        else _opened_before(found.session_id, waiting[found.session_id], written)
        for found, written in questions
    }


def _opened_before(session_id: str, waiting: str, written: redis_requests.RedisValue) -> datetime:
    """Return when a question was written that its session does not wait for."""
    newer = None if written.is_dated else known_requests([waiting]).get(waiting)
    if newer is not None and newer.session_id == session_id:
        # All that is known of when it was written is that its session has asked again since.
        return newer.created_at - timedelta(microseconds=1)
    return written.at - _PRECISION


def _refuse(found: WrittenRequest, now: datetime) -> None:
    """Audit, once, that an agent asks in a session that is somebody else's."""
    told = AuditEvent.SESSION_REFUSED
    marks = {"session_id": found.session_id, "tenant_id": found.tenant_id, "event": told}
    if not AuditRecord.objects.filter(actor_kind=ActorKind.AGENT, **marks).exists():
        details = {"requestId": found.request_id}
        record.write(told, agent_of(found), now, session_id=found.session_id, details=details)


def _waited_for(session_ids: Sequence[str]) -> dict[str, str]:
    """Return the request that each session's key names, the agent's own word for its newest
    question; an empty text for none."""
    with redis_may_be_away("redis_away"):
        named = redis_requests.waiting_requests(session_ids)
        return {name: waiting or "" for name, waiting in zip(session_ids, named, strict=True)}
    return dict.fromkeys(session_ids, "")


def _update_redis(requests: Sequence[ApprovalRequest]) -> None:
    resync.drop_older_signals(*requests)
    resync.clear_missed(*requests)
