"""Whose a session is, and when its newest request was opened. An answer goes to the session, so
only its owner may ask in it, and its requests are opened one after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from dwp_project import exchange
from dwp_project.exchange import Statement
from hitl.models import ApprovalRequest, SessionOwner
from hitl.states import Origin

# As SQL, because each opening does it, and to build it takes longer than to answer it.
_CLAIM = """
    INSERT INTO hitl_sessionowner (session_id, tenant_id, user_id, origin, created_at)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
_OWNER = "SELECT tenant_id, user_id, origin FROM hitl_sessionowner WHERE session_id = %s"
_LATEST = """
    SELECT created_at FROM hitl_approvalrequest
     WHERE session_id = %s ORDER BY created_at DESC, id DESC LIMIT 1"""


def claim_session(session_id: str, tenant_id: str, user_id: str, origin: Origin) -> bool:
    """Give the session to this user if it has no owner; say whether it is theirs.

    Locks the session's row until the transaction ends, so that requests of one session
    are opened one after the other.
    """
    _, owners = exchange.send(*claim_statements(session_id, tenant_id, user_id, origin))
    return owners == [(tenant_id, user_id, origin)]


def claim_statements(
    session_id: str, tenant_id: str, user_id: str, origin: Origin
) -> tuple[Statement, Statement]:
    """Return the statements that do what `claim_session` does; the second one answers the owner's
    tenant, user and origin."""
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    claimed_at = exchange.adapted(timezone.now())
    return (
        Statement(_CLAIM, [session_id, tenant_id, user_id, origin, claimed_at]),
        Statement(_OWNER + lock, [session_id]),
    )


def claim_sessions(
    users: Mapping[str, str], tenant_id: str, origin: Origin
) -> dict[str, SessionOwner]:
    """Give each session to the user in `users` if it has no owner; return the owners.

    Locks their rows as `claim_session` does. Concurrent calls do not deadlock, because all insert,
    and then lock, the sessions in the same order.
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


def dispute(session_id: str, until: datetime) -> None:
    """Note that an agent may be waiting until then whose question in this session was refused.

    Needs the lock of `claim_sessions`.
    """
    earlier = Q(disputed_until=None) | Q(disputed_until__lt=until)
    SessionOwner.objects.filter(earlier, session_id=session_id).update(disputed_until=until)


def latest_opened_at(session_ids: Collection[str]) -> dict[str, datetime | None]:
    """Return when the newest request of each session that has an owner was opened."""
    opened = ApprovalRequest.objects.filter(session_id=OuterRef("session_id")).newest_first()
    owned = SessionOwner.objects.filter(session_id__in=session_ids)
    return dict(owned.values_list("session_id", Subquery(opened.values("created_at")[:1])))


def latest_statement(session_id: str) -> Statement:
    """Return the statement that answers when the session's newest request was opened, if it has
    one."""
    return Statement(_LATEST, [session_id])


def strictly_after(last: datetime | None, moment: datetime) -> datetime:
    """Return `moment`, or a microsecond after `last`, when the session's newest request was
    opened.

    Only the newest request of a session may be answered, and several hosts' clocks differ. Needs
    the lock of `claim_session`.
    """
    return max(moment, last + timedelta(microseconds=1)) if last else moment
