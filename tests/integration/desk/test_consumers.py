"""The desk's live streams: what is new arrives, what is not ours never does, and access ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from dwp_project.gateway.models import Membership
from dwp_project.offload import run_sync
from hitl import services
from hitl.desk import consumers, live
from hitl.models import ApprovalRequest
from tests import factories
from tests.integration.exchange import call
from tests.integration.watching import cookie, watching
from tests.people import OUTSIDER

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.anyio]

LIVE = "/admin/hitl/approvalrequest/live/"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "_BETWEEN_READS_SECONDS", 0.05)


@pytest.fixture(autouse=True)
async def _flushed(_quick: None) -> AsyncIterator[None]:
    yield
    layer: Any = get_channel_layer()
    await layer.flush()


async def opened(**fields: Any) -> ApprovalRequest:
    return await run_sync(factories.opened, **fields)


async def test_inbox_is_told_whole_and_then_what_differs() -> None:
    desk = await run_sync(cookie)
    first = await opened(timeout_seconds=200)

    async with watching(LIVE, desk) as page:
        whole = await page.next()
        assert whole["order"] == [str(first.pk)]
        assert whole["count"] == "1"

        second = await opened(timeout_seconds=100)
        change = await page.next()
        assert change["order"] == [str(second.pk), str(first.pk)]
        assert list(change["pieces"]) == [str(second.pk)]

        await run_sync(services.approve, first.request_id, factories.actor())
        left = await page.next()
        assert (left["order"], left["pieces"]) == ([str(second.pk)], {})


async def test_stream_speaks_the_readers_language() -> None:
    desk = await run_sync(cookie)
    request = await opened(context={"password": "x"})

    async with watching(LIVE, {**desk, "Accept-Language": "ko-KR"}) as page:
        row = (await page.next())["pieces"][str(request.pk)]

    assert "HITL_REDACT로 가림" in row


async def test_nothing_of_another_tenant_is_ever_told() -> None:
    desk = await run_sync(cookie)
    foreign = await opened(by=OUTSIDER)

    async with watching(LIVE, desk) as page:
        assert (await page.next())["order"] == []
        later = await opened(by=OUTSIDER)
        mine = await opened()
        change = await page.next()

    assert change["order"] == [str(mine.pk)]
    for one in (foreign, later):
        assert one.request_id not in json.dumps(change)
        answer = await call("GET", f"/admin/hitl/approvalrequest/{one.pk}/live/", headers=desk)
        assert answer.status == 404


@pytest.mark.parametrize(
    "user", [{"is_staff": False}, {"is_active": False}, None], ids=["no staff", "inactive", "none"]
)
async def test_streams_are_not_there_for_others(user: dict[str, Any] | None) -> None:
    request = await opened()
    headers = {} if user is None else await run_sync(cookie, **user)

    for path in (LIVE, f"/admin/hitl/approvalrequest/{request.pk}/live/"):
        answer = await call("GET", path, headers=headers)
        assert answer.status == 404
        assert request.request_id not in answer.content.decode()


async def test_changes_are_read_in_time_when_the_layer_drops_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumers, "_MAX_PAGE_AGE_SECONDS", 0.3)
    monkeypatch.setattr(live, "tell", lambda request: None)
    desk = await run_sync(cookie)

    async with watching(LIVE, desk) as page:
        await page.next()
        request = await opened()
        assert (await page.next())["order"] == [str(request.pk)]


async def test_expiry_is_told_without_anybody_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "tell", lambda request: None)
    desk = await run_sync(cookie)
    request = await opened(timeout_seconds=1)

    async with watching(f"/admin/hitl/approvalrequest/{request.pk}/live/", desk) as page:
        assert (await page.next())["isPending"] is True
        over = await page.next()

    assert over["status"] == "expired"
    assert "Nobody decided in time" in over["pieces"]["state"]


async def test_one_request_tells_who_was_faster() -> None:
    desk = await run_sync(cookie)
    request = await opened()

    async with watching(f"/admin/hitl/approvalrequest/{request.pk}/live/", desk) as page:
        await page.next()
        await run_sync(services.reject, request.request_id, factories.actor(), reason="no")
        over = await page.next()

    assert over["isPending"] is False
    assert "approver1" in over["pieces"]["state"]


async def test_stream_ends_with_the_membership_and_with_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumers, "_MAX_PAGE_AGE_SECONDS", 0.3)
    for end, username in ((Membership, "leaver"), (Session, "guest")):
        desk = await run_sync(cookie, username)
        async with watching(LIVE, desk) as page:
            await page.next()
            rows: Any = end._default_manager.all()
            await run_sync(rows.delete)
            rest = await page.exchange.rest()

        assert b"standing" not in rest
        assert b"event: gone" in rest


async def test_role_that_was_taken_stops_the_stream_of_one_request() -> None:
    desk = await run_sync(cookie)
    request = await opened()
    async with watching(f"/admin/hitl/approvalrequest/{request.pk}/live/", desk) as page:
        await page.next()
        await run_sync(User.objects.filter(username="desk").update, is_staff=False)
        await run_sync(live.tell, request)
        assert b"event: gone" in await page.exchange.rest()


async def test_what_is_told_is_what_the_channel_layer_hears() -> None:
    layer: Any = get_channel_layer()
    request = await opened()
    channel = await layer.new_channel()
    await layer.group_add(live.group_of(request.tenant_id), channel)
    message = None
    while message is None:  # a subscription stands a moment after it was asked for
        await run_sync(live.tell, request)
        message = await layer.receive(channel)

    assert message == live.MESSAGE
