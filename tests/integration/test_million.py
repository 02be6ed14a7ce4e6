"""However many requests and audit records there are: whatever a page asks, it reads little.

On the plan and never on time: every statement is explained as it ran. The number of statements
does not depend on how much there is.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.test import Client, TestCase
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from dwp_project import clocks
from dwp_project.gateway.operators import operator_of
from dwp_project.wakeup import AwaitedTable
from hitl import services, waiting
from hitl.admin import archive as request_archive
from hitl.adoption import scanner
from hitl.audit import breaks, diagnose, export_file, record, search, verify
from hitl.audit import export as audit_export
from hitl.audit.export_format import Format
from hitl.delivery import (
    first_heard,
    held,
    lost_signals,
    outbox,
    redis_state,
    resync,
    rounds,
    withholding,
)
from hitl.delivery.leases import lease
from hitl.desk import board, snapshot
from hitl.errors import ChainBroken
from hitl.models import ApprovalRequest, OutboxEntry, RelayLease
from streaming import events, leases, log, replay, retention, sessions, timeline
from streaming.models import Session
from tests import factories, million, plans
from tests.integration.calls import Api, browser
from tests.integration.test_budget import BUDGET
from tests.million import (
    BIG,
    FORMER_USER,
    FREQUENT_ACTION,
    OTHERS,
    REQUESTS,
    SAME_ARGUMENTS,
    SMALL,
)
from tests.people import Person

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="plans are of PostgreSQL: TEST_DATABASE=postgres"
    ),
]

LIMITS = (
    (request_archive, "MAX_COUNT"),
    (request_archive, "_NEWEST_SEARCHED"),
    (search, "MOST_LOOKED_THROUGH"),
    (audit_export, "_MAX_DISORDER"),
    (plans, "MOST_ROWS"),
)
OPERATORS = {"big": [BIG], "small": [SMALL], "many": OTHERS[:20]}
REST = "/aura/hitl/requests"
ARCHIVE, AUDIT = "/admin/hitl/approvalrequest/", "/admin/hitl/auditrecord/"


@pytest.fixture(scope="module", autouse=True)
def _a_million(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock(), million.database(), pytest.MonkeyPatch.context() as patch:
        # With a tenth of the rows, a tenth of a limit: what reads all is as far above it.
        for module, name in LIMITS:
            patch.setattr(module, name, getattr(module, name) * REQUESTS // 1_000_000)
        yield


@pytest.fixture(autouse=True)
def _undone(_a_million: None) -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            # All of a test is one transaction, on a machine that may be busy.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield
        transaction.set_rollback(True)


def signed_in(tenants: list[str]) -> Client:
    user = factories.user("desk", is_staff=True, role="admin", tenant_id=tenants[0])
    for tenant in tenants[1:]:
        user.memberships.create(tenant_id=tenant, role="approver")
    return browser(user)


def days_ago(days: int) -> str:
    return (timezone.now() - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M")


def pages(tenant: str) -> dict[str, str]:
    """Return the pages of the desk and of the book, with every filter, first and deep."""
    newest = ApprovalRequest.objects.filter(tenant_id=tenant)
    waiting = newest.filter(status="pending").latest("id")
    frequent = newest.filter(status="pending").order_by("expires_at")[0]
    ended = newest.exclude(status="pending").latest("id")
    same = newest.filter(context_digest=SAME_ARGUMENTS).order_by("-id").first() or ended
    archive = {
        "all": "",
        **{state: f"status__exact={state}" for state in ("pending", "rejected", "expired")},
        "frequent action": f"action_type={FREQUENT_ACTION}",
        "action and state": f"action_type={FREQUENT_ACTION}&status__exact=rejected",
        "nobody's action": "action_type=nothing&status__exact=approved",
        "deep": f"p={request_archive.MAX_COUNT // 100}",
        "id": f"q={ended.request_id}",
        "beginning of every id": "q=req_",
        "beginning of no id": "q=nothing",
        "session": f"q={ended.session_id}",
        "action": f"q={FREQUENT_ACTION}",
        "requester": f"q={FORMER_USER}",
        "search and state": f"q={FREQUENT_ACTION}&status__exact=rejected",
    }
    span = f"from={days_ago(40)}&to={days_ago(10)}"
    book = {
        "all": "",
        "deep": "before=30",
        "time": span,
        "long ago": f"to={days_ago(225)}",
        "recent": f"from={days_ago(1)}",
        "deep in time": f"{span}&before=30",
        "actor": "actor=approver7",
        "nobody": "actor=nobody",
        "deep actor": f"actor={FORMER_USER}&before=3000",
        "event": "event=user:signed_in",
        "event that never was": "event=policy:retired",
        "action": f"action={FREQUENT_ACTION}",
        "request": f"request={ended.request_id}",
        "actor in time": f"actor={FORMER_USER}&{span}",
        "event in time": f"event=request:rejected&{span}",
        "action in time": f"action={FREQUENT_ACTION}&{span}",
        "actor and event": f"actor={FORMER_USER}&event=request:approved",
        "actor, event, long ago": f"actor={FORMER_USER}&event=request:approved&to={days_ago(200)}",
        "action and event": f"action={FREQUENT_ACTION}&event=user:signed_in",
        "action and actor": f"action={FREQUENT_ACTION}&actor=approver7",
        "all of it": f"action={FREQUENT_ACTION}&actor=approver8&event=request:approved"
        f"&request={ended.request_id}&{span}",
    }
    return {
        "inbox": f"{ARCHIVE}inbox/",
        "index": "/admin/pages/",
        "page of one that waits": f"{ARCHIVE}{waiting.pk}/change/",
        "page of a frequent action": f"{ARCHIVE}{frequent.pk}/change/",
        "page of the same arguments": f"{ARCHIVE}{same.pk}/change/",
        "page of one that has ended": f"{ARCHIVE}{ended.pk}/change/",
        **{f"archive: {name}": f"{ARCHIVE}?{query}" for name, query in archive.items()},
        **{f"book: {name}": f"{AUDIT}?tenant={tenant}&{query}" for name, query in book.items()},
        "history": f"{AUDIT}request/{ended.request_id}/",
    }


def asked(client: Client, path: str) -> list[str]:
    with plans.captured() as statements:
        answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return statements


def test_pages_read_a_bounded_stretch_of_an_index_and_ask_as_often_however_much_there_is() -> None:
    counts: dict[tuple[str, bool], dict[str, int]] = {}
    found = {}
    for who, tenants in OPERATORS.items():
        with transaction.atomic():
            client = signed_in(tenants)
            paths = pages(tenants[0])
            # What a process looks up once for all, it has looked up.
            asked(client, paths["page of one that waits"])
            for name, path in paths.items():
                statements = asked(client, path)
                counts.setdefault((name, "?q=" in path), {})[who] = len(statements)
                if bad := plans.unbounded(statements):
                    found[who, name] = bad
            transaction.set_rollback(True)

    assert not found
    for (name, is_search), of in counts.items():
        # Where nothing is found, what there would be of it is not asked for.
        assert abs(of["big"] - of["small"]) <= 3, (name, of)
        # A search asks twice more for each tenant: for its actions and its newest requests.
        extra = 2 * (len(OPERATORS["many"]) - 1) if is_search else 0
        assert of["many"] <= of["big"] + extra + 1, (name, of)
        # Half of it the session's, and who may: the admin asks that for each of its tables.
        assert of["big"] <= 36, (name, of)


@pytest.mark.parametrize("who", ["big", "small"])
def test_rest_reads_a_bounded_stretch_of_an_index(who: str) -> None:
    tenant = OPERATORS[who][0]
    person, api = Person("desk", tenant, "approver"), Api()
    states = ("pending", "approved", "rejected", "expired", "cancelled")
    queries = ["", *(f"status={state}" for state in states), "sessionId=session_300"]
    queries += [f"sessionId=session_300&status={state}" for state in states]
    counts = set()

    for query in queries:
        with plans.captured() as statements:
            answer = api.get(f"/aura/hitl/requests?{query}", person)
        assert answer.status == 200
        assert not plans.unbounded(statements), query
        counts.add(len(statements))
        if cursor := answer.data.get("nextCursor"):
            with plans.captured() as statements:
                api.get(f"/aura/hitl/requests?{query}&cursor={cursor}", person)
            assert not plans.unbounded(statements), query

    assert max(counts) <= 2


def _inbox(tenants: list[str]) -> Any:
    operator = operator_of(factories.user("desk", is_staff=True, role="approver", tenant_id=BIG))
    assert operator is not None
    operator.roles.update(dict.fromkeys(tenants, "approver"))
    return operator


def _first_piece(export: audit_export.Export) -> None:
    # The hashes of these records are none, which the first batch shows.
    with suppress(ChainBroken):
        next(export_file.zip_chunks(export), None)


def _exported(first_day: int | None, last_day: int | None) -> None:
    now = timezone.now()
    actor = factories.actor(Person("desk", BIG, "admin"))
    since = now - timedelta(days=first_day) if first_day is not None else None
    until = now - timedelta(days=last_day) if last_day is not None else None
    _first_piece(audit_export.begin(actor, Format.JSONL, since=since, until=until))


def _walked() -> None:
    walk = verify._records(BIG, REQUESTS * 9 // 5)
    for _ in range(5_000):
        next(walk)
    diagnose._find_outside_chain(BIG, 7)
    head = diagnose.head_of(BIG)
    acknowledged = breaks.acknowledged(BIG, head.last_sequence)
    diagnose.find_records_outside_chain(BIG, head, acknowledged)


def _delivered() -> None:
    now = timezone.now()
    outbox.take_due(now, 50)
    outbox.look(now, 50)
    lost_signals.note_redis_away("away")
    lost_signals.requeue_lost(now)
    entry = OutboxEntry.objects.order_by("-id").select_related("request")[0]
    outbox.outcome_of(entry.request.request_id)
    outbox.is_waiting_for_redis(entry.request.request_id)
    outbox.current_signal(entry.request.session_id)
    first_heard.mark_heard(entry.request)


def _timeline() -> None:
    session = Session.objects.latest("id")
    found = timeline.find(session.session_id, [session.tenant_id])
    assert found is not None
    timeline.read(found.pk, 0)


def _opened() -> ApprovalRequest:
    """Open a request in a session of its own, and one in a session that has some; return it."""
    latest = ApprovalRequest.objects.filter(tenant_id=BIG).latest("id")
    asker = Person(latest.user_id, BIG, "user")
    factories.opened(by=asker)
    return factories.opened(latest.session_id, by=asker)


def _decided(verb: Callable[..., object], role: str = "approver") -> None:
    """Decide, and read the answer as an agent does that polls."""
    request = _opened()
    verb(request.request_id, factories.actor(Person("decider", BIG, role)))
    services.read(request.request_id, BIG)


def _heard() -> None:
    answered = ApprovalRequest.objects.filter(tenant_id=BIG, status="approved").order_by("-id")
    pks = answered.values_list("pk", flat=True)[:200]
    answer = first_heard.Answer(timezone.now(), is_to_agent=True)
    first_heard.note_first_heard(dict.fromkeys(pks, answer))


@contextmanager
def committed() -> Iterator[None]:
    """Do what follows a commit, which no test has, at the end of the block."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        yield


