"""Compares requests, their votes, their outbox entries and the owners of their sessions with what
the audit records of each request say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from dwp_project.jsontext import InvalidJSON
from hitl.actors import person_key
from hitl.audit import baseline_state, recorded_requests
from hitl.audit.difference import ComparedKind, Comparison, Difference, Unexpected
from hitl.audit.recorded_requests import RecordedRequest
from hitl.audit.request_digest import rule_members
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, SessionOwner, Vote
from hitl.states import DECIDED, DeliveryOutcome, Origin, Status

# Reads the records of requests by their ids.
ReadRecords = Callable[[Collection[str]], Iterable[AuditRecord]]


def compare_requests(keys: Sequence[int]) -> Comparison:
    """Compare the requests with these primary keys, and confirm each difference by a second look:
    a decision may commit between the reading of its row and that of its record."""
    result = _compare(keys, recorded_requests.records_of)
    if result.differences:
        names = {each.name for each in result.differences}
        again = ApprovalRequest.objects.filter(pk__in=keys).values_list(
            "pk", "request_id", "session_id"
        )
        suspect = [pk for pk, *own_names in again if not names.isdisjoint(own_names)]
        result.keep(set(_compare(suspect, recorded_requests.records_of).differences))
    return result


def compare_request(request: ApprovalRequest) -> list[Difference]:
    """Return in what one request differs from its records; reads by index only.

    Records that this deployment does not vouch for do not count: nobody has verified the chain.
    """
    result = _compare([request.pk], recorded_requests.vouched_records_of)
    if result.differences:
        result.keep(set(_compare([request.pk], recorded_requests.vouched_records_of).differences))
    return result.differences


def _compare(keys: Sequence[int], read: ReadRecords) -> Comparison:
    # Rows before records: a record commits with its row, so that none of these can be missing.
    requests = list(
        ApprovalRequest.objects.filter(pk__in=keys).select_related("policy").order_by("pk")
    )
    votes: defaultdict[int, list[Vote]] = defaultdict(list)
    for vote in Vote.objects.filter(request_id__in=keys).order_by():
        votes[vote.request_id].append(vote)
    entries = {entry.request_id: entry for entry in OutboxEntry.objects.filter(request_id__in=keys)}
    recorded = recorded_requests.fold_all(read([request.request_id for request in requests]))
    # Owners do not change, so that they may be read after the records that name their sessions.
    sessions = {details.opening.session_id for details in recorded.values()}
    owners = {
        owner.session_id: owner for owner in SessionOwner.objects.filter(session_id__in=sessions)
    }
    result = Comparison()
    for request in requests:
        result.compared[ComparedKind.REQUEST] += 1
        details = recorded.get(request.request_id)
        if details is None:
            _compare_unrecorded(result, request)
            continue
        _compare_row(result, request, details)
        _compare_votes(result, request, details, votes[request.pk])
        _compare_entry(result, request, details, entries.get(request.pk))
        _compare_owner(result, details, owners.get(details.opening.session_id))
    result.differences = list(dict.fromkeys(result.differences))
    return result


def _compare_unrecorded(result: Comparison, request: ApprovalRequest) -> None:
    if baseline_state.is_complete(request.tenant_id):
        result.differences.append(
            Difference(
                request.tenant_id, ComparedKind.REQUEST, request.request_id, Unexpected.INVENTED
            )
        )
    else:
        result.not_comparable[ComparedKind.REQUEST] += 1


def _compare_row(result: Comparison, request: ApprovalRequest, recorded: RecordedRequest) -> None:
    opening, facts = recorded.opening, recorded.facts
    is_from_redis = request.origin == Origin.REDIS
    # An old opening names the asker as its actor; that of a Redis agent names the agent instead.
    if "userId" in facts:
        asker = [
            ("user", facts["userId"], request.user_id),
            ("agent", facts.get("agentId", ""), request.agent_id),
        ]
    elif is_from_redis:
        asker = [("agent", opening.actor, request.agent_id or request.user_id), ("user", None, "")]
    else:
        asker = [("user", opening.actor, request.user_id)]
    policy = facts.get("policy")
    rule = facts.get("rule") if policy else {}
    values: list[tuple[str, Any, Any]] = [
        ("tenant", opening.tenant_id, request.tenant_id),
        ("session", opening.session_id, request.session_id),
        *asker,
        ("action", facts.get("actionType"), request.action_type),
        ("origin", facts.get("origin"), request.origin),
        ("message", facts.get("messageDigest"), _message_digest(request)),
        ("context", opening.context_digest, request.context_digest),
        ("context", opening.context_digest, _context_digest(request)),
        ("created_at", recorded_requests.moment_of(facts, "createdAt"), request.created_at),
        ("expires_at", recorded.expires_at, _same_precision(request.expires_at, recorded)),
        ("escalated_at", recorded.escalated_at, request.escalated_at or ""),
        ("policy", _policy_name(policy), str(request.policy or "")),
        ("rule", rule, rule_members(request.policy) if request.policy else {}),
        # By the audit a request is opened once, and ends once.
        ("openings", recorded.openings, 1),
        ("ends", max(1, recorded.ends), 1),
        ("ended_early", False, recorded.is_early),
        ("status", recorded.status.value, request.status),
        ("decided_by", recorded.decided_by, request.decided_by),
        ("decided_channel", recorded.decided_channel, request.decided_channel),
        ("decided_at", recorded.decided_at, request.decided_at or ""),
        ("reason", recorded.reason, request.reason),
        ("comment", recorded.comment, request.comment),
    ]
    result.compare(opening.tenant_id, ComparedKind.REQUEST, request.request_id, values)


def _compare_votes(
    result: Comparison, request: ApprovalRequest, recorded: RecordedRequest, votes: list[Vote]
) -> None:
    given = [(user, person_key(user), channel, at) for user, channel, at in recorded.votes]
    stored = [(vote.user_id, vote.person, vote.channel, vote.voted_at) for vote in votes]
    result.compared[ComparedKind.VOTE] += len(votes)
    values = [
        ("votes", _vote_text(given), _vote_text(stored)),
        ("approvals", len(recorded.votes), request.approvals),
    ]
    result.compare(recorded.opening.tenant_id, ComparedKind.VOTE, request.request_id, values)


def _compare_entry(
    result: Comparison,
    request: ApprovalRequest,
    recorded: RecordedRequest,
    entry: OutboxEntry | None,
) -> None:
    is_expected = recorded.status in DECIDED
    if entry is None and not is_expected:
        return
    tenant_id, name = recorded.opening.tenant_id, request.request_id
    result.compared[ComparedKind.OUTBOX] += 1
    if entry is None or not is_expected:
        what = Unexpected.DELETED if entry is None else Unexpected.INVENTED
        result.differences.append(Difference(tenant_id, ComparedKind.OUTBOX, name, what))
        return
    is_delivered = entry.outcome == DeliveryOutcome.DELIVERED
    outcomes = set(DeliveryOutcome.values)
    values: list[tuple[str, Any, Any]] = [
        ("signal", _signal(name, recorded), _parsed(entry.signal)),
        ("created_at", recorded.decided_at, entry.created_at),
        # Nothing is delivered without an attempt.
        ("outcome", True, entry.outcome in outcomes and (entry.attempts > 0 or not is_delivered)),
        # What the audit has is never refused.
        ("refused", False, entry.outcome == DeliveryOutcome.REFUSED),
    ]
    # The record that the entry refers to; entries of the version before refer to none.
    if entry.record_id is not None:
        values.append(("record", recorded.decision_pk, entry.record_id))
    result.compare(tenant_id, ComparedKind.OUTBOX, name, values)


def _compare_owner(
    result: Comparison, recorded: RecordedRequest, owner: SessionOwner | None
) -> None:
    expected = recorded.facts.get("owner")
    if not isinstance(expected, dict):
        result.not_comparable[ComparedKind.SESSION] += 1
        return
    compare_owner(result, recorded.opening.tenant_id, recorded.opening.session_id, expected, owner)


def compare_owner(
    result: Comparison,
    tenant_id: str,
    session_id: str,
    expected: Mapping[str, Any],
    owner: SessionOwner | None,
) -> None:
    """Compare the owner of a session with the one that the audit names."""
    result.compared[ComparedKind.SESSION] += 1
    if owner is None:
        result.differences.append(
            Difference(tenant_id, ComparedKind.SESSION, session_id, Unexpected.DELETED)
        )
        return
    values = [
        ("tenant", expected.get("tenantId"), owner.tenant_id),
        ("user", expected.get("userId"), owner.user_id),
        ("origin", expected.get("origin"), owner.origin),
    ]
    result.compare(tenant_id, ComparedKind.SESSION, session_id, values)


def _signal(request_id: str, recorded: RecordedRequest) -> dict[str, Any]:
    """Return the signal of a recorded decision (wire.md, 5.2), as `hitl.delivery.wire` makes it
    of the row."""
    assert isinstance(recorded.decided_at, datetime)
    is_approval = recorded.status is Status.APPROVED
    return {
        "type": "approval" if is_approval else "rejection",
        "requestId": request_id,
        "status": recorded.status.value,
        **({} if is_approval else {"reason": recorded.reason}),
        "timestamp": int(recorded.decided_at.timestamp()),
    }


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _same_precision(moment: datetime, recorded: RecordedRequest) -> datetime | int:
    if isinstance(recorded.expires_at, int):
        return int(moment.timestamp() * 1000)
    return moment


def _message_digest(request: ApprovalRequest) -> str:
    return sha256(request.message.encode()).hexdigest()


def _context_digest(request: ApprovalRequest) -> str:
    try:
        return request.stored_digest
    except (InvalidJSON, RecursionError):
        return request.context_text


def _policy_name(policy: Any) -> str:
    if not isinstance(policy, dict):
        return ""
    return f"{policy.get('pattern')} v{policy.get('version')}"


def _vote_text(votes: Iterable[tuple[str, str, str, datetime]]) -> str:
    return ", ".join(
        f"{user} ({person}) {channel} {at.isoformat()}"
        for user, person, channel, at in sorted(votes)
    )
