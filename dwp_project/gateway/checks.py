"""System checks of the edge: what must hold before anything is served."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from dwp_project.gateway.tokens import MIN_SECRET_BYTES


@register(Tags.security)
def token_secret_is_strong(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a `JWT_SECRET` that HS256 cannot be safe with (wire.md, 1)."""
    size = len(settings.JWT_SECRET.encode())
    if size >= MIN_SECRET_BYTES:
        return []
    return [
        Error(
            f"JWT_SECRET has {size} bytes; at least {MIN_SECRET_BYTES} are needed.",
            hint="Make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(48))' "
            "and give the same to every service that mints or reads tokens.",
            id="gateway.E001",
        )
    ]


@register(Tags.security)
def redis_url_is_usable(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a `REDIS_URL` that no client can be made of."""
    url = urlsplit(settings.REDIS_URL)
    try:
        # redis-py reads its options only when it makes a connection; none is opened here.
        redis.Redis.from_url(settings.REDIS_URL).connection_pool.make_connection()
        if url.scheme != "unix" and url.path.strip("/") and not url.path.strip("/").isdecimal():
            raise ValueError(f"its database is a number, not {url.path.strip('/')!r}")
    except (ValueError, TypeError, redis.RedisError) as exc:
        return [
            Error(
                f"REDIS_URL is not usable: {exc}",
                hint="Set it like redis://127.0.0.1:6379/0, or leave it out.",
                id="gateway.E002",
            )
        ]
    return []


def refuse_unsafe_start() -> None:
    """Raise `ImproperlyConfigured` where a server starts without running the checks."""
    for complaint in [*token_secret_is_strong(), *redis_url_is_usable()]:
        raise ImproperlyConfigured(f"{complaint.msg} {complaint.hint}")
