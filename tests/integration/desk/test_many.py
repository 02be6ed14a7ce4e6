"""Many requests at once: confirmed first, one result for each, and none above the limit."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from hitl import services
from hitl.desk.rows import form_item
from hitl.models import ApprovalRequest, AuditRecord, RejectionReason
from hitl.states import Origin
from tests import factories, ruling
from tests.integration.calls import browser
from tests.integration.desk.test_inbox import many
from tests.people import OUTSIDER, REQUESTER
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db

MANY = "/admin/hitl/approvalrequest/many/"
LIST = "/admin/hitl/approvalrequest/"


@pytest.fixture
def client() -> Client:
    return browser(factories.user("desk", role="approver", is_staff=True))


def items(*requests: ApprovalRequest) -> list[str]:
    return [f"{request.pk}:{request.context_digest}" for request in requests]


def send(client: Client, decision: str, chosen: list[str], **fields: str) -> str:
    answer = client.post(MANY, {"decision": decision, "item": chosen, **fields}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def states() -> list[str]:
    return list(ApprovalRequest.objects.order_by("pk").values_list("status", flat=True))


def test_nothing_is_decided_before_it_is_confirmed(client: Client) -> None:
    requests = [factories.opened(), factories.opened()]

    for decision in ("approve", "reject"):
        assert "2 requests?" in send(client, decision, items(*requests))

    assert states() == ["pending", "pending"]


@pytest.mark.parametrize("typed", ["", "1", "3", "two", "22"])
def test_approving_many_needs_their_number_typed(client: Client, typed: str) -> None:
    requests = [factories.opened(), factories.opened()]

    shown = send(client, "approve", items(*requests), confirmed="1", typed=typed)

    assert "That is not the number. Nothing was changed." in shown
    assert states() == ["pending", "pending"]


def test_each_has_its_own_result_and_its_own_record(client: Client) -> None:
    first, lost, changed = (factories.opened() for _ in range(3))
    services.reject(lost.request_id, factories.actor(), reason="no")
    chosen = [*items(first, lost), f"{changed.pk}:{'0' * 64}"]

    shown = send(client, "approve", chosen, confirmed="1", typed="3")

    assert "1 request decided, 2 refused." in shown
    assert f"({first.request_id}) is now approved." in shown
    assert f"({lost.request_id}) was already rejected by approver1" in shown
    assert f"({changed.request_id}) was not decided" in shown
    assert states() == ["approved", "rejected", "pending"]
    assert AuditRecord.objects.filter(event="request:approved", actor="desk").count() == 1


def test_many_are_decided_only_as_they_were_shown(client: Client) -> None:
    shown_otherwise, changed, same = (factories.opened() for _ in range(3))
    digest = shown_otherwise.context_digest
    chosen = [form_item(same), form_item(changed), f"{shown_otherwise.pk}:{digest}.{'0' * 64}"]
    ApprovalRequest.objects.filter(pk=changed.pk).update(message="Something else")

    shown = send(client, "approve", chosen, confirmed="1", typed="3")

    assert "1 request decided, 2 refused." in shown
    assert dict(ApprovalRequest.objects.values_list("pk", "status")) == {
        shown_otherwise.pk: "pending",
        changed.pk: "pending",
        same.pk: "approved",
    }


def test_many_are_rejected_with_a_preset(client: Client) -> None:
    RejectionReason.objects.create(tenant_id="tenant1", text="Not on a Friday")
    RejectionReason.objects.create(tenant_id="tenant2", text="Theirs")
    requests = [factories.opened(), factories.opened()]
    assert "Theirs" not in send(client, "reject", items(*requests))

    send(
        client, "reject", items(*requests), confirmed="1", preset="Not on a Friday", reason="sorry"
    )

    reasons = set(ApprovalRequest.objects.values_list("reason", flat=True))
    assert reasons == {"Not on a Friday – sorry"}


def test_more_than_200_are_refused_and_nothing_is_changed(client: Client) -> None:
    many(201)
    chosen = items(*ApprovalRequest.objects.all())

    shown = send(client, "reject", chosen, confirmed="1")

    assert "201 requests are selected; at most 200 are decided at once." in shown
    assert set(states()) == {"pending"}


def test_archive_refuses_more_than_200_as_well(client: Client) -> None:
    many(201)
    sent = {"action": "reject_selected", "select_across": "1", "index": "0", "_selected_action": []}
    sent["_selected_action"] = [str(ApprovalRequest.objects.all()[0].pk)]

    shown = client.post(LIST, sent, follow=True).content.decode()

    assert "at most 200 are decided at once" in shown
    assert set(states()) == {"pending"}


def test_items_of_another_tenant_are_treated_as_unknown(client: Client) -> None:
    foreign = factories.opened(by=OUTSIDER)
    mine = factories.opened()

    alone = send(client, "approve", items(foreign), confirmed="1", typed="1")
    beside = send(client, "approve", items(foreign, mine))

    assert "No request is selected" in alone
    for shown in (alone, beside):
        assert foreign.request_id not in shown
        assert foreign.user_id not in shown
    assert "1 request?" in beside
    assert "pending" in states()


@pytest.mark.parametrize("item", ["", ":", "x:y", "1'--:", "9" * 40 + ":", "-1:", "²:"])
def test_malformed_items_select_nothing(client: Client, item: str) -> None:
    assert "No request is selected" in send(client, "reject", [item], confirmed="1")


def refused() -> list[tuple[str, str, str]]:
    records = AuditRecord.objects.filter(event="decision:refused").order_by("id")
    return list(records.values_list("tenant_id", "actor", "request_id"))


def test_forged_item_of_another_tenant_is_recorded_in_the_deployments_chain(client: Client) -> None:
    own, foreign = factories.opened(), factories.opened(by=OUTSIDER)

    shown = send(client, "approve", items(own, foreign), confirmed="1", typed="1")

    assert foreign.request_id not in shown
    assert states() == ["approved", "pending"]
    assert refused() == [("", "desk", foreign.request_id)]


def test_forged_form_of_another_tenants_request_is_recorded_in_the_deployments_chain(
    client: Client,
) -> None:
    foreign = factories.opened(by=OUTSIDER)

    client.post(f"{LIST}{foreign.pk}/decide/", {"approve": "1", "digest": foreign.context_digest})

    assert states() == ["pending"]
    assert refused() == [("", "desk", foreign.request_id)]


def test_viewer_who_forges_the_form_is_refused_and_recorded_for_each_request() -> None:
    viewer = browser(factories.user("looker", role="viewer", is_staff=True))
    requests = [factories.opened(), factories.opened()]

    send(viewer, "approve", items(*requests), confirmed="1", typed="2")

    assert states() == ["pending", "pending"]
    assert refused() == [("tenant1", "looker", request.request_id) for request in requests]


def test_preset_of_one_tenant_is_no_reason_in_another() -> None:
    user = factories.user("both", role="approver", is_staff=True)
    user.memberships.create(tenant_id="tenant2", role="approver")
    both = browser(user)
    for tenant in ("tenant1", "tenant2"):
        RejectionReason.objects.create(tenant_id=tenant, text="Not on a Friday")
    RejectionReason.objects.create(tenant_id="tenant1", text="Our lawyers forbid it")
    requests = [factories.opened(), factories.opened(by=OUTSIDER)]

    shown = send(both, "reject", items(*requests))
    assert "Not on a Friday" in shown
    assert "Our lawyers" not in shown
    send(both, "reject", items(*requests), confirmed="1", preset="Our lawyers forbid it")

    assert not ApprovalRequest.objects.filter(reason__contains="lawyers").exists()


def headings(page: str) -> list[str]:
    """Return the headings of the results in their order, with how many each has."""
    found = re.findall(r'<h2>(.+?) <span class="count">(\d+)</span></h2>', page)
    return [f"{text}: {count}" for text, count in found]


def test_results_tell_votes_from_decisions_and_from_refusals_which_come_first(
    client: Client,
) -> None:
    decided = factories.opened()
    ruling.a_policy("delete_*", min_approvals=2)
    vote, lost = factories.opened(), factories.opened()
    services.reject(lost.request_id, factories.actor(), reason="no")

    shown = send(client, "approve", items(decided, vote, lost), confirmed="1", typed="3")

    assert "1 request decided, 1 voted (others are needed), 1 refused." in shown
    assert headings(shown) == [
        "Refused: nothing was changed: 1",
        "Voted: others are needed too: 1",
        "Decided: 1",
    ]
    places = [shown.index(f"/{request.pk}/change/") for request in (lost, vote, decided)]
    assert places == sorted(places)
    assert states() == ["approved", "pending", "rejected"]


def test_second_vote_of_the_same_operator_is_no_vote(client: Client) -> None:
    ruling.a_policy("delete_*", min_approvals=2)
    request = factories.opened()
    send(client, "approve", items(request), confirmed="1", typed="1")

    shown = send(client, "approve", items(request), confirmed="1", typed="1")

    assert "1 refused." in shown
    assert "You had approved request" in shown
    assert AuditRecord.objects.filter(event="request:voted").count() == 1


def test_page_that_asks_for_confirmation_says_how_many_there_are_of_each_kind(
    client: Client,
) -> None:
    user = factories.user("both", role="approver", is_staff=True)
    user.memberships.create(tenant_id="tenant2", role="approver")
    ruling.a_policy("delete_*", min_approvals=3)
    requests = [factories.opened(), factories.opened(), factories.opened(by=OUTSIDER)]
    services.approve(requests[1].request_id, factories.actor())
    ApprovalRequest.objects.filter(pk=requests[0].pk).update(escalated_at=timezone.now())

    shown = send(browser(user), "approve", items(*requests))

    text = " ".join(re.sub(r"<[^>]+>", " ", shown).split())
    assert "Actions delete_mail 3" in text
    assert "Tenants tenant1 2 tenant2 1" in text
    assert "Risk" not in text
    assert "For 2 of them, your approvals are only votes" in text
    assert "1 of them has escalated." in text
    assert "only a vote: your approval is number 1 of 3" in text
    assert "only a vote: your approval is number 2 of 3" in text


def test_page_that_asks_for_confirmation_counts_risks_where_policies_name_some(
    client: Client,
) -> None:
    chosen = items(factories.opened(), at_risk("pay", "medium"), at_risk("move", "low"))

    shown = send(client, "reject", chosen)

    text = " ".join(re.sub(r"<[^>]+>", " ", shown).split())
    risks = text.split("Risk ")[1]
    for risk in ("none named 1", "medium risk 1", "low risk 1"):
        assert risk in risks.split("Delete 3 mails?")[0]


def test_page_says_where_the_approval_decides_and_where_it_was_given_before(
    client: Client,
) -> None:
    ruling.a_policy("delete_*", min_approvals=2)
    mine, last = factories.opened(), factories.opened()
    send(client, "approve", items(mine), confirmed="1", typed="1")
    services.approve(last.request_id, factories.actor())

    shown = send(client, "approve", items(mine, last))

    assert "You have approved; others are needed too." in shown
    assert "your approval is the last of 2" in shown
    assert "only a vote: your approval" not in shown


def test_comment_goes_with_every_approval_and_a_vote(client: Client) -> None:
    first = factories.opened()
    ruling.a_policy("delete_*", min_approvals=2)
    vote = factories.opened()

    send(client, "approve", items(first, vote), confirmed="1", typed="2", comment="as\r\nagreed ")

    first.refresh_from_db()
    assert first.comment == "as\nagreed"
    records = AuditRecord.objects.filter(event__in=["request:approved", "request:voted"])
    assert [json.loads(record.details)["comment"] for record in records] == ["as\nagreed"] * 2


def test_comment_is_still_there_when_the_number_was_wrong(client: Client) -> None:
    request = factories.opened()

    shown = send(client, "approve", items(request), confirmed="1", typed="9", comment="as <agreed>")

    assert ">as &lt;agreed&gt;</textarea>" in shown


@pytest.mark.parametrize("decision", ["", "Approve", "delete"])
def test_form_that_names_no_decision_rejects_nothing(client: Client, decision: str) -> None:
    request = factories.opened()

    shown = send(client, decision, items(request), confirmed="1")

    assert "The form said neither approve nor reject. Nothing was decided." in shown
    assert states() == ["pending"]


def test_form_that_names_both_decisions_decides_nothing(client: Client) -> None:
    request = factories.opened()
    form = {"decision": ["approve", "reject"], "item": items(request), "confirmed": "1"}

    shown = client.post(MANY, form, follow=True).content.decode()

    assert "The form said both approve and reject. Nothing was decided." in shown
    assert states() == ["pending"]


def test_way_back_leads_to_the_inbox_as_it_was_filtered(client: Client) -> None:
    request = factories.opened()
    inbox = "/admin/hitl/approvalrequest/inbox/?tenant=tenant1&amp;q=%22a%22"
    address = f"{MANY}?tenant=tenant1&q=%22a%22"
    form = {"decision": "reject", "item": items(request)}
    listed = client.get("/admin/hitl/approvalrequest/inbox/?tenant=tenant1&q=%22a%22")
    assert f'action="{MANY}?tenant=tenant1&amp;q=%22a%22"' in listed.content.decode()

    asked = client.post(address, form).content.decode()
    results = client.post(address, {**form, "confirmed": "1"}).content.decode()

    assert f'href="{inbox}"' in asked
    assert f'action="{MANY}?tenant=tenant1&amp;q=%22a%22"' in asked
    assert f'href="{inbox}"' in results


def test_reason_of_many_is_wanted_where_one_of_their_policies_wants_it(client: Client) -> None:
    requests = [factories.opened()]
    assert "required" not in send(client, "reject", items(*requests)).split('name="reason"')[1]
    ruling.a_policy("delete_*", reason_required=True)
    requests.append(factories.opened(now=timezone.now() + timedelta(seconds=1)))

    assert "required" in send(client, "reject", items(*requests)).split('name="reason"')[1]


# --- high risk -----------------------------------------------------------------------------------


def at_risk(action: str, risk: str) -> ApprovalRequest:
    a_policy(action, risk=risk)
    question = factories.question(action_type=action)
    return services.open_request(question, factories.actor(REQUESTER), Origin.REST)[0]


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_requests_of_high_risk_are_kept_out_and_the_others_are_decided(
    client: Client, decision: str
) -> None:
    plain, medium = factories.opened(), at_risk("pay", "medium")
    high, critical = at_risk("wipe", "high"), at_risk("drop", "critical")
    chosen = items(high, plain, critical, medium)

    asked = send(client, decision, chosen)
    shown = send(client, decision, chosen, confirmed="1", typed="2")

    assert "2 requests?" in asked
    assert "Not decided here: each of these is decided on its own page" in asked
    assert "2 requests decided, 2 refused." in shown
    assert f"({high.request_id}) was not decided: It is of high risk." in shown
    assert f"({critical.request_id}) was not decided: It is of critical risk." in shown
    end = {"approve": "approved", "reject": "rejected"}[decision]
    assert dict(ApprovalRequest.objects.values_list("pk", "status")) == {
        plain.pk: end,
        medium.pk: end,
        high.pk: "pending",
        critical.pk: "pending",
    }


def test_page_that_asks_keeps_those_of_high_risk_for_the_results(client: Client) -> None:
    chosen = items(factories.opened(), at_risk("wipe", "high"))

    asked = send(client, "approve", chosen)

    assert asked.count('name="item"') == 2
    assert "Type 1 to approve them all." in asked


def test_selection_of_high_risk_alone_decides_nothing(client: Client) -> None:
    request = at_risk("wipe", "high")

    for fields in ({}, {"confirmed": "1", "typed": "1"}):
        shown = send(client, "approve", items(request), **fields)
        assert "From high risk on, a request is decided on its own page" in shown

    assert states() == ["pending"]


def test_archive_keeps_high_risk_out_as_well(client: Client) -> None:
    plain, high = factories.opened(), at_risk("wipe", "high")
    sent = {
        "action": "approve_selected",
        "index": "0",
        "_selected_action": [str(plain.pk), str(high.pk)],
    }

    shown = client.post(LIST, sent).content.decode()
    alone = client.post(LIST, {**sent, "_selected_action": [str(high.pk)]}, follow=True)

    assert "1 request?" in shown
    assert "Not decided here" in shown
    assert "From high risk on" in alone.content.decode()


def test_request_of_high_risk_is_decided_on_its_own_page(client: Client) -> None:
    request = at_risk("wipe", "critical")

    client.post(f"{LIST}{request.pk}/decide/", {"approve": "1", "digest": request.context_digest})

    assert states() == ["approved"]
