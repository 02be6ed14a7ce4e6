"""Liveness, which asks nobody, and readiness, which asks database and Redis."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.views import View
from redis.exceptions import RedisError

from dwp_project.gateway import envelope
from dwp_project.gateway.errors import MethodNotAllowed
from dwp_project.wakeup import redis_client


class JSONView(View):
    """A plain view whose 405 is in the envelope."""

    http_method_names = ["get", "head", "options"]

    def http_method_not_allowed(
        self, request: HttpRequest, *args: object, **kwargs: object
    ) -> HttpResponse:
        response = envelope.render_error(MethodNotAllowed(), request)
        response["Allow"] = "GET, HEAD, OPTIONS"
        return response

    def options(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return envelope.render(envelope.success(None, "OK"))


class HealthView(JSONView):
    """`/health` and its aliases: the process answers (wire.md, 2.1)."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return envelope.render({"status": "healthy", "environment": settings.ENVIRONMENT})


class ReadyView(JSONView):
    """`/ready`: 200, or 503 naming what is down."""

    def get(self, request: HttpRequest) -> HttpResponse:
        down = [name for name, works in (("database", _database), ("redis", _redis)) if not works()]
        if down:
            return envelope.render({"status": "not ready", "down": down}, 503)
        return envelope.render({"status": "ready"})


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _redis() -> bool:
    try:
        return bool(redis_client().ping())
    except (RedisError, OSError):
        return False
