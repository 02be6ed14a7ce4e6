"""Checks a decision before it is made: who, on what, in which state (wire.md, 3.6).

A part of `hitl.services`, which then makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from dwp_project import exchange
from dwp_project.exchange import Statement
from dwp_project.gateway.errors import DwpError
from hitl import errors
from hitl.actors import Actor
from hitl.approvals import foreign, permissions, refusals, votes
from hitl.audit import decision_record, request_record
from hitl.audit.request_digest import request_digest
from hitl.models import ApprovalRequest, AuditRecord, Policy
from hitl.policies import rules
from hitl.states import Status

_WHY_NOT: dict[Status, Callable[[Actor, ApprovalRequest], DwpError | None]] = {
    Status.APPROVED: permissions.why_not_approve,
    Status.REJECTED: permissions.why_not_reject,
    Status.CANCELLED: permissions.why_not_cancel,
}
_VERBS = {Status.APPROVED: "approve", Status.REJECTED: "reject", Status.CANCELLED: "cancel"}

# As SQL, because each decision does it, and to build it takes longer than to answer it.
_OF_TENANT = "request.request_id = %s AND request.tenant_id = %s"
_REQUEST = f"""
    SELECT {exchange.columns(ApprovalRequest, "request")} FROM hitl_approvalrequest request
     WHERE {_OF_TENANT}"""  # noqa: S608 - names of columns
_POLICY = f"""
    SELECT {exchange.columns(Policy, "policy")} FROM hitl_approvalrequest request
      JOIN hitl_policy policy ON policy.id = request.policy_id WHERE {_OF_TENANT}"""  # noqa: S608
# Of another tenant's request nothing is read: it takes the same work as an unknown one.
_ITS_ID = f"(SELECT request_id FROM hitl_approvalrequest request WHERE {_OF_TENANT})"  # noqa: S608
_LEAVE = """
    UPDATE hitl_approvalrequest SET {changes}
     WHERE id = %s AND status = 'pending' AND {in_time} AND {is_as_read} RETURNING id"""


def read(
    request_id: str, tenant_id: str
) -> tuple[ApprovalRequest | None, list[AuditRecord] | None]:
    """Return the tenant's request with its policy, and its audit records, in one exchange."""
    of_tenant = (request_id, tenant_id)
    requests: list[ApprovalRequest]
    requests, policies, records = exchange.read(  # type: ignore[assignment]
        (ApprovalRequest, Statement(_REQUEST, of_tenant)),
        (Policy, Statement(_POLICY, of_tenant)),
        (AuditRecord, request_record.statement(_ITS_ID, of_tenant)),
    )
    for request in requests:
        for policy in policies:
            request.policy = policy  # type: ignore[assignment]
        return request, request_record.vouched(records)  # type: ignore[arg-type]
    return None, None


def leave_pending(request: ApprovalRequest, change: Mapping[str, Any], now: datetime) -> Statement:
    """Return the statement that ends a request which still is pending as it was read; it answers a
    row if it did. Time is over for an expiry, and for nothing else."""
    is_expiry = change["status"] == Status.EXPIRED
    escalated_at = request.escalated_at
    values = [*map(exchange.adapted, change.values())]
    sql = _LEAVE.format(
        changes=", ".join(f"{name} = %s" for name in change),
        in_time=f"expires_at {'<=' if is_expiry else '>'} %s",
        is_as_read=f"escalated_at {'IS NULL' if escalated_at is None else '= %s'}",
    )
    as_read = [] if escalated_at is None else [exchange.adapted(escalated_at)]
    return Statement(sql, [*values, request.pk, exchange.adapted(now), *as_read])


