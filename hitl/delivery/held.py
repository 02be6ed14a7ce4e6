"""The entries that this process goes on sending, and when: in memory alone (ADR 0042).

The database knows that they are this process's, and hears what becomes of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

# Seconds between attempts: doubled six times, then constant. An agent hears at most 6 s after it
# subscribed (delivery.md), and what else a relay has to do comes on top of the pause.
FIRST_PAUSE, LONGEST_PAUSE, DOUBLINGS = 0.1, 4.0, 6
# What is due so soon is sent with what is due, as a part of its pause: fewer rounds. Chosen.
_EARLY = 0.1


def pause_after(attempts: int) -> float:
    """Return the seconds until the next attempt, where there were so many before the last one."""
    return FIRST_PAUSE * 2**attempts if attempts < DOUBLINGS else LONGEST_PAUSE


@dataclass(slots=True)
class HeldEntry:
    """An entry that this process owns, and what it knows of it."""

    pk: int
    # How often it was sent, and how many of these times the database does not know.
    attempts: int
    due_at: datetime
    # The `due_at` of its row: if that is another, somebody wants it sent at once.
    row_due_at: datetime
    unwritten: int = 0
    # Whether nobody has received it and it may be repeated as it is, without the database's hearing
    # of that. The signal was derived, and compared with the audit, when its row was `row`.
    is_quiet: bool = False
    row: tuple[Any, ...] | None = None
    session_id: str = ""
    request_id: str = ""
    signal: str = ""

    def put_off(self, now: datetime) -> None:
        """Note an attempt that changed nothing."""
        self.due_at = now + timedelta(seconds=pause_after(self.attempts))
        self.attempts += 1
        self.unwritten += 1


class HeldEntries:
    """What this process holds. Any thread may use it."""

    def __init__(self) -> None:
        self._entries: dict[int, HeldEntry] = {}
        # Times at which entries that nobody holds become due.
        self._alarms: list[datetime] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def all(self) -> list[HeldEntry]:
        """Return what is held, by key."""
        with self._lock:
            return [self._entries[pk] for pk in sorted(self._entries)]

    def keep(self, entry: HeldEntry) -> None:
        """Hold the entry from now on, as it is."""
        with self._lock:
            self._entries[entry.pk] = entry

    def drop(self, pk: int) -> HeldEntry | None:
        """Hold the entry no longer; return it if it was held."""
        with self._lock:
            return self._entries.pop(pk, None)

    def take_due(self, now: datetime) -> list[HeldEntry]:
        """Return what is due now or nearly, by key; it is held no longer, until it is kept again.

        What is due a little later comes with the rest, but not by itself.
        """
        with self._lock:
            if all(entry.due_at > now for entry in self._entries.values()):
                return []
            due = [
                entry
                for entry in self._entries.values()
                if entry.due_at - now <= timedelta(seconds=_EARLY * pause_after(entry.attempts))
            ]
            for entry in due:
                del self._entries[entry.pk]
            return sorted(due, key=lambda entry: entry.pk)

    def hurry(self, rows: dict[int, datetime], now: datetime) -> list[int]:
        """Have those sent at once whose rows have another `due_at` than is known here; return those
        that are not held. `rows` gives the `due_at` of entries that this process owns."""
        with self._lock:
            for pk, row_due_at in rows.items():
                entry = self._entries.get(pk)
                if entry is not None and entry.row_due_at != row_due_at:
                    entry.due_at, entry.is_quiet = now, False
            return sorted(rows.keys() - self._entries.keys())

    def ring_at(self, moment: datetime) -> None:
        """Have what others may take looked for then."""
        with self._lock:
            self._alarms.append(moment)

    def is_ringing(self, now: datetime) -> bool:
        """Say whether it is time to look, and forget the times that have come."""
        with self._lock:
            before = len(self._alarms)
            self._alarms = [moment for moment in self._alarms if moment > now]
            return len(self._alarms) < before

    def next_at(self) -> datetime | None:
        """Return when something is due next."""
        with self._lock:
            times = [entry.due_at for entry in self._entries.values()]
            return min([*times, *self._alarms], default=None)

    def clear(self) -> None:
        """Hold nothing."""
        with self._lock:
            self._entries.clear()
            self._alarms.clear()


entries = HeldEntries()
