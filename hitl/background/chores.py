"""Does work that is due now and then, once per due time however many processes run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from structlog.stdlib import get_logger

from hitl.models import Chore as Turn

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """Work that one process does in every `interval`; `work` returns how much it did, for the
    log."""

    name: str
    interval: timedelta
    work: Callable[[], int]


def do(chore: Chore, *, now: datetime | None = None) -> bool:
    """Do the chore if it is due and no other process has taken this turn; say whether it was done.

    The turn is over once taken: if `work` fails it is due again after the interval.
    """
    now = now or timezone.now()
    if not _take(chore, now):
        return False
    logger.info("chore_done", name=chore.name, count=chore.work())
    return True


def _take(chore: Chore, now: datetime) -> bool:
    due = Turn.objects.filter(name=chore.name, due_at__lte=now)
    if not due.exists() and Turn.objects.filter(name=chore.name).exists():
        return False
    Turn.objects.get_or_create(name=chore.name, defaults={"due_at": now})
    return due.update(due_at=now + chore.interval) == 1
