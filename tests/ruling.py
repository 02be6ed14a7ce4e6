"""Policies as tests make them, and the people whom they are about."""

from __future__ import annotations

from typing import Any

from hitl.models import Policy
from hitl.policies import changes
from hitl.policies.rules import Rule
from tests import factories
from tests.people import TENANT, Person

ADMIN = Person("admin1", TENANT, "admin")
APPROVERS = [Person(f"approver{number}", TENANT, "approver") for number in range(1, 16)]

ESCALATING: dict[str, Any] = {
    "on_timeout": "escalate",
    "escalate_to_role": "admin",
    "escalate_seconds": 60,
}


def a_policy(pattern: str = "delete_*", *, tenant_id: str = TENANT, **asked: Any) -> Policy:
    """Make a policy as an admin of its tenant does."""
    admin = factories.actor(Person("admin1", tenant_id, "admin"))
    return changes.create(admin, pattern, Rule(**asked))
