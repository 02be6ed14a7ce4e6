"""Reads the environment; errors name the variable that is wrong, and never contain a password."""

from __future__ import annotations

import logging
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

    def whole(self, var: str, *, default: int) -> int:
        """Return a whole number of at least 0, and at most a million."""
        value: int = self.int(var, default=default)
        if not 0 <= value <= 1_000_000:
            raise ImproperlyConfigured(
                f"{var} must be a whole number from 0 to 1000000, not {value}."
            )
        return value

    def log_level(self, var: str, *, default: str) -> str:
        """Return the name of a level of Python's logging."""
        level: str = self.str(var, default=default)
        if level not in logging.getLevelNamesMapping():
            raise ImproperlyConfigured(
                f"{var} is {level!r}. Set it to DEBUG, INFO, WARNING, ERROR or CRITICAL."
            )
        return level

    def db_url(self, var: str = "DATABASE_URL", *args: Any, **kwargs: Any) -> dict[str, Any]:
        text = os.environ.get(var, "")
        if text and not text.startswith(_DATABASES):
            # The value is not quoted: it may contain a password.
            raise ImproperlyConfigured(
                f"{var} must begin with one of {', '.join(_DATABASES)}: "
                "postgres://user:password@host:5432/name"
            )
        database: dict[str, Any] = super().db_url(var, *args, **kwargs)
        return database
