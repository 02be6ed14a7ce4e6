"""The only writer of a request's status: open, approve, reject, cancel, expire.

`hitl.approvals` says who may, counts the votes and moves the time of what escalates.

Every change is a conditional update that touches one row or none, and commits together
with its audit record and, for a decision, its signal. Redis hears of it after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from structlog.stdlib import get_logger

from dwp_project import wakeup
from dwp_project.outages import DATABASE_AWAY
from hitl import errors, metrics
from hitl.actors import Actor, clock_actor
from hitl.adoption import adopt
from hitl.approvals import escalation, opening, refusals, votes
from hitl.approvals.decisions import ProposedDecision
from hitl.approvals.opening import Question, announce_again
from hitl.audit import record
from hitl.delivery import after_commit, outbox, publisher
from hitl.models import ID_PATTERN, ApprovalRequest, OutboxEntry
from hitl.policies import rules
from hitl.sessions import claim_session
from hitl.states import DECIDED, EVENT_OF, TRANSITIONS, AuditEvent, Origin, Status

__all__ = [
    "Question",
    "announce_again",
    "approve",
    "cancel",
    "claim_session",
    "expire_overdue",
    "find",
    "open_request",
    "record_foreign",
    "reject",
    "settle",
    "wake_topic",
]

logger = get_logger(__name__)

# The reason where a client gives none (docs/reference/wire.md, 3.2).
_UNLESS_GIVEN = {Status.REJECTED: "User rejected"}


def wake_topic(request_id: str) -> str:
    """Return the wake-up topic on which a request's end is told."""
    return f"request:{request_id}"


def open_request(
    question: Question, actor: Actor, origin: Origin, *, now: datetime | None = None
) -> tuple[ApprovalRequest, bool]:
    """Open a request in `actor`'s name; return it and whether it is new.

    The same question under the same id again returns what stands. Raises
    `SessionNotFound` in somebody else's session, `RequestIdTaken` for another question
    under a known id (wire.md, 3.5).
    """
    if origin is Origin.REST and question.request_id is not None:
        # An agent may have written a question of this id a moment ago: then it is known first.
        known = ApprovalRequest.objects.filter(request_id=question.request_id)
        if not known.exists() and not wakeup.is_paused():
            adopt.adopt_request(question.request_id)
    return opening.open_request(question, actor, origin, now=now)


def find(request_id: str, tenant_id: str, *, now: datetime | None = None) -> ApprovalRequest:
    """Return the tenant's request, expired first if it is overdue; else `RequestNotFound`."""
    request = None
    if ID_PATTERN.fullmatch(request_id):  # PostgreSQL takes no NUL, and odd ids name nothing
        request = ApprovalRequest.objects.filter(request_id=request_id).first()
        if request is None or (
            request.origin == Origin.REDIS and not request.is_decided and not wakeup.is_paused()
        ):
            # An agent may have written it to Redis a moment ago, or something else since.
            request = adopt.adopt_request(request_id)
    if request is None or request.tenant_id != tenant_id:
        raise errors.RequestNotFound
    return settle(request, now=now)


def settle(request: ApprovalRequest, *, now: datetime | None = None) -> ApprovalRequest:
    """Return `request` as it stands: if its time is over, made `expired`, or escalated once."""
    now = now or timezone.now()
    while request.status == Status.PENDING and request.expires_at <= now:
        with transaction.atomic():
            if escalation.is_due(request, now):
                escalation.escalate(request, now)
            else:
                _leave_pending(request, Status.EXPIRED, clock_actor(request.tenant_id), now)
        # Another process may have done either, and a further term may be over as well.
        request.refresh_from_db()
    return request


def approve(
    request_id: str, actor: Actor, *, digest: str | None = None, now: datetime | None = None
) -> ApprovalRequest:
    """Record the yes of `actor`, who was shown a context of this `digest`.

    Returns the request approved or, where its policy wants more people to agree, still pending;
    a second yes of the same person changes nothing. Raises `RequestNotFound`, `MayNotDecide`,
    `RoleRequired`, `RequesterMayNotApprove`, `DigestDiffers`, `AlreadyDecided`,
    `RequestExpired`, `RequestCancelled`. Refusals, all but the last three, are audited.
    """
    return _decide(ProposedDecision(Status.APPROVED, actor, digest), request_id, now)


def reject(
    request_id: str,
    actor: Actor,
    *,
    reason: str = "",
    digest: str | None = None,
    now: datetime | None = None,
) -> ApprovalRequest:
    """Record the no of `actor`: one is enough. Raises as `approve` does, and `ReasonRequired`."""
    given = reason if reason.strip() else ""
    return _decide(ProposedDecision(Status.REJECTED, actor, digest, given), request_id, now)


def cancel(
    request_id: str, actor: Actor, *, reason: str = "", now: datetime | None = None
) -> ApprovalRequest:
    """Withdraw a pending request: nothing is signalled; raises as `approve` does."""
    return _decide(ProposedDecision(Status.CANCELLED, actor, reason=reason), request_id, now)


def record_foreign(request_ids: Iterable[str], actor: Actor, *, tried: str) -> None:
    """Have the audit keep that an operator tried to decide what is not theirs to see."""
    for request_id in request_ids:
        refusals.record_foreign(request_id, actor, timezone.now(), tried=tried)


