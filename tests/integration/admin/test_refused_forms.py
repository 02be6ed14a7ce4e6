"""A form without a valid token: a page that says what was not done, and leads back."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from hitl.models import ApprovalRequest
from tests import factories
from tests.integration.calls import Api, handler_with_csrf_checks

pytestmark = pytest.mark.django_db

LIST = "/admin/hitl/approvalrequest/"
INBOX = f"{LIST}inbox/"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.handler = handler_with_csrf_checks()
    client.force_login(factories.user("desk", role="approver", is_staff=True))
    return client


def refused(client: Client, path: str, *, language: str = "en", **extra: str) -> str:
    """Post a form whose token is wrong to `path`, and return the content of the page."""
    client.cookies["csrftoken"] = "t" * 32
    form = {"csrfmiddlewaretoken": "u" * 32}
    answer = client.post(path, form, headers={"accept-language": language, **extra})
    assert answer.status_code == 403
    assert answer["Content-Type"].startswith("text/html")
    return answer.content.decode().split('id="content-start"')[1]


def links(page: str) -> list[str]:
    return re.findall(r'<a class="toggle" href="([^"]*)"', page)


def test_refused_decision_says_so_and_leads_back_to_the_request(client: Client) -> None:
    request = factories.opened()

    page = refused(client, f"{LIST}{request.pk}/decide/")

    assert "Nothing was decided." in page
    assert "signed in again in another tab" in page
    assert links(page) == [f"{LIST}{request.pk}/change/", INBOX]
    assert ApprovalRequest.objects.get().status == "pending"


def test_way_back_to_a_request_keeps_the_filter_that_led_there(client: Client) -> None:
    page = refused(client, f"{LIST}7/decide/?view=tenant%3Dtenant1&x=%22")

    assert links(page) == [
        f"{LIST}7/change/?view=tenant%3Dtenant1",
        f"{INBOX}?tenant=tenant1",
    ]


def test_refused_decision_is_in_the_readers_language(client: Client) -> None:
    page = refused(client, f"{LIST}1/decide/", language="ko")

    assert "아무것도 결정되지 않았습니다." in page


def test_refused_decision_on_many_leads_back_to_the_inbox_as_it_was_filtered(
    client: Client,
) -> None:
    page = refused(client, f"{LIST}many/?tenant=tenant1&q=x")

    assert "Nothing was decided." in page
    assert links(page) == [f"{INBOX}?tenant=tenant1&amp;q=x"]


@pytest.mark.parametrize(
    ("path", "ways"),
    [
        ("/admin/hitl/policy/add/", ["/admin/hitl/policy/add/", INBOX]),
        ("/admin/logout/", [INBOX]),
        ("/admin/hitl/auditrecord/checkpoint/", [INBOX]),
        ("/admin/password_change/", ["/admin/password_change/", INBOX]),
    ],
)
def test_other_refused_forms_lead_back_to_themselves_if_they_have_a_page(
    client: Client, path: str, ways: list[str]
) -> None:
    page = refused(client, path)

    assert "Nothing was changed." in page
    assert links(page) == ways
    for way in ways:
        assert client.get(way).status_code in (200, 403)  # a form that others fill in


def test_refused_sign_in_leads_back_to_the_sign_in() -> None:
    nobody = Client()
    nobody.handler = handler_with_csrf_checks()

    page = refused(nobody, "/admin/login/?next=/admin/hitl/")

    assert links(page) == ["/admin/login/?next=/admin/hitl/"]
    assert "Inbox" not in page


def test_way_back_is_never_taken_from_a_header(client: Client) -> None:
    page = refused(client, f"{LIST}7/decide/", referer="https://evil.example/", host="localhost")

    assert "evil.example" not in page
    assert links(page) == [f"{LIST}7/change/", INBOX]


def test_browser_without_cookies_is_told_to_allow_them() -> None:
    nobody = Client()
    nobody.handler = handler_with_csrf_checks()

    answer = nobody.post("/admin/login/", {"username": "x"})

    assert "Allow cookies for this site" in answer.content.decode()


def test_form_from_another_address_names_the_setting(client: Client) -> None:
    page = refused(client, f"{LIST}7/decide/", origin="https://approvals.example")

    assert "CSRF_TRUSTED_ORIGINS" in page


def test_path_of_no_page_is_refused_in_the_envelope(api: Api) -> None:
    assert api.post("/", None, {"a": 1}).refusal == (403, "E2001")
