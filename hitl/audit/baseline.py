"""Writes down, once for each tenant, what stands without a record that it can be compared with.

The versions before recorded too little of an opening, and nothing of a session's owner. The state
that the update meets is written into each chain, so that a change after it is noticed; whether it
was right at that time nobody can say any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from django.db import transaction

from dwp_project import clocks
from hitl.actors import system_actor
from hitl.audit import baseline_state, compare_accounts, compare_policies, record
from hitl.audit.hashing import FIRST_SIGNED_FORM, exact
from hitl.audit.request_digest import opening_details, rule_members
from hitl.models import ApprovalRequest, AuditChain, AuditRecord, Policy, SessionOwner
from hitl.states import OPENINGS, AuditEvent

# Chosen: requests and owners of one transaction. Deciding waits while the chain is locked for it.
_REQUESTS, _OWNERS = 50, 200
# Session owners are read in ranges of primary keys, because no index is by tenant. Chosen.
_OWNER_KEYS = 5000

Details = dict[str, Any]
Piece = Callable[[], int]


def write(tenant_id: str) -> int:
    """Write the baseline of a tenant, unless it has one; return how many records it took."""
    return sum(piece() for piece in pieces(tenant_id))


def pieces(tenant_id: str) -> Iterator[Piece]:
    """Yield what is to be called, one after the other, for the baseline of a tenant; nothing if it
    has one.

    Each is a transaction and returns how many records it wrote. A baseline that is interrupted is
    carried on by the next call. Several processes at once write nothing twice.
    """
    if baseline_state.is_complete(tenant_id):
        return
    yield from _pieces_of_tenant(tenant_id) if tenant_id else _pieces_of_accounts(tenant_id)
    yield lambda: _write(tenant_id, lambda: [(None, baseline_state.COMPLETE)])


def _pieces_of_accounts(tenant_id: str) -> Iterator[Piece]:
    yield lambda: _write(tenant_id, _unrecorded_accounts)


def _pieces_of_tenant(tenant_id: str) -> Iterator[Piece]:
    yield lambda: _write(tenant_id, lambda: _unrecorded_policies(tenant_id))
    yield lambda: _write(tenant_id, lambda: _unrecorded_memberships(tenant_id))
    pending = ApprovalRequest.objects.pending().filter(tenant_id=tenant_id).order_by("pk")
    after = 0
    while keys := list(pending.filter(pk__gt=after).values_list("pk", flat=True)[:_REQUESTS]):
        after = keys[-1]
        yield partial(_write, tenant_id, partial(_unrecorded_requests, keys))
    after = _covered_owners(tenant_id)
    last = SessionOwner.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    while after < last:
        rows = SessionOwner.objects.filter(pk__gt=after, pk__lte=after + _OWNER_KEYS)
        owners = list(rows.filter(tenant_id=tenant_id).order_by("pk"))
        for start in range(0, len(owners), _OWNERS):
            part = owners[start : start + _OWNERS]
            yield partial(_write, tenant_id, partial(_owners, part))
        after += _OWNER_KEYS


def _write(
    tenant_id: str, read: Callable[[], Sequence[tuple[ApprovalRequest | None, Details]]]
) -> int:
    """Write what `read` returns, each as a record; it is called while the chain is locked, so that
    it sees the state that the records before describe."""
    actor, now = system_actor(tenant_id), clocks.now()
    with transaction.atomic():
        AuditChain.objects.select_for_update().filter(tenant_id=tenant_id).first()
        if baseline_state.is_complete(tenant_id):
            return 0  # another process has finished it
        facts = [
            record.Fact(AuditEvent.BASELINE, actor, now, request, details=details)
            for request, details in read()
        ]
        if facts:
            record.write_all(tenant_id, facts)
    return len(facts)


def _unrecorded_policies(tenant_id: str) -> list[tuple[None, Details]]:
    recorded = compare_policies.recorded_policies(tenant_id)
    policies = [
        {
            "pattern": policy.pattern,
            "version": policy.version,
            "rule": rule_members(policy),
            "isRetired": policy.is_retired,
            "isCurrent": policy.is_current,
            "createdBy": policy.created_by,
            "createdAt": exact(policy.created_at),
        }
        for policy in Policy.objects.filter(tenant_id=tenant_id)
        if (policy.pattern, policy.version) not in recorded
    ]
    return [(None, {"kind": "policies", "policies": policies})] if policies else []


def _unrecorded_memberships(tenant_id: str) -> list[tuple[None, Details]]:
    recorded = compare_accounts.recorded_memberships(tenant_id)
    memberships = [
        {"user": user, "role": role}
        for user, role in sorted(compare_accounts.stored_memberships(tenant_id).items())
        if user not in recorded
    ]
    return [(None, {"kind": "memberships", "memberships": memberships})] if memberships else []


def _unrecorded_accounts() -> list[tuple[None, Details]]:
    recorded = compare_accounts.recorded_accounts()
    accounts = [
        # What is recorded of an account stands; a baseline adds the flags that no record has.
        {"user": user, **flags, **recorded.get(user, {})}
        for user, flags in sorted(compare_accounts.stored_accounts().items())
        if recorded.get(user, {}).keys() != flags.keys()
    ]
    return [(None, {"kind": "accounts", "accounts": accounts})] if accounts else []


def _unrecorded_requests(keys: Sequence[int]) -> list[tuple[ApprovalRequest, Details]]:
    requests = ApprovalRequest.objects.pending().filter(pk__in=keys).select_related("policy")
    by_name = {request.request_id: request for request in requests.order_by("pk")}
    records = AuditRecord.objects.filter(
        request_id__in=by_name, event__in=(*OPENINGS, AuditEvent.BASELINE)
    )
    whole = {
        entry.request_id
        for entry in records
        if entry.event == AuditEvent.BASELINE or entry.form >= FIRST_SIGNED_FORM
    }
    owners = {
        owner.session_id: owner
        for owner in SessionOwner.objects.filter(
            session_id__in={request.session_id for request in by_name.values()}
        )
    }
    return [
        (request, {"kind": "request", **_request(request, owners.get(request.session_id))})
        for name, request in by_name.items()
        if name not in whole
    ]


def _request(request: ApprovalRequest, owner: SessionOwner | None) -> Details:
    """Return the facts that a new opening has."""
    details: Details = {"actionType": request.action_type, "origin": request.origin}
    if request.policy is not None:
        policy = request.policy
        details["policy"] = {"pattern": policy.pattern, "version": policy.version}
    return details | opening_details(request, owner.user_id if owner else request.user_id)


def _covered_owners(tenant_id: str) -> int:
    """Return up to which primary key the owners of a tenant's sessions are written down."""
    newest = AuditRecord.objects.filter(
        tenant_id=tenant_id, event=AuditEvent.BASELINE, details__contains='"kind":"owners"'
    )
    entry = newest.order_by("-at", "-sequence").first()
    return int(json.loads(entry.details)["through"]) if entry else 0


def _owners(owners: Sequence[SessionOwner]) -> list[tuple[None, Details]]:
    details: Details = {
        "kind": "owners",
        "owners": [{"sessionId": owner.session_id, **_owner(owner)} for owner in owners],
        "through": owners[-1].pk,
    }
    return [(None, details)]


def _owner(owner: SessionOwner) -> Details:
    return {"tenantId": owner.tenant_id, "userId": owner.user_id, "origin": owner.origin}
