"""Which policy applies: asked on the pages of policies, answered in the words of the command."""

from __future__ import annotations

import html
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from tests import factories
from tests.integration.calls import browser
from tests.people import OTHER_TENANT, TENANT, Person
from tests.ruling import ESCALATING, a_policy

pytestmark = pytest.mark.django_db

POLICIES = "/admin/hitl/policy/"
EXPLAIN = f"{POLICIES}explain/"


@pytest.fixture
def client() -> Client:
    return browser(factories.user("desk", role="viewer", is_staff=True))


def shown(client: Client, **query: str) -> str:
    answer = client.get(EXPLAIN, query)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def test_page_says_what_the_command_prints(client: Client) -> None:
    a_policy("*")
    policy = a_policy(
        "pay*", min_approvals=2, forbid_requester=True, timeout_seconds=600, **ESCALATING
    )
    out = StringIO()
    call_command("explain_policy", TENANT, "Рay_invoice", stdout=out)

    page = shown(client, tenant=TENANT, action="Рay_invoice")

    printed = [line.strip() for line in out.getvalue().splitlines()]
    assert len(printed) > 8
    for line in printed[:-1]:
        assert line in page
    assert "* v1</a>: 0 literal characters, pay* has 3" in page
    assert f'href="{POLICIES}{policy.pk}/change/"' in page


def test_it_is_tried_on_a_request(client: Client) -> None:
    request = factories.opened(request_id="req-one")
    a_policy("delete_*", forbid_requester=True)

    page = shown(client, request="req-one")

    assert "delete_* v1 of tenant1 applies to delete_mail" in page
    assert "req-one was opened when no policy applied, and keeps the default." in page
    assert "Opened now, it would fall under what is said here." in page
    assert "user123 asked, and may not approve it." in page
    assert f'href="/admin/hitl/approvalrequest/{request.pk}/change/"' in page


def test_it_says_that_a_request_is_tried_with_its_own_action(client: Client) -> None:
    factories.opened(request_id="req-one")
    words = "with its own tenant and action"

    for other in ({"action": "pay"}, {"tenant": OTHER_TENANT}):
        assert words in shown(client, request="req-one", **other)
    for same in ({}, {"tenant": TENANT}, {"tenant": TENANT, "action": "delete_mail"}):
        assert words not in shown(client, request="req-one", **same)


def test_request_keeps_the_version_that_it_was_opened_under(client: Client) -> None:
    a_policy("delete_*")
    factories.opened(request_id="req-one")

    page = shown(client, request="req-one")

    assert "req-one was opened under delete_* v1, and keeps it." in page
    assert "Opened now" not in page


def test_request_and_policy_of_another_tenant_are_not_explained(client: Client) -> None:
    a_policy("secret_*", tenant_id=OTHER_TENANT)
    factories.opened(request_id="req-theirs", by=Person("outsider1", OTHER_TENANT, "user"))

    for query in ({"request": "req-theirs"}, {"request": "req-nobodys"}):
        page = shown(client, **query)
        assert "Your tenants have no request of exactly this id." in page
        assert "outsider1" not in page
    page = shown(client, tenant=OTHER_TENANT, action="secret_x")
    assert "This tenant is not one of those that you may choose here." in page
    assert "secret_* v1" not in page


def test_action_that_no_request_could_have_is_refused(client: Client) -> None:
    page = shown(client, tenant=TENANT, action="x" * 513)

    assert "An action type is at most 512 characters." in page


def test_page_is_for_members(client: Client) -> None:
    stranger = browser(factories.user("stranger", is_staff=True, is_superuser=True))

    assert stranger.get(EXPLAIN, {"tenant": TENANT, "action": "pay"}).status_code == 403


def test_form_is_on_the_list_and_on_the_page_of_a_policy(client: Client) -> None:
    policy = a_policy("send_mail")

    for path in (POLICIES, f"{POLICIES}{policy.pk}/change/"):
        assert f'action="{EXPLAIN}"' in client.get(path).content.decode()
    assert (
        'name="action" id="explain-action" value="send_mail"'
        in client.get(f"{POLICIES}{policy.pk}/change/").content.decode()
    )


def test_list_has_columns_in_words(client: Client) -> None:
    a_policy("pay*", min_approvals=2, forbid_requester=True, timeout_seconds=600, **ESCALATING)
    a_policy("read*", reason_required=True, required_role="admin")

    rows = html.unescape(client.get(POLICIES).content.decode()).split('id="result_list"')[1]

    assert "2 approvers or admins, not who asked" in rows
    assert '10 minutes <span class="quiet">then admin, for 60 seconds</span>' in rows
    assert "1 admin<" in rows
    assert "needs a reason" in rows
    # Of one tenant, which is every row's.
    assert "field-tenant_id" not in rows
