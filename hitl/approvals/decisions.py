"""Checks a decision before it is made: who, on what, in which state (wire.md, 3.6).

A part of `hitl.services`, which then makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from dwp_project.gateway.errors import DwpError
from hitl import errors
from hitl.actors import Actor
from hitl.approvals import foreign, permissions, refusals, votes
from hitl.audit import decision_record, request_record
from hitl.audit.request_digest import request_digest
from hitl.models import ApprovalRequest
from hitl.policies import rules
from hitl.states import Status

_WHY_NOT: dict[Status, Callable[[Actor, ApprovalRequest], DwpError | None]] = {
    Status.APPROVED: permissions.why_not_approve,
    Status.REJECTED: permissions.why_not_reject,
    Status.CANCELLED: permissions.why_not_cancel,
}
_VERBS = {Status.APPROVED: "approve", Status.REJECTED: "reject", Status.CANCELLED: "cancel"}


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

    def check(self, request: ApprovalRequest, now: datetime) -> None:
        """Raise the error if this may not be done to the request as it was read.

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
            self._check_against_records(request, now)
        lacks_reason = self.to is Status.REJECTED and not self.reason
        if lacks_reason and rules.rule_of(request).reason_required:
            self._refuse(errors.ReasonRequired(), request, now)

    def _check_against_records(self, request: ApprovalRequest, now: datetime) -> None:
        """Raise `RequestChanged` if the row is not what the audit says, `DigestDiffers` if the
        actor was shown something else."""
        if differing := request_record.differences(request):
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


def check_recorded(request: ApprovalRequest) -> None:
    """Raise `RequestChanged` if the request has an end that the audit does not have."""
    if decision_record.unrecorded([request]):
        raise errors.RequestChanged
