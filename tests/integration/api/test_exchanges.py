"""How often a call over REST waits for PostgreSQL; SQLite runs in the process."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
import redis
from django.db import IntegrityError, connection, transaction
from psycopg.pq import TransactionStatus

from dwp_project import exchange
from dwp_project.exchange import Statement
from dwp_project.offload import run_sync
from hitl import services, waiting
from hitl.audit import decision_record
from hitl.delivery.redis_clock import redis_clock
from hitl.models import ApprovalRequest, AuditChain, AuditRecord, OutboxEntry, Policy
from streaming import log
from streaming.models import Session
from tests import factories
from tests.integration.calls import Api
from tests.integration.events import START, begin
from tests.people import REQUESTER
from tests.services import services as used

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(used.database != "postgres", reason="SQLite runs in the process"),
]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[TransactionStatus]:
    """Return a list that grows with each exchange, by the state of the transaction before it."""
    seen: list[TransactionStatus] = []
    wait = psycopg.Connection.wait

    def counting(self: psycopg.Connection[Any], gen: Any, *args: Any, **kwargs: Any) -> Any:
        ready: list[object] = []

        def counted() -> Any:
            # What asks nothing of the server ends before it waits for it.
            answer = yield from _noted(gen, ready)
            return answer

        before = self.info.transaction_status
        result = wait(self, counted(), *args, **kwargs)
        seen.extend([before] * bool(ready))
        return result

    monkeypatch.setattr(psycopg.Connection, "wait", counting)
    return seen


def _noted(gen: Any, ready: list[object]) -> Any:
    try:
        wanted = next(gen)
        while True:
            ready.append(wanted)
            wanted = gen.send((yield wanted))
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decision_takes_four_exchanges(
    api: Api, redis_client: redis.Redis, waits: list[object], verb: str
) -> None:
    request = factories.opened()
    redis_time = redis_client.time()
    redis_clock.note(redis_time[0] + redis_time[1] / 1e6, redis_client.info()["run_id"])
    waits.clear()

    answer = api.post(f"/aura/hitl/{verb}/{request.request_id}", REQUESTER, {})

    # Read; begin, change and lock; write and commit; what became of the signal.
    assert (answer.status, len(waits)) == (200, 4)
    redis_clock.forget()


def test_withdrawal_takes_four_exchanges(
    api: Api, redis_client: redis.Redis, waits: list[object]
) -> None:
    request = factories.opened()
    waits.clear()

    answer = api.post(f"/aura/hitl/requests/{request.request_id}/cancel", REQUESTER, {})

    # Read; begin, change and lock; write and commit; that Redis has it.
    assert (answer.status, len(waits)) == (200, 4)


@pytest.mark.parametrize("names", [{}, {"requestId": "req-1"}], ids=["no id", "own id"])
def test_opening_takes_three_exchanges_and_one_more_with_an_id_of_its_own(
    api: Api, redis_client: redis.Redis, waits: list[object], names: dict[str, str]
) -> None:
    factories.opened()
    waits.clear()

    answer = api.post(
        "/aura/hitl/requests",
        REQUESTER,
        {"sessionId": "session-1", "actionType": "delete_mail", **names},
    )

    # Read; begin, claim the session and lock; write and commit. An id that the client chose is
    # written before the chain is locked.
    assert (answer.status, len(waits)) == (201, 3 + len(names))


@pytest.mark.parametrize(("is_known", "calls"), [(True, 1), (False, 2)], ids=["known", "new"])
def test_opening_calls_redis_once_and_asks_it_of_a_new_session(
    api: Api,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    is_known: bool,
    calls: int,
) -> None:
    factories.opened("session-1")
    sent: list[object] = []
    send: Any = redis.connection.AbstractConnection.send_packed_command

    def counting(self: Any, command: Any, *args: Any, **kwargs: Any) -> None:
        sent.append(command)
        send(self, command, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", counting)

    answer = api.post(
        "/aura/hitl/requests",
        REQUESTER,
        {"sessionId": "session-1" if is_known else "session-2", "actionType": "delete_mail"},
    )

    # Whether an agent uses the session; the request, and that the desk has it.
    assert (answer.status, len(sent)) == (201, calls)


HEAD = Statement(
    "INSERT INTO hitl_auditchain (tenant_id, last_sequence, last_hash) VALUES ('a', 0, '')"
)


def test_event_takes_two_exchanges(redis_client: redis.Redis, waits: list[object]) -> None:
    session = begin()
    waits.clear()

    log.append(session.pk, [START], after=0, lease=1)

    # Begin and lock; write and commit.
    assert len(waits) == 2


@pytest.mark.usefixtures("fresh_hub")
async def test_end_and_its_records_are_read_in_one_exchange(
    redis_client: redis.Redis, waits: list[object]
) -> None:
    request = await run_sync(factories.opened)
    await run_sync(services.approve, request.request_id, factories.actor())
    await waiting.until_ended(request.request_id)
    waits.clear()

    assert await waiting.result_of(decision_record.is_recorded, request.request_id)

    assert len(waits) == 1


def test_transaction_begins_and_ends_with_its_statements(waits: list[object]) -> None:
    connection.ensure_connection()
    waits.clear()

    with transaction.atomic():
        exchange.send(HEAD)
        assert len(waits) == 1
        rows = exchange.send(
            Statement("SELECT tenant_id FROM hitl_auditchain"),
            Statement("UPDATE hitl_auditchain SET last_sequence = 7"),
            Statement("SELECT last_sequence FROM hitl_auditchain"),
            ends_transaction=True,
        )

    assert len(waits) == 2
    assert rows == [[("a",)], [], [(7,)]]
    assert AuditChain.objects.get().last_sequence == 7


@pytest.mark.parametrize("ends", [False, True])
def test_statement_that_fails_leaves_nothing_of_its_transaction(ends: bool) -> None:
    def fail() -> None:
        with transaction.atomic():
            exchange.send(HEAD)
            exchange.send(HEAD, ends_transaction=ends)

    with pytest.raises(IntegrityError):
        fail()

    assert not AuditChain.objects.exists()
    with transaction.atomic():
        AuditChain.objects.create(tenant_id="b")
        with pytest.raises(IntegrityError):
            fail_inside(HEAD)
        exchange.send(HEAD, ends_transaction=True)
    assert AuditChain.objects.count() == 2


def fail_inside(statement: Statement) -> None:
    with transaction.atomic():
        exchange.send(statement, statement, ends_transaction=True)


def test_what_follows_a_commit_in_its_block_is_a_transaction_of_its_own() -> None:
    def undo() -> None:
        with transaction.atomic():
            exchange.send(HEAD, ends_transaction=True)
            AuditChain.objects.create(tenant_id="b")
            raise Undone

    with pytest.raises(Undone):
        undo()

    assert [chain.tenant_id for chain in AuditChain.objects.all()] == ["a"]


class Undone(Exception):
    """What a test undoes a transaction with."""


def test_inner_block_is_not_committed_before_the_outer_one() -> None:
    def undo() -> None:
        with transaction.atomic():
            with transaction.atomic():
                exchange.send(HEAD, ends_transaction=True)
            raise Undone

    with pytest.raises(Undone):
        undo()

    assert not AuditChain.objects.exists()


@pytest.mark.parametrize(
    "model", [ApprovalRequest, AuditChain, AuditRecord, OutboxEntry, Policy, Session]
)
def test_rows_of_these_models_need_no_conversion(model: Any) -> None:
    for field in model._meta.concrete_fields:
        assert field.column == field.attname
        assert field.get_db_converters(connection) == []
