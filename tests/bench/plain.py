"""A plain application that decides the same: stock daphne, Django REST framework, simplejwt.

`DATABASE_URL`, `REDIS_URL` and `JWT_SECRET` say where; `floor.TABLES` are its tables.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import timedelta

import django
import environ
import redis
from django.conf import settings

_DATABASE = environ.Env.db_url_config(os.environ["DATABASE_URL"])
settings.configure(
    SECRET_KEY=os.environ["JWT_SECRET"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={"default": _DATABASE | {"OPTIONS": {"pool": {"min_size": 1, "max_size": 20}}}},
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication"
        ],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    },
    SIMPLE_JWT={
        "SIGNING_KEY": os.environ["JWT_SECRET"],
        "USER_ID_CLAIM": "sub",
        "TOKEN_TYPE_CLAIM": None,
        "JTI_CLAIM": None,
        "ACCESS_TOKEN_LIFETIME": timedelta(hours=8),
    },
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from tests.bench.floor import SEND  # noqa: E402

_redis = redis.Redis.from_url(os.environ["REDIS_URL"])
_send = _redis.register_script(SEND)


def _append(cursor: object, request_id: str, *, is_sent: bool) -> None:
    """Add an audit record under the head's lock, and an outbox row if something is to be sent."""
    execute, fetch = cursor.execute, cursor.fetchone  # type: ignore[attr-defined]
    execute("SELECT number, hash FROM bench_head WHERE tenant = 'tenant1' FOR UPDATE")
    number, previous = fetch()
    digest = hashlib.sha256(f"{previous}{request_id}".encode()).hexdigest()
    execute(
        "INSERT INTO bench_audit (number, request_id, hash) VALUES (%s, %s, %s)",
        [number, request_id, digest],
    )
    if is_sent:
        execute("INSERT INTO bench_outbox (request_id) VALUES (%s)", [request_id])
    execute(
        "UPDATE bench_head SET number = number + 1, hash = %s WHERE tenant = 'tenant1'", [digest]
    )


class Requests(APIView):
    def post(self, request: Request) -> Response:
        request_id = f"req_{uuid.uuid4().hex}"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO bench_request VALUES (%s, 'pending')", [request_id])
            _append(cursor, request_id, is_sent=False)
        _redis.set(f"bench:{request_id}", str(request.data), ex=1800)
        return Response({"data": {"requestId": request_id}}, status=201)


class Approve(APIView):
    def post(self, request: Request, request_id: str) -> Response:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, status FROM bench_request WHERE id = %s", [request_id])
            if cursor.fetchone() is None:
                return Response(status=404)
            with transaction.atomic():
                cursor.execute(
                    "UPDATE bench_request SET status = 'approved', decided_by = %s,"
                    " decided_at = now() WHERE id = %s AND status = 'pending'",
                    [str(request.user.pk), request_id],
                )
                if cursor.rowcount != 1:
                    return Response(status=409)
                _append(cursor, request_id, is_sent=True)
            _send(keys=[f"bench:signal:{request_id}", "bench-plain"], args=[request_id])
            cursor.execute(
                "UPDATE bench_outbox SET sent_at = now() WHERE request_id = %s", [request_id]
            )
        return Response({"data": {"requestId": request_id, "status": "approved"}})


urlpatterns = [
    path("aura/hitl/requests", Requests.as_view()),
    path("aura/hitl/approve/<str:request_id>", Approve.as_view()),
]
application = get_asgi_application()
