"""Compares what the tables of a tenant say with what its audit records say last.

`hitl.audit.verify` says whether the records are what was written; this says whether the rows are
what was recorded. What is compared, and what is not, is in docs/explanation/audit.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from dwp_project.gateway.models import Membership
from hitl.audit import (
    breaks,
    compare_accounts,
    compare_policies,
    compare_requests,
    diagnose,
    record,
)
from hitl.audit.difference import ComparedKind, Comparison, Difference, Unexpected
from hitl.models import ApprovalRequest, AuditRecord, Policy, SessionOwner
from hitl.states import OPENINGS, AuditEvent

# Requests compared at once, and records. Measured: larger pieces are no faster, and take memory.
_REQUESTS, _RECORDS = 500, 2000
# Chosen: of more differences than this the first are named and all are counted.
MOST_NAMED = 100


class Step(StrEnum):
    """The parts of a comparison, in their order."""

    # Policies and memberships; of the deployment's own chain the accounts.
    RULES = "rules"
    # Each request with its records.
    REQUESTS = "requests"
    # Each opening with its request: a request may be gone.
    RECORDS = "records"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a comparison has come: the last primary key or sequence of its step."""

    step: Step = Step.RULES
    after: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """What came of one piece, and where the next begins; None after the last."""

    comparison: Comparison
    following: Position | None
    # Requests or records that the step is through with, and how many it has.
    done: int = 0
    of: int = 0


@dataclass(slots=True)
class ComparedTenant:
    """What came of comparing all of a tenant."""

    tenant_id: str
    # The first `MOST_NAMED`; `differing` counts all.
    differences: list[Difference] = field(default_factory=list)
    totals: Comparison = field(default_factory=Comparison)
    differing: dict[ComparedKind, int] = field(default_factory=dict)

    def add(self, piece: Piece) -> None:
        """Add what came of a piece."""
        for difference in piece.comparison.differences:
            if len(self.differences) < MOST_NAMED:
                self.differences.append(difference)
            self.differing[difference.kind] = self.differing.get(difference.kind, 0) + 1
        self.totals.compared += piece.comparison.compared
        self.totals.not_comparable += piece.comparison.not_comparable

    @property
    def as_json(self) -> dict[str, object]:
        """The result as commands and pages send it."""
        return {
            "tenant": self.tenant_id,
            "agrees": not self.differing,
            "differing": {kind.value: count for kind, count in self.differing.items()},
            "differences": [each.as_json for each in self.differences],
            "compared": {kind.value: n for kind, n in self.totals.compared.items()},
            "notComparable": {kind.value: n for kind, n in self.totals.not_comparable.items()},
        }


def tenants() -> list[str]:
    """Return every tenant of which a record or a row is left, and the deployment ('')."""
    return sorted(
        {
            "",
            *record.tenants(),
            *Policy.objects.order_by().values_list("tenant_id", flat=True).distinct(),
            *Membership.objects.order_by().values_list("tenant_id", flat=True).distinct(),
            *_tenants_of_requests(),
        }
    )


def _tenants_of_requests() -> Iterator[str]:
    """Step from tenant to tenant along an index."""
    requests = ApprovalRequest.objects.order_by("tenant_id").values_list("tenant_id", flat=True)
    tenant_id = requests.first()
    while tenant_id is not None:
        yield tenant_id
        tenant_id = requests.filter(tenant_id__gt=tenant_id).first()


def compare_tenant(tenant_id: str) -> ComparedTenant:
    """Compare all of a tenant."""
    result = ComparedTenant(tenant_id)
    for piece in compare(tenant_id):
        result.add(piece)
    return result


def compare(tenant_id: str, after: Position | None = None) -> Iterator[Piece]:
    """Compare a tenant piece by piece, from the beginning or from `Piece.following` of an earlier
    comparison. Each piece takes a few statements, by index, whatever is in the tables."""
    position = after or Position()
    if position.step is Step.RULES:
        position = Position(Step.REQUESTS)
        yield Piece(_compare_rules(tenant_id), position)
    if position.step is Step.REQUESTS:
        yield from _compare_all_requests(tenant_id, position.after)
        position = Position(Step.RECORDS)
    yield from _compare_openings(tenant_id, position.after)


def _compare_rules(tenant_id: str) -> Comparison:
    if tenant_id == "":
        return compare_accounts.compare_accounts()
    result = compare_policies.compare_policies(tenant_id)
    result.add(compare_accounts.compare_memberships(tenant_id))
    return result


def _compare_all_requests(tenant_id: str, after: int) -> Iterator[Piece]:
    rows = ApprovalRequest.objects.filter(tenant_id=tenant_id).order_by("pk")
    done, count = 0, rows.filter(pk__gt=after).count()
    while keys := list(rows.filter(pk__gt=after).values_list("pk", flat=True)[:_REQUESTS]):
        after, done = keys[-1], done + len(keys)
        comparison = compare_requests.compare_requests(keys)
        yield Piece(comparison, Position(Step.REQUESTS, after), done, max(done, count))


def _compare_openings(tenant_id: str, after: int) -> Iterator[Piece]:
    last = diagnose.head_of(tenant_id).last_sequence
    while after < last:
        until = min(after + _RECORDS, last)
        comparison = _compare_records(tenant_id, after, until)
        after = until
        following = Position(Step.RECORDS, after) if after < last else None
        yield Piece(comparison, following, after, last)


def _compare_records(tenant_id: str, after: int, until: int) -> Comparison:
    """Name requests and owners of sessions that the records know and the tables do not."""
    openings = AuditRecord.objects.filter(
        tenant_id=tenant_id,
        sequence__gt=after,
        sequence__lte=until,
        event__in=(*OPENINGS, AuditEvent.BASELINE),
    )
    columns = ("tenant_id", "sequence", "event", "request_id", "details")
    records = breaks.own_records(openings.order_by("sequence").only(*columns))
    names = {entry.request_id for entry in records if entry.request_id}
    rows = ApprovalRequest.objects.filter(request_id__in=names)
    tenant_of = dict(rows.values_list("request_id", "tenant_id"))
    result = Comparison()
    for name in sorted(names):
        stored = tenant_of.get(name)
        if stored is None:
            result.differences.append(
                Difference(tenant_id, ComparedKind.REQUEST, name, Unexpected.DELETED)
            )
        elif stored != tenant_id:
            values = [("tenant", tenant_id, stored)]
            result.compare(tenant_id, ComparedKind.REQUEST, name, values)
    for entry in records:
        if entry.event == AuditEvent.BASELINE:
            # `hitl.audit.verify` says of a record that cannot be read that it was forged.
            with suppress(*compare_policies.UNREADABLE):
                _compare_owners(result, tenant_id, json.loads(entry.details).get("owners", ()))
    return result


def _compare_owners(result: Comparison, tenant_id: str, owners: list[dict[str, str]]) -> None:
    names = [each["sessionId"] for each in owners]
    rows = {owner.session_id: owner for owner in SessionOwner.objects.filter(session_id__in=names)}
    for each in owners:
        name = each["sessionId"]
        compare_requests.compare_owner(result, tenant_id, name, each, rows.get(name))
