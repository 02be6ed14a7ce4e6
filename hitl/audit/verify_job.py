"""Verifies a chain, and compares the tables with it, while somebody watches on a page: one job at
a time in each process."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _
from structlog.stdlib import get_logger

from dwp_project import clocks
from hitl.actors import Actor
from hitl.audit import compare, record, triggers, verify
from hitl.states import AuditEvent

logger = get_logger(__name__)

# Chosen: twenty times the half second between two looks of a page. A job nobody looks at ends.
_UNWATCHED_SECONDS = 10.0
# Chosen: so many differences are named on the page; `verify_audit` names more.
_MAX_SHOWN = 10


class Busy(Exception):
    """This process verifies another chain now."""


class _Stopped(Exception):
    """The job is to end without a result."""


@dataclass(slots=True)
class VerifyJob:
    """A running verification and its progress. One thread writes it, any number of pages read."""

    actor: Actor
    done: int = 0
    total: int = 0
    result: dict[str, Any] | None = None
    is_over: bool = False
    is_stopped: bool = False
    _watched_at: float = field(default_factory=time.monotonic)

    def watch(self) -> dict[str, Any]:
        """Return the progress, and note that somebody watches."""
        self._watched_at = time.monotonic()
        return {"done": self.done, "of": self.total}

    def stop(self) -> None:
        """Ask the job to end without a result."""
        self.is_stopped = True

    def report_progress(self, done: int, of: int) -> None:
        """Note the progress; raise `_Stopped` if the job is stopped or nobody watches it."""
        self.done, self.total = done, of
        if self.is_stopped or time.monotonic() - self._watched_at > _UNWATCHED_SECONDS:
            raise _Stopped


_lock = threading.Lock()
_current: VerifyJob | None = None


def begin(actor: Actor) -> tuple[VerifyJob, bool]:
    """Return the running job of the actor's chain, or a new one, and whether it is new. The
    caller of a new one calls `run`. Raises `Busy`."""
    global _current  # noqa: PLW0603 - one for each process
    with _lock:
        if _current is not None and not _current.is_over:
            if _current.actor.tenant_id != actor.tenant_id:
                raise Busy
            return _current, False
        _current = VerifyJob(actor)
        return _current, True


def _triggers_message(missing: list[str], changed: list[str]) -> str:
    """Return what is wrong with the triggers, for people; empty if nothing is."""
    sentences = []
    if missing:
        why = _("The audit table has lost its trigger %(names)s: it can be changed.")
        sentences.append(why % {"names": ", ".join(missing)})
    if changed:
        why = _("The audit table's trigger %(names)s is not the one that was installed.")
        sentences.append(why % {"names": ", ".join(changed)})
    return " ".join(sentences)


def _compare(job: VerifyJob) -> dict[str, Any]:
    """Compare the tables with the chain; return what the page shows of it."""
    result = compare.ComparedTenant(job.actor.tenant_id)
    for piece in compare.compare(job.actor.tenant_id):
        result.add(piece)
        job.report_progress(piece.done, piece.of)
    if not result.differing:
        return {}
    differences = [str(each) for each in result.differences[:_MAX_SHOWN]]
    return {"differing": sum(result.differing.values()), "differences": differences}


def run(job: VerifyJob) -> None:
    """Verify the chain, compare the tables with it, and record the result in the audit."""
    try:
        result = verify.verify(job.actor.tenant_id, progress=job.report_progress)
        values = verify.as_json(result)
        missing, changed = triggers.missing(connection), triggers.changed(connection)
        if message := _triggers_message(missing, changed):
            # A break that was found is reported as well.
            why = " ".join([*([values["why"]] if "why" in values else []), message])
            values |= {"holds": False, "kind": values.get("kind", "unprotected"), "why": why}
            values["verdict"] = verify.Verdict.BROKEN
        values |= _compare(job)
        if "differing" in values and values["holds"]:
            values["verdict"] = verify.Verdict.DIFFERS
        recorded = ("holds", "records", "kind", "sequence", "differing")
        details: dict[str, Any] = {name: values[name] for name in recorded if name in values}
        details |= {"triggersMissing": missing} if missing else {}
        details |= {"triggersChanged": changed} if changed else {}
        with transaction.atomic():
            record.write(AuditEvent.AUDIT_VERIFIED, job.actor, clocks.now(), details=details)
        job.result = values
    except _Stopped:
        pass
    except Exception as exc:
        logger.error("audit_walk_failed", tenant=job.actor.tenant_id, exc_info=exc)
    finally:
        job.is_over = True
