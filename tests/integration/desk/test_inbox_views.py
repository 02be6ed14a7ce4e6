"""Views: filters of the inbox that each operator keeps under names."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from hitl.desk import inbox_views
from hitl.models import InboxView
from tests import factories
from tests.integration.desk.test_inbox import INBOX, page, signed_in

pytestmark = pytest.mark.django_db

VIEW = f"{INBOX}view/"


def keep(client: Client, name: str, query: str = "action=pay") -> str:
    """Keep a view, and return where that leads."""
    answer = client.post(VIEW, {"name": name, "query": query})
    assert answer.status_code == 302
    return str(answer["Location"])


def kept(username: str = "desk") -> dict[str, str]:
    views = InboxView.objects.filter(user__username=username)
    return dict(views.values_list("name", "query"))


def test_view_is_kept_and_leads_to_its_filter() -> None:
    client = signed_in()

    assert keep(client, " Payments ", "sort=risk&action=pay&q=") == f"{INBOX}?action=pay&sort=risk"

    assert kept() == {"Payments": "action=pay&sort=risk"}
    shown = page(client)
    assert 'href="/admin/hitl/approvalrequest/inbox/?action=pay&amp;sort=risk"' in shown
    assert ">Payments<" in shown


def test_views_are_each_operators_own() -> None:
    keep(signed_in(), "Payments")
    other = signed_in(username="other")

    assert ">Payments<" not in page(other)
    other.post(VIEW, {"remove": "Payments"})
    assert kept() == {"Payments": "action=pay"}
    keep(other, "Payments", "action=mail")
    assert (kept(), kept("other")) == ({"Payments": "action=pay"}, {"Payments": "action=mail"})


def test_views_go_with_their_account_and_not_to_the_next_of_its_name() -> None:
    keep(signed_in(), "Payments")

    get_user_model().objects.get(username="desk").delete()

    assert InboxView.objects.count() == 0
    assert ">Payments<" not in page(signed_in())


def test_account_that_is_renamed_keeps_its_views() -> None:
    keep(signed_in(), "Payments")

    get_user_model().objects.filter(username="desk").update(username="renamed")

    assert kept("renamed") == {"Payments": "action=pay"}
    assert ">Payments<" not in page(signed_in())


def test_keeping_again_renames_a_view_or_gives_it_another_filter() -> None:
    client = signed_in()
    keep(client, "Payments")

    keep(client, "Money")
    assert kept() == {"Money": "action=pay"}
    keep(client, "Money", "action=transfer")
    assert kept() == {"Money": "action=transfer"}
    keep(client, "Mail", "action=mail")
    keep(client, "Money", "action=mail")
    assert kept() == {"Money": "action=mail"}


def test_view_is_removed() -> None:
    client = signed_in()
    keep(client, "Payments")

    client.post(VIEW, {"remove": "Payments", "name": "typed meanwhile", "query": "action=pay"})

    assert kept() == {}


def test_fifty_views_are_kept_and_no_more() -> None:
    client = signed_in()
    for number in range(inbox_views.MAX_VIEWS):
        keep(client, f"view {number}", f"q={number}")

    keep(client, "one more", "q=more")

    assert len(kept()) == inbox_views.MAX_VIEWS
    assert "remove one first" in page(client)
    keep(client, "view 7", "q=another")
    keep(client, "renamed", "q=8")
    assert kept()["view 7"] == "q=another"
    assert len(kept()) == inbox_views.MAX_VIEWS


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("", "action=pay"),
        ("  ", "action=pay"),
        ("x" * 61, "action=pay"),
        ("Nothing", ""),
        ("Nothing", "sort=nonsense"),
        ("Long", "action=" + "%ED%95%9C" * 512),
    ],
)
def test_view_that_cannot_be_kept_is_refused(name: str, query: str) -> None:
    client = signed_in()

    keep(client, name, query)

    assert kept() == {}
    assert "at most 60 characters" in page(client)


def test_name_of_a_view_is_shown_with_its_marks() -> None:
    client = signed_in()
    keep(client, "a\u202eb <script>")

    shown = page(client, "?action=pay")

    assert "⟨U+202E⟩" in shown
    assert "<script>a" not in shown
    assert "&lt;script&gt;" in shown


def test_view_is_kept_by_a_form_of_the_page_alone() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.user("desk", role="approver", is_staff=True))

    assert client.post(VIEW, {"name": "Payments", "query": "action=pay"}).status_code == 403
    assert client.get(f"{VIEW}?name=Payments&query=action%3Dpay").status_code == 302
    assert kept() == {}


@pytest.mark.parametrize("name", ["All", " mine to  DECIDE", "Ａｌｌ", "Filtered", "전체"])
def test_view_is_never_called_as_a_tab_that_is_always_there(name: str) -> None:
    client = signed_in()

    keep(client, name)

    assert kept() == {}
    assert f"Every inbox has a tab “{name.strip()}” already" in page(client)


def test_views_that_find_no_room_are_in_a_menu_and_the_chosen_one_is_a_tab() -> None:
    client = signed_in()
    for number in range(21):
        keep(client, f"View {number}", f"action=a{number}")

    first = page(client)
    chosen = page(client, "?action=a20")

    assert first.count('class="kept"') == chosen.count('class="kept"') == 3
    assert "More views (18)" in first
    assert re.search(r'class="kept"[^>]*aria-current="page">(<[^>]*>)*View 20<', chosen)
    for number in range(21):
        assert first.count(f">View {number}<") == chosen.count(f">View {number}<") == 1
