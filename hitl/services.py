"""The only writer of a request's status: open, approve, reject, cancel, expire.

`hitl.approvals` checks permissions, counts votes and extends the term of what escalates.

Every change is a conditional update that touches one row or none, and commits together
with its audit record and, for a decision, its outbox entry. Redis is written after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import transaction
from structlog.stdlib import get_logger

from dwp_project import clocks, exchange, wakeup
from dwp_project.jsontext import InvalidJSON
from dwp_project.outages import DATABASE_AWAY
from hitl import errors, metrics
from hitl.actors import Actor, clock_actor
from hitl.adoption import adopt
from hitl.approvals import decisions, escalation, foreign, opening, permissions, votes
from hitl.approvals.decisions import ProposedDecision
from hitl.approvals.opening import Question, announce_again
from hitl.audit import record
from hitl.audit.request_digest import request_digest as digest_of
from hitl.delivery import after_commit, outbox, publisher
from hitl.models import ApprovalRequest, AuditRecord, is_id
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
    "read",
    "record_foreign",
    "reject",
    "settle",
    "wake_topic",
]

logger = get_logger(__name__)

# The reason of a decision whose client gives none (docs/reference/wire.md, 3.2).
_DEFAULT_REASON = {Status.REJECTED: "User rejected"}


def wake_topic(request_id: str) -> str:
    """Return the wake-up topic that is published when the request ends."""
    return f"request:{request_id}"


def open_request(
    question: Question, actor: Actor, origin: Origin, *, now: datetime | None = None
) -> tuple[ApprovalRequest, bool]:
    """Open a request in the actor's name; return it and whether it is new (wire.md, 3.5).

    The same question under the same id again returns the existing request. Raises
    `SessionNotFound` in somebody else's session and `RequestIdTaken` for another question
    under an existing id.
    """
    return opening.open_request(question, actor, origin, now=now)


def find(request_id: str, tenant_id: str, *, now: datetime | None = None) -> ApprovalRequest:
    """Return the request as members of the tenant see it, settled first (wire.md, 3.3).

    Raises `RequestNotFound` for an unknown id, and for another tenant's.
    """
    stored = None
    # PostgreSQL refuses a NUL.
    if is_id(request_id):
        # Another tenant's request is not even read: it takes the same work as an unknown one.
        stored = permissions.visible_in(tenant_id).filter(request_id=request_id).first()
    return settle(_current(request_id, tenant_id, stored), now=now)


def _current(request_id: str, tenant_id: str, stored: ApprovalRequest | None) -> ApprovalRequest:
    """Return the request that is `stored`, or that an agent has written to Redis; raises
    `RequestNotFound`."""
    request = stored
    if is_id(request_id) and (
        request is None
        or (request.origin == Origin.REDIS and not request.is_decided and not wakeup.is_paused())
    ):
        # An agent may have written it to Redis and nobody has read it yet, or changed it since.
        request = adopt.adopt_request(request_id)
    if request is None or not permissions.may_see(tenant_id, request):
        raise errors.RequestNotFound
    return request


def read(request_id: str, tenant_id: str, *, now: datetime | None = None) -> ApprovalRequest:
    """Return the request as `find` does, for somebody who may act on its end.

    Raises `RequestNotFound`, and `RequestChanged` for an end that the audit does not have.
    """
    request = find(request_id, tenant_id, now=now)
    decisions.check_recorded(request)
    return request


def settle(request: ApprovalRequest, *, now: datetime | None = None) -> ApprovalRequest:
    """Return the request as it is now: if its term is over, it escalates once, or expires.

    Time is compared with `now`, the present unless a test gives another (wire.md, 3.3 and 3.6).
    """
    now = now or clocks.now()
    while request.status == Status.PENDING and request.expires_at <= now:
        with transaction.atomic():
            if escalation.is_due(request, now):
                escalation.escalate(request, now)
            else:
                _leave_pending(request, Status.EXPIRED, clock_actor(request.tenant_id), now)
        # Another process may have done either first, and the further term may be over as well.
        request.refresh_from_db()
    return request


def approve(
    request_id: str,
    actor: Actor,
    *,
    digest: str | None = None,
    request_digest: str | None = None,
    comment: str = "",
    now: datetime | None = None,
) -> ApprovalRequest:
    """Approve the request in the actor's name, or add their vote (wire.md, 3.1, 3.2 and 3.6).

    `digest` is the 64 hexadecimal digits of the context that the actor was shown, and
    `request_digest` those of all that they were shown, if known. The comment is kept with the
    request, that of a vote in its audit record alone.
    Returns the approved request or, where its policy needs more votes, the pending one; a second
    vote of the same person changes nothing. Raises `RequestNotFound`, `MayNotDecide`,
    `RoleRequired`, `RequesterMayNotApprove`, `DigestDiffers`, `RequestChanged`, `AlreadyDecided`,
    `RequestExpired` and `RequestCancelled`. All but the last three are audited.
    """
    proposed = ProposedDecision(
        Status.APPROVED,
        actor,
        digest,
        shown_request_digest=request_digest,
        comment=comment if comment.strip() else "",
    )
    return _decide(proposed, request_id, now)


def reject(
    request_id: str,
    actor: Actor,
    *,
    reason: str = "",
    digest: str | None = None,
    request_digest: str | None = None,
    now: datetime | None = None,
) -> ApprovalRequest:
    """Reject the request in the actor's name: one person is enough (wire.md, 3.2 and 3.6).

    `digest` and `request_digest` are as for `approve`. Raises what `approve` raises, but for
    `RequesterMayNotApprove`, and `ReasonRequired` where the policy wants a reason.
    """
    reason = reason if reason.strip() else ""
    proposed = ProposedDecision(Status.REJECTED, actor, digest, reason, request_digest)
    return _decide(proposed, request_id, now)


def cancel(
    request_id: str, actor: Actor, *, reason: str = "", now: datetime | None = None
) -> ApprovalRequest:
    """Withdraw a pending request; no signal is sent (wire.md, 3.5).

    Raises `RequestNotFound`, `MayNotDecide`, `AlreadyDecided`, `RequestExpired` and
    `RequestCancelled`.
    """
    return _decide(ProposedDecision(Status.CANCELLED, actor, reason=reason), request_id, now)


def record_foreign(request_ids: Iterable[str], actor: Actor, *, tried: str) -> None:
    """Audit that an operator tried to decide requests that they do not see.

    `tried` is `approve`, `reject` or `cancel`. Ids that name no request of another tenant are
    passed over (wire.md, 3.6).
    """
    for request_id in request_ids:
        foreign.record(request_id, actor, clocks.now(), tried=tried)


def expire_overdue(*, now: datetime | None = None, limit: int = 100) -> int:
    """Expire or escalate up to `limit` overdue requests; return how many.

    Each is settled in its own transaction. Any number of processes may do this at once: each
    request expires in one of them. Where a request cannot be settled, its tenant is left for the
    next call.
    """
    now = now or clocks.now()
    due = ApprovalRequest.objects.overdue(now).select_related("policy").order_by("expires_at")
    settled_statuses = (Status.EXPIRED, Status.PENDING)  # pending: it has escalated
    failed_tenants: set[str] = set()
    while True:
        count, before = 0, len(failed_tenants)
        for request in list(due.exclude(tenant_id__in=failed_tenants)[:limit]):
            if request.tenant_id in failed_tenants:
                continue
            try:
                count += settle(request, now=now).status in settled_statuses
            except DATABASE_AWAY:
                raise
            except Exception as exc:
                # A chain that takes no record, for example, must not stop other tenants.
                failed_tenants.add(request.tenant_id)
                logger.error(
                    "request_not_expired",
                    request_id=request.request_id,
                    tenant=request.tenant_id,
                    error=str(exc).strip(),
                )
        if count or len(failed_tenants) == before:
            return count


def _decide(proposed: ProposedDecision, request_id: str, now: datetime | None) -> ApprovalRequest:
    now = now or clocks.now()
    try:
        request, records = _find_to_decide(request_id, proposed.actor.tenant_id, now)
    except errors.RequestNotFound:
        proposed.record_if_foreign(request_id, now)
        raise
    while True:
        proposed.check(request, now, records)
        records = None
        if proposed.is_repeated_vote(request):
            return request
        if _apply(proposed, request, now):
            return request
        # Somebody else decided first, the term is over, or it escalated and others decide now.
        request = settle(ApprovalRequest.objects.get(pk=request.pk), now=now)


def _find_to_decide(
    request_id: str, tenant_id: str, now: datetime
) -> tuple[ApprovalRequest, list[AuditRecord] | None]:
    """Return the request as `find` does, and its audit records if they were read with it."""
    stored, records = decisions.read(request_id, tenant_id) if is_id(request_id) else (None, None)
    request = settle(_current(request_id, tenant_id, stored), now=now)
    # What has just been adopted, or changed with time, has other records.
    return request, records if request is stored and request.expires_at > now else None


def _apply(proposed: ProposedDecision, request: ApprovalRequest, now: datetime) -> bool:
    """Carry out the decision if the request has not changed since the check; say whether it did."""
    needed = rules.rule_of(request).min_approvals
    try:
        with transaction.atomic():
            if proposed.to is Status.APPROVED and needed > 1:
                if not votes.add(request, proposed.actor, now):
                    return False
                if request.approvals < needed:
                    _record_vote(proposed, request, now)
                    return True
            return _leave_pending(
                request,
                proposed.to,
                proposed.actor,
                now,
                reason=proposed.reason or _DEFAULT_REASON.get(proposed.to, ""),
                comment=proposed.comment,
                shown_digest=proposed.shown_digest,
            )
    except votes.AlreadyVoted:
        return False
    except votes.VotesDiffer:
        proposed.refuse_changed(request, now, differing=["votes"])
        return False


def _record_vote(proposed: ProposedDecision, request: ApprovalRequest, now: datetime) -> None:
    details = _decision_details(request, proposed.shown_digest, comment=proposed.comment)
    voted_at = request.not_before_opening(now)
    record.write(
        AuditEvent.REQUEST_VOTED, proposed.actor, voted_at, request=request, details=details
    )
    after_commit.refresh(request)
    after_commit.notify_desk(request)


def _leave_pending(
    request: ApprovalRequest,
    to: Status,
    actor: Actor,
    now: datetime,
    *,
    reason: str = "",
    comment: str = "",
    shown_digest: str | None = None,
) -> bool:
    """Move the request from `pending` to `to` if it still is pending; say whether this did it.

    The gate is the update's WHERE: of any number of transactions, one changes the row. It
    compares `escalated_at` too, because the check of permissions depended on it. Ends the
    transaction if it is the outermost one.
    """
    assert to in TRANSITIONS[Status.PENDING]
    decided_at = request.not_before_opening(now)
    change = {
        "status": to,
        "decided_at": decided_at,
        "decided_by": actor.id,
        "decided_channel": actor.channel,
        "reason": reason,
        "comment": comment,
        # An end without a decision has no outbox entry: `hitl.delivery.resync` sends it by this.
        "is_missed_by_redis": to not in DECIDED,
    }
    changed, heads = exchange.send(
        decisions.leave_pending(request, change, now), record.lock_statement(actor.tenant_id)
    )
    if not changed:
        return False
    for name, value in change.items():
        setattr(request, name, value)
    details = _decision_details(request, shown_digest, reason=reason, comment=comment)
    chain = record.locked_chain(actor.tenant_id, heads)
    fact = record.Fact(EVENT_OF[to], actor, decided_at, request, details=details)
    decision_record, statements = record.append(chain, fact)
    # Our own waiters first, because with a frozen Redis the rest takes a second.
    topic = wake_topic(request.request_id)
    with record.refusing_taken_numbers(decision_record):
        if to in DECIDED:
            decided = outbox.enqueue(request, decision_record, decided_at, *statements)
            after_commit.run(lambda: wakeup.publish_here(topic))
            after_commit.run(lambda: _publish_signal(decided))
        else:
            exchange.send(*statements, ends_transaction=True)
            after_commit.run(lambda: wakeup.publish(topic))
            after_commit.refresh(request, decision_record)
    after_commit.notify_desk(request)
    after_commit.run(metrics.ended_requests.labels(str(to)).inc)
    return True


def _decision_details(
    request: ApprovalRequest, shown_digest: str | None, **said: str
) -> dict[str, Any]:
    """Return the audit details of a decision besides who made it; `said` are its reason and its
    comment, of which empty ones are left out."""
    details = {name: text for name, text in said.items() if text} | rules.policy_details(request)
    # A decision has compared the stored context with its digest; what ends without one has not, and
    # ends even if somebody made the context unreadable.
    is_compared = request.is_decided or request.status == Status.PENDING
    with suppress(InvalidJSON):
        details["requestDigest"] = digest_of(
            request, context_digest=request.context_digest if is_compared else None
        )
    if request.policy is not None and request.policy.min_approvals > 1:
        details |= votes.vote_details(request)
    return details | ({"shownDigest": shown_digest} if shown_digest else {})


def _publish_signal(decided: outbox.NewEntry) -> None:
    """Publish the signal at once, wake who waits in other processes, and wake the relay of this
    one if it has to be sent again."""
    if wakeup.is_paused():
        return  # Redis failed a moment ago: the decision does not wait for the next failure
    if publisher.send_first(decided, wake_topic(decided.entry.request.request_id)).is_incomplete:
        outbox.wake_relay()
