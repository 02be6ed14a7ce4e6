"""Cancels a session; describes the paths of the stream, which consumers serve."""

from __future__ import annotations

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from dwp_project.gateway.views import ConsumerView, EnvelopeView
from hitl.api.callers import caller
from streaming import sessions
from streaming.api import schema


@schema.cancel
class CancelView(EnvelopeView):
    def post(self, request: Request, session_id: str) -> Response:
        self.body(request, Serializer)  # it needs no member, but must be a JSON object
        actor = caller(request._request, self.identity(request))
        session, was_running = sessions.cancel(session_id, actor)
        status = "cancelled" if was_running else str(session.status)
        return self.success(
            {"sessionId": session.session_id, "status": status},
            "Session cancelled" if was_running else "Session had already ended",
        )


@schema.start
class StartView(ConsumerView):
    """Served by `streaming.consumers.StartConsumer`."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "POST")


@schema.attach
class AttachView(ConsumerView):
    """Served by `streaming.consumers.AttachConsumer`."""
