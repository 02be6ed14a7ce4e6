"""Does work that is due now and then, once per due time however many processes run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from structlog.stdlib import get_logger

from dwp_project import clocks
from hitl.models import Chore as Turn

# Chosen: more than two processes differ in what they know of the database's clock. A turn that a
# process which is ahead has just taken does not count as too late.
_CLOCKS_DIFFER = timedelta(minutes=1)

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

    The turn is over once taken: if `work` fails it is due again after the interval. A due time
    further away than the interval is none that `do` sets: the chore is due now.
    """
    now = now or clocks.now()
    if not _take(chore, now):
        return False
    logger.info("chore_done", name=chore.name, count=chore.work())
    return True


def _take(chore: Chore, now: datetime) -> bool:
    turns = Turn.objects.filter(name=chore.name)
    if not turns.exists():
        Turn.objects.bulk_create([Turn(name=chore.name, due_at=now)], ignore_conflicts=True)
    # The database compares: it also holds due times that Python cannot read, such as infinity.
    too_late = Q(due_at__gt=now + chore.interval + _CLOCKS_DIFFER)
    due = turns.filter(Q(due_at__lte=now) | too_late)
    if not due.exists():
        return False
    is_too_late = turns.filter(too_late).exists()
    if due.update(due_at=now + chore.interval) != 1:
        return False
    if is_too_late:
        logger.warning("chore_due_time_clamped", name=chore.name)
    return True
