"""The states of an approval request and the only ways between them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    PENDING = "pending", _("pending")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    EXPIRED = "expired", _("expired")
    CANCELLED = "cancelled", _("cancelled")


# Every decision, and every end without one, starts from `pending` and is final.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.APPROVED, Status.REJECTED, Status.EXPIRED, Status.CANCELLED}),
    Status.APPROVED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.CANCELLED: frozenset(),
}
DECIDED = frozenset({Status.APPROVED, Status.REJECTED})


class Origin(models.TextChoices):
    """Who opened a request, and so who owns its session."""

    AGENT = "agent", _("built-in agent")
    REST = "rest", _("REST client")
    REDIS = "redis", _("agent on Redis")


class OnTimeout(models.TextChoices):
    """What happens to a request that nobody decides in time."""

    EXPIRE = "expire", _("expires")
    ESCALATE = "escalate", _("goes to another role")


class Risk(models.TextChoices):
    """How much harm an action can do, from the least to the most, as its policy says."""

    LOW = "low", _("low risk")
    MEDIUM = "medium", _("medium risk")
    HIGH = "high", _("high risk")
    CRITICAL = "critical", _("critical risk")


# What lists are ordered by: an action without a risk comes before one with any.
RISK_RANK: dict[str, int] = {"": 0} | {risk: n for n, risk in enumerate(Risk.values, start=1)}
# Requests of these risks are decided one at a time, each on its own page.
DECIDED_ALONE = frozenset({Risk.HIGH, Risk.CRITICAL})


class ActorKind(models.TextChoices):
    USER = "user", _("user")
    OPERATOR = "operator", _("operator")
    AGENT = "agent", _("agent")
    CLOCK = "clock", _("clock")
    SYSTEM = "system", _("system")


class Channel(models.TextChoices):
    """The way an action came in."""

    REST = "rest", _("REST")
    ADMIN = "admin", _("admin")
    STREAM = "stream", _("stream")
    REDIS = "redis", _("Redis")
    CLOCK = "clock", _("clock")
    COMMAND = "command", _("command line")


class AuditEvent(models.TextChoices):
    """The event of an audit record: subject and action."""

    REQUEST_OPENED = "request:opened", _("request opened")
    REQUEST_APPROVED = "request:approved", _("request approved")
    REQUEST_REJECTED = "request:rejected", _("request rejected")
    REQUEST_EXPIRED = "request:expired", _("request expired")
    REQUEST_CANCELLED = "request:cancelled", _("request cancelled")
    REQUEST_ADOPTED = "request:adopted", _("request adopted")
    REQUEST_CONTRADICTED = "request:contradicted", _("request contradicted in Redis")
    SESSION_REFUSED = "session:refused", _("use of another's session refused")
    REQUEST_REFUSED = "request:refused", _("opening under another's request id refused")
    REQUEST_VOTED = "request:voted", _("approval given, more needed")
    REQUEST_ESCALATED = "request:escalated", _("request escalated")
    DECISION_REFUSED = "decision:refused", _("decision refused")
    POLICY_CREATED = "policy:created", _("policy created")
    POLICY_CHANGED = "policy:changed", _("policy changed")
    POLICY_RETIRED = "policy:retired", _("policy retired")
    REASONS_CHANGED = "reasons:changed", _("rejection reasons changed")
    MEMBERSHIP_ADDED = "membership:added", _("membership added")
    MEMBERSHIP_CHANGED = "membership:changed", _("membership changed")
    MEMBERSHIP_REMOVED = "membership:removed", _("membership removed")
    USER_CHANGED = "user:changed", _("user account changed")
    SIGNED_IN = "user:signed_in", _("signed in")
    SIGNED_OUT = "user:signed_out", _("signed out")
    SIGN_IN_FAILED = "user:sign_in_failed", _("sign-in failed")
    SIGN_IN_LOCKED = "user:sign_in_locked", _("sign-ins locked")
    SIGN_IN_UNLOCKED = "user:sign_in_unlocked", _("sign-ins unlocked")
    AUDIT_EXPORTED = "audit:exported", _("audit records exported")
    AUDIT_VERIFIED = "audit:verified", _("audit chain verified")
    CHECKPOINTS_REWRITTEN = "checkpoints:rewritten", _("lost checkpoint file written again")
    BREAK_ACKNOWLEDGED = "audit:break_acknowledged", _("break of the audit chain acknowledged")
    BASELINE = "audit:baseline", _("state of the tables written down")
    TENANT_ADDED = "tenant:added", _("tenant added")
    TENANT_CHANGED = "tenant:changed", _("tenant changed")
    TENANT_REMOVED = "tenant:removed", _("tenant removed")
    DEPLOYMENT_RENEWED = "deployment:renewed", _("restored or copied database put to use")


# The audit events by which a request comes to be.
OPENINGS = (AuditEvent.REQUEST_OPENED, AuditEvent.REQUEST_ADOPTED)
# The audit event of each way out of `pending`.
EVENT_OF: dict[Status, AuditEvent] = {
    Status.APPROVED: AuditEvent.REQUEST_APPROVED,
    Status.REJECTED: AuditEvent.REQUEST_REJECTED,
    Status.EXPIRED: AuditEvent.REQUEST_EXPIRED,
    Status.CANCELLED: AuditEvent.REQUEST_CANCELLED,
}


class DeliveryOutcome(models.TextChoices):
    """How far a signal in the outbox has come (wire.md, 5.3)."""

    PENDING = "pending", _("pending")
    DELIVERED = "delivered", _("delivered")
    SUPERSEDED = "superseded", _("superseded")
    UNHEARD = "unheard", _("unheard")
    # Never sent: the audit does not have this decision.
    REFUSED = "refused", _("refused")
    # Not sent: another agent of the session could have taken it for its own answer.
    WITHHELD = "withheld", _("withheld")
