"""Audit records are searched a page at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hitl.audit import search
from hitl.audit.search import SearchQuery
from tests.integration.audit.exports import hourly
from tests.integration.chains import NOON

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
