"""The stream, frame by frame, as the consumer sends it (docs/reference/wire.md, 4.2 to 4.4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pytest_django import Settings

from dwp_project import wakeup
from dwp_project.offload import run_sync
from hitl import services
from streaming import log
from streaming.models import Event, Session
from tests import factories
from tests.integration.exchange import Exchange, call, stream
from tests.integration.frames import frames_of, take, whole
from tests.integration.small_agents import Asker, Broken, Talker, configure
from tests.people import REQUESTER

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]

URL = "/api/aura/test/stream"
GET = f"{URL}?message=test"


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", "/aura/test/stream?message=test", b""),
        ("POST", "/aura/test/stream", b'{"prompt":"test"}'),
        ("GET", "/agent/chat-stream?message=test", b""),
        ("POST", "/agent/chat-stream", b'{"prompt":"test","context":{"a":1},"thread_id":"t"}'),
        ("POST", "/aura/test/stream", b'{"prompt":"test","context":null,"thread_id":null}'),
    ],
)
async def test_stream_starts_with_exactly_these_headers(
    settings: Settings, prefix: str, method: str, url: str, body: bytes
) -> None:
    configure(settings, Talker)
    async with Exchange(method, prefix + url, REQUESTER, body) as sse:
        status, headers = await sse.start()
        text = await sse.rest()

    assert status == 200
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert headers["connection"] == "keep-alive"
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers
    assert text.endswith(b"data: [DONE]\n\n")


async def test_frames_are_the_bytes_of_the_contract(settings: Settings) -> None:
    configure(settings, Talker)
    async with stream(GET, REQUESTER) as sse:
        text = await sse.rest()

    session = await run_sync(Session.objects.get)
    kept = await run_sync(lambda: list(Event.objects.order_by("sequence")))
    assert text == b"".join(
        [
            b": connected\n\n",
            *(
                f"id: {(session.pk << 20) | row.sequence}\nevent: {row.name}\n"
                f"data: {row.payload}\n\n".encode()
                for row in kept
            ),
            b"data: [DONE]\n\n",
        ]
    )
    assert b"\r" not in text


async def test_ids_rise_and_fit(settings: Settings) -> None:
    configure(settings, Talker)

    found = [frame.id for frame in await whole(GET)]

    assert found == sorted(set(found))
    assert max(found) < 2**53


async def test_idle_stream_carries_comments(settings: Settings) -> None:
    settings.SSE_HEARTBEAT_SECONDS = 0.2
    configure(settings, Asker)
    async with stream(GET, REQUESTER) as sse:
        await take(sse, until="hitl")

        assert [await sse.piece(within=5) for _ in range(3)] == [b": keep-alive\n\n"] * 3


# --- the orders of 4.4, over the wire -----------------------------------------------------


async def test_approved_question_is_streamed_to_its_end(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream(GET, REQUESTER) as sse:
        [*_, question] = await take(sse, until="hitl")
        await run_sync(services.approve, question.data["data"]["requestId"], factories.actor())
        rest = frames_of(await sse.rest())

    assert [frame.event for frame in rest] == ["tool_execution", "content", "end"]


async def test_rejected_question_ends_with_an_error(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream(GET, REQUESTER) as sse:
        [*_, question] = await take(sse, until="hitl")
        await run_sync(
            services.reject, question.data["requestId"], factories.actor(), reason="아직 아님"
        )
        text = await sse.rest()

    [error] = frames_of(text)
    assert (error.event, error.data["error"], error.data["errorType"]) == (
        "error",
        "아직 아님",
        "RejectionError",
    )
    assert text.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("agent", "options", "closing"),
    [
        (Asker, {"timeout_seconds": 1}, ["failed", "error", "end"]),
        (Broken, {}, ["error", "end"]),
    ],
)
async def test_every_other_end_has_its_closing_events(
    settings: Settings, agent: Any, options: dict[str, Any], closing: list[str]
) -> None:
    configure(settings, agent, **options)

    assert [frame.event for frame in await whole(GET)][-len(closing) :] == closing


async def test_session_cancelled_over_rest_ends_its_stream(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream(GET, REQUESTER) as sse:
        [*_, question] = await take(sse, until="hitl")
        session_id = question.data["sessionId"]
        answer = await call("POST", f"/aura/sessions/{session_id}/cancel", REQUESTER)
        rest = frames_of(await sse.rest())

    assert answer.status == 200
    assert [frame.event for frame in rest] == ["error", "end"]


async def test_stream_goes_on_by_reading_while_redis_is_away(
    settings: Settings, redis_away: None
) -> None:
    configure(settings, Talker)

    assert [frame.event for frame in await whole(GET)][-1] == "end"


async def test_stream_that_breaks_is_cut_off_and_not_ended(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream(GET, REQUESTER) as sse:
        [*_, question] = await take(sse, until="hitl")
        session = await run_sync(Session.objects.get)
        # The session is gone from under the stream, which reads it at the next wake-up.
        await run_sync(Session.objects.all().delete)
        await run_sync(wakeup.publish, log.wake_topic(session.pk))
        text = await sse.rest()
        await run_sync(services.cancel, question.data["requestId"], factories.actor())

    # Clients take a clean end for success, so one without [DONE] must not look clean.
    assert sse.was_cut
    assert b"[DONE]" not in text


async def test_two_clients_see_the_same_session(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream(GET, REQUESTER) as first:
        [start, *_, question] = await take(first, until="hitl")
        async with stream(GET, REQUESTER, headers={"Last-Event-ID": str(start.id)}) as second:
            again = await take(second, until="hitl")
            await run_sync(services.approve, question.data["requestId"], factories.actor())
            rests = await asyncio.gather(first.rest(), second.rest())

    assert again[-1] == question
    assert frames_of(rests[0]) == frames_of(rests[1])
