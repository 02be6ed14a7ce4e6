"""The audit pages: one chain at a time, found by index, verified, signed and exported."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.audit import record as audit_record
from hitl.audit import search
from hitl.models import ApprovalRequest, AuditCheckpoint, AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.integration.calls import browser
from tests.integration.chains import NOON, chain_of, record
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db

LIST = "/admin/hitl/auditrecord/"


@pytest.fixture(autouse=True)
def _own_key_and_folder(settings: Settings, tmp_path: Path) -> None:
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "checkpoints")
    settings.AUDIT_SIGNING_KEY = base64.b64encode(b"k" * 32).decode()


def signed_in(role: str | None = "viewer", *, is_superuser: bool = False) -> Client:
    return browser(factories.user("desk", role=role, is_staff=True, is_superuser=is_superuser))


def shown(client: Client, **query: object) -> str:
    answer = client.get(f"{LIST}?{urlencode(query)}")
    assert answer.status_code == 200
    return answer.content.decode()


def numbers(page: str) -> list[int]:
    """Return the record numbers of the page's table, in order."""
    return [int(found) for found in re.findall(r'/auditrecord/\d+/change/">(\d+)</a>', page)]


def hourly(count: int) -> None:
    for hour in range(count):
        with transaction.atomic():
            audit_record.write(
                AuditEvent.SESSION_REFUSED, factories.actor(), NOON + timedelta(hours=hour)
            )


# --- the list ---------------------------------------------------------------------------


def test_list_shows_one_chain_newest_first() -> None:
    chain_of(3)
    record(OUTSIDER, session_id="theirs")

    page = shown(signed_in())

    assert numbers(page) == [3, 2, 1]
    assert "outsider1" not in page


def test_list_of_another_tenants_chain_is_not_there() -> None:
    record(OUTSIDER)
    client = signed_in("admin")

    for tenant in ("tenant2", "", "made-up"):
        assert client.get(f"{LIST}?{urlencode({'tenant': tenant})}").status_code == 404
    theirs = AuditRecord.objects.get(tenant_id="tenant2")
    assert client.get(f"{LIST}{theirs.pk}/change/").status_code == 302


def test_superuser_sees_the_deployments_chain_and_no_tenants() -> None:
    chain_of(1)
    with transaction.atomic():
        audit_record.write(AuditEvent.SIGN_IN_FAILED, factories.actor(OUTSIDER), NOON)
    client = signed_in(None, is_superuser=True)

    assert client.get(f"{LIST}?tenant=").status_code == 200
    assert client.get(f"{LIST}?tenant=tenant1").status_code == 404
    assert client.get(LIST).status_code == 200


def test_list_goes_on_page_by_page() -> None:
    chain_of(120)
    client = signed_in()

    pages, query = [], "tenant=tenant1"
    while query:
        page = client.get(f"{LIST}?{query}").content.decode()
        pages += numbers(page)
        following = re.search(r'rel="next" href="\?([^"]+)"', page)
        query = following[1].replace("&amp;", "&") if following else ""

    assert pages == list(range(120, 0, -1))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"actor": "approver1"}, [3]),
        ({"actor": "approver"}, []),
        ({"event": "request:approved"}, [3]),
        ({"action": "delete_mail"}, [3, 2]),
        ({"request": "req-one"}, [3, 2]),
        ({"q": "req-one"}, [3, 2]),
        ({"from": "2030-01-01"}, []),
        ({"to": "2026-01-16"}, [1]),
        ({"to": "2026-01-16T11:59"}, []),
        ({"from": "2026-01-16T12:00", "to": "2026-01-16T12:00"}, [1]),
        ({"request": "req-one", "event": "request:opened"}, [2]),
        ({"before": "3"}, [2, 1]),
        ({"before": "x"}, [3, 2, 1]),
        ({"before": "9" * 30}, [3, 2, 1]),
        ({"from": "yesterday"}, [3, 2, 1]),
    ],
)
def test_list_is_searched(query: dict[str, str], found: list[int]) -> None:
    chain_of(1)
    factories.opened(request_id="req-one")
    services.approve("req-one", factories.actor())

    assert numbers(shown(signed_in(), **query)) == found


def test_times_of_a_search_are_in_the_zone_of_who_searches() -> None:
    chain_of(1)
    noon_in_seoul = {"from": "2026-01-16T21:00", "to": "2026-01-16T21:00"}
    client = signed_in()

    assert numbers(shown(client, **noon_in_seoul)) == []
    assert numbers(shown(client, **noon_in_seoul, zone="Asia/Seoul")) == [1]
    assert numbers(shown(client, **noon_in_seoul, zone="No/Where")) == []


