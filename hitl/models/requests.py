"""Approval requests, their votes, and the owners of sessions."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from dwp_project.jsontext import digest, parse
from hitl.models.policies import Policy
from hitl.states import DECIDED, Channel, Origin, Status

# An id of a request or a session that is opened over REST (docs/reference/wire.md, 3.5).
ID_PATTERN = re.compile(r"[A-Za-z0-9._:~@-]{1,128}")
# The longest id, and the longest action, that is adopted from Redis (wire.md, 3.5 and 5.3).
MAX_ID_BYTES = MAX_WRITTEN_ACTION_LENGTH = 512
# No control characters, and no half of a surrogate pair, which no database takes.
_OPAQUE_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def is_id(text: str) -> bool:
    """Say whether a request or a session may have this id; agents on Redis build theirs from any
    user's id (wire.md, 3.5)."""
    return _OPAQUE_ID.fullmatch(text) is not None and len(text.encode()) <= MAX_ID_BYTES


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
    """One question of one agent, and the decision on it.

    `status` changes only in `hitl.services`, from `pending` to one final state.
    """

    # What became of the signal where this process has just sent it; no column.
    sent_outcome = ""

    request_id = models.CharField(_("request id"), max_length=MAX_ID_BYTES, unique=True)
    session_id = models.CharField(_("session"), max_length=MAX_ID_BYTES)
    tenant_id = models.CharField(_("tenant"), max_length=255)
    user_id = models.CharField(_("requester"), max_length=255)
    origin = models.CharField(_("origin"), max_length=8, choices=Origin.choices)
    agent_id = models.CharField(_("agent"), max_length=255, blank=True)
    action_type = models.CharField(_("action"), max_length=MAX_WRITTEN_ACTION_LENGTH)
    message = models.TextField(_("message"), blank=True)
    # JSON text, not a JSON column: every database keeps the text as it was, to the order of its
    # members.
    context_text = models.TextField(_("context"))
    context_digest = models.CharField(_("context digest"), max_length=64)
    # Compared when an id is sent again: equal digests mean the same question.
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
    # What the person who approved it said; of several, the last one.
    comment = models.TextField(_("comment"), blank=True, default="", db_default="")
    # Redis missed its opening, or its end without a decision; `hitl.delivery.resync` sends it.
    is_missed_by_redis = models.BooleanField(default=False, db_default=False)
    # The version of the policy that applied when it was opened; None if none did.
    policy = models.ForeignKey(
        Policy,
        verbose_name=_("policy"),
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="requests",
    )
    # The number of votes; updating it puts the votes of all processes in an order.
    approvals = models.PositiveSmallIntegerField(_("approvals"), default=0, db_default=0)
    escalated_at = models.DateTimeField(_("escalated at"), null=True, blank=True)

    objects = ApprovalRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("approval request")
        verbose_name_plural = _("approval requests")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant_id", "-id"], name="request_of_tenant"),
            models.Index(fields=["tenant_id", "status", "-id"], name="request_of_tenant_by_status"),
            models.Index(fields=["session_id", "-created_at"], name="request_of_session"),
            models.Index(fields=["tenant_id", "action_type", "-id"], name="request_of_action"),
            models.Index(
                fields=["tenant_id", "action_type", "status", "-id"],
                name="request_of_action_by_status",
            ),
            models.Index(
                # Without the action: together they would be longer than PostgreSQL's indexes take.
                fields=["tenant_id", "context_digest", "-id", "status"],
                name="request_of_arguments",
                condition=~models.Q(status="pending"),
            ),
            models.Index(
                fields=["id"],
                name="request_missed_by_redis",
                condition=models.Q(is_missed_by_redis=True),
            ),
            models.Index(
                fields=["tenant_id", "expires_at"],
                name="request_open_of_tenant",
                condition=models.Q(status="pending"),
            ),
            models.Index(
                fields=["expires_at"], name="request_due", condition=models.Q(status="pending")
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
    def stored_digest(self) -> str:
        """The digest of the stored context; differs from `context_digest` if somebody has
        changed the context in the database."""
        return digest(self.context)

    @property
    def is_decided(self) -> bool:
        return self.status in DECIDED

    def not_before_opening(self, now: datetime) -> datetime:
        """Return `now`, or when the request was opened if that is later: two processes may differ
        by milliseconds in what they know of the database's clock."""
        return max(now, self.created_at)


class Vote(models.Model):
    """One person's approval where a policy needs several. A rejection is not a vote, because one is
    enough."""

    request = models.ForeignKey(ApprovalRequest, on_delete=models.PROTECT, related_name="votes")
    user_id = models.CharField(_("user"), max_length=255)
    # The key of the person, however an issuer spells the id: `hitl.actors.person_key`.
    person = models.CharField(max_length=1024)
    role = models.CharField(_("role"), max_length=255, blank=True)
    channel = models.CharField(_("channel"), max_length=8, choices=Channel.choices)
    voted_at = models.DateTimeField(_("voted at"))

    class Meta:
        verbose_name = _("vote")
        verbose_name_plural = _("votes")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["request", "person"], name="vote_once_per_person")
        ]

    def __str__(self) -> str:
        return f"{self.request} · {self.user_id}"


class SessionOwner(models.Model):
    """The owner of a session: the user who used it first (docs/reference/wire.md, 3.5).

    Redis keys carry no tenant, so anybody who may open a request in it could answer its agent.
    """

    session_id = models.CharField(_("session"), max_length=MAX_ID_BYTES, unique=True)
    tenant_id = models.CharField(_("tenant"), max_length=255)
    user_id = models.CharField(_("user"), max_length=255)
    origin = models.CharField(_("origin"), max_length=8, choices=Origin.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    # Until when an agent may be waiting whose question here was refused, because the session is
    # another tenant's: it listens on the same channel.
    disputed_until = models.DateTimeField(_("disputed until"), null=True, blank=True)

    class Meta:
        verbose_name = _("session owner")
        verbose_name_plural = _("session owners")

    def __str__(self) -> str:
        return f"{self.session_id} · {self.tenant_id} · {self.user_id}"
