"""What starts a stream and what is refused before one (docs/reference/wire.md, 4.1 and 4.6)."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from dwp_project.offload import run_sync
from streaming.models import Session
from tests.integration.exchange import Exchange, call, stream
from tests.integration.frames import frames_of
from tests.integration.small_agents import Talker, configure
from tests.people import REQUESTER

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]

URL = "/api/aura/test/stream"
GET = f"{URL}?message=test"


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
