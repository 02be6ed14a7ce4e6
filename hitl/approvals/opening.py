"""Opens the requests of REST clients and of the built-in agent (wire.md, 3.5).

A part of `hitl.services`, through which everything else calls it. Requests that agents wrote to
Redis are opened by `hitl.adoption`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from redis.exceptions import ResponseError

from dwp_project import clocks, exchange, wakeup
from dwp_project.exchange import Statement
from dwp_project.jsontext import compact, digest
from dwp_project.outages import DATABASE_AWAY
from hitl import errors, sessions
from hitl.actors import Actor
from hitl.adoption import adopt, redis_requests
from hitl.audit import decision_record, record
from hitl.audit.request_digest import opening_details
from hitl.delivery import after_commit, commands, outbox, redis_state, resync
from hitl.models import ApprovalRequest, Policy, SessionOwner
from hitl.policies import rules
from hitl.states import AuditEvent, Origin, Status

# As SQL, because each opening asks it, and to build it takes longer than to answer it.
_IS_KNOWN = "SELECT 1 FROM hitl_approvalrequest WHERE request_id = %s"
_KNOWN = f"""
    SELECT EXISTS (SELECT 1 FROM hitl_sessionowner WHERE session_id = %s),
           EXISTS ({_IS_KNOWN})"""  # noqa: S608 - a text of this module


class _IsAnothers(Exception):
    """The session is another user's: nothing of the opening is kept."""


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent asks: the action, its context as a JSON object, and the term in seconds.

    Without `timeout_seconds` the policy or the deployment gives the term, without `request_id`
    an id is generated.
    """

    session_id: str
    action_type: str
    message: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    timeout_seconds: int | None = None
    request_id: str | None = None
    agent_id: str = ""


def open_request(
    question: Question, actor: Actor, origin: Origin, *, now: datetime | None = None
) -> tuple[ApprovalRequest, bool]:
    """Open a request as `services.open_request` says."""
    now = now or clocks.now()
    try:
        return _open_in_session(question, actor, origin, now)
    except errors.RequestIdTaken as exc:
        if exc.is_foreign:
            _record_foreign_id(question, actor, now)
        raise


def _record_foreign_id(question: Question, actor: Actor, now: datetime) -> None:
    """Audit, in the actor's own chain, that they used the id of another tenant's request.

    The answer has said that the id is taken; nothing of the other tenant is recorded.
    """
    asked = ApprovalRequest(
        request_id=question.request_id or "",
        session_id=question.session_id,
        action_type=question.action_type,
        context_digest=digest(question.context),
    )
    with transaction.atomic():
        record.write(AuditEvent.REQUEST_REFUSED, actor, now, request=asked)


def _open_in_session(
    question: Question, actor: Actor, origin: Origin, now: datetime
) -> tuple[ApprovalRequest, bool]:
    # Before anything is locked: a large context takes its time.
    draft = _draft(question, actor, origin)
    is_owner = not (origin == Origin.REST and _is_used_by_another(question, actor))
    try:
        if is_owner:
            with transaction.atomic():
                return _open(draft, question, actor, now)
    except _IsAnothers:
        pass
    except IntegrityError:
        # Another transaction took the id first, in another session.
        with transaction.atomic():
            return _existing_request(question, actor)
    with transaction.atomic():
        record.write(AuditEvent.SESSION_REFUSED, actor, now, session_id=question.session_id)
    raise errors.SessionNotFound


def _is_used_by_another(question: Question, actor: Actor) -> bool:
    """Say whether somebody else uses a session that the database does not know: an agent on Redis,
    or the person for whom a deployment opened a request that the database has lost.

    A request that the actor opened in that session would answer the other's. What an agent wrote
    under the question's id is adopted first: that one came before.
    """
    [[(is_owned, is_known)]] = exchange.send(
        Statement(_KNOWN, [question.session_id, question.request_id])
    )
    if not (is_known or wakeup.is_paused()):
        _adopt(question.request_id)
    if is_owned or wakeup.is_paused():
        return False
    is_used = False
    with wakeup.redis_may_be_away("redis_away"):
        try:
            is_used = redis_requests.waiting_request(question.session_id) is not None
            lost = redis_state.marked_request(question.session_id) if is_used else None
            if lost is not None:
                is_used = (lost.tenant_id, lost.user_id) != (actor.tenant_id, actor.id)
        except ResponseError:
            is_used = True  # Redis answers: somebody else uses the key, with another type
    # The key may come from a request that was opened here and has just been committed.
    return is_used and not SessionOwner.objects.filter(session_id=question.session_id).exists()


def _adopt(request_id: str | None) -> None:
    """Adopt what an agent wrote under the id, if Redis answers."""
    with wakeup.redis_may_be_away("redis_away"):
        if request_id is not None and redis_requests.is_written(request_id):
            adopt.adopt_or_raise(request_id)


def _draft(question: Question, actor: Actor, origin: Origin) -> ApprovalRequest:
    """Return the request with the fields that need nothing of the database."""
    return ApprovalRequest(
        request_id=question.request_id or f"req_{uuid.uuid4().hex}",
        session_id=question.session_id,
        tenant_id=actor.tenant_id,
        user_id=actor.id,
        origin=origin,
        agent_id=question.agent_id,
        action_type=question.action_type,
        message=question.message,
        context_text=compact(question.context),
        context_digest=digest(question.context),
        body_digest=_body_digest(question, actor),
    )


def _open(
    request: ApprovalRequest, question: Question, actor: Actor, now: datetime
) -> tuple[ApprovalRequest, bool]:
    """Insert the draft, with its record, and end the transaction if it is the outermost one; or
    return the existing request of the question's id. Raises `_IsAnothers`."""
    origin = Origin(request.origin)
    owner = (actor.tenant_id, actor.id, origin)
    lock_chain = record.lock_statement(actor.tenant_id)
    # Somebody else may insert an id that the client chose, and lock the chain then: as everywhere,
    # the chain is locked last. A generated id is nobody else's.
    is_generated = question.request_id is None
    is_known = Statement(_IS_KNOWN, [request.request_id])
    _, owners, latest, policies, rows = exchange.send(
        *sessions.claim_statements(request.session_id, actor.tenant_id, actor.id, origin),
        sessions.latest_statement(request.session_id),
        rules.current_statement(actor.tenant_id),
        lock_chain if is_generated else is_known,
    )
    if owners != [owner]:
        raise _IsAnothers
    if rows and not is_generated:
        return _existing_request(question, actor)
    last = outbox.as_moment(latest[0][0]) if latest else None
    request.policy = rules.applying_of(policies, request.action_type)
    request.created_at = sessions.strictly_after(last, now)
    request.expires_at = now + timedelta(seconds=_term(question, request.policy))
    insertion = exchange.insert(request)
    if is_generated:
        before, heads = [insertion], rows
    else:
        before = []
        [(request.pk,)], heads = exchange.send(insertion, lock_chain)
    details = {
        "actionType": request.action_type,
        "origin": str(origin),
        **rules.policy_details(request),
        **opening_details(request, actor.id),
    }
    chain = record.locked_chain(actor.tenant_id, heads)
    fact = record.Fact(AuditEvent.REQUEST_OPENED, actor, now, request, details=details)
    entry, statements = record.append(chain, fact)
    with record.refusing_taken_numbers(entry):
        [inserted, *_] = exchange.send(*before, *statements, ends_transaction=True)
    if is_generated:
        [(request.pk,)] = inserted
    request._state.adding = False
    after_commit.run(lambda: _announce(request, after_commit.desk_messages(request)))
    return request, True


