"""Begins, finds and cancels sessions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, connection, transaction

from dwp_project import clocks, wakeup
from dwp_project.jsontext import compact
from hitl import errors, services
from hitl.actors import Actor
from hitl.approvals import permissions
from hitl.delivery import after_commit
from hitl.models import ID_PATTERN, ApprovalRequest
from hitl.states import Origin
from streaming import events, leases
from streaming.agents import registry
from streaming.models import Session

# How many sessions one round trip gives new keys. Chosen: a million take a hundred.
_RENEWED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a client sends to start a session."""

    text: str
    context: Mapping[str, Any] = field(default_factory=dict)
    thread_id: str = ""
    agent_id: str = ""
    source: str = ""
    caller_type: str = ""


def begin(prompt: Prompt, *, tenant_id: str, user_id: str) -> Session:
    """Create a session of this user for `prompt`, leased to this process, which must start it."""
    while True:
        key = events.new_key()
        try:
            return _create(prompt, key, tenant_id=tenant_id, user_id=user_id)
        except IntegrityError:
            if not Session.objects.with_event_key(key).exists():
                raise
            # Another session has drawn this key, so that it is drawn again.


def _create(prompt: Prompt, key: int, *, tenant_id: str, user_id: str) -> Session:
    session_id = f"session_{uuid.uuid4().hex}"
    with transaction.atomic():
        services.claim_session(session_id, tenant_id, user_id, Origin.AGENT)
        session = Session.objects.create(
            session_id=session_id,
            tenant_id=tenant_id,
            user_id=user_id,
            agent=registry.DEFAULT,
            agent_id=prompt.agent_id,
            source=prompt.source,
            caller_type=prompt.caller_type,
            prompt=prompt.text,
            context_text=compact(prompt.context),
            thread_id=prompt.thread_id,
            created_at=clocks.now(),
            key=key,
            **leases.new_lease(),
        )
        session.refresh_from_db(fields=["lease_expires_at"])  # computed by the database's clock
        return session


def renew_keys() -> int:
    """Give every session a new key, so that the event ids of before lead nowhere; return how many
    there are. The caller opens the transaction."""
    Session.objects.exclude(key=None).update(key=None)
    drawn: set[int] = set()
    last = 0
    while pks := _next_pks(last):
        _give_keys(pks, [_draw(drawn) for _ in pks])
        last = pks[-1]
    return len(drawn)


def _give_keys(pks: list[int], keys: list[int]) -> None:
    table = connection.ops.quote_name(Session._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # One statement for all, because there each takes its time.
            cursor.execute(
                f"UPDATE {table} SET key = drawn.key "  # noqa: S608
                "FROM unnest(%s::bigint[], %s::bigint[]) AS drawn (id, key) "
                f"WHERE {table}.id = drawn.id",
                [pks, keys],
            )
        else:
            statement = f"UPDATE {table} SET key = %s WHERE id = %s"  # noqa: S608
            cursor.executemany(statement, list(zip(keys, pks, strict=True)))


def _next_pks(after: int) -> list[int]:
    rows = Session.objects.filter(pk__gt=after).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:_RENEWED_AT_ONCE])


def _draw(drawn: set[int]) -> int:
    """Return a key that is not among `drawn`, and add it."""
    while (key := events.new_key()) in drawn:
        pass
    drawn.add(key)
    return key


def find_by_cursor(
    last_event_id: str | None, prompt: str, *, tenant_id: str, user_id: str
) -> tuple[Session, int] | None:
    """Return the session of a `Last-Event-ID` and the sequence after which to go on.

    None if there is no such session, or it is of another user or prompt (wire.md, 4.5).
    """
    cursor = events.cursor_of(last_event_id)
    if cursor is None:
        return None
    session_key, sequence = cursor
    session = (
        Session.objects.with_event_key(session_key)
        .filter(tenant_id=tenant_id, user_id=user_id, last_sequence__gte=sequence)
        .first()
    )
    if session is None or session.prompt != prompt:
        return None
    return session, sequence


def find(session_id: str, *, tenant_id: str, user_id: str | None = None) -> Session:
    """Return the session of this tenant, and of this user if given; raise `SessionNotFound`."""
    if ID_PATTERN.fullmatch(session_id):
        matches = Session.objects.filter(session_id=session_id, tenant_id=tenant_id)
        if user_id is not None:
            matches = matches.filter(user_id=user_id)
        if session := matches.first():
            return session
    raise errors.SessionNotFound


def cancel(session_id: str, actor: Actor) -> tuple[Session, bool]:
    """Cancel the session and withdraw its request; say whether the session was running.

    The process that runs it ends it. Raises `SessionNotFound`, `MayNotDecide`.
    """
    session = find(session_id, tenant_id=actor.tenant_id)
    if not permissions.may_decide_for(actor, session.user_id):
        raise errors.MayNotDecide
    with transaction.atomic():
        session = Session.objects.select_for_update().get(pk=session.pk)
        if not session.is_running:
            return session, False
        session.cancel_requested_at = session.cancel_requested_at or clocks.now()
        session.save(update_fields=["cancel_requested_at"])
        after_commit.run(lambda: wakeup.publish(leases.owner_topic(session.lease_owner)))
    # The runner opens no request once the flag is set, so these are all that can be pending.
    for request in ApprovalRequest.objects.filter(session_id=session.session_id).pending():
        try:
            services.cancel(request.request_id, actor)
        except (errors.AlreadyDecided, errors.RequestExpired, errors.RequestCancelled):
            continue  # somebody decided it, or it expired, meanwhile
    return session, True
