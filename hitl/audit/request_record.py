"""Compares a pending request's row with what its audit records say of it, before it is decided.

Whoever can write to the database can change what people are shown, which rule applies, or how many
have voted. A decision on such a row would be about something that nobody asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from dwp_project import exchange
from dwp_project.exchange import Statement
from dwp_project.jsontext import InvalidJSON, parse
from hitl.actors import person_key
from hitl.audit.hashing import FIRST_SIGNED_FORM, exact
from hitl.audit.record_trust import is_vouched_for
from hitl.audit.request_digest import request_digest
from hitl.models import ApprovalRequest, AuditRecord, Vote
from hitl.states import EVENT_OF, OPENINGS, AuditEvent, Status

# As SQL, because each decision asks it, and to build it takes longer than to answer it. Refused
# decisions, of which there may be many, begin otherwise.
_RECORDS = f"""
    SELECT {exchange.columns(AuditRecord)} FROM hitl_auditrecord
     WHERE request_id = {{request_id}} AND event LIKE 'request:%%' ORDER BY id"""  # noqa: S608


def statement(request_id: str, parameters: Sequence[Any]) -> Statement:
    """Return the statement that reads the records of a request, whose id is SQL."""
    return Statement(_RECORDS.format(request_id=request_id), parameters)


def differences(
    request: ApprovalRequest, records: Sequence[AuditRecord] | None = None
) -> list[str]:
    """Return what of a pending request's row is not as its records say: `opening` (there is no
    record of it), `decision` (it was decided before), `request`, `term`, `votes`; or nothing.

    `records` are those that were read with the row, if they were. `context_digest` must have been
    compared with the stored context before.
    """
    # Without the lock first: it is seldom that votes and escalations of others come between.
    if not _differences(request, _vouched_records(request) if records is None else records):
        return []
    with transaction.atomic():
        locked = ApprovalRequest.objects.select_for_update().get(pk=request.pk)
        if locked.status != Status.PENDING:
            return []  # Somebody has decided meanwhile.
        if _shown_digest(locked) != _shown_digest(request):
            return ["request"]  # What is decided is the request as it was read before.
        return _differences(locked, _vouched_records(locked))


def are_votes_recorded(request: ApprovalRequest, *, without: str) -> bool:
    """Say whether the votes of others than the person `without`, who has just voted, are those that
    records vouch for. Needs the lock of the request's row."""
    others = request.votes.exclude(person=without)
    return _are_same_votes(_voters(_vouched_records(request)), others, request.approvals - 1)


def _shown_digest(request: ApprovalRequest) -> str:
    return request_digest(request, context_digest=request.context_digest)


def _vouched_records(request: ApprovalRequest) -> list[AuditRecord]:
    records = AuditRecord.objects.raw(*statement("%s", [request.request_id]))
    return vouched(records)


def vouched(records: Iterable[AuditRecord]) -> list[AuditRecord]:
    """Return the records that this deployment wrote."""
    return [entry for entry in records if is_vouched_for(entry)]


def _differences(request: ApprovalRequest, records: Sequence[AuditRecord]) -> list[str]:
    # Of all tenants: an id that was opened twice is another request's somewhere.
    openings = [entry for entry in records if entry.event in OPENINGS]
    if len(openings) != 1 or openings[0].tenant_id != request.tenant_id:
        return ["opening"]
    [opening] = openings
    if any(entry.event in EVENT_OF.values() for entry in records):
        return ["decision"]
    comparisons = {
        "request": _is_as_opened(request, opening),
        "term": _is_term_recorded(request, opening, records),
        "votes": _are_votes_recorded(request, records),
    }
    return [name for name, is_same in comparisons.items() if not is_same]


def _is_as_opened(request: ApprovalRequest, opening: AuditRecord) -> bool:
    """Say whether the row says what its opening's record says; one of an older form says less."""
    details = _details(opening)
    if opening.form >= FIRST_SIGNED_FORM:
        now = request_digest(request, context_digest=request.context_digest)
        return bool(details.get("requestDigest") == now)
    policy = request.policy
    return (opening.session_id, opening.context_digest, details) == (
        request.session_id,
        request.context_digest,
        # Besides what it says of the caller.
        details
        | {"actionType": request.action_type, "origin": str(request.origin)}
        | ({"policy": {"pattern": policy.pattern, "version": policy.version}} if policy else {}),
    ) and ("policy" in details) == (policy is not None)


def _is_term_recorded(
    request: ApprovalRequest, opening: AuditRecord, records: Sequence[AuditRecord]
) -> bool:
    escalations = [entry for entry in records if entry.event == AuditEvent.REQUEST_ESCALATED]
    last = escalations[-1] if escalations else opening
    if len(escalations) > 1 or request.escalated_at != (last.at if escalations else None):
        return False
    # The clock escalates by the row's term, which somebody may have set to an earlier time.
    ends_at = _details(opening).get("expiresAt") if opening.form >= FIRST_SIGNED_FORM else None
    if escalations and isinstance(ends_at, str) and exact(last.at) < ends_at:
        return False
    if last.form < FIRST_SIGNED_FORM:
        return True  # It does not say when the term ends.
    member = "expiresAtExact" if escalations else "expiresAt"
    return bool(_details(last).get(member) == exact(request.expires_at))


def _are_votes_recorded(request: ApprovalRequest, records: Sequence[AuditRecord]) -> bool:
    voters = _voters(records)
    if not voters and (request.policy is None or request.policy.min_approvals == 1):
        return request.approvals == 0
    return _are_same_votes(voters, request.votes.all(), request.approvals)


def _voters(records: Iterable[AuditRecord]) -> list[str]:
    """Return the persons whose votes the records have, in an order of their own."""
    voted = (entry for entry in records if entry.event == AuditEvent.REQUEST_VOTED)
    return sorted(person_key(entry.actor) for entry in voted)


def _are_same_votes(voters: list[str], votes: QuerySet[Vote], count: int) -> bool:
    """Say whether the recorded voters are those of the rows, and as many as the request counts."""
    stored = votes.values_list("user_id", "person")
    return (
        len(voters) == count
        and voters == sorted(person for _, person in stored)
        and all(person_key(user_id) == person for user_id, person in stored)
    )


def _details(entry: AuditRecord) -> dict[str, Any]:
    try:
        details = parse(entry.details)
    except InvalidJSON:
        return {}
    return details if isinstance(details, dict) else {}
