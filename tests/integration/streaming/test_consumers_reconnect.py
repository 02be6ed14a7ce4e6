"""Attaching to a session and coming back to one (docs/reference/wire.md, 4.1 and 4.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import ClassVar
from urllib.parse import quote

import pytest
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from hitl.models import ApprovalRequest
from streaming import events, recovery, retention
from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate
from streaming.models import Event, Session
from tests import factories
from tests.integration.exchange import call, stream
from tests.integration.frames import take, whole
from tests.integration.polling import until
from tests.integration.running import SOON
from tests.integration.small_agents import Asker, Talker, begun, configure, said
from tests.integration.takeovers import dies
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
    assert await whole(url, cursor=events.event_id(session.event_key + 1, 2)) == frames


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


# --- at any cursor, while events are written --------------------------------------------------


PIECES = 30


class Counter(Agent):
    """Counts, with a pause before each number."""

    can_resume: ClassVar[bool] = True

    def __init__(self, pause: float) -> None:
        super().__init__()
        self._pause = pause

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        for number in range(PIECES):
            if number >= len(task.recorded):
                await asyncio.sleep(self._pause)
            yield said(str(number))


def url_of(session: Session) -> str:
    return f"/api/aura/sessions/{session.session_id}/stream"


@pytest.mark.parametrize("way", ["attach", "start"])
@pytest.mark.parametrize("is_taken_over", [False, True])
async def test_every_cursor_gives_every_later_event_once(
    settings: Settings, way: str, is_taken_over: bool
) -> None:
    configure(settings, Counter, pause=0.05)
    session, task = await begun()
    url = url_of(session) if way == "attach" else "/api/aura/test/stream?message=test"
    readers: list[asyncio.Task[list[int]]] = []

    async def read(after: int) -> list[int]:
        cursor = events.event_id(session.event_key, after)
        return [frame.id - cursor + after for frame in await whole(url, cursor=cursor)]

    def has_come(sequence: int) -> bool:
        return Session.objects.filter(pk=session.pk, last_sequence__gte=sequence).exists()

    for after in range(PIECES + 2):
        await until(lambda after=after: has_come(after), within=SOON)  # type: ignore[misc]
        readers.append(asyncio.create_task(read(after)))
        if is_taken_over and after == PIECES // 2:
            await dies(session, task)
            await recovery.scan()

    last = PIECES + 2  # with start and end
    for after, reader in enumerate(readers):
        assert await reader == list(range(after + 1, last + 1))
    assert await run_sync(Session.objects.count) == 1


# --- events that are no longer kept -------------------------------------------------------


async def grown_old(settings: Settings, sequence: int) -> Session:
    """Return a session that ended at 5, whose events up to `sequence` are no longer kept."""
    configure(settings, Talker)
    session, task = await begun()
    await task
    a_year_ago = timezone.now() - timedelta(days=365)
    old = Event.objects.filter(session=session, sequence__lte=sequence)
    await run_sync(old.update, created_at=a_year_ago)
    assert await run_sync(retention.remove_old) == sequence
    return session


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_cursor_older_than_what_is_kept_gets_a_reset_first(
    settings: Settings, after: int
) -> None:
    session = await grown_old(settings, 3)
    reset = events.event_id(session.event_key, 3)
    urls = [url_of(session)]
    if after:  # without a cursor this is a new session
        urls.append("/api/aura/test/stream?message=test")

    for url in urls:
        cursor = events.event_id(session.event_key, after) if after else None
        frames = await whole(url, cursor=cursor)

        received = [(frame.id - reset, frame.event) for frame in frames]
        assert received == [(0, "stream_reset"), (1, "content"), (2, "end")]
        assert frames[0].data["reason"] == frames[0].data["data"]["reason"] != ""
    assert [frame.event for frame in await whole(url_of(session), cursor=reset)] == [
        "content",
        "end",
    ]


async def test_ended_session_without_events_sends_a_reset_and_the_end(settings: Settings) -> None:
    session = await grown_old(settings, 5)

    assert [frame.event for frame in await whole(url_of(session))] == ["stream_reset"]
    # Who saw the last event has missed nothing.
    assert await whole(url_of(session), cursor=events.event_id(session.event_key, 5)) == []


# --- the cursor in the query ---------------------------------------------------------------


@pytest.mark.parametrize("form", ["GET", "POST", "attach"])
async def test_cursor_in_the_query_is_that_of_the_header(settings: Settings, form: str) -> None:
    configure(settings, Talker)
    frames = await whole(GET)
    session = await run_sync(Session.objects.get)
    url, body = {
        "GET": (f"{GET}&", None),
        "POST": (f"{URL}?", {"prompt": "test"}),
        "attach": (f"/api/aura/sessions/{session.session_id}/stream?", None),
    }[form]

    assert await whole(f"{url}lastEventId={frames[1].id}", body) == frames[2:]
    # A polyfill adds its own behind one that the page's address has.
    both = f"{url}lastEventId={frames[0].id}&other=x&lastEventId={frames[2].id}"
    assert await whole(both, body) == frames[3:]
    assert await run_sync(Session.objects.count) == 1


async def test_header_comes_before_the_cursor_in_the_query(settings: Settings) -> None:
    configure(settings, Talker)
    frames = await whole(GET)

    rest = await whole(f"{GET}&lastEventId={frames[0].id}", cursor=frames[2].id)

    assert rest == frames[3:]


@pytest.mark.parametrize("nowhere", ["", "3", "event_123", "%00", "%EA%B0%80", "1e9", "-1"])
async def test_cursor_in_the_query_that_leads_nowhere_starts_anew(
    settings: Settings, nowhere: str
) -> None:
    configure(settings, Talker)

    frames = await whole(f"{GET}&lastEventId={nowhere}")

    assert [frame.event for frame in frames][:1] == ["start"]
