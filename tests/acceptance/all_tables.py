"""`python -m tests.acceptance.all_tables fill`: rows in every table, through the services where
there are any. `show`: every row, as text by which two databases can be compared."""

from __future__ import annotations

import json
import os
import sys
import uuid
from datetime import timedelta
from typing import Any

import django

# Whatever a database, a file or a reader of lines could take for something else.
ODD = "\x01\x1c\x1e\x7f\x85\u2028\u2029\ufeff 메일 🙂 \\u0000 \r\n\t'\""
CONTEXT = {
    "odd": f"\x00{ODD}",
    "": None,
    "floats": [0.1, 1e-7, -0.0, 1.7976931348623157e308, 5e-324],
    "integers": [2**53 + 1, -(2**63), 10**40],
    "empty": [[], {}, ""],
    "large": "x" * 200_000,
}
# Tables whose rows `migrate` makes in each database, under keys of its own.
_MADE = ("contenttypes.ContentType", "auth.Permission")


def fill() -> None:
    """Have every table get rows; the database is migrated and Redis runs."""
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import Group, Permission, User
    from django.contrib.contenttypes.models import ContentType
    from django.contrib.sessions.backends.db import SessionStore
    from django.utils import timezone

    from dwp_project.gateway.models import Membership, Tenant
    from dwp_project.wakeup import redis_client
    from hitl import services
    from hitl.audit import checkpoints, record
    from hitl.models import InboxView, KeptAnswer
    from hitl.policies import reasons
    from hitl.states import Origin
    from streaming import log, sessions
    from streaming.agents.base import AgentEvent
    from streaming.models import Session, SessionStatus
    from tests import factories, ruling
    from tests.integration.audit import everything
    from tests.people import REQUESTER, TENANT

    _move_made_rows()
    everything.happens(redis_client())
    question = factories.question(
        "session-odd", request_id="odd", action_type="read_mail", context=CONTEXT
    )
    services.open_request(question, factories.actor(REQUESTER), Origin.REST)
    reasons.add(factories.actor(ruling.ADMIN), text="거절 🙂", position=3)
    KeptAnswer.objects.create(
        tenant_id=TENANT,
        user_id="user123",
        endpoint="open",
        key="key",
        payload_digest="0" * 64,
        body=ODD,
        created_at=timezone.now(),
    )
    said = AgentEvent("content", {"content": ODD, "chunk": True})
    for ending in (None, SessionStatus.COMPLETED, SessionStatus.FAILED):
        begun = sessions.begin(
            sessions.Prompt(ODD, context=CONTEXT), tenant_id=TENANT, user_id="user123"
        )
        log.append(begun.pk, [said] * 3, after=0, lease=1, ending=ending)
    # One of a version before.
    Session.objects.filter(status=SessionStatus.FAILED).update(key=None)

    user = User.objects.create_user("kim", password="long-enough-1", is_staff=True)
    Tenant.objects.create(tenant_id=TENANT, name="결제 🙂")
    Membership.objects.create(user=user, tenant_id=TENANT, role="admin")
    InboxView.objects.create(user=user, name="결제 🙂", query="q=%EA%B2%B0%EC%A0%9C")
    group = Group.objects.create(name="그룹")
    permissions = Permission.objects.order_by("-pk")
    group.permissions.set(permissions[:9])
    user.groups.add(group)
    user.user_permissions.set(permissions[5:12])
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(user.pk),
        object_repr=ODD,
        action_flag=2,
    )
    session = SessionStore()
    session["person"] = ODD
    session.save()
    _fail_to_sign_in()
    _take_turns()
    for tenant in record.tenants():
        checkpoints.sign_head(tenant)


def _move_made_rows() -> None:
    """Give content types and permissions the keys of an installation that has seen updates."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (
            "UPDATE auth_permission SET content_type_id = content_type_id + 1000, id = id + 3000",
            "UPDATE django_content_type SET id = id + 1000",
        ):
            cursor.execute(statement)


def _fail_to_sign_in() -> None:
    from axes import models as axes
    from django.utils import timezone

    common = {"username": "kim", "ip_address": "203.0.113.9", "user_agent": ODD}
    attempt = axes.AccessAttempt.objects.create(
        **common, get_data="", post_data="", failures_since_start=3
    )
    axes.AccessAttemptExpiration.objects.create(
        access_attempt=attempt, expires_at=timezone.now() + timedelta(minutes=15)
    )
    axes.AccessLog.objects.create(**common)
    axes.AccessFailureLog.objects.create(**common, locked_out=True)


def _take_turns() -> None:
    from django.utils import timezone

    from hitl.models import Chore, RelayLease

    Chore.objects.create(name="all-tables", due_at=timezone.now())
    RelayLease.objects.create(id=uuid.uuid4(), ends_at=timezone.now())


def show() -> dict[str, list[str]]:
    """Return the rows of each table, in one order. What `migrate` makes has no key."""
    from django.apps import apps

    return {
        model._meta.label: sorted(
            json.dumps(_values(row), default=repr) for row in model._default_manager.all()
        )
        for model in apps.get_models(include_auto_created=True)
    }


def _values(row: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in row._meta.concrete_fields:
        if field.primary_key and (row._meta.label in _MADE or row._meta.auto_created):
            continue
        is_made = field.remote_field and field.remote_field.model._meta.label in _MADE
        value = getattr(row, field.name if is_made else field.attname)
        values[field.name] = value.natural_key() if is_made and value else value
    return values


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dwp_project.settings")
    django.setup()
    if sys.argv[1] == "fill":
        fill()
    else:
        print(json.dumps(show()))
