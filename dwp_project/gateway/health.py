"""Liveness, which needs no other system, and readiness, which checks database and Redis."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError
from rest_framework import status as http
from rest_framework.request import Request
from rest_framework.response import Response

from dwp_project.gateway import health_schema as schema
from dwp_project.gateway.models import Membership
from dwp_project.gateway.views import PublicView
from dwp_project.wakeup import redis_client


@schema.health
class HealthView(PublicView):
    """`/health` and its aliases: the process answers (wire.md, 2.1)."""

    def get(self, request: Request) -> Response:
        # No envelope: deployed probes expect exactly this.
        return Response({"status": "healthy", "environment": settings.ENVIRONMENT})


@schema.ready
class ReadyView(PublicView):
    """`/ready`: 200, or 503 naming what is down."""

    def get(self, request: Request) -> Response:
        down = [name for name, works in (("database", _database), ("redis", _redis)) if not works()]
        if down:
            return Response(
                {"status": "not ready", "down": down}, http.HTTP_503_SERVICE_UNAVAILABLE
            )
        return Response({"status": "ready"})


def _database() -> bool:
    try:
        Membership.objects.exists()  # a database without tables is not ready either
    except DatabaseError:
        return False
    return True


def _redis() -> bool:
    try:
        return bool(redis_client().ping())
    except (RedisError, OSError):
        return False
