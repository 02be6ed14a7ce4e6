"""A stream ends with its token (docs/reference/wire.md, 4.3)."""

from __future__ import annotations

import asyncio
import time

import jwt
import pytest
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl import services
from streaming.models import Session
from tests import factories
from tests.integration.exchange import Exchange, stream
from tests.integration.frames import frames_of, take, whole
from tests.integration.small_agents import Asker, configure
from tests.people import REQUESTER, TENANT
from tests.services import JWT_SECRET

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset"),
]

LEEWAY = 30


def headers_of_a_token_that_ends(*, in_seconds: float) -> dict[str, str]:
    """Return the headers of user123, whose token has run out and is still accepted."""
    now = time.time()
    claims = {
        "sub": REQUESTER.user_id,
        "tenant_id": TENANT,
        "iat": int(now) - 600,
        "exp": int(now + in_seconds) - LEEWAY,
    }
    token = jwt.encode(claims, JWT_SECRET, "HS256")
    return {"Authorization": f"Bearer {token}", "X-Tenant-ID": TENANT}


async def test_stream_is_cut_when_its_token_is_not_accepted_any_more(settings: Settings) -> None:
    configure(settings, Asker)
    headers = headers_of_a_token_that_ends(in_seconds=2)
    async with Exchange("GET", "/aura/test/stream?message=x", None, b"", headers) as sse:
        await sse.start()
        [start, *_, question] = await take(sse, until="hitl")
        async with asyncio.timeout(20):
            rest = await sse.rest()
        ended_at = time.time()

    assert (rest, sse.was_cut) == (b"", True)
    assert (
        ended_at
        >= jwt.decode(headers["Authorization"].split()[1], options={"verify_signature": False})[
            "exp"
        ]
        + LEEWAY
    )
    # The session runs on, and a client with a new token misses nothing.
    await run_sync(services.approve, question.data["requestId"], factories.actor())
    again = await whole("/aura/test/stream?message=x", cursor=question.id)
    assert [frame.event for frame in again] == ["tool_execution", "content", "end"]
    assert start.id < again[0].id


async def test_stream_that_is_attached_to_is_cut_as_well(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream("/aura/test/stream?message=x", REQUESTER) as first:
        [*_, question] = await take(first, until="hitl")
        url = f"/aura/sessions/{question.data['sessionId']}/stream"
        headers = headers_of_a_token_that_ends(in_seconds=2)
        async with Exchange("GET", url, None, b"", headers) as second:
            await second.start()
            await take(second, until="hitl")
            async with asyncio.timeout(20):
                rest = await second.rest()
        assert (rest, second.was_cut) == (b"", True)
        # That of another token goes on.
        await run_sync(services.approve, question.data["requestId"], factories.actor())
        assert [frame.event for frame in frames_of(await first.rest())][-1] == "end"


async def test_stream_whose_session_is_over_first_ends_as_always(settings: Settings) -> None:
    configure(settings, Asker)
    async with stream("/aura/test/stream?message=x", REQUESTER) as first:
        [*_, question] = await take(first, until="hitl")
        await run_sync(services.approve, question.data["requestId"], factories.actor())
        await first.rest()
    session = await run_sync(Session.objects.get)
    headers = headers_of_a_token_that_ends(in_seconds=3)
    url = f"/aura/sessions/{session.session_id}/stream"
    async with Exchange("GET", url, None, b"", headers) as sse:
        await sse.start()
        text = await sse.rest()

    assert text.endswith(b"data: [DONE]\n\n")
    assert not sse.was_cut
