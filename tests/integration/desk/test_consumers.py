"""The desk's live streams: what is new arrives, what is not ours never does, and access ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from dwp_project.gateway import open_pages
from dwp_project.gateway.models import Membership
from dwp_project.offload import run_sync
from hitl import services
from hitl.desk import board, live, snapshot
from hitl.models import ApprovalRequest
from tests import factories
from tests.integration.exchange import call
from tests.integration.outages import no_database
from tests.integration.watching import Watching, cookie, watching
from tests.people import OUTSIDER
from tests.ruling import a_policy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.anyio]

LIVE = "/admin/hitl/approvalrequest/live/"
ALERTS = "/admin/hitl/live/"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "BETWEEN_READS_SECONDS", 0.05)
    monkeypatch.setattr(open_pages, "READ_SECONDS", 0.2)


@pytest.fixture(autouse=True)
async def _flushed(_quick: None) -> AsyncIterator[None]:
    yield
    await board.board().close()
    layer: Any = get_channel_layer()
    await layer.flush()


async def opened(**fields: Any) -> ApprovalRequest:
    return await run_sync(factories.opened, **fields)


async def test_inbox_hears_of_all_keys_and_then_of_what_differs() -> None:
    desk = await run_sync(cookie)
    first = await opened(timeout_seconds=200)

    async with watching(LIVE, desk) as page:
        whole = await page.next()
        assert (whole["keys"], whole["count"], whole["mine"]) == ([first.pk], 1, 1)

        second = await opened(timeout_seconds=100)
        change = await page.next()
        assert change["arrived"] == [{"pk": second.pk, "text": second.message}]

        await run_sync(services.approve, first.request_id, factories.actor())
        left = await page.next()
        assert left["gone"] == {str(first.pk): "approved by approver1"}
        assert (left["count"], left["arrived"], left["rows"]) == (1, [], {})


async def test_inbox_lists_what_its_own_address_asks_for() -> None:
    desk = await run_sync(cookie)
    request = await opened(context={"folder": "needle"})
    await opened()

    async with watching(f"{LIVE}?q=needle", desk) as page:
        whole = await page.next()

    assert (whole["keys"], whole["count"], whole["mine"]) == ([request.pk], 1, 2)


async def test_every_page_hears_of_what_is_its_operators_to_decide() -> None:
    desk, viewer = await run_sync(cookie), await run_sync(cookie, "viewer", "viewer")
    known = await opened()

    async with watching(ALERTS, desk) as page, watching(ALERTS, viewer) as other:
        assert await mine(page) == (1, [])
        assert await mine(other) == (0, [])
        request = await opened()
        assert await mine(page) == (2, [request.pk])
    async with watching(f"{ALERTS}?after={known.pk}", desk) as page:
        assert await mine(page) == (2, [request.pk])
    async with watching(f"{ALERTS}?after=x", desk) as page:
        assert await mine(page) == (2, [])


async def mine(page: Watching) -> tuple[int, list[int]]:
    message = await page.next()
    return message["mine"], [row["pk"] for row in message["arrived"]]


async def test_every_stream_says_every_few_seconds_that_it_is_up_to_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_pages, "PING_SECONDS", 0.2)
    desk = await run_sync(cookie)
    request = await opened()

    for path in (LIVE, ALERTS, f"/admin/hitl/approvalrequest/{request.pk}/live/"):
        async with watching(path, desk) as page:
            assert [await page.next("ping") for _ in range(2)] == [{}, {}]


async def test_stream_is_silent_and_shows_nothing_new_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_pages, "PING_SECONDS", 0.2)
    monkeypatch.setattr(open_pages, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(board, "MAX_AGE_SECONDS", 0.2)
    desk = await run_sync(cookie)

    async with watching(LIVE, desk) as page:
        await page.next("ping")
        with no_database():
            await asyncio.sleep(1.5)
            while not page.exchange._outbox.empty():
                await page.exchange.piece()
            page.seen = b""
            await asyncio.sleep(1.0)
            heard = b""
            while not page.exchange._outbox.empty():
                heard += await page.exchange.piece()
        assert b": keep-alive" in heard
        assert b"event:" not in heard
        # And it goes on by itself.
        await page.next("ping")
        request = await opened()
        assert [row["pk"] for row in (await page.next())["arrived"]] == [request.pk]


async def test_page_of_a_request_reads_it_again_only_when_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[int] = []
    read = snapshot.read

    def counted(pk: int) -> snapshot.SharedReading | None:
        reads.append(pk)
        return read(pk)

    monkeypatch.setattr(snapshot, "read", counted)
    desk = await run_sync(cookie)
    request, other = await opened(), await opened()
    async with (
        watching(f"/admin/hitl/approvalrequest/{request.pk}/live/", desk) as page,
        watching(LIVE, desk) as inbox,
    ):
        await page.next()
        await inbox.next()
        await run_sync(services.approve, other.request_id, factories.actor())
        await inbox.next()
        assert reads == [request.pk]
        await run_sync(services.approve, request.request_id, factories.actor())
        assert (await page.next())["isPending"] is False
    assert reads == [request.pk] * 2


async def test_stream_speaks_the_readers_language() -> None:
    desk = await run_sync(cookie)
    await run_sync(lambda: a_policy(min_approvals=2))
    request = await opened(context={"password": "x"})

    async with watching(LIVE, {**desk, "Accept-Language": "ko-KR"}) as page:
        await page.next()
        await run_sync(services.approve, request.request_id, factories.actor())
        row = (await page.next())["rows"][str(request.pk)]

    assert "HITL_REDACT로 가림" in row


async def test_nothing_of_another_tenant_is_ever_told() -> None:
    desk = await run_sync(cookie)
    foreign = await opened(by=OUTSIDER)

    async with watching(LIVE, desk) as page:
        assert (await page.next())["keys"] == []
        later = await opened(by=OUTSIDER)
        mine = await opened()
        change = await page.next()

    assert [row["pk"] for row in change["arrived"]] == [mine.pk]
    assert change["count"] == 1
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

    for path in (LIVE, ALERTS, f"/admin/hitl/approvalrequest/{request.pk}/live/"):
        answer = await call("GET", path, headers=headers)
        assert answer.status == 404
        assert request.request_id not in answer.content.decode()


async def test_changes_are_read_in_time_when_the_layer_drops_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board, "MAX_AGE_SECONDS", 0.3)
    monkeypatch.setattr(live, "tell", lambda request: None)
    desk = await run_sync(cookie)

    async with watching(LIVE, desk) as page:
        await page.next()
        request = await opened()
        assert [row["pk"] for row in (await page.next())["arrived"]] == [request.pk]


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


async def test_stream_ends_with_the_membership_and_with_the_session() -> None:
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
