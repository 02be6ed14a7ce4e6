"""A stream ends with its token (docs/reference/wire.md, 4.3)."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import jwt
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from pytest_django import Settings

from dwp_project.gateway import accounts, tokens
from dwp_project.offload import run_sync
from hitl import services
from streaming.consumers import ACCOUNT_SECONDS, StreamConsumer
from streaming.models import Session
from tests import factories
from tests.integration.exchange import Exchange, stream
from tests.integration.frames import frames_of, take, whole
from tests.integration.polling import until
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


# --- the account of a token of our own login --------------------------------------------

HEARTBEAT = b": keep-alive\n\n"


class Clock:
    """The clock of streams and accounts, which a test sets; and what accounts were asked for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.questions = 0
        self.is_database_away = False

    def __call__(self) -> float:
        return self.now

    def has_asked(self, times: int) -> bool:
        return self.questions == times


@pytest.fixture
def clock(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands still, while streams wake up ten times a second."""
    made, read = Clock(), accounts._read_role

    def count(claims: tokens.Claims) -> str | None:
        made.questions += 1
        if made.is_database_away:
            raise OperationalError("the database is away")
        return read(claims)

    settings.SSE_HEARTBEAT_SECONDS = 0.1
    configure(settings, Asker)
    monkeypatch.setattr(accounts, "_roles", accounts.AccountRoles(timer=made))
    monkeypatch.setattr(accounts, "_read_role", count)
    monkeypatch.setattr(StreamConsumer, "clock", made)
    return made


def headers_of(user: User | None) -> dict[str, str]:
    """Return the headers of kim with a token of our own login, or of another issuer's."""
    account = accounts.claim_of(user) if user else None
    token = tokens.issue("kim", TENANT, lifetime_seconds=600, account=account)
    return {"Authorization": f"Bearer {token}", "X-Tenant-ID": TENANT}


async def heartbeats(sse: Exchange, count: int = 3) -> None:
    """Read so many heartbeats: the stream has woken up as often."""
    received = b""
    while received.count(HEARTBEAT) < count:
        received += await sse.piece()
        assert not sse.is_complete


async def test_stream_is_cut_when_its_account_has_left_the_tenant(clock: Clock) -> None:
    kim = await run_sync(lambda: factories.user("kim", role="approver"))
    async with Exchange("GET", "/aura/test/stream?message=x", None, b"", headers_of(kim)) as sse:
        await sse.start()
        await take(sse, until="hitl")
        await run_sync(kim.memberships.all().delete)

        clock.now += ACCOUNT_SECONDS - 0.1
        await heartbeats(sse)
        clock.now += 0.1
        async with asyncio.timeout(10):
            rest = await sse.rest()

    assert sse.was_cut
    assert rest.replace(HEARTBEAT, b"") == b""
    # The session runs on.
    assert await run_sync(Session.objects.filter(ended_at=None).count) == 1


async def test_open_stream_asks_for_its_account_every_half_minute(clock: Clock) -> None:
    kim = await run_sync(lambda: factories.user("kim", role="approver"))
    async with Exchange("GET", "/aura/test/stream?message=x", None, b"", headers_of(kim)) as sse:
        await sse.start()
        await take(sse, until="hitl")
        assert clock.questions == 1
        for expected in (2, 3, 4):
            clock.now += ACCOUNT_SECONDS
            await until(partial(clock.has_asked, expected), within=10)
            await heartbeats(sse)
            assert clock.questions == expected


async def test_open_stream_of_another_issuers_token_asks_for_no_account(clock: Clock) -> None:
    async with Exchange("GET", "/aura/test/stream?message=x", None, b"", headers_of(None)) as sse:
        await sse.start()
        await take(sse, until="hitl")
        for _ in range(3):
            clock.now += ACCOUNT_SECONDS
            await heartbeats(sse)

    assert clock.questions == 0


async def test_database_that_is_away_cuts_no_stream(clock: Clock) -> None:
    kim = await run_sync(lambda: factories.user("kim", role="approver"))
    async with Exchange("GET", "/aura/test/stream?message=x", None, b"", headers_of(kim)) as sse:
        await sse.start()
        await take(sse, until="hitl")

        clock.is_database_away = True
        clock.now += ACCOUNT_SECONDS
        await until(partial(clock.has_asked, 2), within=10)
        await heartbeats(sse)
        clock.is_database_away = False
        await run_sync(kim.delete)
        clock.now += ACCOUNT_SECONDS
        async with asyncio.timeout(10):
            await sse.rest()

    assert sse.was_cut
