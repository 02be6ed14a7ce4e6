"""The present is the database's, whatever this host's clock says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from dwp_project import clocks
from dwp_project.gateway.models import Membership
from hitl.delivery import redis_state
from hitl.models import ApprovalRequest
from tests import factories

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
AHEAD = timedelta(minutes=10)


@pytest.fixture
def distant() -> clocks.DistantClock:
    """Return the clock of a database that has one of its own."""
    clock = clocks.distant_database()
    if clock is None:
        pytest.skip("the host's clock is the database's")
    return clock


def test_present_is_the_databases() -> None:
    real = datetime.now(UTC)
    with time_machine.travel(AHEAD):
        host = datetime.now(UTC)
        expected = host if connection.vendor == "sqlite" else real
        for present in (clocks.now(), clocks.estimate()):
            assert abs(present - expected) < 5 * SECOND


def test_present_costs_no_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert clocks.now() <= clocks.now()


def test_clock_is_read_as_it_is_and_not_as_the_transaction_began(
    distant: clocks.DistantClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distant, "_reading", None)
    with transaction.atomic():
        Membership.objects.exists()
        time.sleep(1)
        assert abs(clocks.now().timestamp() - time.time()) < 0.5


def test_present_is_known_in_a_transaction_that_is_broken(
    distant: clocks.DistantClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "AGAIN_SECONDS", -1.0)
    factories.opened(request_id="req-1")
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            ApprovalRequest.objects.update(request_id=None)
        assert abs(clocks.now().timestamp() - time.time()) < 5
        transaction.set_rollback(True)


async def test_present_is_known_in_a_coroutine(
    distant: clocks.DistantClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "AGAIN_SECONDS", -1.0)
    for present in (clocks.now(), clocks.estimate()):
        assert abs(present.timestamp() - time.time()) < 5


def test_times_of_redis_are_converted() -> None:
    with time_machine.travel(AHEAD):
        converted = clocks.database_time(redis_state.clock(), redis_state.distant_redis)
        assert abs(converted - clocks.now()) < 5 * SECOND
