"""The accounts of tokens that our own login minted: such a token follows its account
(docs/reference/wire.md, 1).

Its claim `acct` is the account's primary key and a fingerprint, which changes with the password.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from cachetools import TLRUCache
from django.contrib.auth.models import User
from django.utils.crypto import constant_time_compare

from dwp_project.gateway.errors import TokenInvalid
from dwp_project.gateway.models import Membership
from dwp_project.gateway.tokens import Claims

# wire.md, 1: an account's state counts as of at most so long ago.
MAX_AGE_SECONDS = 5.0
# Chosen: far more than people who work at the same time; about 5 MB.
_MAX_ACCOUNTS = 10_000
_FINGERPRINT_LENGTH = 22


@dataclass(frozen=True, slots=True)
class _ReadRole:
    """What the database said of a token: the role in its tenant, or None for an invalid one."""

    role: str | None
    read_at: float


class Followed(NamedTuple):
    """What a token follows: the claim `acct`, the account's name, and the tenant."""

    account: str
    user_id: str
    tenant_id: str


class AccountRoles:
    """The roles of accounts, each read again when it is older than `MAX_AGE_SECONDS`."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = Lock()
        self._cache: TLRUCache[tuple[str | None, str, str], _ReadRole] = TLRUCache(
            _MAX_ACCOUNTS, ttu=lambda _key, read, _now: read.read_at + MAX_AGE_SECONDS, timer=timer
        )

    def role_of(self, claims: Claims) -> str:
        """Return the role that the token's account has in its tenant.

        Raises `TokenInvalid` if the account was removed, renamed or switched off, is no member of
        the tenant, or has a new password.
        """
        key = (claims.account, claims.user_id, claims.tenant_id)
        with self._lock:
            read = self._cache.get(key)
        if read is None:
            # Taken before the query: what it answers may be out of date as soon as it is read.
            read_at = self._timer()
            read = _ReadRole(_read_role(claims), read_at)
            with self._lock:
                self._cache[key] = read
        if read.role is None:
            raise TokenInvalid
        return read.role


_roles = AccountRoles()


def role_of(claims: Claims) -> str:
    """Do what `AccountRoles.role_of` does, with the one cache of this process."""
    return _roles.role_of(claims)


def followed_by(claims: Claims) -> Followed:
    """Return what a token with the claim `acct` follows."""
    return Followed(str(claims.account), claims.user_id, claims.tenant_id)


def ended(followed: Collection[Followed]) -> list[Followed]:
    """Return those for which `role_of` would raise `TokenInvalid`, read now by one statement."""
    keys = {one: one.account.partition(".")[0] for one in followed}
    members = Membership.objects.select_related("user").filter(
        user_id__in={int(key) for key in keys.values()},
        tenant_id__in={one.tenant_id for one in followed},
        user__is_active=True,
    )
    users = {
        (str(member.user_id), member.user.username, member.tenant_id): member.user
        for member in members
    }
    return [
        one
        for one, key in keys.items()
        if (user := users.get((key, one.user_id, one.tenant_id))) is None
        or not _has_fingerprint(user, one.account.partition(".")[2])
    ]


def claim_of(user: User) -> str:
    """Return the claim `acct` of a token for this account."""
    return f"{user.pk}.{user.get_session_auth_hash()[:_FINGERPRINT_LENGTH]}"


def _read_role(claims: Claims) -> str | None:
    pk, _, fingerprint = str(claims.account).partition(".")
    members = Membership.objects.select_related("user").filter(
        user_id=int(pk),
        user__username=claims.user_id,
        user__is_active=True,
        tenant_id=claims.tenant_id,
    )
    member = members.first()
    if member is None:
        return None
    return member.role if _has_fingerprint(member.user, fingerprint) else None


def _has_fingerprint(user: User, fingerprint: str) -> bool:
    # The key that signs now, and those that signed before it.
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(h[:_FINGERPRINT_LENGTH], fingerprint) for h in hashes)
