"""Liveness, which needs no other system, and readiness, which checks what work needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import status as http
from rest_framework.request import Request
from rest_framework.response import Response

from dwp_project.gateway import health_schema as schema
from dwp_project.gateway import readiness
from dwp_project.gateway.views import PublicView


@schema.health
class HealthView(PublicView):
    """`/health` and its aliases: the process answers (wire.md, 2.1)."""

    def get(self, request: Request) -> Response:
        # No envelope: deployed probes expect exactly this.
        return Response({"status": "healthy", "environment": settings.ENVIRONMENT})


@schema.main_service
class MainServiceView(PublicView):
    """`/main/health`: the same in the envelope, which a deployed dashboard reads (wire.md, 2.1)."""

    def get(self, request: Request) -> Response:
        return self.success("Main Service is running", "OK")


@schema.ready
class ReadyView(PublicView):
    """`/ready`: 200 while requests can be decided, `degraded` if signals are late; else 503."""

    def get(self, request: Request) -> Response:
        down, late = readiness.check()
        body: dict[str, Any] = {"status": "ready"}
        if late:
            body |= {"status": "degraded", "late": [fault.name for fault in late]}
        if down:
            body |= {"status": "not ready", "down": [fault.name for fault in down]}
        if down or late:
            body["reason"] = " ".join(fault.reason for fault in [*down, *late])
        return Response(body, http.HTTP_503_SERVICE_UNAVAILABLE if down else http.HTTP_200_OK)
