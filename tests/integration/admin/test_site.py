"""The site around the pages: nothing of Django's own that is empty or leads elsewhere."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from dwp_project.gateway.models import Membership
from hitl import services
from hitl.models import AuditRecord, OutboxEntry, Policy, RejectionReason
from tests import factories
from tests.integration.calls import browser
from tests.people import TENANT
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db


def signed_in(role: str | None = "admin", *, is_superuser: bool = False) -> Client:
    return browser(factories.user("desk", role=role, is_staff=True, is_superuser=is_superuser))


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, path
    return html.unescape(answer.content.decode())


@pytest.fixture
def rows() -> dict[str, object]:
    """Make a row of each table, and return its address and where its history is."""
    request = factories.opened(request_id="req-1")
    services.reject("req-1", factories.actor(), reason="no")
    policy = a_policy()
    reason = RejectionReason.objects.create(tenant_id=TENANT, text="Not today")
    factories.user("colleague", role="viewer")
    member = Membership.objects.get(user__username="colleague")
    record = AuditRecord.objects.filter(tenant_id=TENANT)[0]
    entry = OutboxEntry.objects.get()
    book, ours = "/admin/hitl/auditrecord/", "?tenant=tenant1&event="
    return {
        f"/admin/hitl/approvalrequest/{request.pk}/": f"{book}request/?id=req-1",
        f"/admin/hitl/outboxentry/{entry.pk}/": f"{book}request/?id=req-1",
        f"/admin/hitl/policy/{policy.pk}/": f"/admin/hitl/policy/{policy.pk}/change/",
        f"/admin/hitl/rejectionreason/{reason.pk}/": f"{book}{ours}reasons%3Achanged",
        f"/admin/gateway/membership/{member.pk}/": f"{book}{ours}membership",
        f"{book}{record.pk}/": f"{book}{record.pk}/change/",
    }


def test_history_leads_to_what_the_audit_has(rows: dict[str, str]) -> None:
    client = signed_in()

    for address, history in rows.items():
        answer = client.get(f"{address}history/")
        assert (answer.status_code, answer["Location"]) == (302, history), address
        assert client.get(history).status_code == 200, history
        assert "historylink" not in page(client, f"{address}change/"), address


def test_account_has_no_history_page_and_no_link_to_one() -> None:
    client = signed_in(is_superuser=True)
    address = f"/admin/auth/user/{User.objects.get().pk}/"

    assert client.get(f"{address}history/").status_code == 404
    assert "historylink" not in page(client, f"{address}change/")


def test_pages_do_not_lead_to_a_site_or_to_recent_actions() -> None:
    a_policy()
    client = signed_in(is_superuser=True)

    for path in (
        "/admin/pages/",
        "/admin/hitl/policy/",
        "/admin/password_change/",
        "/admin/password_change/done/",
    ):
        shown = page(client, path)
        assert ">Home<" not in shown
        assert "View site" not in shown
        assert "Recent actions" not in shown
        assert "None available" not in shown


def test_signed_out_page_leads_back_to_the_sign_in() -> None:
    client = signed_in()

    answer = client.post("/admin/logout/")

    shown = answer.content.decode()
    assert "You are signed out" in shown
    assert "quality time" not in shown
    assert 'href="/admin/hitl/approvalrequest/inbox/"' in shown
    assert client.get("/admin/hitl/approvalrequest/inbox/").status_code == 302


SECTIONS = {
    "viewer": ["Requests", "Rules", "Audit"],
    "admin": ["Requests", "Rules", "Audit", "People and tenants"],
    "superuser": ["Audit", "People and tenants"],
}


@pytest.mark.parametrize("who", list(SECTIONS))
def test_index_has_the_sections_that_somebody_can_use_in_one_order(who: str) -> None:
    is_superuser = who == "superuser"
    client = signed_in(None if is_superuser else who, is_superuser=is_superuser)

    shown = page(client, "/admin/pages/")

    assert re.findall(r"<caption>(.*?)</caption>", shown) == SECTIONS[who]
    for address in re.findall(r'<th scope="row"[^>]*><a href="([^"]+)"', shown):
        assert client.get(address).status_code == 200, address


def test_page_of_an_app_is_the_index() -> None:
    answer = signed_in().get("/admin/hitl/")

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_removing_asks_in_a_sentence() -> None:
    reason = RejectionReason.objects.create(tenant_id=TENANT, text="Not today")
    client = signed_in()

    shown = page(client, f"/admin/hitl/rejectionreason/{reason.pk}/delete/")

    assert "Not today" in shown
    assert "The audit keeps what was there" in shown
    assert "related items" not in shown


TIME = re.compile(r'<time datetime="[^"]+">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d</time>')


def test_times_in_lists_and_pages_are_to_the_second(rows: dict[str, str]) -> None:
    client = signed_in(is_superuser=True)
    policy = Policy.objects.get()

    for path in (
        "/admin/hitl/approvalrequest/",
        "/admin/hitl/outboxentry/",
        f"/admin/hitl/outboxentry/{OutboxEntry.objects.get().pk}/change/",
        "/admin/hitl/policy/",
        f"/admin/hitl/policy/{policy.pk}/change/",
        "/admin/hitl/auditrecord/",
        "/admin/hitl/auditrecord/request/?id=req-1",
        "/admin/gateway/membership/",
        "/admin/auth/user/",
    ):
        shown = page(client, path)
        assert TIME.search(shown), path
        assert not re.search(r"\d [ap]\.m\.", shown), path


def test_page_of_a_record_has_its_time_to_the_microsecond(rows: dict[str, str]) -> None:
    record = AuditRecord.objects.filter(tenant_id=TENANT).latest("id")

    shown = page(signed_in(), f"/admin/hitl/auditrecord/{record.pk}/change/")

    assert f">{record.at:%Y-%m-%d %H:%M:%S.%f} UTC</time>" in shown
    assert record.hash in shown
