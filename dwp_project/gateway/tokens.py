"""Tokens: HS256 JWTs with Unix timestamps, issued here or by another issuer with the same secret
(docs/reference/wire.md, 1).

simplejwt checks signature, algorithm and expiry. This module also refuses what simplejwt accepts:
empty subjects, missing tenants, tokens of unlimited lifetime or size.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.state import token_backend
from rest_framework_simplejwt.tokens import Token

from dwp_project.gateway.errors import TokenExpired, TokenInvalid

# Both from wire.md, 1; columns of ids are as long.
MAX_TOKEN_BYTES = 8 * 1024
MAX_ID_LENGTH = 255
# Chosen: far more than callers that work at the same time; 8 MB at worst.
_MOST_BELIEVED = 1024
# In JSON they are in texts alone.
_FOR_ATOB = str.maketrans({character: f"\\u{ord(character):04x}" for character in ">?~"})
# The claim `acct` (dwp_project/gateway/accounts.py): an account's primary key, and characters that
# change with its password.
_ACCOUNT = re.compile(r"[1-9][0-9]{0,17}\.[0-9a-f]{22}")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid token; times in Unix seconds."""

    user_id: str
    tenant_id: str
    role: str | None
    email: str | None
    issued_at: int
    expires_at: int
    # The account of a token that our own login minted; other issuers send none.
    account: str | None = None

    @property
    def accepted_until(self) -> int:
        """When the token is refused, the leeway for clocks that differ included; Unix seconds."""
        return self.expires_at + settings.JWT_LEEWAY


class PayloadEncoder(json.JSONEncoder):
    """Writes a payload that `atob` decodes, as the front end does (wire.md, 6).

    It is ASCII, and without the characters of which base64url makes `-` and `_`, which `atob`
    refuses.
    """

    def encode(self, o: Any) -> str:
        return super().encode(o).translate(_FOR_ATOB)


class _DeployedToken(Token):
    """A token of the deployed issuers, which has neither `token_type` nor `jti`."""

    token_type = "access"  # noqa: S105 - simplejwt wants a name; no claim is compared with it
    lifetime = timedelta(hours=1)

    def __init__(self, raw: bytes, backend: TokenBackend) -> None:
        self._backend = backend
        super().__init__(raw)  # type: ignore[arg-type]

    def get_token_backend(self) -> TokenBackend:
        """Return the backend of the one key that is tried."""
        return self._backend


def verify(raw: bytes) -> Claims:
    """Return the claims of the encoded token `raw`.

    Raises `TokenExpired` for a valid one that has expired, `TokenInvalid` for any other.
    """
    if len(raw) > MAX_TOKEN_BYTES:
        raise TokenInvalid(_("The token is larger than 8 KB."))
    rules = (token_backend.signing_key, *settings.JWT_SECRET_FALLBACKS, settings.JWT_MAX_LIFETIME)
    claims = _believed(raw, rules)
    # After that the leeway for clocks that differ decides.
    if claims.issued_at <= time.time() < claims.expires_at:
        return claims
    return _verified(raw)


@lru_cache(maxsize=_MOST_BELIEVED)
def _believed(raw: bytes, rules: tuple[object, ...]) -> Claims:
    """Return the claims of a token that was valid when it was asked first. The rest of a
    conversation sends the same one, and its signature and claims are what they were, by the same
    rules; only its time passes."""
    return _verified(raw)


def _verified(raw: bytes) -> Claims:
    try:
        payload = _payload(raw)
    except ExpiredTokenError as exc:
        raise TokenExpired from exc
    except (TokenError, ValueError, TypeError, ArithmeticError, OSError, RecursionError) as exc:
        raise TokenInvalid from exc
    issued_at, expires_at = _seconds(payload, "iat"), _seconds(payload, "exp")
    if expires_at - issued_at > settings.JWT_MAX_LIFETIME:
        raise TokenInvalid(_("The token's lifetime is longer than this deployment allows."))
    return Claims(
        user_id=_identifier(payload, "sub"),
        tenant_id=_identifier(payload, "tenant_id"),
        role=_optional(payload, "role"),
        email=_optional(payload, "email"),
        issued_at=issued_at,
        expires_at=expires_at,
        account=_account(payload),
    )


def issue(
    user_id: str,
    tenant_id: str,
    role: str | None = None,
    *,
    lifetime_seconds: int,
    account: str | None = None,
) -> str:
    """Return a new token; `lifetime_seconds` at most `JWT_MAX_LIFETIME`, else `ValueError`.

    A token with an `account` (`dwp_project.gateway.accounts.claim_of`) follows that account.
    """
    if not 0 < lifetime_seconds <= settings.JWT_MAX_LIFETIME:
        raise ValueError(f"a token may live 1 to {settings.JWT_MAX_LIFETIME} seconds")
    now = int(time.time())
    payload: dict[str, Any] = {"sub": user_id, "tenant_id": tenant_id}
    payload |= {"role": role} if role else {}
    payload |= {"acct": account} if account else {}
    return _signer().encode(payload | {"iat": now, "exp": now + lifetime_seconds})


@lru_cache(maxsize=1)
def _signer() -> TokenBackend:
    return TokenBackend(
        token_backend.algorithm, token_backend.signing_key, json_encoder=PayloadEncoder
    )


def _payload(raw: bytes) -> dict[str, Any]:
    """Return the payload of a token that `JWT_SECRET` or one of its fallbacks signed.

    Only a token that the current secret did not sign costs more than one signature.
    """
    *earlier, last = (token_backend, *_fallbacks(tuple(settings.JWT_SECRET_FALLBACKS)))
    for backend in earlier:
        try:
            return _DeployedToken(raw, backend).payload
        except ExpiredTokenError:
            raise  # after its signature was verified
        except TokenError:
            continue
    return _DeployedToken(raw, last).payload


@lru_cache(maxsize=4)
def _fallbacks(secrets: tuple[str, ...]) -> tuple[TokenBackend, ...]:
    """Return a backend like simplejwt's own for each secret."""
    return tuple(
        TokenBackend(token_backend.algorithm, secret, leeway=token_backend.leeway)
        for secret in secrets
    )


def is_identifier(value: object) -> bool:
    """Say whether `value` may be a user's or a tenant's id: opaque, but storable text."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_ID_LENGTH
        and value.isprintable()
        and value.strip() == value
    )


def _identifier(payload: dict[str, Any], claim: str) -> str:
    value = payload.get(claim)
    if not is_identifier(value):
        raise _unusable(claim)
    return str(value)


def _optional(payload: dict[str, Any], claim: str) -> str | None:
    value = payload.get(claim)
    if value is None or value == "":
        return None
    if not is_identifier(value):
        raise _unusable(claim)
    return str(value)


def _account(payload: dict[str, Any]) -> str | None:
    value = _optional(payload, "acct")
    if value is not None and not _ACCOUNT.fullmatch(value):
        raise TokenInvalid
    return value


def _seconds(payload: dict[str, Any], claim: str) -> int:
    value = payload.get(claim)
    if type(value) is not int or not 0 <= value < 2**53:
        raise _unusable(claim)
    return value


def _unusable(claim: str) -> TokenInvalid:
    return TokenInvalid(_("The token's claim %(claim)s is missing or unusable.") % {"claim": claim})
