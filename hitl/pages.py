"""Paths below the operators' pages that ASGI consumers serve."""

from hitl.downloads import ExportConsumer, VerifyConsumer

VERIFY_PATH = "admin/book/verify"
EXPORT_PATH = "admin/book/export"

# Path, methods, consumer.
consumers = [
    (VERIFY_PATH, ("POST",), VerifyConsumer),
    (EXPORT_PATH, ("POST",), ExportConsumer),
]
