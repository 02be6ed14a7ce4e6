"""Who sends a request: tenant header, token, tenant match, user match, in that order
(docs/reference/wire.md, 1)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from dwp_project.gateway import accounts, errors, tokens
from dwp_project.gateway.models import role_in
from dwp_project.gateway.roles import USER

# Characters of a header that is only kept for the record (wire.md, 1).
_MAX_HEADER = 255


@dataclass(frozen=True, slots=True)
class Identity:
    """The person or process that a valid token names."""

    user_id: str
    tenant_id: str
    # As the token says; that of a token which follows an account is the membership's.
    token_role: str | None
    email: str | None
    # Of the token, which an answer that stays open judges again.
    claims: tokens.Claims

    is_authenticated = True

    @property
    def role(self) -> str:
        """The token's role; without one the membership's; without that, `user`.

        Queries the database when the token names no role.
        """
        return self.token_role or role_in(self.user_id, self.tenant_id) or USER


def authenticate(request: HttpRequest) -> Identity:
    """Return who sends `request` (wire.md, 1); may query the database for the token's account.

    Checks in this order, and raises `TenantMissing`, `AuthenticationRequired`, `TokenExpired` or
    `TokenInvalid`, `TenantMismatch`, `UserMismatch`.
    """
    tenant_id = header(request, "X-Tenant-ID")
    if tenant_id is None:
        raise errors.TenantMissing
    claims = tokens.verify(_bearer(request))
    role = accounts.role_of(claims) if claims.account else claims.role
    if tenant_id != claims.tenant_id:
        raise errors.TenantMismatch
    user_id = header(request, "X-User-ID")
    if user_id is not None and user_id != claims.user_id:
        raise errors.UserMismatch
    return Identity(
        user_id=claims.user_id,
        tenant_id=claims.tenant_id,
        token_role=role,
        email=claims.email,
        claims=claims,
    )


class BearerAuthentication(BaseAuthentication):
    """`authenticate` for DRF: `request.user` is an `Identity`."""

    def authenticate(self, request: Request) -> tuple[Any, Any]:
        return authenticate(request._request), None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def header(request: HttpRequest, name: str, default: str | None = None) -> str | None:
    """Return a header's text, stripped; a missing or empty one is `default`.

    Header bytes reach Django as Latin-1; ids sent as UTF-8 are decoded as UTF-8.
    """
    value = request.headers.get(name)
    if value is None or not value.strip():
        return default
    with suppress(UnicodeError):  # not UTF-8: the Latin-1 reading stands
        value = value.encode("latin-1").decode("utf-8")
    return value.strip()


def recorded(request: HttpRequest, name: str, default: str = "") -> str:
    """Return a header that is only kept for the record: printable, at most 255 characters."""
    value = header(request, name, default) or default
    return "".join(c if c.isprintable() else "?" for c in value)[:_MAX_HEADER]


def _bearer(request: HttpRequest) -> bytes:
    parts = request.headers.get("Authorization", "").split()
    if not parts or parts[0].lower() != "bearer":
        raise errors.AuthenticationRequired
    if len(parts) != 2 or not parts[1].isascii():
        raise errors.TokenInvalid
    return parts[1].encode("ascii")
