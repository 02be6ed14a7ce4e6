"""Says whether the audit has a request's end as its row has it: only a decision decides.

Whatever acts on a request that has ended, or tells an agent of it, asks here first: a status that
somebody wrote into the database is nobody's decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dwp_project import exchange
from dwp_project.exchange import Statement
from dwp_project.jsontext import InvalidJSON, parse
from hitl.audit.record_trust import is_vouched_for
from hitl.audit.request_digest import request_digest
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import EVENT_OF, Status

# As SQL, because whoever waits for a decision asks it, and to build it takes longer than to answer
# it.
_REQUEST = f"""
    SELECT {exchange.columns(ApprovalRequest)} FROM hitl_approvalrequest
     WHERE request_id = %s"""  # noqa: S608 - names of columns
_RECORDS = f"""
    SELECT {exchange.columns(AuditRecord)} FROM hitl_auditrecord
     WHERE request_id = %s AND event IN ({", ".join(["%s"] * len(EVENT_OF))})
     ORDER BY id"""  # noqa: S608 - names of columns


def read(request_id: str) -> tuple[ApprovalRequest, list[AuditRecord]]:
    """Return the request and the records of its end, in one exchange; raises `DoesNotExist`."""
    requests: list[ApprovalRequest]
    requests, records = exchange.read(  # type: ignore[assignment]
        (ApprovalRequest, Statement(_REQUEST, [request_id])),
        (AuditRecord, Statement(_RECORDS, [request_id, *map(str, EVENT_OF.values())])),
    )
    for request in requests:
        return request, records  # type: ignore[return-value]
    raise ApprovalRequest.DoesNotExist


def is_recorded(request: ApprovalRequest, records: Iterable[AuditRecord] | None = None) -> bool:
    """Say whether an audit record of this deployment says of the request's end what its row says;
    one query, unless the `records` of its end were read with it. A pending request has no end."""
    if records is None:
        return request.pk in recorded([request])
    return any(says_so(entry, request) for entry in records)


def recorded(requests: Collection[ApprovalRequest]) -> set[int]:
    """Return the keys of the requests of which `is_recorded` is true; one query for all."""
    ended = [request for request in requests if request.status != Status.PENDING]
    if not ended:
        return set()
    records: dict[str, list[AuditRecord]] = {}
    for entry in AuditRecord.objects.filter(
        request_id__in=[request.request_id for request in ended],
        event__in=EVENT_OF.values(),
    ).order_by("id"):
        records.setdefault(entry.request_id, []).append(entry)
    return {
        request.pk
        for request in ended
        if any(says_so(entry, request) for entry in records.get(request.request_id, ()))
    }


def unrecorded(requests: Iterable[ApprovalRequest]) -> set[int]:
    """Return the keys of the requests that have ended and of whose end the audit says nothing, or
    something else; one query for all."""
    ended = [request for request in requests if request.status != Status.PENDING]
    return {request.pk for request in ended} - recorded(ended)


def says_so(entry: AuditRecord, request: ApprovalRequest) -> bool:
    """Say whether this record, written by this deployment, says of the request's end what its row
    says: who ended it how, when, by which channel and why, and what they were shown."""
    if request.status == Status.PENDING:
        return False
    of_record = (
        *(entry.request_id, entry.tenant_id, entry.session_id),
        *(entry.event, entry.actor, entry.channel, entry.at),
    )
    of_row = (
        *(request.request_id, request.tenant_id, request.session_id),
        *(EVENT_OF[Status(request.status)], request.decided_by, request.decided_channel),
        request.decided_at,
    )
    return of_record == of_row and _is_same_in_details(entry, request) and is_vouched_for(entry)


def _is_same_in_details(entry: AuditRecord, request: ApprovalRequest) -> bool:
    try:
        details = parse(entry.details)
        if not isinstance(details, dict):
            return False
        said = (details.get("reason", ""), details.get("comment", ""))
        if said != (request.reason, request.comment):
            return False
        # Where the row was read without what people are shown, that goes nowhere either.
        if "requestDigest" not in details or request.get_deferred_fields():
            return True
        return bool(details["requestDigest"] == request_digest(request))
    except InvalidJSON:
        return False
