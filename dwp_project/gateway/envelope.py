"""The envelope around every JSON answer (docs/reference/wire.md, 2)."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions as drf
from structlog.stdlib import get_logger

from dwp_project.gateway import errors
from dwp_project.jsontext import compact

logger = get_logger(__name__)

# The headers that clients may send to recognise their own request in an error.
_ECHOED = {"traceId": "X-Trace-Id", "gatewayRequestId": "X-Gateway-Request-Id"}
# How many characters of each come back (wire.md, 1).
_MAX_ECHO = 200


def success(data: Any, message: str) -> dict[str, Any]:
    """Return the envelope of a successful answer; a null `data` is left out."""
    body = {"status": "SUCCESS", "message": message, "data": data, "success": True}
    return _without_null(body | {"timestamp": local_timestamp()})


def failure(error: errors.DwpError, request: HttpRequest) -> dict[str, Any]:
    """Return the envelope of an error, in the active language."""
    body = {
        "status": "ERROR",
        "message": str(error.message),
        "errorCode": error.code.code,
        "success": False,
        "timestamp": local_timestamp(),
    }
    for member, header in _ECHOED.items():
        value = request.headers.get(header)
        body[member] = value[:_MAX_ECHO] if value else None
    return _without_null(body)


def render(body: dict[str, Any], status: int = 200) -> HttpResponse:
    """Return `body` as a response of exactly `application/json`."""
    return HttpResponse(compact(body), status=status, content_type="application/json")


def render_error(error: errors.DwpError, request: HttpRequest) -> HttpResponse:
    """Return the error as a complete response."""
    response = render(failure(error, request), error.code.status)
    for name, value in error_headers(error).items():
        response[name] = value
    return response


def error_headers(error: errors.DwpError) -> dict[str, str]:
    """Return the headers that HTTP requires with the error's status."""
    if error.code.status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if error.code is errors.ErrorCode.DATABASE_AWAY:
        return {"Retry-After": "1"}
    if isinstance(error, errors.TooManyAttempts):
        return {"Retry-After": str(error.seconds)}
    return {}


def as_error(exc: Exception) -> errors.DwpError:
    """Return the error of the API for `exc`; log an unexpected one and return E1000."""
    match exc:
        case errors.DwpError():
            return exc
        case Http404() | drf.NotFound():
            return errors.NotFound()
        case drf.MethodNotAllowed():
            return errors.MethodNotAllowed()
        case DjangoPermissionDenied() | drf.PermissionDenied():
            return errors.Forbidden()
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return errors.AuthenticationRequired()
        case drf.ValidationError():
            return errors.ValidationFailed(_first_error(exc.detail))
        case drf.ParseError():
            return errors.ValidationFailed()
        case RequestDataTooBig():
            return errors.BodyTooLarge()
        case DisallowedHost():
            return errors.InvalidValue(
                _("Pages are not served under this host name. The operator sets ALLOWED_HOSTS.")
            )
        case SuspiciousOperation() | BadRequest() | MultiPartParserError():
            return errors.InvalidValue()
        case DatabaseError() if _lacks_tables(exc):
            logger.error("database_without_tables", error=str(exc).strip())
            return errors.DatabaseAway(
                _("The database has no tables yet. The operator runs: manage.py migrate")
            )
        case OperationalError() | InterfaceError() | InternalError():  # outages.DATABASE_AWAY
            logger.error("database_away", error=str(exc).strip())
            return errors.DatabaseAway()
        case _:
            logger.error("unexpected_error", exc_info=exc)
            return errors.DwpError()


def _lacks_tables(exc: Exception) -> bool:
    text = str(exc)
    return "no such table" in text or ("relation" in text and "does not exist" in text)


def local_timestamp() -> str:
    """Return now as ISO-8601 local date-time with microseconds and no offset."""
    return timezone.localtime().replace(tzinfo=None).isoformat(timespec="microseconds")


def _without_null(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _first_error(detail: Any, path: str = "") -> str:
    """Return `member: what is wrong with it` for the first member that failed."""
    if isinstance(detail, dict) and detail:
        name, inner = next(iter(detail.items()))
        return _first_error(inner, path if name == "non_field_errors" else f"{path}{name}: ")
    if isinstance(detail, list) and detail:
        return _first_error(detail[0], path)
    return f"{path}{detail}"
