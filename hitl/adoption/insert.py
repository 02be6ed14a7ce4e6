"""Inserts into the database what agents wrote to Redis, many requests at once
(docs/reference/wire.md, 5.3). `hitl.adoption.adopt` says which of them are new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction

from dwp_project import clocks
from dwp_project.jsontext import compact, digest
from dwp_project.wakeup import redis_may_be_away
from hitl import metrics, sessions
from hitl.actors import Actor
from hitl.adoption import redis_requests
from hitl.audit import record
from hitl.audit.request_digest import opening_details
from hitl.delivery import after_commit, redis_state, resync, withholding
from hitl.delivery.parser import WrittenRequest
from hitl.models import ApprovalRequest, AuditRecord, is_id
from hitl.policies import rules
from hitl.states import ActorKind, AuditEvent, Channel, Origin

# How long a deployed agent waits for its answer, whatever it wrote (wire.md, 5.3).
WAIT_SECONDS = 300
# How long an agent takes from one of its two writes to the other, at most. Chosen.
_ABOUT_TO_BE_NAMED = timedelta(seconds=2)
# PTTL counts milliseconds, and rounds.
_PRECISION = timedelta(milliseconds=2)


class NewRequest(NamedTuple):
    """What an agent wrote, and the value in Redis that it was read from."""

    request: WrittenRequest
    value: redis_requests.RedisValue


def adopt_new(questions: Iterable[NewRequest]) -> dict[str, ApprovalRequest]:
    """Adopt what the database did not know a moment ago; return the requests by their ids,
    without those in a session that is somebody else's."""
    now = clocks.now()
    adopted: dict[str, ApprovalRequest] = {}
    # All processes insert ids in one order, since another may know the same id in another session.
    for part in _split(sorted(questions, key=lambda question: question.request.request_id)):
        adopted |= _adopt(part, now)
    return adopted


def known_requests(request_ids: Iterable[str]) -> dict[str, ApprovalRequest]:
    """Return the requests that the database knows, by their ids."""
    # Only possible ids are looked up: PostgreSQL refuses a NUL.
    ids = [name for name in request_ids if is_id(name)]
    requests = ApprovalRequest.objects.filter(request_id__in=ids).order_by() if ids else ()
    return {request.request_id: request for request in requests}


def agent_of(written: WrittenRequest, *, tenant_id: str | None = None) -> Actor:
    """Return the actor of what an agent wrote, in its own tenant or another."""
    return Actor(
        id=written.agent_id or written.user_id,
        tenant_id=tenant_id or written.tenant_id,
        kind=ActorKind.AGENT,
        channel=Channel.REDIS,
    )


def body_digest(written: WrittenRequest) -> str:
    """Return the digest by which two questions under one id are compared."""
    return digest(
        [
            written.user_id,
            written.session_id,
            written.action_type,
            written.message,
            written.context,
            written.tenant_id,
        ]
    )


def _split(questions: Iterable[NewRequest]) -> Collection[list[NewRequest]]:
    """Split them into parts that can be adopted together: all of one tenant, whose chain takes
    their records, and at most one per session."""
    parts: dict[tuple[str, int], list[NewRequest]] = {}
    earlier: Counter[str] = Counter()
    for question in questions:
        session_id = question.request.session_id
        part = parts.setdefault((question.request.tenant_id, earlier[session_id]), [])
        part.append(question)
        earlier[session_id] += 1
    return parts.values()


def _adopt(questions: Sequence[NewRequest], now: datetime) -> dict[str, ApprovalRequest]:
    try:
        return _adopt_together(questions, now)
    except IntegrityError:
        # Another process was faster with one of these ids, in another session.
        if len(questions) == 1:
            if faster := known_requests([questions[0].request.request_id]):
                return faster
            raise
    adopted: dict[str, ApprovalRequest] = {}
    for question in questions:
        adopted |= _adopt([question], now)
    return adopted


def _adopt_together(questions: Sequence[NewRequest], now: datetime) -> dict[str, ApprovalRequest]:
    tenant_id = questions[0].request.tenant_id
    users = {question.request.session_id: question.request.user_id for question in questions}
    # Before anything is locked: a large context takes its time.
    drafts = {question.request.request_id: _draft(question.request) for question in questions}
    with transaction.atomic():
        owners = sessions.claim_sessions(users, tenant_id, Origin.REDIS)
        rightful: list[NewRequest] = []
        refused: list[NewRequest] = []
        for question in questions:
            owner = owners[question.request.session_id]
            is_theirs = (owner.origin, owner.tenant_id) == (Origin.REDIS, tenant_id)
            (rightful if is_theirs else refused).append(question)
        # Another process may have adopted some while this one waited for the sessions.
        requests = known_requests(question.request.request_id for question in rightful)
        new = [question for question in rightful if question.request.request_id not in requests]
        if new:
            _complete(new, drafts)
            opened = [drafts[question.request.request_id] for question in new]
            requests |= {request.request_id: request for request in opened}
            ApprovalRequest.objects.bulk_create(opened)
            # The chain is locked last, as everywhere.
            facts = [
                _audit_fact(
                    question.request, drafts, owners[question.request.session_id].user_id, now
                )
                for question in new
            ]
            record.write_all(tenant_id, facts)
            after_commit.run(lambda: _update_redis(opened))
            after_commit.notify_desk(opened[0])
        for written, value in refused:
            _refuse(written, now)
            # Its agent listens on the channel of this session all the same.
            sessions.dispute(written.session_id, value.written_at + withholding.WAITING)
    metrics.adopted_requests.inc(len(new))
    return requests


