"""`GET /aura/hitl/requests`: the tenant's, newest first, a page at a time (wire.md, 3.5)."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.utils import timezone
from pytest_django import Settings

from hitl import services
from tests import factories
from tests.integration.calls import Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db

PATH = "/aura/hitl/requests"


def ids_of(api: Api, query: str = "") -> list[str]:
    return [item["requestId"] for item in api.get(PATH + query, APPROVER).data["items"]]


def test_list_shows_the_objects_of_the_tenant_newest_first(api: Api) -> None:
    first, second = factories.opened(), factories.opened(by=APPROVER)
    factories.opened(by=OUTSIDER)

    answer = api.get(PATH, REQUESTER)

    assert (answer.status, answer.body["message"]) == (200, "Approval requests retrieved")
    assert ids_of(api) == [second.request_id, first.request_id]
    assert answer.data["items"][1]["context"] == factories.CONTEXT
    assert "nextCursor" not in answer.data


def test_list_of_nothing_is_empty(api: Api) -> None:
    assert api.get(PATH, REQUESTER).data == {"items": []}


def test_list_is_filtered_by_status(api: Api) -> None:
    pending, approved, cancelled = (factories.opened() for _ in range(3))
    services.approve(approved.request_id, factories.actor())
    services.cancel(cancelled.request_id, factories.actor())

    assert ids_of(api, "?status=pending") == [pending.request_id]
    assert ids_of(api, "?status=approved") == [approved.request_id]
    assert ids_of(api, "?status=cancelled") == [cancelled.request_id]
    assert ids_of(api, "?status=rejected") == []


def test_list_is_filtered_by_session(api: Api) -> None:
    wanted = factories.opened("session-a")
    factories.opened("session-b")

    assert ids_of(api, "?sessionId=session-a") == [wanted.request_id]
    assert ids_of(api, "?sessionId=session-c") == []
    assert ids_of(api, "?sessionId=%00") == []
    assert ids_of(api, "?sessionId=session-a&status=approved") == []


def test_list_shows_an_overdue_request_as_expired(api: Api) -> None:
    overdue = factories.opened(now=timezone.now() - timedelta(seconds=301))

    items = api.get(PATH, REQUESTER).data["items"]

    assert [(item["requestId"], item["status"]) for item in items] == [
        (overdue.request_id, "expired")
    ]


def test_list_of_pending_shows_nothing_that_is_overdue(api: Api) -> None:
    overdue = factories.opened(now=timezone.now() - timedelta(seconds=301))

    assert ids_of(api, "?status=pending") == []
    assert ids_of(api, "?status=expired") == [overdue.request_id]


def test_list_of_120_is_read_in_pages(api: Api) -> None:
    opened = [factories.opened().request_id for _ in range(120)]
    listed: list[str] = []
    cursors: list[str] = []
    cursor = ""

    while True:
        page = api.get(f"{PATH}?cursor={quote(cursor)}" if cursor else PATH, APPROVER).data
        listed += [item["requestId"] for item in page["items"]]
        if not (cursor := page.get("nextCursor", "")):
            break
        cursors.append(cursor)
        if len(cursors) == 1:
            factories.opened()  # a new request shifts no page

    assert listed == opened[::-1]
    assert len(cursors) == 2


def test_cursor_keeps_the_filter_of_its_list(api: Api) -> None:
    for _ in range(55):
        factories.opened("one-session")
    factories.opened("another-session")

    cursor = api.get(f"{PATH}?sessionId=one-session", APPROVER).data["nextCursor"]

    rest = api.get(f"{PATH}?sessionId=one-session&cursor={quote(cursor)}", APPROVER)
    assert len(rest.data["items"]) == 5


def test_cursor_of_another_tenant_shows_one_own_only(api: Api) -> None:
    for _ in range(55):
        factories.opened()
    cursor = api.get(PATH, APPROVER).data["nextCursor"]

    assert api.get(f"{PATH}?cursor={quote(cursor)}", OUTSIDER).data == {"items": []}


def read_cursor(api: Api, query: str = "", by: Person = APPROVER) -> str:
    return str(api.get(PATH + query, by).data["nextCursor"])


def test_cursor_says_nothing_of_where_it_leads(api: Api) -> None:
    opened = [factories.opened() for _ in range(120)]
    first = read_cursor(api)
    second = read_cursor(api, f"?cursor={first}")

    assert len(first) == len(second)
    for cursor, last in ((first, opened[70]), (second, opened[20])):
        raw = base64.urlsafe_b64decode(cursor + "==")
        assert not re.search(rb"p=[0-9]", raw)
        assert last.pk.to_bytes(8, "big") not in raw
    assert first[:8] != second[:8]


def test_changed_cursor_is_an_invalid_value(api: Api) -> None:
    for _ in range(55):
        factories.opened()
    cursor = read_cursor(api)

    for place in range(0, len(cursor) - 1, 7):
        other = "A" if cursor[place] != "A" else "B"
        changed = cursor[:place] + other + cursor[place + 1 :]
        assert api.get(f"{PATH}?cursor={changed}", APPROVER).refusal == (400, "E1001")


def test_cursor_of_another_tenant_leads_nowhere(api: Api) -> None:
    for _ in range(55):
        factories.opened(by=OUTSIDER)
        factories.opened()

    cursor = read_cursor(api)

    assert api.get(f"{PATH}?cursor={cursor}", OUTSIDER).data == {"items": []}


def test_cursor_outlives_a_change_of_the_secret_key(api: Api, settings: Settings) -> None:
    for _ in range(55):
        factories.opened()
    cursor = read_cursor(api)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-that-only-tests-know"

    assert len(api.get(f"{PATH}?cursor={cursor}", APPROVER).data["items"]) == 5

    settings.SECRET_KEY_FALLBACKS = []
    assert api.get(f"{PATH}?cursor={cursor}", APPROVER).refusal == (400, "E1001")


def old_cursor(number: int) -> str:
    return base64.b64encode(f"p={number}".encode()).decode()


def test_list_that_was_begun_before_an_update_goes_on(api: Api) -> None:
    opened = [factories.opened() for _ in range(3)]

    assert ids_of(api, f"?cursor={old_cursor(opened[2].pk)}") == [
        opened[1].request_id,
        opened[0].request_id,
    ]


def test_number_of_a_request_cannot_be_found_with_an_old_cursor(api: Api) -> None:
    own, foreign = factories.opened(), factories.opened(by=OUTSIDER)
    assert foreign.pk > own.pk

    # Each is above the number of the tenant's only request, which would be listed.
    for number in (own.pk + 1, foreign.pk, 10**12):
        assert ids_of(api, f"?cursor={old_cursor(number)}") == []


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "커서",
        "a\x00b",
        "!" * 300,
        base64.b64encode(b"p=abc").decode(),
        base64.b64encode(b"p=1.5").decode(),
        base64.b64encode(b"p=a%00").decode(),
        base64.b64encode(b"o=-1&p=1").decode(),
        base64.b64encode(b"o=x").decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"p=" + b"9" * 5000).decode(),
    ],
    ids=lambda cursor: repr(cursor[:20]),
)
def test_tampered_cursor_is_an_invalid_value(api: Api, cursor: str) -> None:
    factories.opened()

    answer = api.get(f"{PATH}?cursor={quote(cursor)}", REQUESTER)

    assert answer.refusal == (400, "E1001")


@pytest.mark.parametrize("position", [b"-1", b"0", b"99999999999999999999999"])
def test_cursor_beyond_the_list_finds_no_error(api: Api, position: bytes) -> None:
    factories.opened()

    answer = api.get(f"{PATH}?cursor={base64.b64encode(b'p=' + position).decode()}", REQUESTER)

    assert answer.status == 200


@pytest.mark.parametrize("status", ["open", "PENDING", "%00", "pending%20"])
def test_status_that_there_is_not_is_an_invalid_value(api: Api, status: str) -> None:
    assert api.get(f"{PATH}?status={status}", REQUESTER).refusal == (400, "E1001")
