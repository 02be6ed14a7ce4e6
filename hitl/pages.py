"""What ASGI consumers serve of the operators' and auditors' pages: path, methods, consumer."""

from __future__ import annotations

from hitl.desk.consumers import InboxConsumer, RequestConsumer

consumers = [
    ("admin/hitl/approvalrequest/live/", ("GET",), InboxConsumer),
    ("admin/hitl/approvalrequest/<int:pk>/live/", ("GET",), RequestConsumer),
]
