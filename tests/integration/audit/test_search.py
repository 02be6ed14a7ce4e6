"""Audit records are searched a page at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from hitl import services
from hitl.audit import search, triggers
from hitl.audit.search import SearchQuery
from tests import factories
from tests.integration.audit.exports import hourly
from tests.integration.chains import NOON, chain_of

pytestmark = pytest.mark.django_db


def test_range_of_time_is_paged_in_its_own_order() -> None:
    hourly(60)
    wanted = SearchQuery("tenant1", since=NOON, until=NOON + timedelta(hours=55))
    first = search.search(wanted)
    second = search.search(
        SearchQuery("tenant1", since=wanted.since, until=wanted.until, before=first.next_before)
    )

    numbers = [entry.sequence for page in (first, second) for entry in page.records]
    assert numbers == list(range(56, 0, -1))
    assert (first.count, second.next_before) == (56, None)


def test_every_condition_has_to_be_met() -> None:
    hourly(3)

    def numbers(**conditions: Any) -> list[int]:
        page = search.search(SearchQuery("tenant1", **conditions))
        return [entry.sequence for entry in page.records]

    assert numbers(actor="approver1", event="session:refused") == [3, 2, 1]
    assert numbers(actor="approver1", since=NOON + timedelta(hours=1)) == [3, 2]
    assert numbers(actor="approver1", event="request:opened") == []
    # All events of a subject, alone and together with another condition.
    assert numbers(event="session") == [3, 2, 1]
    assert numbers(actor="approver1", event="session") == [3, 2, 1]
    assert numbers(actor="approver1", event="request") == []
    assert search.search(SearchQuery("tenant2")).records == []


def test_all_events_of_a_subject_are_paged_in_one_order() -> None:
    for number in range(30):
        factories.opened(request_id=f"req-{number}")
        services.approve(f"req-{number}", factories.actor())
    first = search.search(SearchQuery("tenant1", event="request"))
    second = search.search(SearchQuery("tenant1", event="request", before=first.next_before))

    numbers = [entry.sequence for page in (first, second) for entry in page.records]
    assert numbers == list(range(60, 0, -1))
    assert (first.count, second.next_before) == (60, None)


def test_records_of_a_request_are_its_own_and_in_order() -> None:
    factories.opened(request_id="req-one")
    factories.opened(request_id="req-two")
    services.approve("req-one", factories.actor())

    records, is_whole = search.records_of_request("req-one", "tenant1")

    assert [entry.event for entry in records] == ["request:opened", "request:approved"]
    assert is_whole
    assert search.records_of_request("req-one", "tenant2") == ([], True)


@pytest.mark.parametrize("most", [500, 2])
def test_records_of_a_request_are_in_the_order_of_the_chain_whatever_their_ids_are(
    most: int,
) -> None:
    chain_of(3)
    with connection.cursor() as cursor:
        triggers.remove(connection)
        cursor.execute("UPDATE hitl_auditrecord SET request_id = 'r', id = 9000 - sequence")
        triggers.install(connection)

    records, is_whole = search.records_of_request("r", "tenant1", most=most)

    assert [entry.sequence for entry in records] == ([1, 2, 3] if is_whole else [1, 3])
