"""The page of the outbox: each decision's signal and how its delivery stands."""

from __future__ import annotations

import html

import pytest

from hitl import services
from hitl.models import OutboxEntry
from tests import factories
from tests.integration.calls import browser

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
