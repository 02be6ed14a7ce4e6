"""A request in a few words: headline, action, parameters and rule."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from hitl.desk import decisions, filters, wording
from hitl.models import ApprovalRequest, Policy
from hitl.policies.rules import Rule


@pytest.mark.parametrize(
    ("action_type", "words"),
    [
        ("delete_mail", "Delete mail"),
        ("deployRelease", "Deploy Release"),
        ("crm.update-contact", "Crm update contact"),
        ("___", "___"),
        ("pay\u202e", "Pay⟨U+202E⟩"),
    ],
)
def test_action_type_is_written_as_words(action_type: str, words: str) -> None:
    assert wording.action(action_type) == words


def test_letter_of_an_action_that_imitates_is_marked_in_its_words() -> None:
    assert ">е</span>lete mail" in wording.marked_action("dеlete_mail")
    assert wording.marked_action("delete_mail") == '<span class="shown">Delete mail</span>'


def test_headline_is_the_message_in_one_line_or_else_the_action() -> None:
    with_message = ApprovalRequest(message="Pay 3 EUR\nto ACME?", action_type="pay_bill")
    without = ApprovalRequest(message=" \n ", action_type="pay_bill")
    long = ApprovalRequest(message="x" * 300, action_type="pay_bill")

    assert "Pay 3 EUR to ACME?" in wording.headline(with_message)
    assert "Pay bill" in wording.headline(without)
    assert "x" * 199 + "…</span>" in wording.headline(long)


def test_secret_in_a_message_is_in_none_of_its_short_forms() -> None:
    request = ApprovalRequest(message='{"password":"hunter2"}\n', context_text="{}")

    forms = [
        wording.headline(request),
        wording.headline_text(request),
        decisions._name(request),
        filters.searchable_text(request),
    ]

    assert [form for form in forms if "hunter2" in form] == []


@pytest.mark.parametrize(
    ("message", "is_all"), [("x" * 200, True), ("x" * 201, False), ("a\nb", False)]
)
def test_headline_says_whether_it_is_the_whole_message(message: str, is_all: bool) -> None:
    assert wording.is_headline(message) is is_all


def test_parameters_fold_and_count_what_is_left_out() -> None:
    parameters = wording.parameters({f"name{number}": number for number in range(15)})

    assert [len(parameters.first), len(parameters.more), parameters.hidden] == [4, 8, 3]
    assert parameters.folded == 11
    assert "name0" in parameters.first[0][0]


@pytest.mark.parametrize("context", [["a", "b"], "text", None])
def test_context_that_is_no_object_is_one_parameter(context: Any) -> None:
    assert len(wording.parameters(context).first) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172_799, "47 hours"),
        (172_800, "2 days"),
    ],
)
def test_duration_is_in_the_largest_unit_that_says_it_well(seconds: int, words: str) -> None:
    assert wording.duration(seconds) == words


def test_rule_says_each_thing_that_it_asks() -> None:
    plain = wording.rule(Rule())
    strict = wording.rule(
        Rule(
            min_approvals=2,
            forbid_requester=True,
            required_role="admin",
            reason_required=True,
            on_timeout="escalate",
            escalate_to_role="admin",
            escalate_seconds=3600,
        )
    )

    assert plain == ["1 approval is enough."]
    assert strict[0] == "2 different people must approve."
    assert len(strict) == 5
    assert "60 minutes more" in strict[-1]


@pytest.mark.parametrize(
    ("risk", "words"),
    [
        ("low", ["It is of low risk."]),
        ("high", ["It is of high risk, so it is decided on its own page and never with others."]),
        ("", []),
    ],
)
def test_rule_names_the_risk(risk: str, words: list[str]) -> None:
    assert wording.rule(Rule(risk=risk))[1:] == words


def escalating(**values: Any) -> ApprovalRequest:
    """Return a request under a policy that escalates, which no database has seen."""
    policy = Policy(
        pattern="delete_*",
        version=1,
        on_timeout="escalate",
        escalate_to_role="admin",
        escalate_seconds=3600,
    )
    opened_at = datetime(2026, 1, 16, 11, 20, tzinfo=timezone.get_current_timezone())
    term_end = opened_at + timedelta(minutes=10)
    return ApprovalRequest(
        **{
            "policy": policy,
            "status": "pending",
            "created_at": opened_at,
            "expires_at": term_end,
            **values,
        }
    )


def test_words_of_the_rule_follow_an_escalation() -> None:
    before = escalating()
    escalated_at = before.expires_at
    after = escalating(escalated_at=escalated_at, expires_at=escalated_at + timedelta(hours=1))
    ended = escalating(escalated_at=escalated_at, status="expired")

    assert wording.rule_in_force(before) == [
        "1 approval is enough.",
        "Approvers, admins and whoever asked may approve.",
        "If nobody decides in time, it goes to the role admin for 60 minutes more.",
    ]
    assert wording.rule_in_force(after) == [
        "It has gone to the role admin until "
        f'<time datetime="{after.expires_at.isoformat()}">12:30</time>; if nobody decides, it '
        "expires then.",
        "1 approval is enough.",
        "Approving takes the role admin.",
    ]
    assert ">11:30</time>." in wording.rule_in_force(ended)[-1]


def test_words_of_an_escalation_name_the_day_if_it_is_another() -> None:
    escalated_at = escalating().expires_at
    request = escalating(escalated_at=escalated_at, expires_at=escalated_at + timedelta(days=2))

    assert ">2026-01-18 11:30</time>" in wording.rule_in_force(request)[0]


def test_words_of_the_rule_say_who_may_approve() -> None:
    request = escalating()
    assert request.policy is not None
    request.policy.forbid_requester = True

    assert "Approvers and admins may approve." in wording.rule_in_force(request)