def _draft(written: WrittenRequest) -> ApprovalRequest:
    """Return the request with the fields that need neither Redis nor the database."""
    return ApprovalRequest(
        request_id=written.request_id,
        session_id=written.session_id,
        tenant_id=written.tenant_id,
        user_id=written.user_id,
        origin=Origin.REDIS,
        agent_id=written.agent_id,
        action_type=written.action_type,
        message=written.message,
        context_text=compact(written.context),
        context_digest=digest(written.context),
        body_digest=body_digest(written),
        # Until an older answer is gone from its session's key, even if this process dies.
        is_missed_by_redis=True,
    )


def _complete(questions: Sequence[NewRequest], drafts: Mapping[str, ApprovalRequest]) -> None:
    """Set the drafts' policies and times; all are of one tenant, and at most one per session. Needs
    the lock of `claim_sessions`."""
    actions = {question.request.action_type for question in questions}
    applying = rules.applying_to_each(questions[0].request.tenant_id, actions)
    opened_at = _opened_at(questions)
    for written, value in questions:
        draft, policy = drafts[written.request_id], applying[written.action_type]
        most = policy.timeout_seconds if policy else None
        term = min(WAIT_SECONDS, most) if most else WAIT_SECONDS
        draft.policy = policy
        draft.created_at = opened_at[written.request_id]
        draft.expires_at = value.written_at + timedelta(seconds=term)


def _audit_fact(
    written: WrittenRequest,
    requests: Mapping[str, ApprovalRequest],
    owner_user_id: str,
    now: datetime,
) -> record.Fact:
    request = requests[written.request_id]
    details: dict[str, Any] = {"actionType": request.action_type, "origin": str(Origin.REDIS)}
    details |= rules.policy_details(request) | opening_details(request, owner_user_id)
    return record.Fact(AuditEvent.REQUEST_ADOPTED, agent_of(written), now, request, details=details)


def _opened_at(questions: Sequence[NewRequest]) -> dict[str, datetime]:
    """Return when each request was written, corrected so that the question its session waits for
    is the newest in the database too, in whatever order they are adopted. Needs the lock of
    `claim_sessions`.

    Redis says when it answered: a time read here before or after that is wrong by as long as the
    answer takes. Two processes may convert it to the database's clock with a difference of
    milliseconds, so times alone do not order two questions of a session: the one it waits for is
    put after all that are not clearly younger, and one that is not clearly younger before that one.
    The session's key is read under the lock: with an earlier answer, a question that was written
    and adopted meanwhile would become the older one.
    """
    session_ids = [question.request.session_id for question in questions]
    waited_for = _waited_for(session_ids)
    last = sessions.latest_opened_at(session_ids)
    asked_since = {
        waited_for[written.session_id]
        for written, _ in questions
        if waited_for[written.session_id] != written.request_id
    }
    current = known_requests(asked_since)
    # The other time was converted by another process, which knows the clocks about as well.
    close = 2 * clocks.uncertainty_of(redis_state.distant_redis) + _PRECISION
    opened_at: dict[str, datetime] = {}
    for written, value in questions:
        session_id, written_at = written.session_id, value.written_at
        newer = current.get(waited_for[session_id])
        if waited_for[session_id] == written.request_id:
            newest = last[session_id]
            younger_by = newest - written_at if newest is not None and value.is_dated else close
            # A younger question is about to be named: agents write the request's key first. One
            # that seems much younger is of unknown age.
            if not close < younger_by < _ABOUT_TO_BE_NAMED:
                written_at = sessions.strictly_after(newest, written_at)
        elif (
            newer is not None
            and newer.session_id == session_id
            and not (value.is_dated and written_at > newer.created_at + close)
        ):
            # Its session has asked again since; of one without age, that is all that is known. One
            # that is clearly younger is about to be named.
            written_at = min(written_at, newer.created_at - timedelta(microseconds=1))
        opened_at[written.request_id] = written_at
    return opened_at


def _refuse(written: WrittenRequest, now: datetime) -> None:
    """Audit, once, that an agent asks in a session that is somebody else's."""
    event = AuditEvent.SESSION_REFUSED
    of_session = {"session_id": written.session_id, "tenant_id": written.tenant_id, "event": event}
    if not AuditRecord.objects.filter(actor_kind=ActorKind.AGENT, **of_session).exists():
        details = {"requestId": written.request_id}
        record.write(event, agent_of(written), now, session_id=written.session_id, details=details)


def _waited_for(session_ids: Sequence[str]) -> dict[str, str]:
    """Return the request that each session's key names, or an empty text: the agent itself names
    its newest question there."""
    with redis_may_be_away("redis_away"):
        request_ids = redis_requests.waiting_requests(session_ids)
        return {
            session_id: request_id or ""
            for session_id, request_id in zip(session_ids, request_ids, strict=True)
        }
    return dict.fromkeys(session_ids, "")


def _update_redis(requests: Sequence[ApprovalRequest]) -> None:
    resync.drop_older_signals(*requests)
    resync.clear_missed(*requests)