def expire_overdue(*, now: datetime | None = None, limit: int = 100) -> int:
    """Expire or escalate up to `limit` overdue requests, each in its own transaction; return how
    many.

    Any number of processes may do this at once: each request expires in one of them.
    """
    now = now or timezone.now()
    due = ApprovalRequest.objects.overdue(now).select_related("policy").order_by("expires_at")
    done = (Status.EXPIRED, Status.PENDING)  # pending again: in its further term
    broken: set[str] = set()
    while True:
        count, before = 0, len(broken)
        for request in list(due.exclude(tenant_id__in=broken)[:limit]):
            if request.tenant_id in broken:
                continue
            try:
                count += settle(request, now=now).status in done
            except DATABASE_AWAY:
                raise
            except Exception as exc:
                # A chain that takes no record, say. It is its tenant's trouble, and nobody else's.
                broken.add(request.tenant_id)
                logger.error(
                    "request_not_expired",
                    request_id=request.request_id,
                    tenant=request.tenant_id,
                    error=str(exc).strip(),
                )
        if count or len(broken) == before:
            return count


def _decide(attempt: ProposedDecision, request_id: str, now: datetime | None) -> ApprovalRequest:
    now = now or timezone.now()
    try:
        request = find(request_id, attempt.actor.tenant_id, now=now)
    except errors.RequestNotFound:
        attempt.keep_if_foreign(request_id, now)
        raise
    while True:
        attempt.judge(request, now)
        if attempt.is_vote_again(request):
            return request
        if _done(attempt, request, now):
            return request
        # Somebody was faster, the time is over, or it has escalated and others decide now.
        request = settle(ApprovalRequest.objects.get(pk=request.pk), now=now)


def _done(attempt: ProposedDecision, request: ApprovalRequest, now: datetime) -> bool:
    """Do what was attempted if `request` still is as it was judged; say whether this did it."""
    needed = rules.rule_of(request).min_approvals
    try:
        with transaction.atomic():
            if attempt.to is Status.APPROVED and needed > 1:
                if not votes.count(request, attempt.actor, now):
                    return False
                if request.approvals < needed:
                    _record_vote(attempt, request, now)
                    return True
            return _leave_pending(
                request,
                attempt.to,
                attempt.actor,
                now,
                reason=attempt.reason or _UNLESS_GIVEN.get(attempt.to, ""),
                shown_digest=attempt.shown_digest,
            )
    except votes.VotedBefore:
        return False


def _record_vote(attempt: ProposedDecision, request: ApprovalRequest, now: datetime) -> None:
    details = _decision_details(request, attempt.shown_digest)
    record.write(AuditEvent.REQUEST_VOTED, attempt.actor, now, request=request, details=details)
    after_commit.refresh(request)
    after_commit.notify_desk(request)


def _leave_pending(
    request: ApprovalRequest,
    to: Status,
    actor: Actor,
    now: datetime,
    *,
    reason: str = "",
    shown_digest: str | None = None,
) -> bool:
    """Take the request from `pending` to `to` if it is still there; say whether this did it.

    The gate is the update's WHERE: of any number of transactions, one changes the row. Who may
    do this was judged by whether it has escalated, so that is part of it.
    """
    assert to in TRANSITIONS[Status.PENDING]
    still = ApprovalRequest.objects.filter(pk=request.pk, escalated_at=request.escalated_at)
    still = still.overdue(now) if to is Status.EXPIRED else still.undecided_at(now)
    change = {
        "status": to,
        "decided_at": now,
        "decided_by": actor.id,
        "decided_channel": actor.channel,
        "reason": reason,
        # An end without a decision has no outbox entry: this has a relay send it to Redis.
        "is_missed_by_redis": to not in DECIDED,
    }
    if not still.update(**change):
        return False
    for name, value in change.items():
        setattr(request, name, value)
    details = ({"reason": reason} if reason else {}) | _decision_details(request, shown_digest)
    record.write(EVENT_OF[to], actor, now, request=request, details=details)
    # Our own waiters first: with a frozen Redis the rest takes a second.
    after_commit.run(lambda: wakeup.publish(wake_topic(request.request_id)))
    if to in DECIDED:
        entry = outbox.enqueue(request, now)
        after_commit.run(lambda: _publish_signal(entry))
    else:
        after_commit.refresh(request)
    after_commit.notify_desk(request)
    after_commit.run(metrics.ended_requests.labels(str(to)).inc)
    return True


def _decision_details(request: ApprovalRequest, shown_digest: str | None) -> dict[str, Any]:
    """Return the audit details of a decision besides its actor and its reason."""
    details = rules.policy_details(request)
    if request.policy is not None and request.policy.min_approvals > 1:
        details |= votes.vote_details(request)
    return details | ({"shownDigest": shown_digest} if shown_digest else {})


def _publish_signal(entry: OutboxEntry) -> None:
    """Publish the signal at once, and wake a relay if it has to be sent again."""
    if wakeup.is_paused():
        return  # Redis failed a moment ago: the decision does not wait for the next failure
    if publisher.send([entry]).is_incomplete:
        wakeup.publish(outbox.TOPIC)
