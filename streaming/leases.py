"""Leases: which process runs a session, until when, and under which number.

A lease is stored in the session's row and timed by the database's clock, so hosts need not agree
on the time. Its number rises whenever another process takes the session. Every write names the
number, so a process that was taken for dead can write nothing after another has taken over.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import F, Q, QuerySet, Subquery
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from dwp_project import wakeup
from streaming.models import Session

# A process that has not renewed for this long is taken for dead; three renewals may fail before
# (docs/adr/0021).
TTL_SECONDS = 10.0
RENEW_SECONDS = 3.0

# The wake-up topic of sessions that any process may take over.
RELEASED_TOPIC = "leases:released"


def owner() -> str:
    """Return the name under which this process holds leases: `host:pid:random`."""
    return _owner(os.getpid())  # a forked child is another process


@cache
def _owner(pid: int) -> str:
    return f"{socket.gethostname()[:200]}:{pid}:{secrets.token_hex(4)}"


def owner_topic(name: str) -> str:
    """Return the wake-up topic on which the process of that name learns to check its sessions."""
    return f"leases:{name}"


def new_lease() -> Mapping[str, Any]:
    """Return the columns of the lease with which this process begins a session."""
    return {"lease_owner": owner(), "lease_number": 1, "lease_expires_at": _new_expiry()}


def renew(keys: Collection[int]) -> dict[int, Session]:
    """Renew this process's leases of the sessions with these keys, by one UPDATE.

    Return those sessions by key, with lease owner, lease number and cancellation: another process
    may own them by now. An expired lease that nobody has taken is renewed too, because the database
    may have been away for every process.
    """
    sessions = Session.objects.filter(pk__in=keys)
    ours = _in_order(sessions.running().filter(lease_owner=owner()))
    ours.update(lease_expires_at=_new_expiry())
    rows = sessions.only("lease_owner", "lease_number", "cancel_requested_at")
    return {session.pk: session for session in rows}


def is_leased_here(session: Session, number: int) -> bool:
    """Say whether `session`, as it was read, is leased to this process under this number."""
    return session.lease_number == number and session.lease_owner == owner()


def confirm(session_pk: int, number: int) -> bool:
    """Renew the lease if the session still runs under this number; say whether it does.

    Renewed instead of only read, so that nobody takes over between the answer and the action that
    depends on it.
    """
    running = Session.objects.running().filter(pk=session_pk, lease_number=number)
    return running.update(lease_expires_at=_new_expiry()) == 1


def release(keys: Collection[int]) -> int:
    """Release this process's leases of these sessions; return how many.

    The number rises as if another process took over: a task that still runs here cannot write.
    """
    ours = _in_order(Session.objects.running().filter(pk__in=keys, lease_owner=owner()))
    count = ours.update(lease_owner="", lease_number=F("lease_number") + 1, lease_expires_at=Now())
    if count:
        wakeup.publish(RELEASED_TOPIC)
    return count


def is_any_held() -> bool:
    """Say whether some process has a session leased now, and so is running."""
    return Session.objects.running().filter(lease_expires_at__gt=Now()).exists()


def take_over_expired(*, limit: int, exclude: Collection[int] = ()) -> list[Session]:
    """Take over up to `limit` running sessions whose lease has expired, except `exclude`.

    If several processes do this at once, each session goes to one of them.
    """
    expired = _expired().exclude(pk__in=exclude).order_by("lease_expires_at", "pk")
    rows = list(expired.values_list("pk", "lease_number")[:limit])
    taken = {pk: number + 1 for pk, number in rows if take_over(pk, number)}
    sessions = list(Session.objects.filter(pk__in=taken, lease_owner=owner()).order_by("pk"))
    for session in sessions:
        # The number under which it was taken, not the row's: if this process froze here for longer
        # than a lease lasts, the row has the number of another process.
        session.lease_number = taken[session.pk]
    return sessions


def take_over(session_pk: int, number: int) -> bool:
    """Take over one session if its lease has expired and its number is still `number`."""
    expired = _expired().filter(pk=session_pk, lease_number=number)
    return bool(
        expired.update(lease_owner=owner(), lease_number=number + 1, lease_expires_at=_new_expiry())
    )


def _in_order(sessions: QuerySet[Session]) -> QuerySet[Session]:
    """Return the sessions, to be locked in the order of their keys by the statement that updates
    them: two that lock the same ones in different orders could wait for each other."""
    # Django's own `select_for_update` would take two more round trips, for a transaction.
    has_locks = connection.features.has_select_for_update
    template = "(%(subquery)s FOR UPDATE)" if has_locks else "(%(subquery)s)"
    keys = sessions.order_by("pk").values("pk")
    return Session.objects.filter(pk__in=Subquery(keys, template=template))


def _expired() -> QuerySet[Session]:
    # Sessions that began before there were leases have none.
    return Session.objects.running().filter(
        Q(lease_expires_at=None) | Q(lease_expires_at__lte=Now())
    )


def _new_expiry() -> Combinable:
    return Now() + timedelta(seconds=TTL_SECONDS)
