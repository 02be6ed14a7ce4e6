"""Gives an undecided request to another role when its term is over, if its policy says so."""

from __future__ import annotations

from datetime import datetime, timedelta

from hitl.actors import clock_actor
from hitl.adoption.insert import WAIT_SECONDS
from hitl.audit import record
from hitl.audit.hashing import exact
from hitl.delivery import after_commit
from hitl.delivery.wire import milliseconds
from hitl.models import ApprovalRequest
from hitl.policies import rules
from hitl.states import AuditEvent, OnTimeout, Origin


def is_due(request: ApprovalRequest, now: datetime) -> bool:
    """Say whether the request, whose term is over, escalates instead of expiring (wire.md, 3.6)."""
    rule = rules.rule_of(request)
    return (
        rule.on_timeout == OnTimeout.ESCALATE
        and request.escalated_at is None
        and _further_term_end(request, rule, now) > now
    )


def escalate(request: ApprovalRequest, now: datetime) -> bool:
    """Give the request to the other role for a further term; say whether this call did it.

    Needs a transaction. Of all processes that escalate or end the request at once, one changes
    the row. Votes stay (wire.md, 3.6).
    """
    rule = rules.rule_of(request)
    ends_at = _further_term_end(request, rule, now)
    overdue = ApprovalRequest.objects.overdue(now).filter(pk=request.pk, escalated_at=None)
    if not overdue.update(escalated_at=now, expires_at=ends_at):
        return False
    request.escalated_at, request.expires_at = now, ends_at
    details = {
        **rules.policy_details(request),
        "role": rule.escalate_to_role,
        "expiresAt": milliseconds(ends_at),
        "expiresAtExact": exact(ends_at),
    }
    record.write(
        AuditEvent.REQUEST_ESCALATED,
        clock_actor(request.tenant_id),
        now,
        request=request,
        details=details,
    )
    after_commit.refresh(request)
    after_commit.notify_desk(request)
    return True


def _further_term_end(request: ApprovalRequest, rule: rules.Rule, now: datetime) -> datetime:
    """Return when the further term ends.

    It begins now, however long ago the first one ended, so that the other role has all of it.
    An agent on Redis does not wait longer for that (wire.md, 5.3), and an approval that comes
    after it has stopped waiting is of no use.
    """
    ends_at = now + timedelta(seconds=rule.escalate_seconds or 0)
    if request.origin == Origin.REDIS:
        return min(ends_at, request.created_at + timedelta(seconds=WAIT_SECONDS))
    return ends_at
