"""Walks a chain for somebody who watches: one job at a time in each process."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from structlog.stdlib import get_logger

from hitl.actors import Actor
from hitl.audit import record, triggers, verify
from hitl.states import AuditEvent

logger = get_logger(__name__)

# A job that nobody has looked at for so long ends: whoever wanted it has gone.
_UNWATCHED_SECONDS = 10.0


class Busy(Exception):
    """This process walks another chain now."""


class _Stopped(Exception):
    """The job was told to end."""


@dataclass(slots=True)
class VerifyJob:
    """A job and how far it is. Written by its own thread, read by any number of watchers."""

    actor: Actor
    done: int = 0
    total: int = 0
    result: dict[str, Any] | None = None
    is_over: bool = False
    is_stopped: bool = False
    _watched_at: float = field(default_factory=time.monotonic)

    def watch(self) -> dict[str, Any]:
        """Return how far it is."""
        self._watched_at = time.monotonic()
        return {"done": self.done, "of": self.total}

    def stop(self) -> None:
        """Have the job end soon, without a result."""
        self.is_stopped = True

    def report_progress(self, done: int, of: int) -> None:
        """Note how far it is; ends the job if it is stopped, or nobody watches."""
        self.done, self.total = done, of
        if self.is_stopped or time.monotonic() - self._watched_at > _UNWATCHED_SECONDS:
            raise _Stopped


_lock = threading.Lock()
_current: VerifyJob | None = None


def begin(actor: Actor) -> tuple[VerifyJob, bool]:
    """Return the job of the actor's chain that is under way here, or a new one, and whether it
    is new: whoever began it calls `run`. Raises `Busy`."""
    global _current  # noqa: PLW0603 - one for each process
    with _lock:
        if _current is not None and not _current.is_over:
            if _current.actor.tenant_id != actor.tenant_id:
                raise Busy
            return _current, False
        _current = VerifyJob(actor)
        return _current, True


def _missing_triggers_message(missing: list[str]) -> str:
    return _("The audit table has lost its trigger %(names)s: it can be changed.") % {
        "names": ", ".join(missing)
    }


def run(job: VerifyJob) -> None:
    """Walk to the end and audit what was found."""
    try:
        result = verify.verify(job.actor.tenant_id, progress=job.report_progress)
        values = verify.as_json(result)
        if missing := triggers.missing(connection):
            # Beside a break, not instead of it.
            why = " ".join(
                [*([values["why"]] if "why" in values else []), _missing_triggers_message(missing)]
            )
            values |= {"holds": False, "kind": values.get("kind", "unprotected"), "why": why}
        recorded = ("holds", "records", "kind", "sequence")
        details: dict[str, Any] = {name: values[name] for name in recorded if name in values}
        details |= {"triggersMissing": missing} if missing else {}
        with transaction.atomic():
            record.write(AuditEvent.AUDIT_VERIFIED, job.actor, timezone.now(), details=details)
        job.result = values
    except _Stopped:
        pass
    except Exception as exc:
        logger.error("audit_walk_failed", tenant=job.actor.tenant_id, exc_info=exc)
    finally:
        job.is_over = True
