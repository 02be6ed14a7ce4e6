"""Compares a tenant's policies with the audit records of their changes. All of them at once: a
tenant has as many as its admins have written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hitl.audit import baseline_state, breaks
from hitl.audit.difference import ComparedKind, Comparison, Difference, Unexpected
from hitl.audit.request_digest import rule_members
from hitl.models import AuditRecord, Policy
from hitl.states import AuditEvent

_EVENTS = (
    AuditEvent.BASELINE,
    AuditEvent.POLICY_CREATED,
    AuditEvent.POLICY_CHANGED,
    AuditEvent.POLICY_RETIRED,
)
Key = tuple[str, int]
# What reading the details of a record raises that this project did not write.
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(slots=True)
class RecordedVersion:
    """A version of a policy as the audit says it is."""

    rule: dict[str, Any]
    is_retired: bool
    created_by: str
    created_at: datetime
    is_current: bool = True


def records_of(tenant_id: str, events: tuple[AuditEvent, ...]) -> list[AuditRecord]:
    """Return a chain's records of these events in their order; each event is a range of an
    index."""
    of_chain = AuditRecord.objects.filter(tenant_id=tenant_id)
    records = [
        record
        for event in events
        for record in of_chain.filter(event=event).order_by("-at", "-sequence")
    ]
    return sorted(breaks.own_records(records), key=lambda record: record.sequence)


def recorded_policies(tenant_id: str) -> dict[Key, RecordedVersion]:
    """Return every version of the tenant's policies that the audit knows."""
    versions: dict[Key, RecordedVersion] = {}
    for record in records_of(tenant_id, _EVENTS):
        for key, version in _versions_in(record):
            for (pattern, _number), other in versions.items():
                other.is_current &= not (version.is_current and pattern == key[0])
            versions[key] = version
    return versions


def _versions_in(record: AuditRecord) -> list[tuple[Key, RecordedVersion]]:
    """Return the versions that a record is about; none for details that we do not write, because
    `hitl.audit.verify` says that such a record was forged."""
    try:
        return list(_read_versions(record, json.loads(record.details)))
    except UNREADABLE:
        return []


def _read_versions(
    record: AuditRecord, details: dict[str, Any]
) -> Iterator[tuple[Key, RecordedVersion]]:
    if record.event == AuditEvent.BASELINE:
        for each in details.get("policies", ()):
            yield (
                (str(each["pattern"]), int(each["version"])),
                RecordedVersion(
                    each["rule"],
                    each["isRetired"],
                    each["createdBy"],
                    datetime.fromisoformat(each["createdAt"]),
                    each["isCurrent"],
                ),
            )
        return
    is_retired = record.event == AuditEvent.POLICY_RETIRED
    key = (str(details["policy"]["pattern"]), int(details["policy"]["version"]))
    rule = details["before"] if is_retired else details["after"]
    yield key, RecordedVersion(rule, is_retired, record.actor, record.at)


def compare_policies(tenant_id: str) -> Comparison:
    """Compare every policy of a tenant with the audit. One that changes meanwhile is compared
    once more."""
    result = _compare(tenant_id)
    if result.differences:
        result.keep(set(_compare(tenant_id).differences))
    return result


def _compare(tenant_id: str) -> Comparison:
    rows = {
        (policy.pattern, policy.version): policy
        for policy in Policy.objects.filter(tenant_id=tenant_id)
    }
    recorded = recorded_policies(tenant_id)
    is_complete = baseline_state.is_complete(tenant_id)
    result = Comparison()
    for key, policy in rows.items():
        result.compared[ComparedKind.POLICY] += 1
        if (version := recorded.get(key)) is not None:
            values: list[tuple[str, Any, Any]] = [
                ("rule", version.rule, rule_members(policy)),
                ("is_retired", version.is_retired, policy.is_retired),
                ("is_current", version.is_current, policy.is_current),
                ("created_by", version.created_by, policy.created_by),
                ("created_at", version.created_at, policy.created_at),
            ]
            result.compare(tenant_id, ComparedKind.POLICY, str(policy), values)
        elif is_complete:
            result.differences.append(_unexpected(tenant_id, key, Unexpected.INVENTED))
        else:
            result.not_comparable[ComparedKind.POLICY] += 1
    for key in recorded.keys() - rows.keys():
        result.differences.append(_unexpected(tenant_id, key, Unexpected.DELETED))
    return result


def _unexpected(tenant_id: str, key: Key, what: Unexpected) -> Difference:
    return Difference(tenant_id, ComparedKind.POLICY, f"{key[0]} v{key[1]}", what)
