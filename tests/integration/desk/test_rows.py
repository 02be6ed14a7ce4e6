"""A row of the inbox: what it shows of a request."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from hitl import services
from hitl.desk.rows import form_item
from hitl.models import ApprovalRequest
from hitl.states import Origin
from tests import factories
from tests.integration.desk.test_inbox import page, signed_in
from tests.people import REQUESTER
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db


def test_row_shows_parameters_in_order_without_their_secrets() -> None:
    context = {"to": "a@b.c", "api_key": "sk-1", "count": 3, "e": 5, "f": 6, "g": 7}
    factories.opened(context=context)

    shown = page(signed_in())

    assert shown.index("a@b.c") < shown.index("masked by HITL_REDACT: *api_key*")
    assert "sk-1" not in shown
    assert "2 more" in shown


def test_row_of_high_risk_has_no_box_and_says_why() -> None:
    client = signed_in()
    for risk, boxes in (("medium", 1), ("high", 0), ("critical", 0)):
        a_policy(risk, risk=risk)
        request = asked(risk)

        shown = page(client)

        assert f'risk-{risk}">{risk} risk</span>' in shown
        assert shown.count('name="item"') == boxes, risk
        assert shown.count(f'title="Decide on its own page: {risk} risk"') == 1 - boxes
        services.cancel(request.request_id, factories.actor(REQUESTER))


def asked(action_type: str) -> ApprovalRequest:
    question = factories.question(action_type=action_type)
    return services.open_request(question, factories.actor(REQUESTER), Origin.REST)[0]


def pages(client: Client, request: ApprovalRequest) -> dict[str, str]:
    """Return every page that shows the action of a pending request."""
    one = client.get(reverse("admin:hitl_approvalrequest_change", args=[request.pk]))
    many = client.post(
        reverse("admin:hitl_approvalrequest_many"),
        {"decision": "approve", "item": [form_item(request)]},
    )
    return {
        "inbox": page(client),
        "one": one.content.decode(),
        "many": many.content.decode(),
    }


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("рay_invoice", "Letters that look like others: р (U+0440) ≈ p"),
        ("рay_invoice", "The pattern pay* of its policy reads it as: pay_invoice"),
        ("PAY_invoice", "The pattern pay* of its policy reads it as: pay_invoice"),
        ("ｓend_mail", "Letters that look like others: ｓ (U+FF53) ≈ s"),
        ("p\u0323ay_mail", "Letters that look like others: p\u0323 (U+0070 U+0323) ≈ p"),
    ],
)
def test_unusual_spelling_is_marked_wherever_the_action_is_shown(action: str, words: str) -> None:
    a_policy("pay*")
    request = asked(action)

    for name, shown in pages(signed_in(), request).items():
        assert shown.count("unusual spelling") == 1, name
        assert words in shown, name


@pytest.mark.parametrize(
    "action", ["pay_invoice", "delete_mail", "메일 삭제", "API_삭제", "Löschen", "메일_delete"]
)
def test_ordinary_action_is_not_marked(action: str) -> None:
    a_policy("pay*")
    a_policy("메일*")
    request = asked(action)

    for name, shown in pages(signed_in(), request).items():
        assert "unusual spelling" not in shown, name
        assert 'class="spelling"' not in shown, name
