"""The timeline as operators watch it: in words, without secrets, in their own tenants only."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from dwp_project.gateway import open_pages
from dwp_project.gateway.models import Membership
from dwp_project.offload import run_sync
from streaming import events, sessions
from streaming.models import Event
from tests import factories
from tests.integration.exchange import call
from tests.integration.watching import cookie, watching
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db(transaction=True)


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
async def test_timeline_says_that_it_is_up_to_date_and_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_pages, "PING_SECONDS", 0.2)
    desk = await run_sync(cookie)
    session = await run_sync(a_session)

    async with watching(f"/admin/streaming/session/{session.session_id}/timeline/", desk) as page:
        assert [await page.next("ping") for _ in range(2)] == [{}, {}]
        page.seen = b""
        # A page that reconnects asks for what follows the last id it has heard.
        assert b"id: 3\nevent: ping" in await page.exchange.piece()


@pytest.mark.usefixtures("fresh_hub")
async def test_timeline_ends_with_the_membership(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_pages, "READ_SECONDS", 0.2)
    monkeypatch.setattr(open_pages, "PING_SECONDS", 0.5)
    desk = await run_sync(cookie)
    session = await run_sync(a_session)

    async with watching(f"/admin/streaming/session/{session.session_id}/timeline/", desk) as page:
        await page.next("happened")
        await run_sync(Membership.objects.all().delete)
        await page.exchange.rest()

    assert not page.exchange.was_cut


@pytest.mark.usefixtures("fresh_hub")
async def test_timeline_of_another_tenant_is_not_there() -> None:
    outsider = factories.user
    client = Client()
    user = await run_sync(outsider, "out", role="admin", tenant_id="tenant2", is_staff=True)
    await run_sync(client.force_login, user)
    headers = {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
    session = await run_sync(a_session)

    answer = await call(
        "GET", f"/admin/streaming/session/{session.session_id}/timeline/", headers=headers
    )
    unknown = await call("GET", "/admin/streaming/session/s-none/timeline/", headers=headers)

    assert answer.facts == unknown.facts
    assert answer.status == 404


@pytest.mark.parametrize("session_id", ["session-elsewhere", "session_홍 길동+a@x.com_1"])
async def test_timeline_of_a_session_elsewhere_says_that_it_is_no_use_to_come_back(
    session_id: str,
) -> None:
    desk = await run_sync(cookie)
    await run_sync(factories.opened, session_id)
    path = f"/admin/streaming/session/{quote(session_id, safe='')}/timeline/"
    outside = await run_sync(lambda: factories.opened(by=OUTSIDER))

    answer = await call("GET", path, headers=desk)

    assert (answer.status, answer.content) == (204, b"")
    other = f"/admin/streaming/session/{outside.session_id}/timeline/"
    assert (await call("GET", other, headers=desk)).status == 404
