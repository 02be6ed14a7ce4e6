"""The pages of operators and auditors in Django's admin: a module per model, on one base."""

from hitl.admin import (
    accounts,
    audit_records,
    memberships,
    outbox,
    policies,
    reasons,
    requests,
    tenants,
)

__all__ = [
    "accounts",
    "audit_records",
    "memberships",
    "outbox",
    "policies",
    "reasons",
    "requests",
    "tenants",
]
