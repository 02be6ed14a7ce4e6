"""`manage.py explain_policy`: which policy would apply, and why."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests import factories
from tests.people import OTHER_TENANT, TENANT
from tests.ruling import ESCALATING, a_policy

pytestmark = pytest.mark.django_db


def explained(*arguments: str) -> str:
    out = StringIO()
    call_command("explain_policy", *arguments, stdout=out)
    return out.getvalue()


def test_it_names_the_policy_what_it_asks_and_why_the_others_lost() -> None:
    for number in range(3):
        factories.user(f"admin{number}", role="admin")
    a_policy("*")
    a_policy(
        "delete_*",
        min_approvals=2,
        forbid_requester=True,
        reason_required=True,
        required_role="approver",
        timeout_seconds=600,
        risk="critical",
        **ESCALATING,
    )

    assert explained(TENANT, "delete_mail") == (
        "delete_* v1 of tenant1 applies to delete_mail: most literal characters: 7.\n"
        "Asked for now, it would ask this:\n"
        "  an approver or an admin decides\n"
        "  2 people must approve, 1 rejects\n"
        "  the requester may not approve\n"
        "  a rejection needs a reason\n"
        "  critical risk\n"
        "  it is decided on its own page, never with others\n"
        "  it waits 600 s, or as long as the asker says if that is less\n"
        "  then admin decides, for 60 s more, then it expires\n"
        "These match as well and do not apply:\n"
        "  * v1: 0 literal characters, delete_* has 7\n"
    )


def test_it_says_so_where_no_policy_applies() -> None:
    a_policy("*", tenant_id=OTHER_TENANT)

    text = explained(TENANT, "delete_mail")

    assert text.startswith("No policy of tenant1 matches delete_mail: the default applies.\n")
    assert "the requester, an approver or an admin decides" in text
    assert "it waits 300 s, or as long as the asker says" in text


def test_json_output_has_the_rule_and_every_match() -> None:
    a_policy("delete_*", min_approvals=2, risk="low")

    result = json.loads(explained(TENANT, "delete_mail", "--json"))

    assert (result["rule"]["min_approvals"], result["rule"]["risk"]) == (2, "low")
    assert result["policies"] == [
        {
            "pattern": "delete_*",
            "version": 1,
            "applies": True,
            "why": "no other pattern matches",
        }
    ]
    assert json.loads(explained(TENANT, "send", "--json"))["policies"] == []


def test_it_says_how_an_action_is_compared_and_read() -> None:
    a_policy("*")
    a_policy("pay*")

    text = explained(TENANT, "Рay_invoice")
    result = json.loads(explained(TENANT, "Рay_invoice", "--json"))

    assert text.startswith(
        "pay* v1 of tenant1 applies to Рay_invoice: most literal characters: 3.\n"
        "It is compared as рay_invoice.\n"
        "pay* v1 reads it as pay_invoice.\n"
        "Asked for now, it would ask this:\n"
    )
    assert text.endswith("  * v1: 0 literal characters, pay* has 3\n")
    assert result["comparedAs"] == "рay_invoice"
    assert [policy.get("readAs") for policy in result["policies"]] == ["pay_invoice", None]


def test_it_says_how_an_action_without_a_policy_is_compared() -> None:
    text = explained(TENANT, "PAY_invoice")

    assert "matches PAY_invoice: the default applies.\nIt is compared as pay_invoice.\n" in text
    assert "comparedAs" not in json.loads(explained(TENANT, "pay_invoice", "--json"))


def test_it_names_a_policy_that_nobody_can_satisfy() -> None:
    for number in range(2):
        factories.user(f"admin{number}", role="admin")
    a_policy("pay*", required_role="admin", min_approvals=5)

    words = "Nobody can satisfy this policy: 5 admins are needed, tenant1 has 2."
    assert f"\n{words}\n" in explained(TENANT, "pay_x")
    assert json.loads(explained(TENANT, "pay_x", "--json"))["shortages"] == [words]


@pytest.mark.parametrize(("tenant", "action"), [(" ", "pay"), (TENANT, "x" * 513)])
def test_it_refuses_what_cannot_be_asked(tenant: str, action: str) -> None:
    with pytest.raises(CommandError, match=r"is printable text|at most 512"):
        explained(tenant, action)
