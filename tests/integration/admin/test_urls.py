"""The desk's own addresses: the landing page, all pages, and a request by its id."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import pytest

from dwp_project.gateway.models import Membership
from dwp_project.offload import run_sync
from hitl.models import ApprovalRequest, AuditRecord
from tests import factories
from tests.integration.calls import Answer, browser
from tests.integration.exchange import call
from tests.people import OUTSIDER

INBOX = "/admin/hitl/approvalrequest/inbox/"
IDS = (
    *("req-1", "u/1", "a%2Fb", "100%", "a b", "a+b@x.com", "송금 요청/7", "DOMAIN\\kim", "a?b#c"),
    *("~;,:'", "😀", "가" * 170),
)
pytestmark = pytest.mark.usefixtures("redis_client")
_PASSWORD = "a-Horse-on-9-stairs"


def by_id(request_id: str) -> str:
    return f"/admin/requests/{quote(request_id, safe='')}"


def cookies(username: str = "desk") -> dict[str, str]:
    """Return the headers of a member of tenant1 who is signed in."""
    client = browser(factories.user(username, role="viewer", is_staff=True))
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


def page_of(request: ApprovalRequest) -> str:
    return f"/admin/hitl/approvalrequest/{request.pk}/change/"


@pytest.mark.django_db
def test_sign_in_leads_to_the_inbox() -> None:
    factories.user("desk", role="viewer", is_staff=True, password=_PASSWORD)
    client = browser()
    form = {"username": "desk", "password": _PASSWORD, "next": "/admin/"}

    answer = client.post("/admin/login/", form, follow=True)

    assert answer.redirect_chain[-1] == (INBOX, 302)
    assert client.get("/admin/login/", follow=True).redirect_chain[-1] == (INBOX, 302)


@pytest.mark.django_db
def test_operator_without_a_tenant_lands_there_too_and_reads_what_to_do() -> None:
    client = browser(factories.user("desk", is_staff=True))

    page = client.get("/admin/", follow=True)

    assert page.redirect_chain == [(INBOX, 302)]
    assert "an admin of a tenant adds you" in page.content.decode()


@pytest.mark.django_db
def test_every_page_has_a_menu_that_leads_to_every_other() -> None:
    client = browser(factories.user("desk", role="admin", is_staff=True))
    pages = [f"/admin/hitl/{name}/" for name in ("approvalrequest", "policy", "auditrecord")]

    for path in [INBOX, *pages, "/admin/pages/", "/admin/password_change/"]:
        shown = client.get(path).content.decode()
        menu = shown[shown.index('id="desk-menu"') :]
        assert [page for page in [INBOX, "/admin/pages/", *pages] if f'"{page}"' not in menu] == []


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_request_opens_by_its_id_whatever_its_characters() -> None:
    signed_in = await run_sync(cookies)
    for request_id in IDS:
        request = await run_sync(factories.opened, request_id=request_id)
        answer = await call("GET", by_id(request_id), headers=signed_in)
        assert (answer.status, answer.headers["location"]) == (302, page_of(request)), request_id


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_sign_in_leads_on_to_the_request() -> None:
    for request_id in IDS:
        answer = await call("GET", by_id(request_id))
        assert answer.status == 302
        sign_in = urlsplit(answer.headers["location"])
        assert sign_in.path == "/admin/login/"
        assert parse_qs(sign_in.query) == {"next": [by_id(request_id)]}


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_sign_in_after_a_change_of_role_leads_on_to_the_request() -> None:
    headers = await run_sync(cookies)
    await call("GET", INBOX, headers=headers)
    await run_sync(Membership.objects.update, role="approver")

    answer = await call("GET", f"{by_id('u/1 100%')}?from=chat%25", headers=headers)

    sign_in = urlsplit(answer.headers["location"])
    assert parse_qs(sign_in.query) == {"next": [f"{by_id('u/1 100%')}?from=chat%25"]}


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("language", ["en", "ko"])
async def test_unknown_request_and_one_of_another_tenant_get_the_same_page(language: str) -> None:
    await run_sync(factories.opened, by=OUTSIDER, request_id="theirs")
    headers = {**await run_sync(cookies), "Accept-Language": language}

    answers = [await call("GET", by_id(name), headers=headers) for name in ("theirs", "nobodys")]

    assert [answer.status for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert _headers(answers[0]) == _headers(answers[1])
    title = {"en": "Not found", "ko": "찾을 수 없습니다"}[language]
    assert f"<h1>{title}</h1>" in answers[0].content.decode()
    assert 'class="button" href="/admin/"' in answers[0].content.decode()


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
async def test_address_of_a_request_decides_nothing() -> None:
    request = await run_sync(factories.opened, request_id="req-1")
    headers, records = await run_sync(cookies), await run_sync(AuditRecord.objects.count)

    answer = await call("POST", by_id("req-1"), headers=headers, body=b"approve=1")

    assert answer.status in (403, 405)
    assert await run_sync(ApprovalRequest.objects.pending().filter(pk=request.pk).exists)
    assert await run_sync(AuditRecord.objects.count) == records


@pytest.mark.django_db
def test_what_a_role_does_not_allow_is_a_page_that_leads_back() -> None:
    client = browser(factories.user("desk", role="viewer", is_staff=True))

    answer = client.get("/admin/hitl/policy/add/")

    assert answer.status_code == 403
    assert "<h1>Not allowed</h1>" in answer.content.decode()
    assert 'class="button" href="/admin/"' in answer.content.decode()


def _headers(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}