def _term(question: Question, policy: Policy | None) -> int:
    """Return the term in seconds: the question's or the default, at most the policy's
    (wire.md, 3.6)."""
    ceiling = policy.timeout_seconds if policy else None
    requested = question.timeout_seconds or ceiling or int(settings.HITL_DEFAULT_TIMEOUT_SECONDS)
    return min(requested, ceiling) if ceiling else requested


def _announce(request: ApprovalRequest, messages: Sequence[wakeup.Message] = ()) -> None:
    """Write a request that has just been committed to Redis, and publish the messages.

    If that fails, a publication for the session's earlier request may still be on its way: it
    was checked before this request was committed, and lapses `commands.VALID_SECONDS` after
    that. Until then the caller waits, so that no agent listens for the answer to this request
    and takes the other one for it.
    """
    committed_at = time.monotonic()
    with wakeup.redis_may_be_away("redis_away") as call:
        if commands.announce(request, after=messages) is False and (named := _one_before(request)):
            # The version before wrote that one, without a mark: no agent did.
            commands.announce(request, instead_of=named)
    if call.has_failed:
        resync.mark_missed(request)
        if _one_before(request) is not None:
            time.sleep(max(0, committed_at + commands.VALID_SECONDS - time.monotonic()))


def announce_again(request_id: str) -> None:
    """Write a pending request to Redis again: its process may have died before it did."""
    request = ApprovalRequest.objects.filter(request_id=request_id, status=Status.PENDING).first()
    if request is not None:
        _announce(request)


def _one_before(request: ApprovalRequest) -> str | None:
    """Return the id of the session's request before this one, empty if the database is away."""
    earlier = ApprovalRequest.objects.filter(session_id=request.session_id).exclude(pk=request.pk)
    try:
        return earlier.newest_first().values_list("request_id", flat=True).first()
    except DATABASE_AWAY:
        return ""  # waiting in vain is better than a wrong answer


def _existing_request(question: Question, actor: Actor) -> tuple[ApprovalRequest, bool]:
    """Return the existing request of the question's id, and False for not new.

    Raises `RequestIdTaken` unless it is the same question of the same person, and
    `RequestChanged` for an end that the audit does not have.
    """
    request = ApprovalRequest.objects.get(request_id=question.request_id)
    is_same = (request.tenant_id, request.body_digest) == (
        actor.tenant_id,
        _body_digest(question, actor),
    )
    if not is_same:
        raise errors.RequestIdTaken(is_foreign=request.tenant_id != actor.tenant_id)
    # The digest of the body is no part of what the audit vouches for.
    stored = (request.session_id, request.user_id, request.action_type, request.message)
    asked = (question.session_id, actor.id, question.action_type, question.message)
    is_unchanged = (*stored, request.context_digest) == (*asked, digest(question.context))
    if not is_unchanged or decision_record.unrecorded([request]):
        raise errors.RequestChanged
    if request.status == Status.PENDING:
        # The process that opened it may have died before it wrote to Redis, or may still be
        # about to.
        after_commit.run(lambda: _announce(request))
    return request, False


def _body_digest(question: Question, actor: Actor) -> str:
    return digest(
        [
            actor.id,
            question.session_id,
            question.action_type,
            question.message,
            question.context,
            question.timeout_seconds,
        ]
    )
