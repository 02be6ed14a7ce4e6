"""A stream ends with its token (docs/reference/wire.md, 4.3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from functools import partial

import jwt
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dwp_project.gateway import accounts, tokens
from dwp_project.gateway.followed_accounts import ACCOUNT_SECONDS, followed_accounts
from dwp_project.offload import run_sync
from hitl import services
from streaming.models import Session
from tests import factories
from tests.integration.exchange import Exchange, stream
from tests.integration.frames import frames_of, take, whole
from tests.integration.outages import no_database
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
NAMES = ["kim", "lee", "park"]


@pytest.fixture
def asker(settings: Settings) -> None:
    """Have the agent ask and wait, while its stream wakes up ten times a second."""
    settings.SSE_HEARTBEAT_SECONDS = 0.1
    configure(settings, Asker)


def headers_of(user: User | None) -> dict[str, str]:
    """Return the headers of this user with a token of our own login, or of kim with another
    issuer's."""
    account, name = (accounts.claim_of(user), user.username) if user else (None, "kim")
    token = tokens.issue(name, TENANT, lifetime_seconds=600, account=account)
    return {"Authorization": f"Bearer {token}", "X-Tenant-ID": TENANT}


def stream_by(user: User | None) -> Exchange:
    return Exchange("GET", "/aura/test/stream?message=x", None, b"", headers_of(user))


async def heartbeats(sse: Exchange, count: int = 3) -> None:
    """Read so many heartbeats: the stream has woken up as often."""
    received = b""
    while received.count(HEARTBEAT) < count:
        received += await sse.piece()
        assert not sse.is_complete


def switch_off(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_password(user: User) -> None:
    user.set_password("another long password")
    user.save()


def rename(user: User) -> None:
    User.objects.filter(pk=user.pk).update(username="kim2")


def leave_tenant(user: User) -> None:
    user.memberships.all().delete()


@pytest.mark.parametrize("end", [switch_off, change_password, rename, leave_tenant, User.delete])
async def test_stream_is_cut_when_its_account_has_ended(
    asker: None, end: Callable[[User], object]
) -> None:
    kim = await run_sync(lambda: factories.user("kim", role="approver"))
    async with stream_by(kim) as sse:
        await sse.start()
        await take(sse, until="hitl")
        await followed_accounts().ask()
        await heartbeats(sse)

        await run_sync(end, kim)
        await followed_accounts().ask()
        async with asyncio.timeout(10):
            rest = await sse.rest()

    assert sse.was_cut
    assert rest.replace(HEARTBEAT, b"") == b""
    # The session runs on.
    assert await run_sync(Session.objects.filter(ended_at=None).count) == 1


async def test_one_statement_asks_for_the_accounts_of_all_open_streams(
    asker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ended = [], accounts.ended

    def count(followed: Collection[accounts.Followed]) -> list[accounts.Followed]:
        with CaptureQueriesContext(connection) as queries:
            answer = ended(followed)
        asked.append((len(followed), len(queries)))
        return answer

    monkeypatch.setattr(accounts, "ended", count)
    people = [await run_sync(partial(factories.user, name, role="viewer")) for name in NAMES]
    async with AsyncExitStack() as stack:
        for user in [*people, people[0], None]:
            sse = await stack.enter_async_context(stream_by(user))
            await sse.start()
            # What a session still writes when the test is over is in the way of the next.
            await take(sse, until="hitl")

        await followed_accounts().ask()

    assert asked == [(len(NAMES), 1)]


async def test_accounts_of_open_streams_are_asked_for_within_a_minute(
    asker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ACCOUNT_SECONDS <= 30
    monkeypatch.setattr("dwp_project.gateway.followed_accounts.ACCOUNT_SECONDS", 0.3)
    kim = await run_sync(lambda: factories.user("kim", role="approver"))
    async with stream_by(kim) as sse:
        await sse.start()
        await take(sse, until="hitl")
        await heartbeats(sse, 6)

        await run_sync(kim.delete)
        async with asyncio.timeout(10):
            await sse.rest()

    assert sse.was_cut


async def test_database_that_is_away_cuts_no_stream(
    asker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dwp_project.gateway.followed_accounts.ACCOUNT_SECONDS", 0.2)
    kim = await run_sync(lambda: factories.user("kim", role="approver"))
    async with stream_by(kim) as sse:
        await sse.start()
        await take(sse, until="hitl")
        with no_database():
            await heartbeats(sse, 6)

        await run_sync(kim.delete)
        async with asyncio.timeout(10):
            await sse.rest()

    assert sse.was_cut
