"""Compares memberships, tenant by tenant, and the flags of accounts with the audit records of
their changes. All of them at once: there are as many as there are operators."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User

from dwp_project.gateway.models import Membership
from hitl.audit import baseline_state, record
from hitl.audit.compare_policies import UNREADABLE, records_of
from hitl.audit.difference import ComparedKind, Comparison, Difference, Unexpected
from hitl.models import AuditRecord
from hitl.states import AuditEvent

FLAGS = {"is_active": "isActive", "is_staff": "isStaff", "is_superuser": "isSuperuser"}
_MEMBERSHIP_EVENTS = (
    AuditEvent.BASELINE,
    AuditEvent.MEMBERSHIP_ADDED,
    AuditEvent.MEMBERSHIP_CHANGED,
    AuditEvent.MEMBERSHIP_REMOVED,
    # Records of a membership name the user, who may be renamed.
    AuditEvent.USER_CHANGED,
)


def recorded_memberships(tenant_id: str) -> dict[str, str]:
    """Return the role of each member of a tenant by the audit."""
    roles: dict[str, str] = {}
    for entry in records_of(tenant_id, _MEMBERSHIP_EVENTS):
        # `hitl.audit.verify` says of a record that cannot be read that it was forged.
        with suppress(*UNREADABLE):
            _apply_to_roles(roles, entry, json.loads(entry.details))
    return roles


def _apply_to_roles(roles: dict[str, str], entry: AuditRecord, details: dict[str, Any]) -> None:
    match entry.event:
        case AuditEvent.BASELINE:
            roles |= {each["user"]: each["role"] for each in details.get("memberships", ())}
        case AuditEvent.MEMBERSHIP_REMOVED:
            roles.pop(details["user"], None)
        case AuditEvent.USER_CHANGED:
            if (before := details.get("userBefore")) in roles:
                roles[details["user"]] = roles.pop(before)
        case _:
            roles[details["user"]] = details["memberRole"]


def recorded_accounts() -> dict[str, dict[str, bool]]:
    """Return the flags of each account by the audit, as far as it has them.

    A change is recorded in the chain of every tenant that the account belonged to then, so all
    chains are read, in the order of time.
    """
    entries: list[tuple[datetime, AuditRecord]] = []
    for tenant_id in record.tenants():
        # The order of a chain is certain; the clocks of two hosts may differ.
        at = datetime.min.replace(tzinfo=UTC)
        for entry in records_of(tenant_id, (AuditEvent.BASELINE, AuditEvent.USER_CHANGED)):
            at = max(at, entry.at)
            entries.append((at, entry))
    accounts: dict[str, dict[str, bool]] = {}
    # Sorting is stable: records of one chain and one moment stay in their order.
    for _at, entry in sorted(entries, key=lambda each: each[0]):
        with suppress(*UNREADABLE):
            _apply_to_accounts(accounts, entry, json.loads(entry.details))
    return accounts


def _apply_to_accounts(
    accounts: dict[str, dict[str, bool]], entry: AuditRecord, details: dict[str, Any]
) -> None:
    if entry.event == AuditEvent.BASELINE:
        accounts |= {each["user"]: _flags(each) for each in details.get("accounts", ())}
        return
    user, before = details["user"], details.get("userBefore")
    if details.get("removed"):
        accounts.pop(user, None)
        return
    if before in accounts:
        accounts[user] = accounts.pop(before)
    accounts.setdefault(user, {}).update(_flags(details))


def _flags(details: dict[str, Any]) -> dict[str, bool]:
    return {name: details[name] for name in FLAGS.values() if name in details}


def stored_memberships(tenant_id: str) -> dict[str, str]:
    """Return the role of each member of a tenant."""
    memberships = Membership.objects.filter(tenant_id=tenant_id)
    return dict(memberships.values_list("user__username", "role"))


def stored_accounts() -> dict[str, dict[str, bool]]:
    """Return the flags of each account."""
    return {
        name: dict(zip(FLAGS.values(), flags, strict=True))
        for name, *flags in User.objects.values_list("username", *FLAGS)
    }


def compare_memberships(tenant_id: str) -> Comparison:
    """Compare a tenant's memberships with the audit; what changes meanwhile once more."""
    result = _compare_memberships(tenant_id)
    if result.differences:
        result.keep(set(_compare_memberships(tenant_id).differences))
    return result


def _compare_memberships(tenant_id: str) -> Comparison:
    stored = stored_memberships(tenant_id)
    recorded = recorded_memberships(tenant_id)
    result = Comparison()
    for user, role in stored.items():
        if user in recorded:
            values = [("role", recorded[user], role)]
            result.compare(tenant_id, ComparedKind.MEMBERSHIP, user, values)
    _compare_names(result, tenant_id, ComparedKind.MEMBERSHIP, set(stored), set(recorded))
    return result


def compare_accounts() -> Comparison:
    """Compare the flags of all accounts with the audit; what changes meanwhile once more."""
    result = _compare_accounts()
    if result.differences:
        result.keep(set(_compare_accounts().differences))
    return result


def _compare_accounts() -> Comparison:
    stored, recorded = stored_accounts(), recorded_accounts()
    result = Comparison()
    for user, flags in stored.items():
        if user in recorded:
            values = [(name, recorded[user].get(name), flag) for name, flag in flags.items()]
            result.compare("", ComparedKind.ACCOUNT, user, values)
    _compare_names(result, "", ComparedKind.ACCOUNT, set(stored), set(recorded))
    return result


def _compare_names(
    result: Comparison, tenant_id: str, kind: ComparedKind, stored: set[str], recorded: set[str]
) -> None:
    result.compared[kind] += len(stored)
    unrecorded = sorted(stored - recorded)
    if baseline_state.is_complete(tenant_id):
        result.differences += [
            Difference(tenant_id, kind, user, Unexpected.INVENTED) for user in unrecorded
        ]
    else:
        result.not_comparable[kind] += len(unrecorded)
    result.differences += [
        Difference(tenant_id, kind, user, Unexpected.DELETED) for user in sorted(recorded - stored)
    ]
