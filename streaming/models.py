"""Sessions and their events."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from streaming import events


class SessionStatus(models.TextChoices):
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    REJECTED = "rejected", _("rejected")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class SessionQuerySet(models.QuerySet["Session"]):
    def running(self) -> SessionQuerySet:
        return self.filter(status=SessionStatus.RUNNING)

    def with_event_key(self, key: int) -> SessionQuerySet:
        """The session whose events have this number in their ids."""
        return self.filter(key=key) if key >= events.FIRST_KEY else self.filter(pk=key, key=None)


class Session(models.Model):
    """One agent's work on one prompt, from its first event to `[DONE]`."""

    session_id = models.CharField(_("session"), max_length=128, unique=True)
    tenant_id = models.CharField(_("tenant"), max_length=255)
    user_id = models.CharField(_("user"), max_length=255)
    agent = models.CharField(_("agent"), max_length=64)
    agent_id = models.CharField(_("agent id"), max_length=255, blank=True)
    source = models.CharField(_("source"), max_length=255)
    caller_type = models.CharField(_("kind of caller"), max_length=255)
    prompt = models.TextField(_("prompt"))
    context_text = models.TextField(_("context"), default="{}")
    thread_id = models.CharField(_("thread"), max_length=255, blank=True)
    status = models.CharField(
        _("status"), max_length=16, choices=SessionStatus.choices, default=SessionStatus.RUNNING
    )
    # The number of the newest event. Allocated under this row's lock, so that events commit in the
    # order of their ids and a replay cannot skip one.
    last_sequence = models.PositiveIntegerField(default=0)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(_("started at"))
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    # The lease (leases.py): the process that runs the session, until when by the database's clock,
    # and a number that rises when another process takes over.
    lease_owner = models.CharField(max_length=255, blank=True, default="")
    lease_number = models.PositiveIntegerField(default=0)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    # The random number in its events' ids (events.new_key). Older sessions have none: theirs have
    # the primary key.
    key = models.BigIntegerField(null=True, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering = ["-id"]
        constraints = [
            # With a condition, because SQLite copies the whole table for one without.
            models.UniqueConstraint(
                fields=["key"], condition=models.Q(key__isnull=False), name="session_key_once"
            )
        ]
        indexes = [
            models.Index(fields=["tenant_id", "-id"], name="session_of_tenant"),
            models.Index(
                fields=["lease_expires_at"],
                condition=models.Q(status="running"),
                name="session_lease_of_running",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session_id} ({self.status})"

    @property
    def event_key(self) -> int:
        """The session's number in the ids of its events (wire.md, 4.3)."""
        return self.pk if self.key is None else self.key

    @property
    def is_running(self) -> bool:
        return self.status == SessionStatus.RUNNING


class Event(models.Model):
    """One event as it was sent: `payload` is the exact text of its `data:` line."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="events")
    sequence = models.PositiveIntegerField(_("sequence"))
    name = models.CharField(_("event"), max_length=32)
    payload = models.TextField(_("payload"))
    created_at = models.DateTimeField(_("sent at"))

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        constraints = [
            models.UniqueConstraint(fields=["session", "sequence"], name="event_sequence_once")
        ]

    def __str__(self) -> str:
        return f"{self.session_id} #{self.sequence} {self.name}"
