"""What was decided earlier on the same action, and on the same arguments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hitl import services
from hitl.desk import earlier
from hitl.models import ApprovalRequest
from tests import factories
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db

THESE, OTHERS = {"to": "acme"}, {"to": "globex"}


def ended(status: str, context: dict[str, str]) -> ApprovalRequest:
    if status == "expired":
        asked = factories.opened(context=context, now=timezone.now() - timedelta(seconds=301))
        return services.settle(asked)
    asked = factories.opened(context=context)
    end: dict[str, Callable[..., ApprovalRequest]]
    end = {"approved": services.approve, "rejected": services.reject, "cancelled": services.cancel}
    return end[status](asked.request_id, factories.actor())


def keys(made: earlier.EarlierList) -> list[int]:
    return [row["request"].pk for row in made.rows]


def test_earlier_requests_are_the_newest_ended_of_the_same_action_and_tenant() -> None:
    rejected = [ended("rejected", THESE) for _ in range(earlier.MAX_SHOWN + 1)]
    foreign = factories.opened(by=OUTSIDER, context=THESE)
    services.cancel(foreign.request_id, factories.actor(OUTSIDER))
    ApprovalRequest.objects.filter(pk=rejected[-1].pk).update(action_type="other_action")
    factories.opened(context=THESE)
    request = factories.opened(context=THESE)

    with_arguments, of_action = earlier.lists(request)

    assert keys(with_arguments) == keys(of_action) == [row.pk for row in reversed(rejected[:-1])]


def test_same_arguments_are_listed_and_counted_by_themselves() -> None:
    same = [ended(status, THESE) for status in ("approved", "approved", "rejected", "expired")]
    others = [ended(status, OTHERS) for status in ("approved", "cancelled")]

    with_arguments, of_action = earlier.lists(factories.opened(context=THESE))

    assert keys(with_arguments) == [row.pk for row in reversed(same)]
    assert keys(of_action) == [row.pk for row in reversed(same + others)]
    assert with_arguments.summary == "approved 2, rejected 1, expired 1"
    assert of_action.summary == "approved 3, rejected 1, expired 1, cancelled 1"
    assert (with_arguments.is_open, of_action.is_open) == (True, False)


def test_list_of_the_action_is_open_where_nothing_has_the_same_arguments() -> None:
    ended("approved", OTHERS)

    with_arguments, of_action = made = earlier.lists(factories.opened(context=THESE))

    assert (with_arguments.rows, of_action.is_open) == ([], True)
    page = render_to_string("hitl/earlier.html", {"earlier": made})
    assert "None yet with the same arguments." in page


def test_request_that_has_ended_lists_only_what_had_ended_before_it() -> None:
    before = ended("approved", THESE)
    still_pending = factories.opened(context=THESE)
    request = factories.opened(context=THESE)
    both = [each.summary for each in earlier.lists(request)]
    request = services.approve(request.request_id, factories.actor())
    services.reject(still_pending.request_id, factories.actor())
    ended("rejected", THESE)

    made = earlier.lists(request)

    assert [keys(each) for each in made] == [[before.pk], [before.pk]]
    assert [each.summary for each in made] == both == ["approved 1, rejected 0, expired 0"] * 2


def test_action_that_was_never_asked_before_says_so_once() -> None:
    page = render_to_string("hitl/earlier.html", {"earlier": earlier.lists(factories.opened())})

    assert "None yet in this tenant." in page
    assert "<details" not in page


def test_counts_go_no_further_than_the_newest_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "MAX_COUNTED", 3)
    for status in ("approved", "approved", "rejected", "expired"):
        ended(status, THESE)

    for made in earlier.lists(factories.opened(context=THESE)):
        assert made.summary == "approved 1, rejected 1, expired 1 of the newest 3"


def test_lists_take_six_statements_or_seven_however_many_have_ended() -> None:
    counts = []
    for _ in range(2):
        for context in (THESE, OTHERS):
            ended("approved", context)
        request = factories.opened(context=THESE)
        with CaptureQueriesContext(connection) as queries:
            earlier.lists(request)
        request = services.approve(request.request_id, factories.actor())
        with CaptureQueriesContext(connection) as of_decided:
            earlier.lists(request)
        counts.append((len(queries), len(of_decided)))

    assert counts == [(7, 8), (7, 8)]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="test_million has PostgreSQL's plans")
@pytest.mark.parametrize("is_pending", [True, False])
def test_lists_are_read_from_indexes_alone(is_pending: bool) -> None:
    ended("approved", THESE)
    request = factories.opened(context=THESE)
    if not is_pending:
        request = services.approve(request.request_id, factories.actor())
    with CaptureQueriesContext(connection) as queries:
        earlier.lists(request)

    plans = []
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            plans.append(" ".join(row[3] for row in cursor.fetchall()))
    by_arguments, _actions, *by_status, rows = [plan for plan in plans if plan]
    if not is_pending:
        assert "USING INTEGER PRIMARY KEY" in by_status.pop()
    assert "USING COVERING INDEX request_of_arguments" in by_arguments
    assert all("USING COVERING INDEX request_of_action_by_status" in plan for plan in by_status)
    assert "USING INTEGER PRIMARY KEY" in rows
    assert not any("TEMP B-TREE" in plan for plan in plans)
