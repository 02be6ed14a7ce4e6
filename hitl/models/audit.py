"""The audit: records in chains, and signed checkpoints of the chains' heads."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from hitl.states import ActorKind, AuditEvent, Channel


class AuditChain(models.Model):
    """The head of one tenant's chain. Writers lock its row, so that records have one order.

    `tenant_id` is empty for the deployment's own chain.
    """

    tenant_id = models.CharField(_("tenant"), max_length=255, unique=True)
    last_sequence = models.BigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, default="0" * 64)
    # The last record whose checkpoint was written outside: a file that has less has vanished.
    outside_sequence = models.BigIntegerField(default=0, db_default=0)

    def __str__(self) -> str:
        return self.tenant_id or "(deployment)"


class AuditRecord(models.Model):
    """One fact, linked to the record before it by that one's hash. Written once, never changed.

    `hitl.audit.record` is the only writer; triggers in the database refuse UPDATE, DELETE,
    TRUNCATE and SQLite's INSERT OR REPLACE.
    """

    # Empty for the deployment's own chain.
    tenant_id = models.CharField(_("tenant"), max_length=255, blank=True)
    sequence = models.BigIntegerField(_("sequence"))
    event = models.CharField(_("event"), max_length=32, choices=AuditEvent.choices)
    request_id = models.CharField(_("request"), max_length=512, blank=True)
    session_id = models.CharField(_("session"), max_length=512, blank=True)
    actor = models.CharField(_("actor"), max_length=255)
    actor_kind = models.CharField(_("kind of actor"), max_length=16, choices=ActorKind.choices)
    channel = models.CharField(_("channel"), max_length=8, choices=Channel.choices)
    at = models.DateTimeField(_("at"))
    source_address = models.CharField(_("address"), max_length=64, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=255, blank=True)
    context_digest = models.CharField(_("context digest"), max_length=64, blank=True)
    # Which facts the hash is over (hitl.audit.hashing); older records keep their form.
    # Defaults in the database, because processes of the last version write during an update.
    form = models.PositiveSmallIntegerField(default=1, db_default=1)
    action_type = models.CharField(
        _("action"), max_length=512, blank=True, default="", db_default=""
    )
    # Canonical JSON of further facts, as a reason or a session's owner.
    details = models.TextField(_("details"), default="{}")
    previous_hash = models.CharField(_("hash before"), max_length=64)
    hash = models.CharField(_("hash"), max_length=64)
    # Over the hash, with the deployment's key (hitl.audit.record_signatures); empty in records of
    # forms 1 and 2.
    signature = models.TextField(_("signature"), blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("audit record")
        verbose_name_plural = _("audit records")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant_id", "sequence"], name="audit_sequence_once")
        ]
        indexes = [
            models.Index(fields=["request_id", "id"], name="audit_of_request"),
            # A page of a search is the beginning of a range of one of these.
            models.Index(fields=["tenant_id", "-at", "-sequence"], name="audit_by_time"),
            models.Index(fields=["tenant_id", "event", "-at", "-sequence"], name="audit_by_event"),
            models.Index(fields=["tenant_id", "actor", "-at", "-sequence"], name="audit_by_actor"),
            models.Index(
                fields=["tenant_id", "action_type", "-at", "-sequence"], name="audit_by_action"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id or '(deployment)'} #{self.sequence} {self.event}"


class AuditCheckpoint(models.Model):
    """A signed head of a chain: records up to it cannot be changed or removed unnoticed.

    `signature` is over `statement`, the canonical JSON of the other columns, as it is written
    outside the database too.
    """

    tenant_id = models.CharField(_("tenant"), max_length=255, blank=True)
    sequence = models.BigIntegerField(_("sequence"))
    hash = models.CharField(_("hash"), max_length=64)
    at = models.DateTimeField(_("at"))
    key_id = models.CharField(_("key"), max_length=64)
    statement = models.TextField(_("statement"))
    signature = models.CharField(_("signature"), max_length=128)

    class Meta:
        verbose_name = _("audit checkpoint")
        verbose_name_plural = _("audit checkpoints")
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "sequence", "key_id"], name="checkpoint_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id or '(deployment)'} #{self.sequence}"
