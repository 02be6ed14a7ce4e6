"""Dates and times as people type and read them, in the deployment's time zone."""

from __future__ import annotations

import re
from datetime import datetime, time

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def parse(text: str, *, is_end: bool = False) -> datetime | None:
    """Parse an ISO date or time; return None for an empty text. Raises `ValueError`.

    A day, or a minute, means its first moment, or its last if `is_end`.
    """
    text = text.strip()
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if is_end and _DAY.fullmatch(text):
        moment = datetime.combine(moment, time.max)
    elif is_end and re.fullmatch(r".*T\d\d:\d\d", text):
        moment = moment.replace(second=59, microsecond=999_999)
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    # Further years overflow in a database or when converted to another time zone.
    if not 1970 <= moment.year <= 9000:
        raise ValueError(text)
    return moment


def shown(moment: datetime | None, *, is_exact: bool = False) -> str:
    """Return a time as HTML, to the second or, if `is_exact`, to the microsecond with its zone."""
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    text = date_format(local, "Y-m-d H:i:s.u e" if is_exact else "Y-m-d H:i:s")
    return format_html('<time datetime="{}">{}</time>', local.isoformat(), text)
