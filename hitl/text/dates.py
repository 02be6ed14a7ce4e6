"""Moments as people write them, in the deployment's time zone."""

from __future__ import annotations

import re
from datetime import datetime, time

from django.utils import timezone

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def parse(text: str, *, is_end: bool = False) -> datetime | None:
    """Return what an ISO date or time means, None for nothing; raises `ValueError`.

    A day is its first moment, or its last where `is_end`; so is a minute.
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
    # Years that no database and no other zone can hold.
    if not 1970 <= moment.year <= 9000:
        raise ValueError(text)
    return moment
