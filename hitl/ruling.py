"""The rule that holds for a request, as the desk's pages ask for it."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.errors import DwpError
from hitl import errors, services
from hitl.actors import Actor
from hitl.models import ApprovalRequest
from hitl.states import OnTimeout


@dataclass(frozen=True, slots=True)
class Rule:
    min_approvals: int = 1
    forbid_requester: bool = False
    required_role: str = ""
    on_timeout: str = OnTimeout.EXPIRE.value
    escalate_to_role: str = ""
    escalate_seconds: int | None = None
    reason_required: bool = False
    version: str = ""


def rule_of(request: ApprovalRequest) -> Rule:
    policy = request.policy
    if policy is None:
        return Rule()
    return Rule(
        policy.min_approvals,
        policy.forbid_requester,
        policy.required_role,
        policy.on_timeout,
        policy.escalate_to_role,
        policy.escalate_seconds,
        policy.reason_required,
        str(policy),
    )


def may_approve(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    return None if actor.may_decide_for(request.user_id) else errors.MayNotDecide()


def may_reject(actor: Actor, request: ApprovalRequest) -> DwpError | None:
    return None if actor.may_decide_for(request.user_id) else errors.MayNotDecide()


class DigestDiffers(DwpError):
    """What is stored is not what was shown."""

    def __init__(self) -> None:
        super().__init__(_("What is stored is not what was shown. Nothing was changed."))


def approve(request_id: str, actor: Actor, *, digest: str | None = None) -> ApprovalRequest:
    _check(request_id, digest)
    return services.approve(request_id, actor)


def reject(
    request_id: str, actor: Actor, *, reason: str = "", digest: str | None = None
) -> ApprovalRequest:
    _check(request_id, digest)
    return services.reject(request_id, actor, reason=reason)


def _check(request_id: str, digest: str | None) -> None:
    found = ApprovalRequest.objects.get(request_id=request_id)
    if digest is not None and digest != found.context_digest:
        raise DigestDiffers