def _serve() -> None:
    """Be a process that has run for a while: it has a lease, and knows Redis's time."""
    redis_state.remember_run(redis_state.current_run().run_id)
    lease.begin(clocks.now())


def _streamed() -> None:
    """Read what a stream reads: what has ended, what runs, what is new since the last event."""
    for session in (Session.objects.latest("id"), Session.objects.running().latest("id")):
        for after in (0, 3, session.last_sequence):
            replay.read(session.pk, after)
        replay.recorded_events(session.pk)
        sessions.find(session.session_id, tenant_id=session.tenant_id, user_id=session.user_id)
        sessions.find_by_cursor(
            str(events.event_id(session.event_key, 3)),
            session.prompt,
            tenant_id=session.tenant_id,
            user_id=session.user_id,
        )


def _leased() -> None:
    """Keep the leases of the sessions that run, take over what others left, and let all go."""
    keys = list(Session.objects.running().values_list("pk", flat=True))
    assert 50 <= len(keys) <= 200
    leases.is_any_held()
    taken = leases.take_over_expired(limit=20)
    assert len(taken) == 20
    leases.renew(keys)
    leases.confirm(taken[0].pk, taken[0].lease_number)
    leases.release(keys)


WORK: dict[str, Callable[[], object]] = {
    "an approval": lambda: _decided(services.approve),
    "a rejection": lambda: _decided(services.reject),
    "a withdrawal": lambda: _decided(services.cancel, "admin"),
    "an opening": _opened,
    "answers that were heard": _heard,
    "a stream": _streamed,
    "the leases of running sessions": _leased,
    "one request, read again": lambda: snapshot.of_request(
        _inbox([]), ApprovalRequest.objects.filter(tenant_id=BIG).latest("id").pk
    ),
    "expiry, an hour and a half on": lambda: services.expire_overdue(
        now=timezone.now() + timedelta(minutes=90), limit=3
    ),
    "expiry, when nothing is due": services.expire_overdue,
    "the relay": _delivered,
    "who else waits": lambda: withholding.read(
        list(ApprovalRequest.objects.order_by("-id").values_list("pk", flat=True)[:50]),
        timezone.now(),
    ),
    "what Redis missed": resync.send_missed,
    "the scanner": lambda: scanner.Scanner()._states(
        [f"req_{number}" for number in range(1, 1000)]
    ),
    "whose chains there are": record.tenants,
    "a walk along a chain": _walked,
    "an export of everything": lambda: _exported(None, None),
    "an export of a month": lambda: _exported(40, 10),
    "an export from then on": lambda: _exported(30, None),
    "an export up to then": lambda: _exported(None, 30),
    "an export of what is to come": lambda: _exported(-1, None),
    "a timeline": _timeline,
    "old events": lambda: retention._remove_batch(timezone.now() - timedelta(days=300)),
    "a request's records": lambda: search.records_of_request(f"req_{REQUESTS // 2 + 1}", BIG),
}


