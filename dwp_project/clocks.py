"""The present, as terms, deliveries and audit records have it."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    """Return the present, in UTC."""
    return timezone.now()
