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


class ActorKind(models.TextChoices):
    USER = "user", _("user")
    OPERATOR = "operator", _("operator")
    AGENT = "agent", _("agent")
    CLOCK = "clock", _("clock")


class Channel(models.TextChoices):
    """Where an action came in."""

    REST = "rest", _("REST")
    ADMIN = "admin", _("admin")
    STREAM = "stream", _("stream")
    REDIS = "redis", _("Redis")
    CLOCK = "clock", _("clock")


class AuditEvent(models.TextChoices):
    """What an audit record tells of: subject and action."""

    REQUEST_OPENED = "request:opened", _("request opened")
    REQUEST_APPROVED = "request:approved", _("request approved")
    REQUEST_REJECTED = "request:rejected", _("request rejected")
    REQUEST_EXPIRED = "request:expired", _("request expired")
    REQUEST_CANCELLED = "request:cancelled", _("request cancelled")
    REQUEST_ADOPTED = "request:adopted", _("request adopted")
    REQUEST_CONTRADICTED = "request:contradicted", _("request contradicted in Redis")
    SESSION_REFUSED = "session:refused", _("use of another's session refused")


# The audit event of each way out of `pending`.
EVENT_OF: dict[Status, AuditEvent] = {
    Status.APPROVED: AuditEvent.REQUEST_APPROVED,
    Status.REJECTED: AuditEvent.REQUEST_REJECTED,
    Status.EXPIRED: AuditEvent.REQUEST_EXPIRED,
    Status.CANCELLED: AuditEvent.REQUEST_CANCELLED,
}


class Outcome(models.TextChoices):
    """What became of a signal in the outbox."""

    PENDING = "pending", _("pending")
    DELIVERED = "delivered", _("delivered")
    SUPERSEDED = "superseded", _("superseded")
    UNHEARD = "unheard", _("unheard")
