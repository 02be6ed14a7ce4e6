"""The operators' pages and the auditors'."""

from hitl.admin import audit_records, memberships, outbox, policies, reasons, requests

__all__ = ["audit_records", "memberships", "outbox", "policies", "reasons", "requests"]
