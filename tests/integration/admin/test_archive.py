"""The archive: newest first, one tenant at a time, and hidden text marked in rows and filters."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from django.test import Client

from hitl import services
from hitl.states import Origin
from tests import factories
from tests.integration.admin.test_requests import LIST, TRICK, assert_marked, opened, page
from tests.people import OTHER_TENANT, TENANT, Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(factories.user("desk", role="approver", is_staff=True))
    return client


def test_lists_and_their_filters_mark_what_is_hidden(client: Client) -> None:
    opened(action_type=TRICK)
    opened()

    shown = page(client, LIST)

    filters, rows = shown.split('class="list-filters"')[1].split('id="result_list"')
    assert_marked(rows)
    assert "⟨U+202E⟩" in filters
    assert "\u202e" not in shown


@pytest.mark.parametrize("order", ["1", "-1", "4"])
def test_list_is_in_the_order_of_its_index_whatever_a_link_asks(client: Client, order: str) -> None:
    for action in ("b", "a", "c"):
        opened(action_type=action)

    rows = page(client, f"{LIST}?o={order}").split('id="result_list"')[1]

    assert rows.index(">c</span>") < rows.index(">a</span>") < rows.index(">b</span>")


def ids_listed(client: Client, text: str) -> set[str]:
    """Return the request ids that a search lists."""
    return set(re.findall(r"req-\w+", page(client, f"{LIST}?{urlencode({'q': text})}"))) - {text}


@pytest.mark.parametrize("text", ["req-on", "s-one", "pay_one", "asker1"])
def test_search_finds_by_session_action_requester_and_the_beginning_of_an_id(
    client: Client, text: str
) -> None:
    for number, by in (("one", "asker1"), ("two", "asker2")):
        asking = factories.question(
            f"s-{number}", request_id=f"req-{number}", action_type=f"pay_{number}"
        )
        actor = factories.actor(Person(by, TENANT, "user"))
        services.open_request(asking, actor, Origin.REST)
    theirs = factories.actor(Person("asker1", OTHER_TENANT, "user"))
    services.open_request(
        factories.question(request_id="req-one-theirs", action_type="pay_one"), theirs, Origin.REST
    )

    assert ids_listed(client, text) == {"req-one"}


def test_list_shows_one_tenant_and_none_that_the_operator_does_not_see() -> None:
    operator = factories.user("both", role="approver", is_staff=True)
    operator.memberships.create(tenant_id="a-tenant", role="viewer")
    client = Client()
    client.force_login(operator)
    by_tenant = {
        tenant: factories.opened(by=Person("asker1", tenant, "user")).request_id
        for tenant in ("a-tenant", TENANT, OTHER_TENANT)
    }

    def listed(query: str) -> list[str]:
        shown = page(client, f"{LIST}{query}")
        return [tenant for tenant, request_id in by_tenant.items() if request_id in shown]

    assert listed("") == ["a-tenant"]
    assert listed(f"?tenant_id={TENANT}") == [TENANT]
    assert listed(f"?tenant_id={OTHER_TENANT}") == []
