"""The lease of this process on the outbox entries that it owns (ADR 0042).

An owner is there as long as its lease has not ended. Only a process in which a relay runs has one.
"""

from __future__ import annotations

import threading
import uuid
from datetime import datetime, timedelta

from dwp_project import clocks
from hitl.models import OutboxEntry, RelayLease

# Others take what a process owned so long after it has last renewed its lease. Chosen: with
# `LOOK_SECONDS` within five seconds of its death.
TERM = timedelta(seconds=3)
# Between two looks for what others have left. Chosen.
LOOK_SECONDS = 1.5
# After so long the lease is renewed as soon as the relay wakes, which sleeps for a second. Chosen.
RENEWAL_SECONDS = 1.4
# A process that holds nothing keeps only its row. Chosen.
_IDLE_SECONDS = 3600.0
# Rows of processes that ended so long ago are removed, if they own nothing that waits. Chosen.
_KEPT_FOR = timedelta(days=1)


class Lease:
    """Under which key this process owns entries, and when that was last renewed."""

    def __init__(self) -> None:
        self._id: uuid.UUID | None = None
        self._renewed_at = 0.0
        self._lock = threading.Lock()

    @property
    def owner(self) -> uuid.UUID | None:
        """The key, or None if no relay runs in this process."""
        return self._id

    def is_to_be_renewed(self) -> bool:
        """Say whether it is time to renew the lease, as long as something is held."""
        return clocks.uptime() - self._renewed_at >= RENEWAL_SECONDS

    def note_renewed(self) -> None:
        """Note that a statement which began now renews the lease."""
        self._renewed_at = clocks.uptime()

    def begin(self, now: datetime) -> None:
        """Write the lease's row, unless that was done within the last hour."""
        with self._lock:
            if self._id is not None and clocks.uptime() - self._renewed_at < _IDLE_SECONDS:
                return
            self._id = self._id or uuid.uuid4()
            self.note_renewed()
            RelayLease.objects.bulk_create(
                [RelayLease(id=self._id, ends_at=now + TERM)],
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["ends_at"],
            )
        _remove_ended(now - _KEPT_FOR)

    def forget(self) -> None:
        """Own nothing from now on, as a process in which no relay runs."""
        with self._lock:
            self._id, self._renewed_at = None, 0.0


def _remove_ended(before: datetime) -> None:
    ended = RelayLease.objects.filter(ends_at__lt=before)
    owners = OutboxEntry.objects.pending().exclude(owner=None).values("owner")
    pks = list(ended.exclude(pk__in=owners).order_by("pk").values_list("pk", flat=True))
    if pks:
        RelayLease.objects.filter(pk__in=pks, ends_at__lt=before).delete()


lease = Lease()