def test_time_that_cannot_be_read_is_said() -> None:
    chain_of(1)

    assert "A time looks like" in shown(signed_in(), **{"from": "32 January"})


def test_list_counts_no_further_than_it_has_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_COUNTED", 10)
    chain_of(11)

    assert "more than 10 records found" in " ".join(shown(signed_in()).split())


def test_list_makes_as_many_queries_for_many_records_as_for_few() -> None:
    client = signed_in()
    counts = []
    for count in (1, 60):
        chain_of(count)
        with CaptureQueriesContext(connection) as queries:
            shown(client)
        counts.append(len(queries))

    assert counts[0] == counts[1]
    assert counts[0] < 20


def test_text_from_outside_is_text(settings: Settings) -> None:
    with transaction.atomic():
        audit_record.write(
            AuditEvent.DECISION_REFUSED,
            factories.actor(),
            NOON,
            details={"reason": "<script>alert(1)</script>\u202e"},
        )

    page = shown(signed_in(), actor='"><script>alert(2)')

    assert "<script>alert" not in page
    assert "<script>alert" not in (page := shown(signed_in_again()))
    assert "⟨U+202E⟩" in page


def signed_in_again() -> Client:
    return browser(User.objects.get(username="desk"))


def test_pages_hold_no_inline_script_or_style() -> None:
    factories.opened(request_id="req-one")
    client = signed_in("admin")

    for page in (shown(client), client.get(f"{LIST}request/req-one/").content.decode()):
        assert " style=" not in page
        assert "<style" not in page
        assert re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", page) == []
        assert re.findall(r"\son[a-z]+=", page) == []


# --- one request ------------------------------------------------------------------------


def test_history_of_a_request_tells_everything_of_it() -> None:
    request = factories.opened(request_id="req-one")
    services.reject("req-one", factories.actor(), reason="not <today>")
    factories.opened(request_id="req-two")

    page = signed_in().get(f"{LIST}request/req-one/").content.decode()

    assert numbers(page) == [1, 2]
    for told in (request.context_digest, "approver1", "not &lt;today&gt;", "REST", "req-one"):
        assert told in page
    assert "req-two" not in page


def test_history_of_another_tenants_request_is_not_there() -> None:
    factories.opened(by=OUTSIDER, request_id="req-theirs")
    client = signed_in("admin")

    theirs = client.get(f"{LIST}request/req-theirs/")
    unknown = client.get(f"{LIST}request/req-nothing/")

    assert (theirs.status_code, unknown.status_code) == (404, 404)
    assert b"outsider1" not in theirs.content


@pytest.fixture
def theirs() -> ApprovalRequest:
    """Return a decided request of tenant2."""
    request = factories.opened(by=OUTSIDER, request_id="req-theirs")
    return services.approve(request.request_id, factories.actor(OUTSIDER))


def member_of_both() -> Client:
    user = factories.user("desk", role="viewer", is_staff=True)
    user.memberships.create(tenant_id="tenant2", role="viewer")
    return browser(user)


@pytest.mark.parametrize(
    "query",
    [
        {"request": "req-theirs"},
        {"q": "req-theirs"},
        {"tenant": "tenant1", "request": "req-theirs"},
        {"tenant": "tenant2", "request": "req-theirs"},
    ],
    ids=str,
)
def test_search_of_a_request_is_in_its_own_tenant(
    theirs: ApprovalRequest, query: dict[str, str]
) -> None:
    chain_of(3)

    page = shown(member_of_both(), **query)

    assert numbers(page) == [2, 1]
    assert '<option value="tenant2" selected>' in page
    is_elsewhere = query.get("tenant") == "tenant1"
    assert ("belongs to the tenant that is chosen now" in page) == is_elsewhere


def test_history_of_a_request_leads_on_within_its_tenant(theirs: ApprovalRequest) -> None:
    client = member_of_both()

    page = client.get(f"{LIST}request/?id=req-theirs").content.decode()

    assert numbers(page) == [1, 2]
    assert f'href="{LIST}?tenant=tenant2"' in page
    # The sign-in is a record of that tenant as well.
    assert numbers(shown(client, tenant="tenant2")) == [3, 2, 1]


