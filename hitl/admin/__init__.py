"""The pages of operators and auditors in Django's admin: a module per model, on one base."""

from hitl.admin import audit_records, memberships, outbox, policies, reasons, requests, tenants

__all__ = [
    "audit_records",
    "memberships",
    "outbox",
    "policies",
    "reasons",
    "requests",
    "tenants",
]
