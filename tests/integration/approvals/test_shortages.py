"""Policies that want more people than their tenant has."""

from __future__ import annotations

from typing import Any

import pytest

from hitl.approvals import shortages
from hitl.desk import wording
from hitl.policies.rules import Rule
from tests import factories
from tests.people import OTHER_TENANT, TENANT
from tests.ruling import ESCALATING

pytestmark = pytest.mark.django_db


def members(*, admins: int = 0, approvers: int = 0, viewers: int = 0) -> None:
    for role, count in (("admin", admins), ("approver", approvers), ("viewer", viewers)):
        for number in range(count):
            factories.user(f"{role}{number}", role=role)


def in_words(**asked: Any) -> list[str]:
    return [wording.shortage(each) for each in shortages.of_rule(TENANT, Rule(**asked))]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        # Two admins, one approver, three viewers.
        ({}, []),
        ({"required_role": "admin", "min_approvals": 2}, []),
        (
            {"required_role": "admin", "min_approvals": 5},
            ["Nobody can satisfy this policy: 5 admins are needed, tenant1 has 2."],
        ),
        ({"required_role": "approver", "min_approvals": 3}, []),
        (
            {"required_role": "approver", "min_approvals": 4},
            ["Nobody can satisfy this policy: 4 approvers or admins are needed, tenant1 has 3."],
        ),
        # Whoever asks is one of those who approve.
        ({"min_approvals": 3}, []),
        (
            {"min_approvals": 4},
            [
                "What one of them asks, nobody can approve: 3 approvers or admins are needed "
                "besides whoever asks, tenant1 has 3."
            ],
        ),
        (
            {"min_approvals": 5},
            [
                "Nobody can satisfy this policy: 4 approvers or admins are needed besides whoever "
                "asks, tenant1 has 3."
            ],
        ),
        # Four eyes take one person away only if that person is one of them.
        ({"forbid_requester": True, "min_approvals": 2}, []),
        (
            {"forbid_requester": True, "min_approvals": 3},
            [
                "What one of them asks, nobody can approve: 3 approvers or admins are needed "
                "besides whoever asks, tenant1 has 3."
            ],
        ),
        (
            {"forbid_requester": True, "min_approvals": 4},
            [
                "Nobody can satisfy this policy: 4 approvers or admins are needed besides whoever "
                "asks, tenant1 has 3."
            ],
        ),
        (
            {"forbid_requester": True, "min_approvals": 2, "required_role": "admin"},
            [
                "What one of them asks, nobody can approve: 2 admins are needed besides whoever "
                "asks, tenant1 has 2."
            ],
        ),
        ({**ESCALATING, "min_approvals": 2}, []),
        (
            {**ESCALATING, "min_approvals": 3},
            [
                "Once it has escalated without an approval, nobody can approve: 3 admins are "
                "needed, tenant1 has 2."
            ],
        ),
    ],
)
def test_shortage_is_named(asked: dict[str, Any], words: list[str]) -> None:
    members(admins=2, approvers=1, viewers=3)

    assert in_words(**asked) == words


def test_only_active_members_of_the_tenant_count_and_each_person_once() -> None:
    factories.user("one", role="admin")
    factories.user("gone", role="admin", is_active=False)
    factories.user("elsewhere", role="admin", tenant_id=OTHER_TENANT)
    factories.user("root", is_superuser=True)
    factories.user("kim", role="admin")
    factories.user("Kim", role="approver")

    [words] = in_words(required_role="admin", min_approvals=3)
    assert words.endswith("3 admins are needed, tenant1 has 2.")
    [words] = in_words(required_role="approver", min_approvals=3)
    assert words.endswith("3 approvers or admins are needed, tenant1 has 2.")


def test_one_admin_with_four_eyes_is_named_in_the_singular() -> None:
    members(admins=1)

    assert in_words(required_role="admin", forbid_requester=True) == [
        "What one of them asks, nobody can approve: 1 admin is needed besides whoever asks, "
        "tenant1 has 1."
    ]
    assert in_words() == []


def test_tenant_without_members_has_nobody() -> None:
    assert in_words(required_role="admin") == [
        "Nobody can satisfy this policy: 1 admin is needed, tenant1 has 0."
    ]
    assert in_words() == []
