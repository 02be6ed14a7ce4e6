"""What the audit records of a request say of it together, folded in the order of `sequence`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hitl.actors import person_key
from hitl.audit import breaks, record_trust
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import EVENT_OF, OPENINGS, AuditEvent, Status

_STATUS_OF = {event: status for status, event in EVENT_OF.items()}
_FOLDED = (
    *OPENINGS,
    AuditEvent.BASELINE,
    AuditEvent.REQUEST_VOTED,
    AuditEvent.REQUEST_ESCALATED,
    *_STATUS_OF,
)
_RECORD_COLUMNS = (
    *("tenant_id", "sequence", "event", "request_id", "session_id", "actor", "channel", "at"),
    *("context_digest", "action_type", "details"),
)


@dataclass(slots=True)
class RecordedRequest:
    """A request as the records of one chain say it is. None: they do not say."""

    opening: AuditRecord
    facts: dict[str, Any]
    status: Status = Status.PENDING
    decided_by: str = ""
    decided_channel: str = ""
    decided_at: datetime | str = ""
    reason: str = ""
    comment: str = ""
    escalated_at: datetime | str = ""
    expires_at: datetime | int | None = None
    # Voter, channel and time of each approval where several are needed.
    votes: list[tuple[str, str, datetime]] = field(default_factory=list)
    decision_pk: int | None = None
    # How many of them say that it ended, and by which it was opened: one each at most.
    ends: int = 0
    openings: int = 1
    # Whether it escalated or expired before the term that the audit has was over.
    is_early: bool = False


def records_of(request_ids: Collection[str]) -> Iterable[AuditRecord]:
    """Read the records of the requests that say what these are."""
    records = AuditRecord.objects.filter(request_id__in=request_ids, event__in=_FOLDED)
    return breaks.own_records(records.order_by().only(*_RECORD_COLUMNS))


def vouched_records_of(request_ids: Collection[str]) -> Iterable[AuditRecord]:
    """Read those of the records that this deployment vouches for."""
    records = AuditRecord.objects.filter(request_id__in=request_ids, event__in=_FOLDED)
    return filter(record_trust.is_vouched_for, records.order_by())


def vote_comments(request: ApprovalRequest) -> dict[str, str]:
    """Return what people said with their votes, by `hitl.actors.person_key`: only the records of
    votes have it. The comment of the vote that decided is the request's."""
    records = AuditRecord.objects.filter(
        request_id=request.request_id,
        tenant_id=request.tenant_id,
        event=AuditEvent.REQUEST_VOTED,
    )
    comments = {
        person_key(entry.actor): _details(entry).get("comment", "")
        for entry in records.order_by("id")
        if record_trust.is_vouched_for(entry)
    }
    return {person: text for person, text in comments.items() if isinstance(text, str) and text}


def fold_all(records: Iterable[AuditRecord]) -> dict[str, RecordedRequest]:
    """Return each request as its records say it is; without those of which no opening is left."""
    by_request: defaultdict[str, list[AuditRecord]] = defaultdict(list)
    for record in records:
        by_request[record.request_id].append(record)
    folded = {name: _fold(sorted(each, key=_order)) for name, each in by_request.items()}
    return {name: details for name, details in folded.items() if details is not None}


def _order(record: AuditRecord) -> int:
    return record.sequence


def _fold(records: Iterable[AuditRecord]) -> RecordedRequest | None:
    """Return what the records say together; only those of the chain that it was opened in."""
    request: RecordedRequest | None = None
    for record in records:
        details = _details(record)
        if request is None:
            if record.event in (*OPENINGS, AuditEvent.BASELINE):
                request = RecordedRequest(
                    record, details, expires_at=moment_of(details, "expiresAt")
                )
        elif record.tenant_id == request.opening.tenant_id:
            _apply(request, record, details)
    return request


def _apply(request: RecordedRequest, record: AuditRecord, details: dict[str, Any]) -> None:
    match record.event:
        case event if event in OPENINGS:
            request.openings += 1
        case AuditEvent.BASELINE:
            # What the opening says is older, and so worth more.
            request.facts = {**details, **request.facts}
            request.expires_at = moment_of(details, "expiresAt") or request.expires_at
        case AuditEvent.REQUEST_VOTED:
            request.votes.append((record.actor, record.channel, record.at))
        case AuditEvent.REQUEST_ESCALATED:
            request.is_early |= _is_before_term(request, record)
            request.escalated_at = record.at
            # Records of the version before have milliseconds only.
            milliseconds = details.get("expiresAt")
            request.expires_at = moment_of(details, "expiresAtExact") or (
                milliseconds if isinstance(milliseconds, int) else None
            )
        case event if event in _STATUS_OF:
            request.ends += 1
            request.is_early |= event == AuditEvent.REQUEST_EXPIRED and _is_before_term(
                request, record
            )
            request.status = _STATUS_OF[AuditEvent(event)]
            request.decided_by, request.decided_channel = record.actor, record.channel
            request.decided_at = record.at
            request.reason, request.comment = details.get("reason", ""), details.get("comment", "")
            request.decision_pk = record.pk
            if event == AuditEvent.REQUEST_APPROVED and "votes" in details:
                request.votes.append((record.actor, record.channel, record.at))


def _is_before_term(request: RecordedRequest, record: AuditRecord) -> bool:
    """Say whether a record is older than the end of the term, if the records say when that is."""
    return isinstance(request.expires_at, datetime) and record.at < request.expires_at


def _details(record: AuditRecord) -> dict[str, Any]:
    try:
        details = json.loads(record.details)
    except ValueError:
        return {}  # such a record has been edited, which `hitl.audit.verify` says
    return details if isinstance(details, dict) else {}


def moment_of(details: Mapping[str, Any], name: str) -> datetime | None:
    """Return the time that is a member of the details, or None if it is not there."""
    try:
        return datetime.fromisoformat(details[name])
    except (KeyError, TypeError, ValueError):
        return None
