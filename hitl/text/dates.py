"""Dates and times: as people type them, and as pages show them in the time zone of who reads."""

from __future__ import annotations

import re
from datetime import datetime, time, tzinfo
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

# To the microsecond, with the deployment's zone.
EXACT = "Y-m-d H:i:s.u e"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ZONE = re.compile(r"[A-Za-z0-9_+\-/]{1,64}")


def parse(text: str, *, is_end: bool = False, zone: tzinfo | None = None) -> datetime | None:
    """Parse an ISO date or time; return None for an empty text. Raises `ValueError`.

    A day, or a minute, means its first moment, or its last if `is_end`. A time that names no zone
    is in `zone`, by default the deployment's.
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
        moment = timezone.make_aware(moment, zone)
    # Further years overflow in a database or when converted to another time zone.
    if not 1970 <= moment.year <= 9000:
        raise ValueError(text)
    return moment


def zone_named(name: str) -> tzinfo | None:
    """Return the time zone that a browser names, or None if this machine knows none of it."""
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None


def html(moment: datetime | None, text: str = "", *, form: str = "Y-m-d H:i:s") -> SafeString:
    """Return a time as an element that the page's script puts into the reader's time zone: in this
    form, or as `text` says it. In the form `EXACT` it stays. None is a dash."""
    if moment is None:
        return SafeString("–")
    if text:
        return format_html('<time class="sent" datetime="{}">{}</time>', moment.isoformat(), text)
    shown = date_format(timezone.localtime(moment), form)
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), shown)
