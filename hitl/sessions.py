"""Whose a session is, and when its newest question was asked: an answer goes to the session, so
nobody else may ask in it, and its questions are opened one after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db.models import OuterRef, Subquery

from hitl.models import ApprovalRequest, SessionOwner
from hitl.states import Origin


def claim_session(session_id: str, tenant_id: str, user_id: str, origin: Origin) -> bool:
    """Make the session belong to this user if nobody's; say whether it is theirs.

    Locks the session's row until the transaction ends, so that requests of one session
    are opened one after the other.
    """
    owner = claim_sessions({session_id: user_id}, tenant_id, origin)[session_id]
    return (owner.tenant_id, owner.user_id, owner.origin) == (tenant_id, user_id, origin)


def claim_sessions(
    users: Mapping[str, str], tenant_id: str, origin: Origin
) -> dict[str, SessionOwner]:
    """Make each session belong to the user it is given with if nobody's; return whose each is.

    Locks their rows as `claim_session` does. Whoever claims several waits for others, and never
    for ever: all go through the sessions in the same order, first to insert, then to lock.
    """
    owners = SessionOwner.objects
    owners.bulk_create(
        [
            SessionOwner(session_id=name, tenant_id=tenant_id, user_id=users[name], origin=origin)
            for name in sorted(users)
        ],
        ignore_conflicts=True,
    )
    claimed = owners.select_for_update().filter(session_id__in=users).order_by("session_id")
    return {owner.session_id: owner for owner in claimed}


def latest_opened_at(session_ids: Collection[str]) -> dict[str, datetime | None]:
    """Return when the newest request of each session that somebody owns was opened."""
    opened = ApprovalRequest.objects.filter(session_id=OuterRef("session_id")).newest_first()
    owned = SessionOwner.objects.filter(session_id__in=session_ids)
    return dict(owned.values_list("session_id", Subquery(opened.values("created_at")[:1])))


def strictly_after(last: datetime | None, moment: datetime) -> datetime:
    """Return `moment`, or a microsecond after `last`, when the session's newest request was
    opened.

    The newest question is the one that may be answered, whatever the clocks of several
    hosts say. Needs the lock of `claim_session`.
    """
    return max(moment, last + timedelta(microseconds=1)) if last else moment
