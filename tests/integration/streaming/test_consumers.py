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
    rows = await run_sync(lambda: list(Event.objects.order_by("sequence")))
    assert text == b"".join(
        [
            b": connected\n\n",
            *(
                f"id: {(session.event_key << 20) | row.sequence}\nevent: {row.name}\n"
                f"data: {row.payload}\n\n".encode()
                for row in rows
            ),
            b"data: [DONE]\n\n",
        ]
    )
    assert b"\r" not in text


async def test_ids_rise_and_fit(settings: Settings) -> None:
    configure(settings, Talker)

    ids = [frame.id for frame in await whole(GET)]

    assert ids == sorted(set(ids))
    assert max(ids) < 2**53


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


# --- what starts a stream, and what is refused before one (4.1 and 4.6) ---------------------


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", URL, b""),
        ("GET", f"{URL}?message=", b""),
        ("GET", f"{URL}?message=%20%0A", b""),
        ("GET", f"{URL}?message=a%00b", b""),
        ("POST", URL, b""),
        ("POST", URL, b"{}"),
        ("POST", URL, b"no json"),
        ("POST", URL, b"[]"),
        ("POST", URL, b'{"prompt":""}'),
        ("POST", URL, b'{"prompt":" \\n"}'),
        ("POST", URL, b'{"prompt":null}'),
        ("POST", URL, b'{"prompt":["a"]}'),
        ("POST", URL, b'{"prompt":"a\\u0000"}'),
        ("POST", URL, b'{"prompt":"\\ud800"}'),
        ("POST", URL, b'{"prompt":"test","context":[]}'),
        ("POST", URL, b'{"prompt":"test","thread_id":{}}'),
        ("POST", URL, b'{"prompt":"test","thread_id":"' + b"x" * 256 + b'"}'),
        ("POST", URL, b'{"prompt":"test","context":' + b'{"a":' * 999 + b"1" + b"}" * 1000),
        ("POST", f"{URL}?message=test", b"{}"),
    ],
    ids=lambda part: repr(part[-30:]),
)
async def test_stream_without_a_usable_prompt_fails_validation(
    method: str, url: str, body: bytes
) -> None:
    assert (await call(method, url, REQUESTER, body)).refusal == (400, "E4000")
    assert not await run_sync(Session.objects.exists)


async def test_stream_checks_identity_in_order() -> None:
    tenant, junk = {"X-Tenant-ID": "tenant1"}, {"Authorization": "Bearer junk"}
    other_tenant = {**REQUESTER.headers, "X-Tenant-ID": "tenant2", "X-User-ID": "else"}

    assert (await call("GET", URL)).refusal == (400, "E2006")
    assert (await call("GET", URL, headers=tenant)).refusal == (401, "E2000")
    assert (await call("GET", URL, headers=tenant | junk)).refusal == (401, "E2003")
    assert (await call("GET", URL, headers=other_tenant)).refusal == (403, "E2007")


@pytest.mark.parametrize("url", [GET, URL])
async def test_stream_for_another_user_is_an_error_event(url: str) -> None:
    headers = {"X-User-ID": "somebody-else", "Origin": "http://localhost:4200"}
    async with Exchange("GET", url, REQUESTER, headers=headers) as sse:
        status, answered = await sse.start()
        text = await sse.rest()

    assert status == 200
    assert answered["content-type"] == "text/event-stream"
    assert answered["access-control-allow-origin"] == "http://localhost:4200"
    [error] = frames_of(text)
    assert (error.id, error.event, error.data["errorType"]) == (0, "error", "ValidationError")
    assert text.startswith(b": connected\n\n")
    assert text.endswith(b"data: [DONE]\n\n")
    assert not await run_sync(Session.objects.exists)


async def test_errors_before_the_stream_are_for_other_origins_too() -> None:
    headers = {"Origin": "http://localhost:3039", "X-Trace-Id": "t-1"}

    answer = await call("GET", URL, REQUESTER, headers=headers)

    assert answer.headers["access-control-allow-origin"] == "http://localhost:3039"
    assert answer.headers["content-type"] == "application/json"
    assert answer.body["traceId"] == "t-1"


async def test_stream_is_for_other_origins_too(settings: Settings) -> None:
    configure(settings, Talker)
    async with Exchange("GET", GET, REQUESTER, headers={"Origin": "http://localhost:3000"}) as sse:
        _, headers = await sse.start()
        await sse.rest()

    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    assert headers["access-control-allow-credentials"] == "true"


async def test_session_keeps_what_its_client_said(settings: Settings) -> None:
    configure(settings, Talker)
    body = b'{"prompt":" \xea\xb0\x80 ","context":{"b":1,"a":[2]},"thread_id":"thread-1"}'
    headers = {"X-Agent-ID": "agent-7", "X-DWP-Source": "BATCH"}
    async with stream(URL, REQUESTER, body, headers=headers) as sse:
        await sse.rest()

    session = await run_sync(Session.objects.get)
    assert (session.prompt, session.context_text) == (" 가 ", '{"b":1,"a":[2]}')
    assert (session.thread_id, session.agent_id) == ("thread-1", "agent-7")
    assert (session.source, session.caller_type) == ("BATCH", "USER")
