"""What is kept for good: requests, whose session is whose, signals to send, audit records."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from dwp_project.jsontext import parse
from hitl.states import DECIDED, ActorKind, AuditEvent, Channel, Origin, Outcome, Status

# Ids of requests and sessions (docs/reference/wire.md, 3.5).
ID_PATTERN = re.compile(r"[A-Za-z0-9._:~@-]{1,128}")


class ApprovalRequestQuerySet(models.QuerySet["ApprovalRequest"]):
    def pending(self) -> ApprovalRequestQuerySet:
        return self.filter(status=Status.PENDING)

    def overdue(self, now: datetime) -> ApprovalRequestQuerySet:
        return self.pending().filter(expires_at__lte=now)

    def newest_first(self) -> ApprovalRequestQuerySet:
        return self.order_by("-created_at", "-pk")

    def undecided_at(self, now: datetime) -> ApprovalRequestQuerySet:
        return self.pending().filter(expires_at__gt=now)


class ApprovalRequest(models.Model):
    """One question of one agent, and its answer.

    `status` changes only in `hitl.services`, from `pending` to one final state.
    """

    request_id = models.CharField(_("request id"), max_length=128, unique=True)
    session_id = models.CharField(_("session"), max_length=128)
    tenant_id = models.CharField(_("tenant"), max_length=255)
    user_id = models.CharField(_("requester"), max_length=255)
    origin = models.CharField(_("origin"), max_length=8, choices=Origin.choices)
    agent_id = models.CharField(_("agent"), max_length=255, blank=True)
    action_type = models.CharField(_("action"), max_length=128)
    message = models.TextField(_("message"), blank=True)
    # JSON text, not a JSON column: what was decided on stays what it was, to the order of its
    # members, on every database.
    context_text = models.TextField(_("context"))
    context_digest = models.CharField(_("context digest"), max_length=64)
    # Tells the same request sent again from another one under its id.
    body_digest = models.CharField(max_length=64)
    status = models.CharField(
        _("status"), max_length=16, choices=Status.choices, default=Status.PENDING
    )
    created_at = models.DateTimeField(_("opened at"))
    expires_at = models.DateTimeField(_("expires at"))
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decided_by = models.CharField(_("decided by"), max_length=255, blank=True)
    decided_channel = models.CharField(
        _("decided in"), max_length=8, choices=Channel.choices, blank=True
    )
    reason = models.TextField(_("reason"), blank=True)
    # Redis could not be told of its opening, or of its end without a decision: hitl.missed.
    is_missed_by_redis = models.BooleanField(default=False)

    objects = ApprovalRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("approval request")
        verbose_name_plural = _("approval requests")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant_id", "-id"], name="request_of_tenant"),
            models.Index(fields=["tenant_id", "status", "-id"], name="request_of_tenant_by_status"),
            models.Index(fields=["session_id", "-created_at"], name="request_of_session"),
            models.Index(
                fields=["expires_at"], name="request_due", condition=models.Q(status="pending")
            ),
            models.Index(
                fields=["id"],
                name="request_missed_by_redis",
                condition=models.Q(is_missed_by_redis=True),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="request_decided_when_final",
                condition=models.Q(status="pending", decided_at__isnull=True)
                | (~models.Q(status="pending") & models.Q(decided_at__isnull=False)),
            )
        ]

    def __str__(self) -> str:
        return self.request_id

    @property
    def context(self) -> Any:
        """The context as JSON value."""
        return parse(self.context_text)

    @property
    def is_decided(self) -> bool:
        return self.status in DECIDED


class SessionOwner(models.Model):
    """Who used a session first, and so owns it (docs/reference/wire.md, 3.5).

    Redis keys carry no tenant: whoever may open a request in a session answers its agent.
    """

    session_id = models.CharField(_("session"), max_length=128, unique=True)
    tenant_id = models.CharField(_("tenant"), max_length=255)
    user_id = models.CharField(_("user"), max_length=255)
    origin = models.CharField(_("origin"), max_length=8, choices=Origin.choices)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("session owner")
        verbose_name_plural = _("session owners")

    def __str__(self) -> str:
        return f"{self.session_id} · {self.tenant_id} · {self.user_id}"


class OutboxQuerySet(models.QuerySet["OutboxEntry"]):
    def pending(self) -> OutboxQuerySet:
        return self.filter(outcome=Outcome.PENDING)

    def due(self, now: datetime) -> OutboxQuerySet:
        return self.pending().filter(due_at__lte=now)


class OutboxEntry(models.Model):
    """A signal that must reach an agent, committed with the decision it tells of."""

    request = models.OneToOneField(
        ApprovalRequest, on_delete=models.PROTECT, related_name="outbox_entry"
    )
    # The exact bytes of every publication, first or repeated.
    signal = models.TextField(_("signal"))
    created_at = models.DateTimeField(_("created at"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    receivers = models.PositiveIntegerField(_("receivers"), default=0)
    outcome = models.CharField(
        _("outcome"), max_length=16, choices=Outcome.choices, default=Outcome.PENDING
    )
    attempted_at = models.DateTimeField(_("last attempt at"), null=True, blank=True)
    # When the agent had the decision without it, because this house runs the agent itself.
    heard_at = models.DateTimeField(null=True, blank=True)
    # When a relay may take it up; a relay that does so moves it on before it sends.
    due_at = models.DateTimeField(_("next attempt at"))
    # Why the last attempt did not reach Redis; empty if it did.
    error = models.CharField(_("last error"), max_length=255, blank=True)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("outbox entry")
        verbose_name_plural = _("outbox entries")
        indexes = [
            models.Index(
                fields=["due_at"], name="outbox_due", condition=models.Q(outcome="pending")
            )
        ]

    def __str__(self) -> str:
        return f"{self.request} · {self.get_outcome_display()}"


class AuditChain(models.Model):
    """The head of one tenant's chain; its row lock puts the records in one order.

    `tenant_id` is empty for the deployment's own chain.
    """

    tenant_id = models.CharField(_("tenant"), max_length=255, unique=True)
    last_sequence = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return self.tenant_id or "(deployment)"


class AuditRecord(models.Model):
    """One fact, linked to the one before it by its hash. Written once, never changed.

    `hitl.audit` is the only writer; triggers in the database refuse UPDATE, DELETE,
    TRUNCATE and SQLite's INSERT OR REPLACE.
    """

    # Empty for the deployment's own chain.
    tenant_id = models.CharField(_("tenant"), max_length=255, blank=True)
    sequence = models.BigIntegerField(_("sequence"))
    event = models.CharField(_("event"), max_length=32, choices=AuditEvent.choices)
    request_id = models.CharField(_("request"), max_length=128, blank=True)
    session_id = models.CharField(_("session"), max_length=128, blank=True)
    actor = models.CharField(_("actor"), max_length=255)
    actor_kind = models.CharField(_("kind of actor"), max_length=16, choices=ActorKind.choices)
    channel = models.CharField(_("channel"), max_length=8, choices=Channel.choices)
    at = models.DateTimeField(_("at"))
    source_address = models.CharField(_("address"), max_length=64, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=255, blank=True)
    context_digest = models.CharField(_("context digest"), max_length=64, blank=True)
    # Canonical JSON of what else the event is about (a reason, a session's owner).
    details = models.TextField(_("details"), default="{}")
    previous_hash = models.CharField(_("hash before"), max_length=64)
    hash = models.CharField(_("hash"), max_length=64)

    class Meta:
        verbose_name = _("audit record")
        verbose_name_plural = _("audit records")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "sequence"], name="audit_sequence_once")
        ]
        indexes = [
            models.Index(fields=["request_id", "id"], name="audit_of_request"),
            models.Index(fields=["tenant_id", "-id"], name="audit_of_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id or '(deployment)'} #{self.sequence} {self.event}"


class Chore(models.Model):
    """When work that is due now and then is due next; one process takes each turn."""

    name = models.CharField(max_length=64, unique=True)
    due_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class KeptAnswer(models.Model):
    """The answer to a request that carried an Idempotency-Key; `status` 0 while it is made."""

    tenant_id = models.CharField(max_length=255)
    user_id = models.CharField(max_length=255)
    endpoint = models.CharField(max_length=32)
    key = models.CharField(max_length=255)
    payload_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(default="")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "user_id", "endpoint", "key"], name="kept_answer_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.key}"
