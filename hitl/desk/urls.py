"""The paths under /admin/ that ASGI consumers serve: path, methods, consumer."""

from __future__ import annotations

from hitl.desk.audit_consumers import ExportConsumer, VerifyConsumer
from hitl.desk.consumers import AlertsConsumer, InboxConsumer, RequestConsumer

VERIFY_PATH = "admin/book/verify"
EXPORT_PATH = "admin/book/export"

consumers = [
    ("admin/hitl/live/", ("GET",), AlertsConsumer),
    ("admin/hitl/approvalrequest/live/", ("GET",), InboxConsumer),
    ("admin/hitl/approvalrequest/<int:pk>/live/", ("GET",), RequestConsumer),
    (VERIFY_PATH, ("POST",), VerifyConsumer),
    (EXPORT_PATH, ("POST",), ExportConsumer),
]
