"""The operators' pages: to read, of one's own tenants, changed by nobody by hand."""

from __future__ import annotations

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from dwp_project.gateway.models import Membership
from hitl import services
from hitl.admin.base import TenantAdmin
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, RejectionReason
from tests import factories
from tests.integration.calls import browser
from tests.people import OUTSIDER
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db

TABLES = ["approvalrequest", "auditrecord", "outboxentry"]
CHANGELISTS = [f"/admin/hitl/{table}/" for table in TABLES]


def signed_in(role: str | None = "approver", *, is_superuser: bool = False) -> Client:
    return browser(factories.user("desk", role=role, is_staff=True, is_superuser=is_superuser))


@pytest.fixture
def request_() -> ApprovalRequest:
    """A decided request of tenant1, with audit records and an outbox row."""
    request = factories.opened()
    services.reject(request.request_id, factories.actor(), reason="<b>no</b>")
    return request


def row_pages(request: ApprovalRequest) -> list[str]:
    return [
        f"/admin/hitl/approvalrequest/{request.pk}/change/",
        f"/admin/hitl/auditrecord/{AuditRecord.objects.filter(tenant_id='tenant1')[0].pk}/change/",
        f"/admin/hitl/outboxentry/{OutboxEntry.objects.get(request=request).pk}/change/",
    ]


@pytest.mark.parametrize("role", ["viewer", "approver", "admin"])
def test_pages_load_for_every_member(request_: ApprovalRequest, role: str) -> None:
    client = signed_in(role)

    for page in ["/admin/pages/", *CHANGELISTS, *row_pages(request_)]:
        assert client.get(page).status_code == 200, page


@pytest.mark.parametrize("page", ["/admin/pages/", *CHANGELISTS])
def test_page_asks_once_who_may_see_it(request_: ApprovalRequest, page: str) -> None:
    client = signed_in()

    with CaptureQueriesContext(connection) as asked:
        client.get(page)

    table = Membership._meta.db_table
    assert sum(f'FROM "{table}"' in query["sql"] for query in asked) == 1


def test_membership_that_is_taken_away_counts_from_the_next_page(
    request_: ApprovalRequest,
) -> None:
    client = signed_in()
    assert "delete_mail" in client.get(CHANGELISTS[0]).content.decode()

    Membership.objects.all().delete()

    assert "delete_mail" not in client.get(CHANGELISTS[0]).content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "approvalrequest/?q=delete_mail",
        "approvalrequest/?status__exact=pending",
        "approvalrequest/?tenant_id=tenant1&action_type=delete_mail",
        "auditrecord/?q=req_1",
        "auditrecord/?event__exact=request:opened&actor_kind__exact=user",
        "auditrecord/?at__year=2026",
        "outboxentry/?outcome__exact=pending",
    ],
)
def test_lists_are_searched_and_filtered(request_: ApprovalRequest, query: str) -> None:
    assert signed_in().get(f"/admin/hitl/{query}").status_code == 200


def test_list_shows_the_requests_of_ones_own_tenants_only() -> None:
    mine, foreign = factories.opened(), factories.opened(by=OUTSIDER)
    client = signed_in()

    page = client.get("/admin/hitl/approvalrequest/").content.decode()

    assert mine.request_id in page
    assert foreign.request_id not in page
    assert "tenant2" not in page


def test_pages_of_another_tenant_are_not_there() -> None:
    foreign = factories.opened(by=OUTSIDER)
    services.approve(foreign.request_id, factories.actor(OUTSIDER))
    client = signed_in()

    for path in (
        f"approvalrequest/{foreign.pk}/change/",
        f"approvalrequest/{foreign.pk}/history/",
        f"auditrecord/{AuditRecord.objects.all()[0].pk}/change/",
        f"outboxentry/{OutboxEntry.objects.get().pk}/change/",
    ):
        # The admin sends away from what it does not find.
        assert client.get(f"/admin/hitl/{path}").status_code == 302


def test_audit_list_shows_the_records_of_ones_own_tenants_only() -> None:
    factories.opened(by=OUTSIDER)
    factories.opened()
    page = signed_in().get("/admin/hitl/auditrecord/").content.decode()

    assert "user123" in page
    assert "outsider1" not in page


@pytest.mark.parametrize("is_superuser", [False, True])
def test_staff_without_a_membership_sees_nothing(
    request_: ApprovalRequest, is_superuser: bool
) -> None:
    client = signed_in(None, is_superuser=is_superuser)

    for page in CHANGELISTS:
        answer = client.get(page)
        assert answer.status_code == 200
        assert request_.request_id not in answer.content.decode()


@pytest.mark.parametrize("page", [*CHANGELISTS, "/admin/pages/"])
def test_pages_are_for_staff_only(page: str) -> None:
    client = browser(factories.user("kim", role="admin", is_staff=False))

    for somebody in (client, browser()):
        answer = somebody.get(page)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("is_superuser", [False, True])
def test_nobody_adds_changes_or_deletes_a_row(
    request_: ApprovalRequest, table: str, is_superuser: bool
) -> None:
    client = signed_in(is_superuser=is_superuser)
    [page] = [page for page in row_pages(request_) if table in page]
    before = list(AuditRecord.objects.values()), list(ApprovalRequest.objects.values())

    assert client.get(f"/admin/hitl/{table}/add/").status_code == 403
    assert client.post(f"/admin/hitl/{table}/add/", {"tenant_id": "x"}).status_code == 403
    assert client.post(page, {"status": "approved", "actor": "x"}).status_code == 403
    assert client.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    client.post(
        f"/admin/hitl/{table}/",
        {"action": "delete_selected", "_selected_action": [request_.pk], "post": "yes"},
    )
    client.post(f"/admin/hitl/{table}/", {"form-0-status": "approved", "_save": "Save"})

    assert before == (list(AuditRecord.objects.values()), list(ApprovalRequest.objects.values()))


def test_page_shows_context_and_reason_as_text(request_: ApprovalRequest) -> None:
    other = factories.opened(context={"<script>alert(1)</script>": "가"})
    client = signed_in()

    decided = client.get(f"/admin/hitl/approvalrequest/{request_.pk}/change/").content.decode()
    pending = client.get(f"/admin/hitl/approvalrequest/{other.pk}/change/").content.decode()

    assert "&lt;b&gt;no&lt;/b&gt;" in decided
    assert "<script>alert" not in pending
    assert "가" in pending


def test_members_of_the_deployments_chain_are_superusers() -> None:
    factories.opened()
    client = signed_in(is_superuser=True)

    assert client.get("/admin/hitl/auditrecord/").status_code == 200


def test_every_page_with_rows_of_tenants_is_scoped_by_the_one_base(
    request_: ApprovalRequest, rf: RequestFactory
) -> None:
    stranger = rf.get("/admin/")
    stranger.user = factories.user("stranger", role=None, is_staff=True)
    factories.user("colleague", role="viewer")
    a_policy()
    RejectionReason.objects.create(tenant_id="tenant1", text="Not today")
    factories.tenant("tenant1")
    # Accounts are no tenant's: superusers alone see them.
    pages = {model: page for model, page in site._registry.items() if model is not User}

    assert len(pages) == 7
    for model, page in pages.items():
        assert isinstance(page, TenantAdmin), model
        assert model._default_manager.values_list(page.tenant_field, flat=True).exists(), model
        assert not page.get_queryset(stranger).exists(), model