def test_superuser_searches_the_deployments_chain_for_what_was_tried_elsewhere() -> None:
    request = factories.opened(request_id="req-mine")
    with transaction.atomic():
        audit_record.write(
            AuditEvent.DECISION_REFUSED,
            replace(factories.actor(OUTSIDER), tenant_id=""),
            NOON,
            request=ApprovalRequest(request_id=request.request_id),
        )

    page = shown(signed_in(is_superuser=True), tenant="", request="req-mine")

    assert numbers(page) == [1]
    assert "decision refused" in page


@pytest.mark.parametrize(
    "path",
    ["?tenant=tenant2", "request/?id=req-theirs", "request/req-theirs/"],
)
def test_who_may_not_read_it_is_told_what_it_takes(theirs: ApprovalRequest, path: str) -> None:
    answer = signed_in("admin").get(f"{LIST}{path}")

    page = answer.content.decode()
    assert answer.status_code == 404
    assert "are read by its members, in any role" in page
    assert "tenant1" in page
    assert "outsider1" not in page


def test_who_may_not_read_the_deployments_records_is_told_what_it_takes() -> None:
    answer = signed_in("admin").get(f"{LIST}?tenant=")

    assert answer.status_code == 404
    assert "own records are read by superusers" in answer.content.decode().replace("&#x27;", "'")


# --- signing ----------------------------------------------------------------------------


def test_checkpoint_is_made_by_an_admin_of_the_tenant() -> None:
    chain_of(2)

    answer = signed_in("admin").post(f"{LIST}checkpoint/", {"tenant": "tenant1"}, follow=True)

    assert AuditCheckpoint.objects.get().sequence == 2
    assert "Record 2 is signed." in answer.content.decode()


@pytest.mark.parametrize(("role", "tenant"), [("approver", "tenant1"), ("admin", "tenant2")])
def test_checkpoint_is_made_by_nobody_else(role: str, tenant: str) -> None:
    chain_of(1)
    record(OUTSIDER)
    client = signed_in(role)

    assert client.post(f"{LIST}checkpoint/", {"tenant": tenant}).status_code == 404
    assert client.get(f"{LIST}checkpoint/?tenant=tenant1").status_code == 405
    assert not AuditCheckpoint.objects.exists()


def test_page_says_that_a_checkpoint_is_not_outside(settings: Settings, tmp_path: Path) -> None:
    chain_of(1)
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    settings.AUDIT_CHECKPOINT_DIR = str(blocked)
    client = signed_in("admin")

    client.post(f"{LIST}checkpoint/", {"tenant": "tenant1"})

    assert "is not in AUDIT_CHECKPOINT_DIR" in shown(client)

    # Leaving the block waits for the answer to end, and fails if it does not.


def test_conditions_together_are_looked_for_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "MOST_LOOKED_THROUGH", 4)
    hourly(6)
    for name in ("one", "two", "three"):
        factories.opened(request_id=f"req-{name}")
        services.approve(f"req-{name}", factories.actor())
    wanted = {"actor": "approver1", "event": "session:refused", "tenant": "tenant1"}
    client = signed_in()

    pages, query = [], urlencode(wanted)
    while query:
        page = client.get(f"{LIST}?{query}").content.decode()
        following = re.search(r'rel="next" href="\?([^"]+)"', page)
        assert ("looked through 4, older ones follow" in page) == bool(following)
        pages.append(numbers(page))
        query = following[1].replace("&amp;", "&") if following else ""

    # Of this actor's nine records the three newest are of another event.
    assert pages == [[6], [5, 4, 3, 2], [1]]


@pytest.mark.django_db(transaction=True)
async def test_long_history_shows_its_end_and_says_what_is_left_out() -> None:
    def shown() -> str:
        asked = factories.opened()
        for number in range(6):
            with transaction.atomic():
                audit_record.write(
                    AuditEvent.DECISION_REFUSED,
                    factories.actor(),
                    NOON,
                    request=asked,
                    details={"number": number},
                )
        services.approve(asked.request_id, factories.actor())
        whole = search.records_of_request(asked.request_id, "tenant1", most=8)
        assert (len(whole[0]), whole[1]) == (8, True)
        kept, is_whole = search.records_of_request(asked.request_id, "tenant1", most=4)
        assert not is_whole
        assert (kept[0].event, kept[-1].event) == ("request:opened", "request:approved")
        assert len(kept) == 4
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search.records_of_request, "__kwdefaults__", {"most": 4})
            path = f"/admin/hitl/auditrecord/request/{asked.request_id}/"
            return str(signed_in().get(path).content.decode())

    assert "these are the first and the last of them" in await run_sync(shown)
