"""Errors of approval requests, policies, rejection reasons and the audit; each states a fact.

The gateway's handler turns those that are a `DwpError` into the envelope (wire.md, 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway import errors
from dwp_project.gateway.roles import Role

if TYPE_CHECKING:
    from hitl.models import ApprovalRequest


class ChainBlocked(errors.DwpError):
    """Another record has the next number of the tenant's audit chain, so none can be written."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "The audit of this tenant is blocked: its next record has a number that is taken. "
                "Nothing was changed, and trying again does not help. The operator of the server "
                "runs: manage.py verify_audit, and then acknowledge_audit_break"
            )
        )


class ChainBroken(errors.DwpError):
    """A tenant's audit chain does not hold at record `sequence`."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        super().__init__(
            _(
                "The audit chain does not hold at record %(at)d, so it is not exported. Verify it "
                "to learn what was done."
            )
            % {"at": sequence}
        )


class HeadDiffers(errors.DwpError):
    """A signed record of a tenant's audit chain is missing, so its end is not certain."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "It is not certain where the audit chain ends: a record that is signed is missing. "
                "Verify the chain; nothing can be written behind it."
            )
        )


class NothingToAcknowledge(errors.DwpError):
    """No record stands outside the tenant's audit chain."""

    def __init__(self) -> None:
        super().__init__(
            _("No record stands outside the audit chain, so there is no break to acknowledge.")
        )


class RequestNotFound(errors.NotFound):
    """No such request in this tenant."""

    def __init__(self) -> None:
        super().__init__(_("Approval request not found."))


class SessionNotFound(errors.NotFound):
    """No such session of this caller's."""

    def __init__(self) -> None:
        super().__init__(_("Session not found."))


class MayNotDecide(errors.Forbidden):
    """The actor is neither the requester nor an approver or admin of the tenant."""

    def __init__(self) -> None:
        super().__init__(
            _("Only the requester, an approver or an admin of the tenant may decide this request.")
        )


class RoleRequired(MayNotDecide):
    """The policy wants a role that the actor does not have."""

    def __init__(self, role: str) -> None:
        self.role = role
        errors.Forbidden.__init__(
            self,
            _("The policy of this action wants an admin of the tenant to decide.")
            if role == Role.ADMIN
            else _("The policy of this action wants an approver or an admin to decide."),
        )


class RequesterMayNotApprove(MayNotDecide):
    """The policy wants somebody else than the requester to approve."""

    def __init__(self) -> None:
        errors.Forbidden.__init__(
            self, _("The policy of this action wants somebody else than the requester to approve.")
        )


class ReasonRequired(errors.ValidationFailed):
    """The policy wants a rejection to say why."""

    def __init__(self) -> None:
        super().__init__(_("reason: The policy of this action wants a reason for a rejection."))


class DigestDiffers(errors.Conflict):
    """What the actor was shown is not what is stored."""

    def __init__(self) -> None:
        super().__init__(
            _("What you were shown is not what is stored. Read the request again, then decide.")
        )


class RequestChanged(errors.DwpError):
    """The request's row is not what the audit says it was, or decided what nobody did."""

    code = errors.ErrorCode.REQUEST_CHANGED


class AlreadyDecided(Exception):
    """The request was decided before; `request` has that decision (wire.md, 3.2)."""

    def __init__(self, request: ApprovalRequest) -> None:
        super().__init__(f"{request.request_id} is already {request.status}")
        self.request = request


class RequestExpired(errors.Gone):
    """Nobody decided in time."""

    def __init__(self) -> None:
        super().__init__(_("The request expired before it was decided."))


class RequestCancelled(errors.Gone):
    """The request was withdrawn."""

    def __init__(self) -> None:
        super().__init__(_("The request was cancelled."))


class IdempotencyKeyReused(errors.DwpError):
    """The Idempotency-Key was used with another payload (wire.md, 3.2)."""

    code = errors.ErrorCode.KEY_REUSED


class RequestIdTaken(errors.Conflict):
    """The id names another request already; if `is_foreign`, one of another tenant."""

    def __init__(self, *, is_foreign: bool = False) -> None:
        self.is_foreign = is_foreign
        super().__init__(
            _("This requestId already names a different request. Send another id, or none.")
        )


class MayNotChangePolicies(errors.Forbidden):
    """The actor is no admin of the tenant."""

    def __init__(self) -> None:
        super().__init__(_("Only an admin of the tenant may change its policies and reasons."))


class InvalidPolicy(errors.ValidationFailed):
    """The policy would mean nothing, or not what it seems to; `field` names the wrong member."""

    def __init__(self, field: str, message: str | Promise) -> None:
        super().__init__(message)
        self.field = field


class PolicyExists(errors.Conflict):
    """The tenant has a policy with this pattern."""

    def __init__(self) -> None:
        super().__init__(_("There is a policy with this pattern already. Change that one."))


class PolicyOutdated(errors.Conflict):
    """Somebody else has changed or retired the policy since it was read."""

    def __init__(self) -> None:
        super().__init__(
            _("Somebody else has changed or retired this policy since you read it. Read it again.")
        )


class ReasonExists(errors.Conflict):
    """The tenant has this rejection reason."""

    def __init__(self) -> None:
        super().__init__(_("There is such a rejection reason already."))


class ReasonNotFound(errors.NotFound):
    """The tenant has no such rejection reason."""

    def __init__(self) -> None:
        super().__init__(_("There is no such rejection reason any more."))