# By call of `BUDGET` its path, and how many of its statements are not counted here: two are its
# transaction's. A decision's answer asks for one more, because here it comes before the signal.
CALLS = {
    "open": ("POST", REST, 2),
    "read": ("GET", f"{REST}/{{}}", 0),
    "list": ("GET", f"{REST}?status=pending", 0),
    "approve": ("POST", "/aura/hitl/approve/{}", 1),
    "reject": ("POST", "/aura/hitl/reject/{}", 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_reads_a_bounded_stretch_of_an_index_and_asks_as_often_as_with_few_requests(
    redis_client: redis.Redis, name: str
) -> None:
    _serve()
    verb, path, fewer = CALLS[name]
    api, by = Api(), Person("approver1", BIG, "approver")

    def ask(session_id: str) -> list[str]:
        request = factories.opened(by=by)
        body = {"sessionId": session_id, "actionType": "pay"} if name == "open" else {}
        with plans.captured() as statements, committed():
            if verb == "GET":
                answer = api.get(path.format(request.request_id), by)
            else:
                answer = api.post(path.format(request.request_id), by, body)
        assert answer.status in (200, 201), answer
        return statements

    # What a process looks up once for all, it has looked up.
    ask("first")
    statements = ask("second")

    assert len(statements) == BUDGET[name].statements - fewer
    assert not plans.unbounded(statements)


@pytest.mark.parametrize("table", [waiting.AWAITED, log.AWAITED], ids=lambda table: table.name)
def test_reader_reads_what_is_awaited_by_its_key(table: AwaitedTable) -> None:
    model = ApprovalRequest if table is waiting.AWAITED else Session
    pks = list(model._default_manager.order_by("-pk").values_list("pk", flat=True)[:2000])

    with plans.captured() as statements:
        table.differing([(pk, 0) for pk in pks])

    [statement] = statements
    assert {(read.by, read.rows) for read in plans.reads(statement)} == {("Index Scan", len(pks))}


def test_relay_reads_what_it_holds_in_one_statement_and_only_that(
    redis_client: redis.Redis,
) -> None:
    _serve()
    for number in range(20):
        with committed():
            request = factories.opened(f"round-{number}", by=Person("asker", BIG, "user"))
            services.approve(
                request.request_id, factories.actor(Person("decider", BIG, "approver"))
            )
    counts = []
    for seconds in (60, 120, 180):
        at = clocks.now() + timedelta(seconds=seconds)
        with plans.captured() as statements:
            assert rounds.run(at) == []
        counts.append(len(statements))
        assert not plans.unbounded(statements)

    # The first compares what it reads with the audit, by two statements more.
    assert (counts[1:], len(held.entries)) == ([1, 1], 20)


def test_what_a_dead_process_left_is_read_by_an_index(redis_client: redis.Redis) -> None:
    now = clocks.now()
    dead = RelayLease.objects.create(id=uuid.uuid4(), ends_at=now - timedelta(hours=1))
    RelayLease.objects.create(id=uuid.uuid4(), ends_at=now + timedelta(hours=1))
    pending = OutboxEntry.objects.pending()
    left = pending.filter(pk__in=pending.order_by("pk").values("pk")[:60]).update(owner=dead.pk)
    _serve()
    with plans.captured() as statements:
        looked = outbox.look(now, outbox.LOOKED_AT)
        taken = outbox.take_due(now, 50, looked)
        assert outbox.own([entry.pk for entry in taken]) == taken
        outbox.give_back()

    assert (left, len(taken)) == (60, 50)
    assert not plans.unbounded(statements)
    [entries] = [read for read in plans.reads(statements[0]) if read.index == "outbox_owned"]
    assert entries.rows <= left


@pytest.mark.parametrize("work", WORK)
def test_work_reads_a_bounded_stretch_of_an_index(work: str) -> None:
    with plans.captured() as statements:
        WORK[work]()

    assert statements
    assert not plans.unbounded(statements)


def test_board_reads_what_is_pending_by_an_index_and_nothing_that_has_ended() -> None:
    now = timezone.now()
    pending = ApprovalRequest.objects.pending()
    with plans.captured() as statements:
        first = board.read(BIG, None, now)
        board.read(BIG, first.entries, now)
        board.read(BIG, {}, now)

    reads = [read for statement in statements for read in plans.reads(statement)]
    assert len(first.entries) == pending.filter(tenant_id=BIG).undecided_at(now).count()
    # Of all tenants: with few others, an index of theirs serves as well.
    assert max(read.rows for read in reads) <= pending.count()
    assert not [read for read in reads if read.by == "Seq Scan"]


def test_a_plan_that_reads_everything_is_seen() -> None:
    with plans.captured() as statements:
        list(ApprovalRequest.objects.filter(message="nobody's"))
        ApprovalRequest.objects.filter(tenant_id=BIG).count()

    assert len(plans.unbounded(statements)) == 2
