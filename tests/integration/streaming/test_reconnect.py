"""Attaching to a session and coming back to one (docs/reference/wire.md, 4.1 and 4.5)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest
from streaming import events
from streaming.models import Session
from tests import factories
from tests.integration.exchange import call, stream
from tests.integration.frames import take, whole
from tests.integration.small_agents import Asker, Talker, configure
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]

URL = "/api/aura/test/stream"
GET = f"{URL}?message=test"


async def test_connection_that_drops_does_not_stop_the_work(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream(GET, REQUESTER) as sse:
        [*_, question] = await take(sse, until="hitl")
    await run_sync(services.approve, question.data["requestId"], factories.actor())

    rest = await whole(GET, cursor=question.id)

    assert [frame.event for frame in rest] == ["tool_execution", "content", "end"]
    assert await run_sync(ApprovalRequest.objects.count) == 1


# --- attaching to a session ---------------------------------------------------------------


async def test_attaching_replays_a_session_of_ones_own(settings: Settings) -> None:
    configure(settings, Talker)
    frames = await whole(GET)
    session = await run_sync(Session.objects.get)
    url = f"/api/aura/sessions/{session.session_id}/stream"

    assert await whole(url) == frames
    assert await whole(url, cursor=frames[1].id) == frames[2:]
    assert await whole(url, cursor="event_123") == frames
    assert await whole(url, cursor=events.event_id(session.pk + 1, 2)) == frames


@pytest.mark.parametrize("person", [APPROVER, OUTSIDER], ids=["colleague", "outsider"])
async def test_attaching_to_anothers_session_is_not_found(
    settings: Settings, person: Person
) -> None:
    configure(settings, Talker)
    await whole(GET)
    session = await run_sync(Session.objects.get)

    missing = await call("GET", "/aura/sessions/session_none/stream", person)

    assert missing.refusal == (404, "E1004")
    foreign = await call("GET", f"/aura/sessions/{session.session_id}/stream", person)
    assert foreign.facts == missing.facts


# --- coming back --------------------------------------------------------------------------


async def test_coming_back_replays_exactly_what_is_missing(settings: Settings) -> None:
    configure(settings, Talker)
    frames = await whole(GET)

    for place, frame in enumerate(frames):
        assert await whole(GET, cursor=frame.id) == frames[place + 1 :]
    assert await run_sync(Session.objects.count) == 1


async def test_coming_back_compares_the_prompt_only(settings: Settings) -> None:
    configure(settings, Talker)
    frames = await whole(URL, {"prompt": "test", "context": {"a": 1}, "thread_id": "x"})
    cursor = frames[0].id

    assert await whole(URL, {"prompt": "test", "context": {"b": 2}}, cursor) == frames[1:]
    assert await whole(GET, cursor=cursor) == frames[1:]


@pytest.mark.parametrize("cursor", ["3", "event_123", "-5", "9" * 300, "0"])
async def test_coming_back_with_an_id_that_leads_nowhere_starts_anew(
    settings: Settings, cursor: str
) -> None:
    configure(settings, Talker)

    assert (await whole(GET, cursor=cursor))[0].event == "start"


async def test_coming_back_with_another_prompt_starts_anew(settings: Settings) -> None:
    configure(settings, Talker)
    frames = await whole(GET)

    other = await whole(f"{URL}?message={quote('다른 일')}", cursor=frames[0].id)

    assert other[0].event == "start"
    assert await run_sync(Session.objects.count) == 2


async def test_coming_back_with_anothers_id_starts_anew(settings: Settings) -> None:
    configure(settings, Talker)
    frames = await whole(GET)

    for person in (APPROVER, OUTSIDER):
        own = await whole(GET, cursor=frames[0].id, by=person)
        assert own[0].event == "start"
        assert not {frame.id for frame in own} & {frame.id for frame in frames}
