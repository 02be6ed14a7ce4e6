"""The page of one request: its state, what was decided before, and where to go next."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.desk import one
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import Origin
from tests import factories, ruling
from tests.integration.calls import browser
from tests.people import OUTSIDER, REQUESTER

pytestmark = pytest.mark.django_db

KIM = Operator("kim", False, {"tenant1": "approver"})
VIEWER = Operator("vera", False, {"tenant1": "viewer"})


def test_page_says_the_time_by_the_databases_clock() -> None:
    request = factories.opened()

    with time_machine.travel(timedelta(minutes=10)):
        said = float(one.page_context(request, KIM)["now"])
        present = clocks.now().timestamp()

    assert abs(said - present) < 5


def test_buttons_are_offered_to_whoever_may_decide() -> None:
    request = factories.opened()

    for operator, may in ((KIM, True), (VIEWER, False)):
        state = one.state_context(request, operator)
        assert (state["may_approve"], state["may_reject"], state["is_pending"]) == (may, may, True)
    assert one.state_context(request, VIEWER)["why_not"]


def test_operator_who_has_voted_gets_no_second_approval() -> None:
    request = factories.opened()
    request.votes.create(
        user_id="Kim", person="kim", role="approver", channel="admin", voted_at=timezone.now()
    )

    state = one.state_context(request, KIM)

    assert (state["has_voted"], state["may_approve"], state["may_reject"]) == (True, False, True)


def test_next_is_the_most_urgent_other_request_that_the_operator_may_decide() -> None:
    now = timezone.now()
    late, soon = (factories.opened(timeout_seconds=seconds, now=now) for seconds in (500, 100))
    factories.opened(by=OUTSIDER, timeout_seconds=10, now=now)
    factories.opened(now=now - timedelta(days=1))

    assert one.next_to_decide(KIM, late.pk) == soon.pk
    assert one.next_to_decide(KIM, soon.pk) == late.pk
    assert one.next_to_decide(VIEWER, late.pk) is None


def test_page_leads_to_the_requests_before_and_after_in_the_inbox() -> None:
    now = timezone.now()
    first, second, third = (
        factories.opened(timeout_seconds=seconds, now=now) for seconds in (100, 200, 300)
    )

    context = one.page_context(second, KIM)

    assert (context["previous"], context["next"]) == (first.pk, third.pk)


def test_pages_lead_on_in_the_filter_that_their_address_carries() -> None:
    now = timezone.now()
    third, other, first, second = (
        factories.opened(context={"to": to}, timeout_seconds=seconds, now=now)
        for to, seconds in (("ann", 300), ("bob", 200), ("ann", 100), ("ann", 150))
    )
    client = browser(factories.user("kim", role="approver", is_staff=True))
    address = reverse("admin:hitl_approvalrequest_change", args=[second.pk])
    view = "?view=q%3Dann"

    shown = client.get(f"{address}{view}").content.decode()

    for link in (f"{first.pk}/change/{view}", f"{third.pk}/change/{view}", "inbox/?q=ann"):
        assert f'/admin/hitl/approvalrequest/{link}"' in shown
    decide = reverse("admin:hitl_approvalrequest_decide", args=[first.pk])
    assert f"/{other.pk}/change/" not in shown
    digest = {"reject": "1", "digest": first.context_digest}
    answer = client.post(f"{decide}{view}", digest)
    assert answer["Location"].endswith(f"/{second.pk}/change/{view}")
    for last in (second, third):
        services.reject(last.request_id, factories.actor())
    answer = client.post(f"{decide}{view}", digest)
    assert answer["Location"].endswith(f"/{first.pk}/change/{view}")


def test_last_decision_in_a_filter_leads_back_to_its_inbox() -> None:
    last = factories.opened(context={"to": "ann"})
    factories.opened(context={"to": "bob"})
    client = browser(factories.user("kim", role="approver", is_staff=True))
    decide = reverse("admin:hitl_approvalrequest_decide", args=[last.pk])

    answer = client.post(f"{decide}?view=q%3Dann", {"reject": "1", "digest": last.context_digest})

    assert answer["Location"] == "/admin/hitl/approvalrequest/inbox/?q=ann"


def test_context_that_was_changed_in_the_database_has_another_digest() -> None:
    request = factories.opened()
    assert one.page_context(request, KIM)["shown_digest"] == request.context_digest

    ApprovalRequest.objects.filter(pk=request.pk).update(context_text='{"count":4}')
    request.refresh_from_db()

    assert one.page_context(request, KIM)["shown_digest"] != request.context_digest


def test_comment_of_the_approval_is_shown_with_its_marks() -> None:
    request = factories.opened()
    services.approve(request.request_id, factories.actor(), comment="only\u202e <b>these</b>")
    request.refresh_from_db()

    page = render_to_string("hitl/state.html", one.state_context(request, KIM))

    assert "⟨U+202E⟩" in page
    assert "&lt;b&gt;these&lt;/b&gt;" in page


def test_comment_of_a_vote_is_shown_beside_it_with_its_marks() -> None:
    ruling.a_policy("delete_*", min_approvals=3)
    request = factories.opened()
    first, second = (factories.actor(person) for person in ruling.APPROVERS[:2])
    services.approve(request.request_id, first, comment="only\u202e <b>these</b>")
    services.approve(request.request_id, second)
    request.refresh_from_db()

    votes = one.state_context(request, KIM)["votes"]
    page = render_to_string("hitl/state.html", one.state_context(request, KIM))

    assert [bool(said) for _name, _vote, said in votes] == [True, False]
    assert "⟨U+202E⟩" in page
    assert "&lt;b&gt;these&lt;/b&gt;" in page


def test_comment_of_a_vote_in_a_record_that_nobody_vouches_for_is_not_shown() -> None:
    ruling.a_policy("delete_*", min_approvals=3)
    request = factories.opened()
    services.approve(request.request_id, factories.actor(ruling.APPROVERS[0]), comment="mine")
    entry = AuditRecord.objects.get(event="request:voted")
    entry.pk, entry.sequence, entry.details = None, entry.sequence + 1, '{"comment":"forged"}'
    entry.save()
    request.refresh_from_db()

    [(_name, _vote, said)] = one.state_context(request, KIM)["votes"]

    assert "mine" in said
    assert "forged" not in said


def page_of(*, message: str, action_type: str) -> str:
    asked = factories.question(message=message, action_type=action_type)
    request, _ = services.open_request(asked, factories.actor(REQUESTER), Origin.REST)
    client = browser(factories.user("kim", role="approver", is_staff=True))
    url = reverse("admin:hitl_approvalrequest_change", args=[request.pk])
    return client.get(url).content.decode()


def test_page_shows_no_secret_of_a_message_and_marks_the_action_where_it_is_decided() -> None:
    message = '{"password":\n"hunter2", "amount": 1E2}'
    page = page_of(message=message, action_type="dеlete_mail")

    assert "hunter2" not in page
    assert 'id="stored-message"' in page
    assert ">1E2</code>" in page
    card = page.split('class="decide-action"')[1].split("</strong>")[0]
    assert "unseen imitating" in card


def test_title_shows_line_breaks_of_a_message_as_spaces() -> None:
    page = page_of(message="Pay 5 EUR?\nToday.", action_type="pay")

    assert "Pay 5 EUR? Today." in page.split("</title>")[0]
    assert 'id="stored-message"' not in page
