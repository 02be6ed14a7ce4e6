"""The desk's live streams: what is new arrives, what is not ours never does, and access ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from dwp_project.gateway.models import Membership
from dwp_project.offload import run_sync
from hitl import services
from hitl.desk import consumers, live
from hitl.models import ApprovalRequest
from streaming import events, sessions
from streaming.models import Event
from tests import factories
from tests.integration.exchange import Exchange, call
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


def cookie(username: str = "desk", role: str | None = "approver", **user: Any) -> dict[str, str]:
    """Make an operator and return the header of their browser."""
    client = Client()
    client.force_login(factories.user(username, role=role, **{"is_staff": True, **user}))
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


class Watching:
    """A page's end of a live stream."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.seen = b""

    async def next(self, name: str = "standing", within: float = 15.0) -> dict[str, Any]:
        """Return the data of the next event of this name."""
        while True:
            while b"\n\n" in self.seen:
                frame, _, self.seen = self.seen.partition(b"\n\n")
                lines = dict(line.split(": ", 1) for line in frame.decode().split("\n"))
                if lines.get("event") == name:
                    data = json.loads(lines["data"])
                    assert isinstance(data, dict)
                    return data
            assert not self.exchange.is_complete, "the stream has ended"
            self.seen += await self.exchange.piece(within)


@asynccontextmanager
async def watching(path: str, headers: dict[str, str]) -> AsyncIterator[Watching]:
    async with Exchange("GET", path, headers=headers) as exchange:
        status, answered = await exchange.start()
        assert status == 200
        assert answered["content-type"] == "text/event-stream"
        yield Watching(exchange)


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
    monkeypatch.setattr(consumers, "REREAD_SECONDS", 0.3)
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
    monkeypatch.setattr(consumers, "REREAD_SECONDS", 0.3)
    for end, username in ((Membership, "leaver"), (Session, "guest")):
        desk = await run_sync(cookie, username)
        async with watching(LIVE, desk) as page:
            await page.next()
            rows: Any = end._default_manager.all()
            await run_sync(rows.delete)
            rest = await page.exchange.rest()

        assert b"standing" not in rest
        assert (b"event: gone" in rest) is (end is Session)


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


# --- the timeline -----------------------------------------------------------------------------


def a_session() -> Any:
    session = sessions.begin(
        sessions.Prompt("Delete 3 mails"), tenant_id="tenant1", user_id="user123"
    )
    tool = {
        "toolName": "pay",
        "toolArgs": {"api_key": "sk-1"},
        "status": "success",
        "result": {"deep": [{"password": "p-1"}]},
        "error": None,
        "requiresApproval": True,
    }
    rows: list[tuple[str, dict[str, Any]]] = [
        ("start", {"message": "Session <b>started</b>"}),
        ("tool_execution", tool),
        ("content", {"content": "It is ", "chunk": True}),
    ]
    for sequence, (name, fields) in enumerate(rows, start=1):
        payload = events.payload(name, fields, session_id=session.session_id, timestamp=1)
        Event.objects.create(
            session=session, sequence=sequence, name=name, payload=payload,
            created_at=session.created_at,
        )  # fmt: skip
    session.last_sequence = 3
    session.save()
    return session


@pytest.mark.usefixtures("fresh_hub")
async def test_timeline_tells_a_sessions_events_in_words_without_secrets() -> None:
    desk = await run_sync(cookie)
    session = await run_sync(a_session)
    path = f"/admin/streaming/session/{session.session_id}/timeline/"

    async with watching(path, desk) as page:
        begun, tool, content = [await page.next("happened") for _ in range(3)]

    assert "Begins:" in begun["html"]
    assert "<b>started" not in begun["html"]
    assert "Tool pay:" in tool["html"]
    assert "masked by HITL_REDACT" in tool["html"]
    assert "sk-1" not in tool["html"]
    assert "p-1" not in tool["html"]
    assert (content["kind"], "It is " in content["piece"]) == ("content", True)
    async with watching(f"{path}?after=2", desk) as page:
        assert (await page.next("happened"))["kind"] == "content"


@pytest.mark.usefixtures("fresh_hub")
async def test_timeline_of_another_tenant_is_not_there() -> None:
    outsider = factories.user
    client = Client()
    user = await run_sync(outsider, "out", role="admin", tenant_id="tenant2", is_staff=True)
    await run_sync(client.force_login, user)
    headers = {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
    session = await run_sync(a_session)

    foreign = await call(
        "GET", f"/admin/streaming/session/{session.session_id}/timeline/", headers=headers
    )
    unknown = await call("GET", "/admin/streaming/session/s-none/timeline/", headers=headers)

    assert foreign.facts == unknown.facts
    assert foreign.status == 404


async def test_timeline_of_a_session_elsewhere_says_that_it_is_no_use_to_come_back() -> None:
    desk = await run_sync(cookie)
    request = await run_sync(factories.opened)
    path = f"/admin/streaming/session/{request.session_id}/timeline/"
    outside = await run_sync(lambda: factories.opened(by=OUTSIDER))

    answer = await call("GET", path, headers=desk)

    assert (answer.status, answer.content) == (204, b"")
    other = f"/admin/streaming/session/{outside.session_id}/timeline/"
    assert (await call("GET", other, headers=desk)).status == 404
