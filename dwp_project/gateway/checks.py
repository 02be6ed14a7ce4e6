"""System checks where nothing runs them."""

from __future__ import annotations

from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured


def refuse_unsafe_start() -> None:
    """Raise `ImproperlyConfigured` with every error of the system checks that need no database.

    For servers that are not started by `manage.py`.
    """
    errors = [check for check in run_checks() if check.is_serious() and not check.is_silenced()]
    if errors:
        lines = [f"- {error.msg} {error.hint or ''}".rstrip() for error in errors]
        raise ImproperlyConfigured("\n".join(["nothing is started.", *lines]))
