"""The operators' pages and the auditors'."""

from hitl.admin import book, delivery, requests

__all__ = ["book", "delivery", "requests"]
