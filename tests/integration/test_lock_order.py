"""What locks several rows locks them in the order of their keys: two that do wait for each other's
end, and never for each other."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import F, Model

from dwp_project import clocks, exchange
from hitl import services
from hitl.delivery import attempts, lost_signals, resync
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome
from streaming import leases, sessions
from streaming.models import Session
from tests import factories
from tests.people import TENANT

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks the whole database"),
]
ROWS = 12
WAITS = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
)
"""


def begun() -> None:
    sessions.begin(sessions.Prompt("Do it."), tenant_id=TENANT, user_id="user123")


def missed() -> None:
    resync.mark_missed(factories.opened())


def decided() -> None:
    services.approve(factories.opened().request_id, factories.actor())


def sent(pks: Sequence[int]) -> None:
    entries = OutboxEntry.objects.select_related("request").filter(pk__in=pks).order_by("-pk")
    result = attempts.AttemptResult(DeliveryOutcome.DELIVERED, receivers=1, is_published=True)
    attempts.record_attempts([(entry, result) for entry in entries])


def received() -> None:
    decided()
    entries = OutboxEntry.objects.filter(outcome=DeliveryOutcome.PENDING)
    entries.update(outcome=DeliveryOutcome.DELIVERED, attempted_at=F("created_at"), receivers=1)


# What is locked, how a row is made, and what locks all of them.
Work = tuple[type[Model], Callable[[], None], Callable[[Sequence[int]], object]]
WORK: dict[str, Work] = {
    "leases that are renewed": (Session, begun, leases.renew),
    "leases that are let go": (Session, begun, leases.release),
    "what Redis has at last": (
        ApprovalRequest,
        missed,
        lambda pks: resync.clear_missed(*ApprovalRequest.objects.filter(pk__in=pks)),
    ),
    "attempts to send": (OutboxEntry, decided, sent),
    "signals that Redis has lost": (
        OutboxEntry,
        received,
        lambda _: lost_signals.requeue_lost(clocks.now()),
    ),
}


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool
        pool.submit(connections.close_all).result()


def shuffled(model: type[Model]) -> list[int]:
    """Have the rows lie in another order than that of their keys, and PostgreSQL know how few they
    are, so that it reads them as they lie; return the keys in order."""
    pks = sorted(model._default_manager.values_list("pk", flat=True))
    column = next(f.name for f in model._meta.concrete_fields if not f.primary_key)
    for pk in random.Random(1).sample(pks, len(pks)):
        # A new version of a row comes after all others.
        model._default_manager.filter(pk=pk).update(**{column: F(column)})
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {model._meta.db_table}")
    return pks


def unlocked(model: type[Model], pks: Sequence[int]) -> list[int]:
    rows: Any = model._default_manager.filter(pk__in=pks).select_for_update(skip_locked=True)
    with transaction.atomic():
        return sorted(rows.values_list("pk", flat=True))


@pytest.mark.parametrize("work", WORK)
def test_rows_are_locked_in_the_order_of_their_keys(
    redis_client: object, thread: ThreadPoolExecutor, work: str
) -> None:
    model, make, lock_all = WORK[work]
    for _ in range(ROWS):
        make()
    pks = shuffled(model)
    held = pks[ROWS // 2]
    holder = connections.create_connection("default")
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            table = model._meta.db_table
            cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", [held])
        locking = thread.submit(lock_all, pks)
        wait_for_a_lock()

        assert unlocked(model, pks) == [pk for pk in pks if pk > held]
    finally:
        holder.rollback()
        holder.close()
    locking.result(30)


def test_opening_that_waits_for_an_id_lets_others_lock_the_chain(
    redis_client: object, thread: ThreadPoolExecutor
) -> None:
    first = factories.opened()
    holder = connections.create_connection("default")
    try:
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            # As who opens or adopts it at the same time: the request first, then the chain.
            first.request_id = "wanted"
            cursor.execute(*exchange.insert(first))
            opening = thread.submit(opened_under, "wanted")
            wait_for_a_lock()

            cursor.execute(
                "SELECT FROM hitl_auditchain WHERE tenant_id = %s FOR UPDATE NOWAIT", [TENANT]
            )
    finally:
        holder.rollback()
        holder.close()
    assert opening.result(30) == "wanted"


def opened_under(request_id: str) -> str:
    return factories.opened(request_id=request_id).request_id


def wait_for_a_lock() -> None:
    deadline = time.monotonic() + 30
    while True:
        with connection.cursor() as cursor:
            cursor.execute(WAITS)
            if cursor.fetchone()[0]:
                return
        assert time.monotonic() < deadline, "nothing waits"
        time.sleep(0.01)
