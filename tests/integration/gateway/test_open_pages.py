"""The operators of all open pages are read together, and a page whose operator's access cannot be
read does not count as up to date."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from io import BytesIO

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dwp_project.gateway import open_pages
from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.models import Membership
from dwp_project.gateway.open_pages import OpenPage, OpenPages
from dwp_project.gateway.operators import signed_in_by_key
from dwp_project.offload import run_sync
from tests.integration.outages import no_database
from tests.integration.watching import cookie


def page_request(headers: dict[str, str]) -> ASGIRequest:
    sent = [(b"cookie", headers["Cookie"].encode())] if headers else []
    scope = {"type": "http", "method": "GET", "path": "/admin/", "headers": sent}
    return ASGIRequest({**scope, "query_string": b""}, BytesIO())


def key_of(headers: dict[str, str]) -> str:
    return headers["Cookie"].partition("=")[2]


@pytest.mark.django_db
def test_statements_do_not_depend_on_the_number_of_pages() -> None:
    keys = [key_of(cookie(f"member{number}")) for number in range(20)]

    with CaptureQueriesContext(connection) as queries:
        operators = signed_in_by_key([*keys, "nobody", ""])

    assert len(queries) == 3
    assert [operators[key].username for key in keys if operators[key]] == [  # type: ignore[union-attr]
        f"member{number}" for number in range(20)
    ]
    assert (operators["nobody"], operators[""]) == (None, None)


@pytest.mark.django_db
def test_each_session_is_judged_by_itself() -> None:
    keys = {name: key_of(cookie(name)) for name in ("stays", "ended", "expired", "left", "changed")}
    Session.objects.filter(session_key=keys["ended"]).delete()
    Session.objects.filter(session_key=keys["expired"]).update(expire_date="2020-01-01T00:00Z")
    User.objects.filter(username="left").update(is_active=False)
    changed = User.objects.get(username="changed")
    changed.set_password("another one")
    changed.save()

    operators = signed_in_by_key(list(keys.values()))

    assert [name for name, key in keys.items() if operators[key] is not None] == ["stays"]


@pytest.mark.django_db(transaction=True)
async def test_page_hears_when_its_operators_access_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_pages, "READ_SECONDS", 0.1)
    pages = OpenPages()
    kim, lee = [await run_sync(cookie, name) for name in ("kim", "lee")]
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(pages.open(page_request(headers)))
            for headers in (kim, lee)
        ]
        await run_sync(Membership.objects.filter(user__username="kim").delete)

        await asyncio.wait_for(one.wake.wait(), 10)

        assert one.operator is None or one.operator.roles == {}
        assert not two.wake.is_set()
        assert two.operator is not None
    with pytest.raises(NotFound):
        async with pages.open(page_request({})):
            pass
    # The last page has gone, and with it the reading; the next page starts it again.
    async with pages.open(page_request(lee)) as again:
        await run_sync(User.objects.filter(username="lee").update, is_staff=False)
        await asyncio.wait_for(again.wake.wait(), 10)
        assert again.operator is None


@pytest.mark.django_db(transaction=True)
async def test_page_is_not_up_to_date_while_nobody_knows_who_may_see_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_pages, "READ_SECONDS", 0.1)
    monkeypatch.setattr(open_pages, "STALE_SECONDS", 0.8)
    monkeypatch.setattr(open_pages, "PING_SECONDS", 0.05)
    kim = await run_sync(cookie, "kim")
    async with OpenPages().open(page_request(kim)) as page:
        assert await said(page) == b"id: 7\nevent: ping\ndata: {}\n\n"
        assert page.ping(7) == b""  # not due again
        with no_database():
            await asyncio.sleep(1.2)
            assert not page.is_current
            assert await said(page) == b": keep-alive\n\n"
        await asyncio.sleep(0.5)
        assert page.is_current
        assert b"ping" in await said(page)


async def said(page: OpenPage) -> bytes:
    await asyncio.sleep(page.seconds_to_ping + 0.01)
    return page.ping(7)
