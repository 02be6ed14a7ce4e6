"""An operator's decision on the pages, and the message that reports its result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project.gateway.errors import DwpError, ValidationFailed
from dwp_project.gateway.models import role_in
from hitl import errors, services
from hitl.actors import Actor, operator_actor
from hitl.delivery import outbox
from hitl.desk import aftermath, wording
from hitl.models import ApprovalRequest
from hitl.policies.rules import rule_of
from hitl.states import DeliveryOutcome, Status
from hitl.text import dates, sanitize

Decide = Callable[[str, Actor], ApprovalRequest]
# Chosen: a longer reason or comment is cut. The fields of hitl/reasons.html and hitl/comment.html
# have the same limit.
MAX_REASON_LENGTH = 10_000
# Chosen: a message fits on a line or two.
_MAX_NAME_LENGTH = 80
_FIELD = re.compile(r"^[a-z_]+: ", re.IGNORECASE)


class ResultKind(Enum):
    """What one decision came to: it ended the request, it is one vote of several, or nothing was
    changed."""

    DECIDED = "decided"
    VOTED = "voted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """The result of one decision: a message, its level, the request as it is now, and what it came
    to."""

    request: ApprovalRequest
    level: int
    text: str
    kind: ResultKind = ResultKind.REFUSED
    is_reason_missing: bool = False

    @property
    def is_done(self) -> bool:
        """Say whether the decision or the vote is recorded."""
        return self.kind is not ResultKind.REFUSED

    @property
    def tag(self) -> str:
        """Return the level as the name of a CSS class."""
        return messages.DEFAULT_TAGS[self.level]


def approval(digest: str, request_digest: str | None = None, comment: str = "") -> Decide:
    """Return a function that approves a request whose context has this digest, and all of which
    has `request_digest` if the page sent one."""
    # Browsers send the line breaks of a form in two characters.
    comment = comment.replace("\r\n", "\n").strip()[:MAX_REASON_LENGTH]
    return lambda request_id, actor: services.approve(
        request_id, actor, digest=digest, request_digest=request_digest, comment=comment
    )


def rejection(digest: str, reason: str, request_digest: str | None = None) -> Decide:
    """Return a function that rejects a request, as `approval` does."""
    reason = reason.strip()[:MAX_REASON_LENGTH]
    return lambda request_id, actor: services.reject(
        request_id, actor, reason=reason, digest=digest, request_digest=request_digest
    )


def operator_actor_at(request: HttpRequest, tenant_id: str) -> Actor:
    """Return the signed-in operator as actor in a tenant; membership gives the role."""
    username = request.user.get_username()
    return operator_actor(username, tenant_id, role_in(username, tenant_id) or "", request)


def record_foreign(request: HttpRequest, keys: Iterable[int], *, is_approval: bool) -> None:
    """Record in the audit that the operator tried to decide requests of other tenants."""
    request_ids = ApprovalRequest.objects.filter(pk__in=keys).values_list("request_id", flat=True)
    tried = "approve" if is_approval else "reject"
    services.record_foreign(request_ids, operator_actor_at(request, ""), tried=tried)


def decide_with_message(
    request: HttpRequest, approval_request: ApprovalRequest, make_decision: Decide
) -> DecisionResult:
    """Decide one request, and leave a message with its new state or why it was not decided."""
    result = decide(request, approval_request, make_decision)
    # By this class desk/drafts.js forgets what was typed for the request.
    tags = f"decided-{approval_request.pk}" if result.is_done else ""
    messages.add_message(request, result.level, result.text, extra_tags=tags)
    if result.is_done and outbox.is_waiting_for_redis(approval_request.request_id):
        text = _("Redis is away: an agent outside this server is told when it is back.")
        messages.warning(request, text)
    return result


def decide(
    request: HttpRequest, approval_request: ApprovalRequest, make_decision: Decide
) -> DecisionResult:
    """Decide one request by the service that REST uses, in a transaction of its own.

    No text begins with the request's message, because the admin capitalises the first letter of
    every text.
    """
    name = _name(approval_request)
    try:
        decided = make_decision(
            approval_request.request_id, operator_actor_at(request, approval_request.tenant_id)
        )
    except errors.AlreadyDecided as already:
        decided_at = already.request.decided_at
        values: dict[str, Any] = {
            "name": name,
            "status": already.request.get_status_display(),
            "who": sanitize.plain(already.request.decided_by),
            "when": dates.html(decided_at, form="H:i:s") if decided_at else "",
        }
        text = _(
            "Request %(name)s was already %(status)s by %(who)s at %(when)s. Nothing was changed."
        )
        return DecisionResult(already.request, messages.WARNING, sanitize.filled(text, **values))
    except DwpError as exc:
        text = _("Request %(name)s was not decided: %(why)s")
        # REST names the field of a value that it refuses; a page shows the field.
        why = str(exc.message)
        if isinstance(exc, ValidationFailed):
            why = _FIELD.sub("", why)
        return DecisionResult(
            approval_request,
            messages.ERROR,
            text % {"name": name, "why": why},
            is_reason_missing=isinstance(exc, errors.ReasonRequired),
        )
    if decided.status == Status.PENDING:
        missing = max(0, rule_of(decided).min_approvals - decided.approvals)
        # Nobody's vote was added, so that this was the operator's second.
        if decided.approvals == approval_request.approvals:
            text = _("You had approved request %(name)s before. Nothing was changed.")
            return DecisionResult(decided, messages.WARNING, text % {"name": name})
        text = ngettext(
            "Your approval of request %(name)s is recorded. %(count)d more is needed.",
            "Your approval of request %(name)s is recorded. %(count)d more are needed.",
            missing,
        )
        return DecisionResult(
            decided, messages.SUCCESS, text % {"name": name, "count": missing}, ResultKind.VOTED
        )
    values = {"name": name, "status": Status(decided.status).label}
    text = _("Request %(name)s is now %(status)s.") % values
    level = messages.SUCCESS
    entry = outbox.entry_of(decided.request_id)
    after = aftermath.of(decided, entry)
    if entry is not None and after is not None and after.is_bad:
        text = format_html("{} {}", text, after.sentences[0].html)
        # What is held back for a while needs nobody.
        if entry.outcome != DeliveryOutcome.PENDING:
            level = messages.WARNING
    return DecisionResult(decided, level, text, ResultKind.DECIDED)


def _name(request: ApprovalRequest) -> str:
    """Return the request's message in one line, and its id."""
    line = wording.message_line(request, _MAX_NAME_LENGTH)
    text = line or request.action_type[:_MAX_NAME_LENGTH] or wording.action("")
    return f"“{sanitize.plain(text)}” ({sanitize.plain(request.request_id)})"
