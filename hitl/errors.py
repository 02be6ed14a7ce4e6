"""What can be wrong with an approval request; each error states the fact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from dwp_project.gateway import errors

if TYPE_CHECKING:
    from hitl.models import ApprovalRequest


class RequestNotFound(errors.NotFound):
    """No such request in this tenant."""

    def __init__(self) -> None:
        super().__init__(_("Approval request not found."))


class SessionNotFound(errors.NotFound):
    """No such session of this caller's."""

    def __init__(self) -> None:
        super().__init__(_("Session not found."))


class MayNotDecide(errors.Forbidden):
    """The actor is neither the requester nor an approver."""

    def __init__(self) -> None:
        super().__init__(
            _("Only the requester, an approver or an admin of the tenant may decide this request.")
        )


class AlreadyDecided(Exception):
    """Somebody decided before; `request` holds the decision that stands."""

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
    """The key stands for another payload."""

    code = errors.ErrorCode.KEY_REUSED


class RequestIdTaken(errors.Conflict):
    """The id names another request already."""

    def __init__(self) -> None:
        super().__init__(
            _("This requestId already names a different request. Send another id, or none.")
        )
