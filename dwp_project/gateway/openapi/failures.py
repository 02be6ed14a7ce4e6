"""The errors of an operation in the API description, with an example of each."""

from __future__ import annotations

import re

from drf_spectacular.utils import OpenApiResponse

from dwp_project.gateway import errors
from dwp_project.gateway.errors import DwpError, ErrorCode
from dwp_project.gateway.openapi.envelope import ERROR_ENVELOPE, error_example, in_english, plain

# An error as the code raises it, or a code that is answered without raising one.
Failure = DwpError | ErrorCode

# The errors of authentication, in the order of its checks (wire.md, 1).
IDENTIFIED: tuple[Failure, ...] = (
    errors.TenantMissing(),
    errors.AuthenticationRequired(),
    errors.TokenExpired(),
    errors.TokenInvalid(),
    errors.TenantMismatch(),
    errors.UserMismatch(),
)
# What needs the database can find it away.
STORED: tuple[Failure, ...] = (errors.DatabaseAway(),)
# What can happen on every path. The gateway in front answers for a service that does not.
ANYWHERE: tuple[Failure, ...] = (
    errors.MethodNotAllowed(),
    ErrorCode.INTERNAL,
    ErrorCode.UPSTREAM_TIMEOUT,
)


def failures(*raised: Failure) -> dict[int, OpenApiResponse]:
    """Return the error answers by status, each with one example for every error."""
    by_status: dict[int, list[DwpError]] = {}
    for failure in raised:
        error = failure if isinstance(failure, DwpError) else _coded(failure)
        by_status.setdefault(error.code.status, []).append(error)
    return {
        status: OpenApiResponse(
            ERROR_ENVELOPE,
            description="\n".join(f"- `{error.code.code}` {_sentence(error)}" for error in group),
            examples=[error_example(f"{error.code.code} {_name(error)}", error) for error in group],
        )
        for status, group in by_status.items()
    }


def _coded(code: ErrorCode) -> DwpError:
    error: type[DwpError] = type(code.name, (DwpError,), {"code": code})
    return error()


def _sentence(error: DwpError) -> str:
    """Return the message, and what the error's class says of itself, as Markdown."""
    fact = vars(type(error)).get("__doc__")
    return plain(in_english(error.message)) + (f" *{fact}*" if fact else "")


def _name(error: DwpError) -> str:
    return re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
