"""Leases: which process runs a session, until when, and under which number.

A lease lives in the session's row and is timed by the database's clock, so hosts need not
agree on the time. Its number rises whenever the session changes hands. Whoever writes names
it, so a process that was taken for dead can write nothing once another has taken over.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from dwp_project import wakeup
from streaming.models import Session

# A process that has not renewed for this long is taken for dead.
TTL_SECONDS = 10.0
RENEW_SECONDS = 3.0

# Tells every process that sessions wait to be taken over.
RELEASED_TOPIC = "leases:released"


def owner() -> str:
    """Return the name under which this process holds leases: `host:pid:random`."""
    return _owner(os.getpid())  # a forked child is another process


@cache
def _owner(pid: int) -> str:
    return f"{socket.gethostname()[:200]}:{pid}:{secrets.token_hex(4)}"


def owner_topic(name: str) -> str:
    """Return the wake-up topic on which the process of that name is told to look at its
    sessions."""
    return f"leases:{name}"


def new_lease() -> Mapping[str, Any]:
    """Return the columns of a lease with which this process begins a session."""
    return {"lease_owner": owner(), "lease_number": 1, "lease_expires_at": _new_expiry()}


def renew(held: Collection[int]) -> dict[int, Session]:
    """Renew this process's leases of the sessions with these keys, by one UPDATE.

    Return the sessions as they stand, with lease number and cancellation. A lease that
    expired is renewed too, if nobody has taken it: the database may have been away for all.
    """
    asked = Session.objects.filter(pk__in=held)
    asked.running().filter(lease_owner=owner()).update(lease_expires_at=_new_expiry())
    # Whose lease it is by now is for the caller to see: owner and number.
    columns = asked.only("lease_owner", "lease_number", "cancel_requested_at")
    return {one.pk: one for one in columns}


def is_leased_here(session: Session, number: int) -> bool:
    """Say whether the session as read is this process's, under this lease."""
    return session.lease_number == number and session.lease_owner == owner()


def confirm(session_pk: int, number: int) -> bool:
    """Say whether the session is still run under this number; if so, renew its lease.

    Renewed rather than only read: nobody takes over between the answer and what is done on it.
    """
    held = Session.objects.running().filter(pk=session_pk, lease_number=number)
    return held.update(lease_expires_at=_new_expiry()) == 1


def release(held: Collection[int]) -> int:
    """Give this process's leases of these sessions back; return how many.

    The number rises as when another takes over: what still runs here can write no more.
    """
    ours = Session.objects.running().filter(pk__in=held, lease_owner=owner())
    count = ours.update(lease_owner="", lease_number=F("lease_number") + 1, lease_expires_at=Now())
    if count:
        wakeup.publish(RELEASED_TOPIC)
    return count


def take_over_expired(*, limit: int, exclude: Collection[int] = ()) -> list[Session]:
    """Take up to `limit` running sessions that no process holds; `exclude` are left alone.

    Of any number of processes that do this at once, each session goes to one.
    """
    found = _expired().exclude(pk__in=exclude).order_by("lease_expires_at", "pk")
    seen = list(found.values_list("pk", "lease_number")[:limit])
    taken = {pk: number + 1 for pk, number in seen if take_over(pk, number)}
    sessions = list(Session.objects.filter(pk__in=taken, lease_owner=owner()).order_by("pk"))
    for session in sessions:
        # The number that was taken, whatever stands in the row by now: a process that froze
        # here for longer than a lease lasts must not run under another's.
        session.lease_number = taken[session.pk]
    return sessions


def take_over(session_pk: int, number: int) -> bool:
    """Take one session over if nobody holds it and its number is still `number`."""
    free = _expired().filter(pk=session_pk, lease_number=number)
    return bool(
        free.update(lease_owner=owner(), lease_number=number + 1, lease_expires_at=_new_expiry())
    )


def _expired() -> QuerySet[Session]:
    # Without a lease are those that began before there were leases.
    return Session.objects.running().filter(
        Q(lease_expires_at=None) | Q(lease_expires_at__lte=Now())
    )


def _new_expiry() -> Combinable:
    return Now() + timedelta(seconds=TTL_SECONDS)
