"""Readers of the environment that say which variable is wrong, and never show a password."""

from __future__ import annotations

import os
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

_DATABASES = ("sqlite://", "postgres://", "postgresql://")


class Environment(environ.Env):  # type: ignore[misc, unused-ignore]
    """django-environ's readers; what cannot be read is an `ImproperlyConfigured`."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get_value(var, *args, **kwargs)
        except (ValueError, TypeError) as exc:
            raise ImproperlyConfigured(
                f"{var} is set to something unusable ({exc}). "
                "docs/reference/settings.md says what it takes."
            ) from exc

    def db_url(self, var: str = "DATABASE_URL", *args: Any, **kwargs: Any) -> dict[str, Any]:
        text = os.environ.get(var, "")
        if text and not text.startswith(_DATABASES):
            # Not quoted: a mistyped one may hold a password.
            raise ImproperlyConfigured(
                f"{var} must begin with one of {', '.join(_DATABASES)}: "
                "postgres://user:password@host:5432/name"
            )
        found: dict[str, Any] = super().db_url(var, *args, **kwargs)
        return found