@dataclass(frozen=True, slots=True)
class ProposedDecision:
    """A decision or a withdrawal that somebody wants to make, to be checked first."""

    to: Status
    actor: Actor
    # The digest of the context that the actor was shown, if known.
    shown_digest: str | None = None
    # As the actor gave it; empty if they gave none.
    reason: str = ""
    # The digest of all that the actor was shown (`hitl.audit.request_digest`), if known.
    shown_request_digest: str | None = None
    # Of an approval; empty if the actor gave none.
    comment: str = ""

    def is_repeated_vote(self, request: ApprovalRequest) -> bool:
        """Say whether this is the actor's second vote for the request, which changes nothing."""
        return self.to is Status.APPROVED and votes.has_voted(request, self.actor)

    def check(
        self, request: ApprovalRequest, now: datetime, records: Sequence[AuditRecord] | None = None
    ) -> None:
        """Raise the error if this may not be done to the request as it was read, with its audit
        `records` if they were read with it.

        In this order (wire.md, 3.6): `MayNotDecide` and its kinds; `RequestChanged` for an end
        that the audit does not have; `AlreadyDecided`, `RequestExpired` or `RequestCancelled`;
        `DigestDiffers` of the context; `RequestChanged` for anything else; `DigestDiffers` of
        anything else; `ReasonRequired`. Refusals, all but the third group, are audited. Somebody
        who voted before the escalation is answered as then, even if only another role decides
        now.
        """
        refusal = _WHY_NOT[self.to](self.actor, request)
        if refusal is not None and not self.is_repeated_vote(request):
            self._refuse(refusal, request, now)
        if decision_record.unrecorded([request]):
            self._refuse(errors.RequestChanged(), request, now)
        match request.status:
            case Status.APPROVED | Status.REJECTED:
                raise errors.AlreadyDecided(request)
            case Status.EXPIRED:
                raise errors.RequestExpired
            case Status.CANCELLED:
                raise errors.RequestCancelled
        if self.to is not Status.CANCELLED and not self._is_about_stored_context(request):
            self._refuse(errors.DigestDiffers(), request, now)
        if self.to is not Status.CANCELLED:
            self._check_against_records(request, now, records)
        lacks_reason = self.to is Status.REJECTED and not self.reason
        if lacks_reason and rules.rule_of(request).reason_required:
            self._refuse(errors.ReasonRequired(), request, now)

    def _check_against_records(
        self, request: ApprovalRequest, now: datetime, records: Sequence[AuditRecord] | None
    ) -> None:
        """Raise `RequestChanged` if the row is not what the audit says, `DigestDiffers` if the
        actor was shown something else."""
        if differing := request_record.differences(request, records):
            self.refuse_changed(request, now, differing=differing)
        if self.shown_request_digest is None:
            return
        stored = request_digest(request, context_digest=request.context_digest)
        if self.shown_request_digest != stored:
            self._refuse(errors.DigestDiffers(), request, now)

    def refuse_changed(
        self, request: ApprovalRequest, now: datetime, *, differing: list[str]
    ) -> NoReturn:
        """Audit that the row is not what the audit says, and raise `RequestChanged`."""
        self._refuse(errors.RequestChanged(), request, now, extra={"differs": differing})

    def _is_about_stored_context(self, request: ApprovalRequest) -> bool:
        """Say whether the stored context is unchanged and, if known, what the actor was shown."""
        shown_digest = request.context_digest if self.shown_digest is None else self.shown_digest
        return shown_digest == request.context_digest == request.stored_digest

    def record_if_foreign(self, request_id: str, now: datetime) -> None:
        """Audit that the actor tried to decide this request, if it is another tenant's."""
        foreign.record(request_id, self.actor, now, tried=_VERBS[self.to])

    def _refuse(
        self,
        refusal: DwpError,
        request: ApprovalRequest,
        now: datetime,
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> NoReturn:
        refusals.record_refusal(
            refusal,
            request,
            self.actor,
            now,
            tried=_VERBS[self.to],
            shown_digest=self.shown_digest,
            extra=extra,
        )
        raise refusal


def check_recorded(request: ApprovalRequest, records: Sequence[AuditRecord] | None = None) -> None:
    """Raise `RequestChanged` if the request has an end that the audit does not have; `records` are
    those of its end, if they were read with it."""
    if request.status == Status.PENDING:
        return
    if not decision_record.is_recorded(request, records):
        raise errors.RequestChanged
