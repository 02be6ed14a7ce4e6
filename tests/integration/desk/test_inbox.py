"""The inbox: the pending requests of the operator's tenants, the most urgent first."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dwp_project.gateway.models import Membership
from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.desk import inbox
from hitl.desk.rows import form_item
from hitl.models import ApprovalRequest
from tests import factories
from tests.integration.calls import browser
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db

INBOX = "/admin/hitl/approvalrequest/inbox/"
KIM = Operator("kim", False, {"tenant1": "approver"})
LEE = Operator("lee", False, {"tenant1": "approver", "tenant2": "viewer"})


def signed_in(role: str | None = "approver", username: str = "desk") -> Client:
    return browser(factories.user(username, role=role, is_staff=True))


def page(client: Client) -> str:
    answer = client.get(INBOX)
    assert answer.status_code == 200
    return answer.content.decode()


def rows(shown: str) -> list[int]:
    return [int(pk) for pk in re.findall(r'<li class="row" id="row-(\d+)"', shown)]


def many(count: int, **fields: Any) -> None:
    now = timezone.now()
    ApprovalRequest.objects.bulk_create(
        ApprovalRequest(
            request_id=f"r-{fields.get('tenant_id', 'tenant1')}-{number}",
            session_id=f"s-{number}",
            user_id="user123",
            origin="rest",
            action_type="delete_mail",
            context_text='{"count":3}',
            context_digest="0" * 64,
            body_digest="0" * 64,
            created_at=now,
            expires_at=now + timedelta(seconds=600 + number),
            **{"tenant_id": "tenant1", **fields},
        )
        for number in range(count)
    )


def test_inbox_lists_the_soonest_to_expire_first() -> None:
    late, soon, middle = (factories.opened(timeout_seconds=s) for s in (900, 30, 300))

    assert rows(page(signed_in())) == [soon.pk, middle.pk, late.pk]


def test_inbox_lists_the_pending_requests_of_the_operators_tenants() -> None:
    mine = factories.opened()
    foreign = factories.opened(by=OUTSIDER)
    decided = factories.opened()
    services.reject(decided.request_id, factories.actor())
    factories.opened(now=timezone.now() - timedelta(seconds=301))

    shown = page(signed_in())

    assert rows(shown) == [mine.pk]
    assert foreign.request_id not in shown
    assert "tenant2" not in shown
    assert rows(page(signed_in(None, "nobody"))) == []


def test_inbox_mixes_tenants_by_urgency_and_names_them() -> None:
    later = factories.opened(timeout_seconds=500)
    sooner = factories.opened(by=OUTSIDER, timeout_seconds=100)
    client = signed_in()
    user = User.objects.get(username="desk")
    Membership.objects.create(user=user, tenant_id="tenant2", role="viewer")
    client.force_login(user)

    shown = page(client)

    assert rows(shown) == [sooner.pk, later.pk]
    assert "tenant2" in shown
    # A viewer of a tenant cannot select its requests.
    assert f'value="{form_item(later)}"' in shown
    assert f'value="{sooner.pk}:' not in shown


def test_inbox_says_when_more_are_pending_than_it_lists() -> None:
    many(inbox.MAX_ROWS + 1)

    shown = page(signed_in())

    assert len(rows(shown)) == inbox.MAX_ROWS
    assert f">{inbox.MAX_ROWS}+<" in shown
    assert '<p id="more" class="quiet more">' in shown


def test_reading_the_inbox_takes_two_queries_however_many_are_pending() -> None:
    counts = set()
    for tenant in ("tenant1", "tenant2"):
        many(40, tenant_id=tenant)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            inbox.read(LEE)
        counts.add(len(queries))

    assert counts == {2}  # nothing has a policy here: no third


def test_reading_the_inbox_uses_the_index_of_open_requests() -> None:
    for tenant in ("tenant1", "tenant2", "tenant3", "tenant4"):
        many(300, tenant_id=tenant)
    with CaptureQueriesContext(connection) as queries:
        inbox.read(LEE)
    sql = queries[0]["sql"]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE hitl_approvalrequest")
            # Among so few, any way is cheap. Which one is taken among a million, test_million says.
            for way in ("enable_seqscan", "enable_sort"):
                cursor.execute(f"SET LOCAL {way} = off")
            cursor.execute(f"EXPLAIN {sql}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        plan = "\n".join(str(row) for row in cursor.fetchall())

    assert plan.count("request_open_of_tenant") == 2, plan
    # PostgreSQL may sort those of the same moment, and nothing else.
    assert not [word for word in ("Seq Scan", "TEMP B-TREE") if word in plan], plan


def test_request_that_the_operator_voted_on_is_not_the_next() -> None:
    first, second = factories.opened(timeout_seconds=60), factories.opened(timeout_seconds=90)
    first.votes.create(
        user_id="Kim", person="kim", role="approver", channel="admin", voted_at=timezone.now()
    )

    pending = inbox.read(KIM)

    assert pending.voted == {first.pk}
    assert [request.pk for request in pending.for_me()] == [second.pk]


@pytest.mark.parametrize("path", [INBOX, "/admin/hitl/approvalrequest/many/"])
def test_desk_is_for_staff_only(path: str) -> None:
    client = browser(factories.user("kim", role="admin", is_staff=False))

    answer = client.get(path)

    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")
