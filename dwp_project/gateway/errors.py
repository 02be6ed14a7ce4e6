"""The error codes of the wire (docs/reference/wire.md, 2) and the base of every error."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class ErrorCode(Enum):
    """One row of the table of codes: the code, its HTTP status, its default message."""

    INTERNAL = ("E1000", 500, _("Internal error. Try again; if it stays, tell the operator."))
    INVALID_VALUE = ("E1001", 400, _("Invalid input value."))
    METHOD_NOT_ALLOWED = ("E1002", 405, _("This method is not allowed here."))
    NOT_FOUND = ("E1004", 404, _("Not found."))
    AUTHENTICATION_REQUIRED = (
        "E2000",
        401,
        _("Authentication required: send Authorization: Bearer <token>."),
    )
    FORBIDDEN = ("E2001", 403, _("You may not do this."))
    TOKEN_EXPIRED = ("E2002", 401, _("The token has expired. Log in again."))
    TOKEN_INVALID = ("E2003", 401, _("The token is not valid. Log in again."))
    WRONG_CREDENTIALS = ("E2004", 401, _("Wrong user name, password or tenant."))
    TENANT_MISSING = ("E2006", 400, _("The X-Tenant-ID header is missing."))
    TENANT_MISMATCH = ("E2007", 403, _("X-Tenant-ID differs from the token's tenant."))
    GONE = ("E3002", 410, _("The request has expired or was cancelled."))
    CONFLICT = ("E3006", 409, _("This id is already used for something else."))
    KEY_REUSED = ("E3007", 422, _("This Idempotency-Key was used with another payload."))
    REQUEST_CHANGED = (
        "E3008",
        422,
        _(
            "This request was changed in the database: the audit does not have it as it stands. "
            "Nothing is decided. Have the audit verified, and ask again in a new request."
        ),
    )
    TOO_MANY_ATTEMPTS = ("E4290", 429, _("Too many sign-ins have failed. Wait, then try again."))
    VALIDATION = ("E4000", 400, _("The body failed validation."))
    TOO_LARGE = ("E4130", 413, _("The body is too large: at most 256 KiB are accepted."))
    UPSTREAM_TIMEOUT = ("E5001", 504, _("A service behind this one did not answer in time."))
    DATABASE_AWAY = ("E5003", 503, _("The database is away. Try again; nothing is decided twice."))

    def __init__(self, code: str, status: int, message: Promise) -> None:
        self.code = code
        self.status = status
        self.message = message


class DwpError(Exception):
    """Base of every error that the API answers with.

    A subclass names its `code`. The message defaults to the code's and says what to do next.
    """

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL

    def __init__(self, message: str | Promise | None = None, **facts: Any) -> None:
        self.message = message or self.code.message
        self.facts = facts
        super().__init__(str(self.message))


class InvalidValue(DwpError):
    code = ErrorCode.INVALID_VALUE


class MethodNotAllowed(DwpError):
    code = ErrorCode.METHOD_NOT_ALLOWED


class NotFound(DwpError):
    code = ErrorCode.NOT_FOUND


class AuthenticationRequired(DwpError):
    code = ErrorCode.AUTHENTICATION_REQUIRED


class Forbidden(DwpError):
    code = ErrorCode.FORBIDDEN


class UserMismatch(Forbidden):
    """`X-User-ID`, or a body's `userId`, differs from the token's `sub`."""

    def __init__(self) -> None:
        super().__init__(_("X-User-ID and userId must be the token's own user, or left out."))


class TokenExpired(DwpError):
    code = ErrorCode.TOKEN_EXPIRED


class TokenInvalid(DwpError):
    code = ErrorCode.TOKEN_INVALID


class WrongCredentials(DwpError):
    code = ErrorCode.WRONG_CREDENTIALS


class TenantMissing(DwpError):
    code = ErrorCode.TENANT_MISSING


class TenantMismatch(DwpError):
    code = ErrorCode.TENANT_MISMATCH


class Gone(DwpError):
    code = ErrorCode.GONE


class Conflict(DwpError):
    code = ErrorCode.CONFLICT


class TooManyAttempts(DwpError):
    """Too many sign-ins have failed; `seconds` until the next may be tried."""

    code = ErrorCode.TOO_MANY_ATTEMPTS
    title: ClassVar[str | Promise] = _("Too many sign-ins have failed")

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        minutes = -(-seconds // 60)
        super().__init__(
            _("Too many sign-ins have failed. Wait %(minutes)d min, then try again.")
            % {"minutes": minutes}
        )


class ValidationFailed(DwpError):
    code = ErrorCode.VALIDATION


class BodyTooLarge(DwpError):
    code = ErrorCode.TOO_LARGE


class DatabaseAway(DwpError):
    """`title` heads the page that people get."""

    code = ErrorCode.DATABASE_AWAY
    title: ClassVar[str | Promise] = _("The database is away")


class Overloaded(DatabaseAway):
    """No thread was free in time. To a client it is as if the database were away."""

    title = _("The server has too much to do")

    def __init__(self) -> None:
        super().__init__(_("The server has too much to do. Try again; nothing was done."))
