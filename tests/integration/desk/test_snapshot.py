"""A snapshot of a page: whole for a page that shows nothing yet, and else what has changed."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.desk import snapshot
from hitl.desk.snapshot import Snapshot
from tests import factories
from tests.people import OUTSIDER
from tests.ruling import ESCALATING, a_policy

KIM = Operator("kim", False, {"tenant1": "approver"})


def test_first_message_is_the_whole_snapshot() -> None:
    message = Snapshot({"1": "<li>", "2": "<p>"}, {"count": "2"}).since(None)

    assert message is not None
    assert (message["order"], message["count"]) == (["1", "2"], "2")
    assert message["pieces"] == {"1": "<li>", "2": "<p>"}


def test_later_message_has_the_changed_pieces_and_the_whole_order() -> None:
    before = Snapshot({"1": "a", "2": "b", "3": "c"})

    message = Snapshot({"3": "c", "1": "A"}).since(before)

    assert message is not None
    assert (message["order"], message["pieces"]) == (["3", "1"], {"1": "A"})


@pytest.mark.django_db
def test_message_says_the_time_by_the_databases_clock() -> None:
    with time_machine.travel(timedelta(minutes=10)):
        message = Snapshot({"1": "a"}).since(None)
        present = clocks.estimate().timestamp() * 1000

    assert message is not None
    assert abs(message["now"] - present) < 5000


def test_nothing_is_sent_while_nothing_has_changed() -> None:
    assert Snapshot({"1": "a"}, {"count": "1"}).since(Snapshot({"1": "a"}, {"count": "1"})) is None
    assert Snapshot({"1": "a"}, {"count": "2"}).since(Snapshot({"1": "a"}, {"count": "1"}))


@pytest.mark.django_db
def test_request_expires_until_it_is_decided() -> None:
    late = factories.opened(timeout_seconds=500)

    request = snapshot.of_request(KIM, late.pk)

    assert request is not None
    assert request.next_expiry == late.expires_at.timestamp()
    assert request.facts["mayApprove"] is True
    services.reject(late.request_id, factories.actor(), reason="no")
    decided = snapshot.of_request(KIM, late.pk)
    assert decided is not None
    assert (decided.next_expiry, decided.facts["isPending"]) == (None, False)


@pytest.mark.django_db
def test_request_of_another_tenant_has_no_snapshot() -> None:
    foreign = factories.opened(by=OUTSIDER)

    assert snapshot.of_request(KIM, foreign.pk) is None


@pytest.mark.django_db
def test_policys_words_and_time_left_are_sent_again_when_a_request_escalates() -> None:
    opened_at = timezone.now()
    a_policy(timeout_seconds=60, **ESCALATING)
    request = factories.opened(now=opened_at)
    before = snapshot.of_request(KIM, request.pk)
    assert before is not None
    services.expire_overdue(now=opened_at + timedelta(seconds=60))

    after = snapshot.of_request(KIM, request.pk)

    assert after is not None
    message = after.since(before)
    assert message is not None
    assert set(message["pieces"]) == {"state", "policy", "facts"}
    assert "If nobody decides in time" in before.pieces["policy"]
    assert "It has gone to the role admin until" in message["pieces"]["policy"]
    assert "If nobody decides in time" not in message["pieces"]["policy"]


@pytest.mark.django_db
def test_request_shows_its_risk_beside_its_buttons() -> None:
    a_policy(risk="critical")

    shown = snapshot.of_request(KIM, factories.opened().pk)

    assert shown is not None
    assert "critical risk" in shown.pieces["facts"]
