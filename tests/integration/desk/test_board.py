"""The board: a change in a tenant costs three statements, however many pages are open, and every
page hears of it; without a change it is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dwp_project import clocks
from dwp_project.gateway import consumers as gateway_consumers
from dwp_project.gateway import open_pages
from dwp_project.offload import run_sync
from hitl import services
from hitl.desk import board, consumers, live
from hitl.desk.board import BoardEntry
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration.outages import no_database
from tests.integration.watching import Watching, cookie, watching
from tests.people import OTHER_TENANT, OUTSIDER, TENANT
from tests.ruling import APPROVERS, ESCALATING, a_policy

INBOX = "/admin/hitl/approvalrequest/live/"
KIM = "approver1"


def pending(count: int, tenant_id: str = TENANT) -> list[ApprovalRequest]:
    """Make many pending requests like one that was opened."""
    model = factories.opened(timeout_seconds=3000)
    rows = []
    for number in range(count):
        row = ApprovalRequest(**{f.attname: getattr(model, f.attname) for f in model._meta.fields})
        row.pk, row.tenant_id = None, tenant_id
        row.request_id = f"{tenant_id}-{number}"
        rows.append(row)
    made = ApprovalRequest.objects.bulk_create(rows, batch_size=500)
    services.cancel(model.request_id, factories.actor())
    return made


def read(known: dict[int, BoardEntry] | None, now: datetime | None = None) -> board.Reading:
    return board.read(TENANT, known, now or clocks.now())


def known_of(reading: board.Reading) -> dict[int, BoardEntry]:
    return {pk: entry.without_context() for pk, entry in reading.entries.items()}


@pytest.fixture
async def _boards() -> AsyncIterator[None]:
    yield
    await board.board().close()
    layer: Any = get_channel_layer()
    await layer.flush()


# --- one reading ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_reading_without_a_change_is_one_statement_and_with_one_three() -> None:
    a_policy(min_approvals=2)
    pending(700)
    asked = [factories.opened() for _ in range(3)]
    with CaptureQueriesContext(connection) as queries:
        first = read(None)
    assert (len(first.entries), first.is_partial) == (703, False)
    assert len(queries) <= 3
    known = known_of(first)

    with CaptureQueriesContext(connection) as queries:
        assert read(known).entries == {}
    assert len(queries) == 1

    services.approve(asked[0].request_id, factories.actor(APPROVERS[1]))
    services.reject(asked[1].request_id, factories.actor(), reason="no")
    new = factories.opened()
    with CaptureQueriesContext(connection) as queries:
        changed = read(known).entries
    assert len(queries) == 3
    voted, rejected, came = (changed.pop(row.pk) for row in (asked[0], asked[1], new))
    assert changed == {}
    assert (voted.is_pending, voted.voters) == (True, frozenset({"approver2"}))
    assert (rejected.is_pending, rejected.request.decided_by) == (False, "approver1")
    assert (came.is_pending, came.request.context) == (True, factories.CONTEXT)


@pytest.mark.django_db
def test_reading_names_another_tenants_requests_never() -> None:
    factories.opened(by=OUTSIDER)
    assert read(None).entries == {}
    assert read({}).entries == {}


@pytest.mark.django_db
def test_thousands_that_change_at_once_are_read_in_parts_without_loss() -> None:
    pending(board.MAX_WHOLE_ROWS + 10)
    known: dict[int, BoardEntry] = {}

    first = read(known)
    known |= first.entries
    rest = read(known)

    assert (len(first.entries), first.is_partial) == (board.MAX_WHOLE_ROWS, True)
    assert (len(rest.entries), rest.is_partial) == (10, False)
    assert read(known | rest.entries).entries == {}


@pytest.mark.django_db
def test_no_context_is_kept_of_what_is_pending() -> None:
    factories.opened()
    (first,) = read(None).entries.values()
    factories.opened()
    entries = read({}).entries.values()

    assert "context_text" not in first.request.__dict__
    for entry in entries:
        assert "context_text" in entry.request.__dict__
        assert "context_text" not in entry.without_context().request.__dict__


@pytest.mark.django_db
def test_expired_request_is_gone_though_no_clock_has_ended_it() -> None:
    request = factories.opened(timeout_seconds=60)
    known = known_of(read(None))

    gone = read(known, request.expires_at + timedelta(seconds=1)).entries[request.pk]

    assert not gone.is_pending


@pytest.mark.django_db
def test_request_that_a_restored_backup_does_not_have_is_gone() -> None:
    request = factories.opened()
    known = known_of(read(None))
    pk = request.pk
    ApprovalRequest.objects.filter(pk=pk).delete()

    assert not read(known).entries[pk].is_pending


@pytest.mark.django_db
def test_request_that_escalates_stays_and_changes() -> None:
    a_policy(timeout_seconds=60, **ESCALATING)
    request = factories.opened()
    known = known_of(read(None))
    due = request.expires_at + timedelta(seconds=1)

    # In the moment before the clock comes.
    assert read(known, due).entries == {}
    services.expire_overdue(now=due)
    escalated = read(known, due).entries[request.pk]

    assert escalated.is_pending
    assert escalated.request.escalated_at == due


def test_text_is_made_once_for_all_pages() -> None:
    entry = BoardEntry(ApprovalRequest())
    made: list[str] = []

    def make() -> str:
        made.append("")
        return "text"

    assert [entry.text("row", make) for _ in range(50)] == ["text"] * 50
    assert len(made) == 1


# --- pages that follow ---------------------------------------------------------------------


class Counted:
    """The statements of each call that a part of the process sends to the database."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def run_sync(self, part: str) -> Callable[..., Any]:
        async def counted(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            def call() -> Any:
                with CaptureQueriesContext(connection) as queries:
                    result = function(*args, **kwargs)
                self.calls.append((part, len(queries)))
                return result

            return await run_sync(call)

        return counted

    def of(self, part: str) -> list[int]:
        return [count for name, count in self.calls if name == part and count]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    statements = Counted()
    modules: tuple[tuple[str, Any], ...] = (
        ("board", board),
        ("page", gateway_consumers),
        ("page", consumers),
        ("operators", open_pages),
    )
    for part, module in modules:
        monkeypatch.setattr(module, "run_sync", statements.run_sync(part))
    return statements


def operators(count: int) -> list[dict[str, str]]:
    """Sign in several members of one tenant."""
    return [cookie(f"member{number}") for number in range(count)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_boards")
async def test_change_costs_three_statements_with_5000_pending_and_50_open_pages(
    counted: Counted,
) -> None:
    rows = await run_sync(pending, 4999)
    await run_sync(pending, 20, OTHER_TENANT)
    desks = await run_sync(operators, 10)
    outside = await run_sync(lambda: cookie("outside", tenant_id=OTHER_TENANT))
    one, other = await run_sync(factories.opened), rows[8]
    paths = [
        *(INBOX, f"{INBOX}?mine=1", f"{INBOX}?soon=1", "/admin/hitl/live/"),
        f"/admin/hitl/approvalrequest/{other.pk}/live/",
    ]
    async with AsyncExitStack() as stack:
        pages: list[Watching] = []
        for number in range(50):
            path = paths[number % len(paths)]
            page = await stack.enter_async_context(watching(path, desks[number % 10]))
            pages.append(page)
            await page.next()
        foreign = await stack.enter_async_context(watching(INBOX, outside))
        assert (await foreign.next())["count"] == 20
        await asyncio.sleep(board.BETWEEN_READS_SECONDS)
        counted.calls.clear()

        await run_sync(services.approve, one.request_id, factories.actor())
        for number, page in enumerate(pages):
            if number % len(paths) in (0, 1):
                message = await page.next()
                assert message["gone"] == {str(one.pk): "approved by approver1"}
                assert (message["count"], message["mine"]) == (4999, 4999)
            elif number % len(paths) == 3:
                assert (await page.next())["mine"] == 4999

        # The one reading that saw the change; those that saw none are one statement each.
        assert sorted(counted.of("board"))[-2:-1] in ([], [1])
        assert max(counted.of("board")) <= 3
        # Neither inboxes nor pages of other requests read anything themselves.
        assert counted.of("page") == []
        # Who may look is read for all pages together.
        assert max(counted.of("operators"), default=0) <= 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_boards")
async def test_change_of_a_request_costs_the_same_with_50_pages_of_it_open(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "_ENDED_SECONDS", 1.0)
    await run_sync(lambda: a_policy(min_approvals=2))
    desks = await run_sync(operators, 10)
    request = await run_sync(factories.opened)
    path = f"/admin/hitl/approvalrequest/{request.pk}/live/"
    async with AsyncExitStack() as stack:
        pages: list[Watching] = []
        for number in range(50):
            page = await stack.enter_async_context(watching(path, desks[number % 10]))
            pages.append(page)
            await page.next()

        for actor, is_pending in ((APPROVERS[0], True), (APPROVERS[1], False)):
            await asyncio.sleep(board.BETWEEN_READS_SECONDS)
            counted.calls.clear()
            await run_sync(services.approve, request.request_id, factories.actor(actor))
            for page in pages:
                assert (await page.next())["isPending"] is is_pending
            assert max(counted.of("board")) <= 3
            # What the request's page shows besides, read once for all of them.
            assert sum(counted.of("page")) <= 8

        # Nobody has received it yet: they look again, together.
        counted.calls.clear()
        await asyncio.sleep(2.5)
        assert 0 < sum(counted.of("page")) <= 3 * 5
        entry = OutboxEntry.objects.filter(request_id=request.pk)
        await run_sync(lambda: entry.update(heard_at=clocks.now()))
        for page in pages:
            await page.next()
        # It stays so: nobody looks again.
        counted.calls.clear()
        await asyncio.sleep(2.5)
        assert counted.of("page") == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_boards")
async def test_tenant_that_nobody_follows_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "KEPT_SECONDS", 0.1)
    desk = board.board()
    async with desk.follow([TENANT], asyncio.Event()) as first:
        async with desk.follow([TENANT], asyncio.Event()) as second:
            assert first._tenants == second._tenants
        await asyncio.sleep(0.3)
        assert list(desk._tenants) == [TENANT]
    await asyncio.sleep(0.3)
    assert desk._tenants == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_boards")
async def test_change_is_read_in_time_when_the_layer_drops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board, "MAX_AGE_SECONDS", 0.3)
    monkeypatch.setattr(live, "tell", lambda request: None)
    wake = asyncio.Event()
    async with board.board().follow([TENANT], wake) as follower:
        assert follower.entries() == {}
        request = await run_sync(factories.opened)
        await asyncio.wait_for(wake.wait(), 10)
        assert list(follower.take_changed()) == [request.pk]
        assert follower.take_changed() == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_boards")
async def test_follower_knows_that_the_database_is_away_and_goes_on_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board, "MAX_AGE_SECONDS", 0.2)
    wake = asyncio.Event()
    async with board.board().follow([TENANT], wake) as follower:
        assert follower.is_current
        with no_database():
            async with asyncio.timeout(10):
                while follower.is_current:  # noqa: ASYNC110 - it sets no event
                    await asyncio.sleep(0.05)
        request = await run_sync(factories.opened)
        await asyncio.wait_for(wake.wait(), 10)
        assert list(follower.take_changed()) == [request.pk]
        assert follower.is_current
