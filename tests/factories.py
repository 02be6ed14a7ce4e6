"""Plain makers of what tests start from."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from dwp_project.gateway.models import Membership, Tenant
from hitl import services
from hitl.actors import Actor
from hitl.models import ApprovalRequest
from hitl.states import ActorKind, Channel, Origin, Status
from tests.people import APPROVER, REQUESTER, TENANT, Person

CONTEXT: dict[str, Any] = {"folder": "받은편지함", "count": 3}


def a_session_id() -> str:
    """Return an id that no session has yet."""
    return f"session-{uuid.uuid4().hex[:12]}"


def actor(person: Person = APPROVER, kind: ActorKind = ActorKind.USER) -> Actor:
    """Return `person` as the services see them after a REST call."""
    return Actor(
        id=person.user_id,
        tenant_id=person.tenant_id,
        kind=kind,
        channel=Channel.REST,
        role=person.role,
    )


def question(
    session_id: str | None = None,
    *,
    request_id: str | None = None,
    action_type: str = "delete_mail",
    message: str = "Delete 3 mails?",
    context: Mapping[str, Any] | None = None,
    timeout_seconds: int | None = None,
) -> services.Question:
    """Return a question about three mails, in a session of its own unless one is named."""
    return services.Question(
        session_id=session_id or a_session_id(),
        action_type=action_type,
        message=message,
        context=CONTEXT if context is None else context,
        timeout_seconds=timeout_seconds,
        request_id=request_id,
    )


def opened(
    session_id: str | None = None,
    *,
    by: Person = REQUESTER,
    request_id: str | None = None,
    context: Mapping[str, Any] | None = None,
    timeout_seconds: int | None = None,
    now: datetime | None = None,
) -> ApprovalRequest:
    """Open a request over REST in the name of `by`, as of `now`."""
    asked = question(
        session_id, request_id=request_id, context=context, timeout_seconds=timeout_seconds
    )
    request, _ = services.open_request(asked, actor(by), Origin.REST, now=now)
    return request


def user(
    username: str = "desk",
    *,
    role: str | None = None,
    tenant_id: str = TENANT,
    password: str | None = None,
    email: str = "",
    first_name: str = "",
    last_name: str = "",
    is_active: bool = True,
    is_staff: bool = False,
    is_superuser: bool = False,
) -> User:
    """Make a user, with a membership in `tenant_id` if `role` is given.

    Nobody hears of it: the audit records of a test are of what the test does.
    """
    made = User(
        username=username,
        email=email,
        password=make_password(password),
        first_name=first_name,
        last_name=last_name,
        is_active=is_active,
        is_staff=is_staff,
        is_superuser=is_superuser,
    )
    QuerySet[User](User).bulk_create([made])
    if role is not None:
        member = Membership(user=made, tenant_id=tenant_id, role=role)
        QuerySet[Membership](Membership).bulk_create([member])
    return made


def tenant(tenant_id: str, name: str = "") -> Tenant:
    """Make a tenant that forms offer; nobody hears of it."""
    [made] = QuerySet[Tenant](Tenant).bulk_create([Tenant(tenant_id=tenant_id, name=name)])
    return made


def decided_elsewhere(request: ApprovalRequest) -> None:
    """Decide as another process does that dies before the wake-up."""
    ApprovalRequest.objects.filter(pk=request.pk).update(
        status=Status.APPROVED,
        decided_at=timezone.now(),
        decided_by="elsewhere",
        decided_channel=Channel.REST,
    )
