"""The inbox: what is pending in the operator's tenants, filtered, in an order, page by page."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
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
from hitl.actors import person_key
from hitl.desk import inbox, one
from hitl.desk.rows import form_item
from hitl.models import ApprovalRequest
from hitl.states import Origin
from tests import factories
from tests.integration.calls import browser
from tests.people import OUTSIDER, REQUESTER
from tests.ruling import ADMIN, a_policy

pytestmark = pytest.mark.django_db

INBOX = "/admin/hitl/approvalrequest/inbox/"
KIM = Operator("kim", False, {"tenant1": "approver"})
LEE = Operator("lee", False, {"tenant1": "approver", "tenant2": "viewer"})


def signed_in(role: str | None = "approver", username: str = "desk") -> Client:
    return browser(factories.user(username, role=role, is_staff=True))


def page(client: Client, query: str | None = "") -> str:
    answer = client.get(f"{INBOX}{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def link(shown: str, rel: str, default: str | None = None) -> Any:
    """Return the query of the link to the next or the previous page."""
    links = re.findall(rf'href="([^"]*)" rel="{rel}"', shown)
    return unescape(links[0]) if links else default


def rows(shown: str) -> list[int]:
    return [int(pk) for pk in re.findall(r'<li class="row" id="row-(\d+)"', shown)]


def many(count: int, **fields: Any) -> None:
    now = timezone.now()
    first = ApprovalRequest.objects.count()
    ApprovalRequest.objects.bulk_create(
        ApprovalRequest(
            request_id=f"r-{fields.get('tenant_id', 'tenant1')}-{first + number}",
            session_id=f"s-{number}",
            origin="rest",
            context_text='{"count":3}',
            context_digest="0" * 64,
            body_digest="0" * 64,
            expires_at=now + timedelta(seconds=600 + number),
            **{
                "tenant_id": "tenant1",
                "user_id": "user123",
                "action_type": "delete_mail",
                "created_at": now,
                **fields,
            },
        )
        for number in range(count)
    )


def vote(request: ApprovalRequest, name: str) -> None:
    request.votes.create(
        user_id=name,
        person=person_key(name),
        role="approver",
        channel="admin",
        voted_at=timezone.now(),
    )
    ApprovalRequest.objects.filter(pk=request.pk).update(approvals=1)


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


def test_every_pending_request_is_reached_page_by_page_and_counted() -> None:
    many(2 * inbox.MAX_ROWS + 50)
    everything = list(ApprovalRequest.objects.order_by("expires_at", "pk").values_list(flat=True))
    client = signed_in()

    first = page(client)
    second = page(client, link(first, "next"))
    third = page(client, link(second, "next"))

    assert [*rows(first), *rows(second), *rows(third)] == everything
    assert "1–200 / " in first
    assert '201–400 / <span id="count" data-number="count">450<' in second
    assert "401–450 / " in third
    assert link(third, "next") is None
    assert rows(page(client, link(third, "prev"))) == rows(second)
    assert rows(page(client, link(second, "prev"))) == rows(first)
    assert link(first, "prev") is None


def test_next_page_begins_after_the_last_row_whatever_has_ended_since() -> None:
    many(inbox.MAX_ROWS + 3)
    client = signed_in()
    first = page(client)
    shown = rows(first)
    for request in ApprovalRequest.objects.filter(pk__in=[shown[0], shown[-1]]):
        services.cancel(request.request_id, factories.actor(ADMIN))

    second = page(client, link(first, "next"))

    assert rows(second) == list(
        ApprovalRequest.objects.exclude(pk__in=shown).order_by("expires_at").values_list(flat=True)
    )


def test_page_whose_rows_have_all_ended_is_the_last_that_there_is() -> None:
    many(3)
    last = ApprovalRequest.objects.latest("expires_at")
    cursor = f"{round(last.expires_at.timestamp() * 1_000_000)}.{last.pk}"

    assert len(rows(page(signed_in(), f"?after={cursor}"))) == 3


@pytest.mark.parametrize(
    "cursor", ["x", "-", "1", "1.2.3.4", "9" * 40, "1." + "9" * 19, "١.١", "1.2.3"]
)
def test_cursor_that_is_none_begins_at_some_page(cursor: str) -> None:
    request = factories.opened()

    assert rows(page(signed_in(), f"?after={cursor}")) == [request.pk]


def test_orders_lead_through_all_pages() -> None:
    now = timezone.now()
    policies = [a_policy(f"{risk}*", risk=risk) for risk in ("low", "critical")]
    for number, policy in enumerate([None, *policies]):
        many(
            inbox.MAX_ROWS // 2 + 1,
            tenant_id="tenant1",
            policy=policy,
            action_type=f"a{number}",
            created_at=now + timedelta(seconds=number),
        )
    client = signed_in()
    orders: dict[str, list[str]] = {
        "": ["expires_at", "pk"],
        "?sort=newest": ["-created_at", "-pk"],
        "?sort=oldest": ["created_at", "pk"],
    }
    for sort, columns in orders.items():
        first = page(client, sort)
        shown = [*rows(first), *rows(page(client, link(first, "next")))]
        assert shown == list(ApprovalRequest.objects.order_by(*columns).values_list(flat=True))
    by_risk = {
        risk: list(
            ApprovalRequest.objects.filter(**{"policy__risk": risk} if risk else {"policy": None})
            .order_by("expires_at", "pk")
            .values_list("pk", flat=True)
        )
        for risk in ("critical", "low", "")
    }
    first = page(client, "?sort=risk")
    shown = [*rows(first), *rows(page(client, link(first, "next")))]
    assert shown == by_risk["critical"] + by_risk["low"] + by_risk[""]


def test_what_is_not_mine_is_listed_and_not_counted_as_mine() -> None:
    a_policy("wipe_*", required_role="admin")
    mine, voted = factories.opened(), factories.opened()
    vote(voted, "desk")
    admins, _ = services.open_request(
        factories.question(action_type="wipe_disk"), factories.actor(REQUESTER), Origin.REST
    )
    client = signed_in()

    shown, shown_mine = page(client), page(client, "?mine=1")

    assert set(rows(shown)) == {mine.pk, voted.pk, admins.pk}
    assert rows(shown_mine) == [mine.pk]
    assert re.findall(r'data-pk="(\d+)" data-expires="\d+" data-mine>', shown) == [str(mine.pk)]
    for text in (shown, shown_mine):
        assert 'id="mine" data-number="mine">1<' in text
    assert 'data-number="count">3<' in shown
    assert "takes the role admin" in shown
    # A no is open to who has voted; to who lacks the role nothing is.
    assert f'value="{form_item(voted)}"' in shown
    assert f'value="{form_item(admins)}"' not in shown


def test_filter_is_kept_in_every_link_of_the_page() -> None:
    many(inbox.MAX_ROWS + 1)
    many(1, tenant_id="tenant1", action_type="other", agent_id="a")

    shown = page(signed_in(), "?q=delete&action=delete_mail&sort=newest")

    assert 'data-number="count">201<' in shown
    assert link(shown, "next", "").startswith("?q=delete&action=delete_mail&sort=newest&after=")
    view = "?view=q%3Ddelete%26action%3Ddelete_mail%26sort%3Dnewest"
    assert f'/{rows(shown)[0]}/change/{view}"' in shown
    assert "../live/?q=delete&amp;action=delete_mail&amp;sort=newest" in shown
    # Each part can be taken away.
    assert 'href="/admin/hitl/approvalrequest/inbox/?action=delete_mail&amp;sort=newest"' in shown


def test_form_that_sends_empty_fields_leads_to_a_short_address() -> None:
    answer = signed_in().get(f"{INBOX}?q=a&tenant=&action=&sort=time-left&risk=")

    assert answer.status_code == 302
    assert answer["Location"] == f"{INBOX}?q=a"


def test_value_that_no_filter_can_have_is_named_on_the_page() -> None:
    request = factories.opened()

    shown = page(signed_in(), f"?sort=nonsense&q={'x' * 201}")

    assert "they are ignored: q, sort" in shown
    assert rows(shown) == [request.pk]


def test_filter_offers_the_actions_askers_and_agents_of_own_tenants() -> None:
    many(2, tenant_id="tenant1", action_type="pay", user_id="kim", agent_id="bot")
    many(3, tenant_id="tenant2", action_type="secret", user_id="eve", agent_id="spy")

    assert inbox.choices(KIM) == {"action": ["pay"], "asker": ["kim"], "agent": ["bot"]}


@pytest.mark.parametrize("query", ["", "?q=mail&mine=1&sort=risk"])
def test_page_takes_as_many_statements_however_many_are_pending(query: str) -> None:
    policy = a_policy("delete_*", min_approvals=2)
    client = signed_in()
    statements = []
    for times in (1, 2):
        many(150 * times, tenant_id="tenant1", policy=policy, action_type=f"delete_{times}")
        for request in ApprovalRequest.objects.filter(approvals=0)[:50]:
            vote(request, f"person-{times}")
        with CaptureQueriesContext(connection) as queries:
            page(client, query)
        statements.append([query["sql"] for query in queries])

    # Four for the rows, three for what the filter offers, one for the views, and the sign-in's.
    assert len(statements[0]) == len(statements[1]) <= 13, statements[1]


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
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {sql}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        plan = "\n".join(str(row) for row in cursor.fetchall())

    assert "request_open_of_tenant" in plan, plan
    assert not [word for word in ("Seq Scan", "TEMP B-TREE") if word in plan], plan


def test_request_that_has_the_operators_vote_is_not_the_next() -> None:
    first, second = factories.opened(timeout_seconds=60), factories.opened(timeout_seconds=90)
    vote(first, "Kim")

    pending = inbox.read(KIM)

    assert pending.voted == {first.pk}
    assert (pending.count, pending.mine) == (2, 1)
    assert one.next_to_decide(KIM, 0) == second.pk


@pytest.mark.parametrize("path", [INBOX, "/admin/hitl/approvalrequest/many/"])
def test_desk_is_for_staff_only(path: str) -> None:
    client = browser(factories.user("kim", role="admin", is_staff=False))

    answer = client.get(path)

    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_superuser_without_a_tenant_is_led_to_where_they_add_themselves() -> None:
    boss = factories.user("boss", role=None, is_staff=True, is_superuser=True)

    shown = page(browser(boss))

    empty = shown.partition('id="empty"')[2].partition("</nav>")[0]
    assert "an admin of a tenant adds you" not in empty
    assert 'href="/admin/gateway/tenant/"' in empty
    assert 'href="/admin/auth/user/"' in empty
