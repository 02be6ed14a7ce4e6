"""The outbox: signals that must reach agents."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from hitl.models.audit import AuditRecord
from hitl.models.requests import ApprovalRequest
from hitl.states import DeliveryOutcome


class RelayLease(models.Model):
    """Until when the process that has this key goes on sending the entries that it owns."""

    id = models.UUIDField(primary_key=True, editable=False)
    ends_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.id)


class OutboxQuerySet(models.QuerySet["OutboxEntry"]):
    def pending(self) -> OutboxQuerySet:
        return self.filter(outcome=DeliveryOutcome.PENDING)

    def due(self, now: datetime) -> OutboxQuerySet:
        return self.pending().filter(due_at__lte=now)


class OutboxEntry(models.Model):
    """A signal that must reach an agent, committed together with its decision."""

    request = models.OneToOneField(
        ApprovalRequest, on_delete=models.PROTECT, related_name="outbox_entry"
    )
    # The record of the decision; None if a process of the version before wrote the entry. No
    # index: nothing is searched by it.
    record = models.ForeignKey(
        AuditRecord,
        verbose_name=_("audit record"),
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    # For people, and for processes of the version before. What is sent is derived anew
    # (hitl.delivery.outbox.text_of).
    signal = models.TextField(_("signal"))
    created_at = models.DateTimeField(_("created at"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    receivers = models.PositiveIntegerField(_("receivers"), default=0)
    outcome = models.CharField(
        _("outcome"),
        max_length=16,
        choices=DeliveryOutcome.choices,
        default=DeliveryOutcome.PENDING,
    )
    attempted_at = models.DateTimeField(_("last attempt at"), null=True, blank=True)
    # When its agent had the decision without the signal: the built-in one, or one that opened the
    # request over REST.
    heard_at = models.DateTimeField(null=True, blank=True)
    # When its agent first had the decision, from the channel, over REST or here. For people: what
    # is sent goes by the other columns.
    first_heard_at = models.DateTimeField(_("first heard at"), null=True, blank=True)
    # When a relay may take the entry unless its owner is still there; whoever takes it sets a
    # later time before it sends. Processes of the version before know no owner and go by this.
    due_at = models.DateTimeField(_("next attempt at"))
    # The process that sends it, by its lease; None if whoever comes first may. No foreign key: a
    # decision is written whatever became of the lease.
    owner = models.UUIDField(null=True, editable=False)
    # Why the last attempt did not reach Redis; empty if it did.
    error = models.CharField(_("last error"), max_length=255, blank=True)
    # When a process of this version first published it: delivery goes by it. None if a process of
    # the version before alone did.
    published_at = models.DateTimeField(_("published at"), null=True, blank=True)
    # Since when its agent counts as answered: a subscriber received it, or it was published again
    # over 10 s.
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)
    # Until when another agent of the session may be waiting, which would take it for its own.
    withheld_until = models.DateTimeField(_("withheld until"), null=True, blank=True)
    # Received, and published again nevertheless while its request is younger than 10 s.
    is_repeated = models.BooleanField(default=False, db_default=False)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = _("outbox entry")
        verbose_name_plural = _("outbox entries")
        indexes = [
            models.Index(
                fields=["due_at"], name="outbox_due", condition=models.Q(outcome="pending")
            ),
            models.Index(
                fields=["owner", "due_at"],
                name="outbox_owned",
                condition=models.Q(outcome="pending"),
            ),
            models.Index(fields=["created_at"], name="outbox_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.request} · {self.get_outcome_display()}"

    @property
    def reported_outcome(self) -> DeliveryOutcome:
        """The outcome as clients and operators are told it: an entry that a subscriber received
        may be sent again, and one that is withheld may be sent later."""
        if self.outcome == DeliveryOutcome.PENDING:
            if self.is_repeated:
                return DeliveryOutcome.DELIVERED
            if self.is_withheld:
                return DeliveryOutcome.WITHHELD
        return DeliveryOutcome(self.outcome)

    @property
    def next_attempt_at(self) -> datetime | None:
        """When it is tried again, for people. None if a process has it, which tries every few
        seconds."""
        is_waiting = self.outcome == DeliveryOutcome.PENDING and self.owner is None
        return self.due_at if is_waiting else None

    @property
    def first_sent_at(self) -> datetime | None:
        """When Redis first published it, for people. None if that is not known: of a decision made
        by the version before, which wrote no `record`, it may have published the first signal."""
        return self.published_at if self.record_id is not None else None

    @property
    def known_heard_at(self) -> datetime | None:
        """When its agent first had the decision, as far as is known; the version before notes other
        times."""
        received_at = (self.answered_at or self.attempted_at) if self.receivers else None
        return self.first_heard_at or self.heard_at or received_at

    @property
    def is_withheld(self) -> bool:
        """Whether it was never published, because another agent could have taken it for its own."""
        return self.withheld_until is not None and self.published_at is None
