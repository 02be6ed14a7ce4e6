"""The operators' pages and the auditors'."""

from hitl.admin import book, delivery, policies, reasons, requests

__all__ = ["book", "delivery", "policies", "reasons", "requests"]
