"""The archive: newest first, one tenant at a time, and hidden text marked in rows and filters."""

from __future__ import annotations

import pytest
from django.test import Client

from tests import factories
from tests.integration.admin.test_requests import LIST, TRICK, asked, assert_marked, page

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(factories.user("desk", role="approver", is_staff=True))
    return client


def test_lists_and_their_filters_mark_what_is_hidden(client: Client) -> None:
    asked(action_type=TRICK)
    asked()

    shown = page(client, LIST)

    filters, rows = shown.split('id="changelist-filter"')[1], shown.split('id="result_list"')[1]
    assert_marked(rows.split('id="changelist-filter"')[0])
    assert "⟨U+202E⟩" in filters
    assert "\u202e" not in shown


@pytest.mark.parametrize("order", ["1", "-1", "4"])
def test_list_is_in_the_order_of_its_index_whatever_a_link_asks(client: Client, order: str) -> None:
    for action in ("b", "a", "c"):
        asked(action_type=action)

    rows = page(client, f"{LIST}?o={order}").split('id="result_list"')[1]

    assert rows.index(">c</span>") < rows.index(">a</span>") < rows.index(">b</span>")
