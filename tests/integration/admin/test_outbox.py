"""The page of the outbox: each decision's signal and how its delivery stands."""

from __future__ import annotations

import html

import pytest
from django.utils import timezone

from hitl import services
from hitl.desk import aftermath
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome
from tests import factories
from tests.integration.calls import browser
from tests.people import OTHER_TENANT, Person

pytestmark = pytest.mark.django_db

LIST = "/admin/hitl/outboxentry/"


def test_page_shows_the_signal_of_a_decision_and_its_delivery() -> None:
    request = factories.opened()
    services.reject(request.request_id, factories.actor(), reason="not today")
    entry = OutboxEntry.objects.get(request=request)
    OutboxEntry.objects.update(error="refused\u202e", attempts=7)
    client = browser(factories.user("desk", role="viewer", is_staff=True))

    rows = client.get(LIST).content.decode().split('id="result_list"')[1]
    page = html.unescape(client.get(f"{LIST}{entry.pk}/change/").content.decode())

    assert request.request_id in rows
    assert 'refused<span class="unseen">⟨U+202E⟩</span>' in rows
    assert '<td class="field-attempts">7</td>' in rows
    assert '"reason":"not today"' in page


def decided(name: str, **columns: object) -> ApprovalRequest:
    """Return a rejected request whose signal has these columns."""
    request = factories.opened(request_id=name)
    services.reject(name, factories.actor())
    OutboxEntry.objects.filter(request=request).update(**columns)
    return request


def listed(query: str = "") -> str:
    client = browser(factories.user("desk", role="viewer", is_staff=True))
    return html.unescape(client.get(f"{LIST}{query}").content.decode())


def test_list_is_filtered_by_what_became_of_a_signal_with_how_many_there_are() -> None:
    for number in range(3):
        decided(f"req-unheard-{number}", outcome="unheard")
    decided("req-refused", outcome="refused")
    decided("req-again", outcome="pending", is_repeated=True, receivers=1)

    page = listed("?outcome=unheard")

    filters, rows = page.split('id="result_list"')
    assert "nobody listened on Redis (3)" in filters
    assert "not sent: the audit lacks this decision (1)" in filters
    # Received already, though it is sent again.
    assert "received (1)" in filters
    assert rows.count("req-unheard-") == 3
    assert "req-refused" not in rows


def test_signal_that_somebody_must_look_into_is_marked() -> None:
    request = decided("req-refused", outcome="refused")
    decided("req-fine", outcome="delivered")

    rows = listed().split('id="result_list"')[1]

    assert rows.count('<strong class="refused">▲ not sent: the audit lacks this decision') == 1
    assert f'href="/admin/hitl/approvalrequest/{request.pk}/change/"' in rows


def test_list_has_the_newest_of_one_tenant_and_a_search_finds_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hitl.admin.outbox._NEWEST_LISTED", 2)
    for name in ("req-one", "req-two", "req-three"):
        decided(name)
    theirs = factories.opened(request_id="req-theirs", by=Person("asker1", OTHER_TENANT, "user"))
    services.reject(theirs.request_id, factories.actor(Person("boss", OTHER_TENANT, "admin")))
    client = browser(factories.user("desk", role="viewer", is_staff=True))

    def names(query: str) -> list[str]:
        rows = client.get(f"{LIST}{query}").content.decode().partition('id="result_list"')[2]
        return [name for name in ("one", "two", "three", "theirs") if f">req-{name}<" in rows]

    assert names("") == ["two", "three"]
    assert names("?q=req-one") == ["one"]
    assert names("?q=req-theirs") == []
    assert names(f"?tenant_id={OTHER_TENANT}") == []


def test_decision_that_was_read_elsewhere_counts_as_received() -> None:
    decided("req-read", outcome="unheard", first_heard_at=timezone.now())

    page = listed()

    assert "received (1)" in page
    assert "nobody listened" not in page


@pytest.mark.parametrize("is_heard", [False, True])
@pytest.mark.parametrize("outcome", DeliveryOutcome.values)
def test_list_marks_what_the_page_of_the_request_marks(outcome: str, is_heard: bool) -> None:
    heard_at = timezone.now() if is_heard else None
    decided("req-1", outcome=outcome, first_heard_at=heard_at)
    entry = OutboxEntry.objects.get()
    told = aftermath.of(entry.request, entry)
    assert told is not None
    is_never_heard = outcome in ("withheld", "superseded") and not is_heard
    assert told.is_bad == (outcome == "refused" or is_never_heard)

    rows = listed().partition('id="result_list"')[2]

    assert ("▲" in rows) == told.is_bad


@pytest.mark.parametrize("outcome", DeliveryOutcome.values)
def test_page_of_a_signal_says_what_became_of_it_in_words(outcome: str) -> None:
    request = decided("req-1", outcome=outcome)
    entry = OutboxEntry.objects.get(request=request)

    page = listed(f"{entry.pk}/change/")

    about, _, signal = page.partition("The signal as it was made")
    said = {
        "refused": "Whoever runs this deployment has to verify the audit.",
        "withheld": "Have it ask again.",
        "superseded": "its session has asked a newer question since",
        "unheard": "Nobody who asked has read it over REST so far. They still can.",
    }
    assert said.get(outcome, "What became of it") in about
    assert '"requestId"' not in about
    assert '"requestId"' in signal
