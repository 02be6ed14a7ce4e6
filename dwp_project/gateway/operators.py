"""Who is signed in to the pages: the tenants they are a member of, and in which role.

Superusers need a membership as well: nothing else gives access to a tenant's requests or
records.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from dwp_project.gateway.models import Membership
from dwp_project.gateway.roles import Role
from dwp_project.jsontext import canonical

# The member of a sign-in session that says what its person might do when they signed in.
ACCESS = "dwp_access"
# The attribute of a request that caches its user and operator.
_KNOWN = "_dwp_operator"


@dataclass(frozen=True, slots=True)
class Operator:
    """A signed-in member of the staff."""

    username: str
    is_superuser: bool
    # Tenant id to role.
    roles: dict[str, str] = field(default_factory=dict)

    @property
    def tenants(self) -> list[str]:
        """Return the tenants this operator belongs to, sorted."""
        return sorted(self.roles)

    @property
    def administers(self) -> list[str]:
        """Return the tenants whose policies and memberships this operator may change, sorted."""
        return sorted(tenant for tenant, role in self.roles.items() if role == Role.ADMIN)

    @property
    def access(self) -> str:
        """Return a digest of what this operator may do: it changes with any role anywhere."""
        access = [bool(self.username), self.is_superuser, self.roles]
        return hashlib.sha256(canonical(access).encode()).hexdigest()


NOBODY = Operator(username="", is_superuser=False)


def operator_of(user: AbstractBaseUser | AnonymousUser) -> Operator | None:
    """Return the user as operator, with memberships read anew; None if not active staff."""
    if not _is_active_staff(user):
        return None
    memberships = Membership.objects.filter(user__username=user.get_username())
    return _operator(user, dict(memberships.values_list("tenant_id", "role")))


def _is_active_staff(user: AbstractBaseUser | AnonymousUser) -> bool:
    return bool(user.is_active and getattr(user, "is_staff", False))


def _operator(user: AbstractBaseUser | AnonymousUser, roles: dict[str, str]) -> Operator | None:
    if not _is_active_staff(user):
        return None
    return Operator(
        username=user.get_username(),
        is_superuser=bool(getattr(user, "is_superuser", False)),
        roles=roles,
    )


def operator_at(request: HttpRequest) -> Operator:
    """Return the operator who is signed in at a page; one without tenants if not active staff.

    Queries the database once per request and user, because a page calls this for every model.
    """
    user, operator = getattr(request, _KNOWN, (None, None))
    # Signing in and out changes the user of a request.
    if operator is None or user is not request.user:
        operator = operator_of(request.user) or NOBODY
        setattr(request, _KNOWN, (request.user, operator))
    return operator


def session_key(request: HttpRequest) -> str:
    """Return the key of the sign-in session that a request's cookie names; empty if it has none."""
    # A quoted cookie can hold a NUL, which PostgreSQL takes in no text.
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    return key if key.isalnum() else ""


def signed_in(request: HttpRequest) -> Operator | None:
    """Return the operator of the session cookie of `request`, where no middleware has run; None if
    what they may do has changed since they signed in."""
    key = session_key(request)
    return signed_in_by_key([key])[key]


def signed_in_by_key(keys: Collection[str]) -> dict[str, Operator | None]:
    """Return the operator of each sign-in session; None if it has ended, or what they may do has
    changed since they signed in.

    Queries the database for sessions, users and memberships: three times, however many there are.
    """
    # Django's `get_user` reads one session, and ends it in the database if its hash is old.
    rows = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
    sessions = {row.session_key: row.get_decoded() for row in rows}
    users = _users_of(sessions)
    memberships = Membership.objects.filter(user__in=set(users.values()))
    roles: dict[Any, dict[str, str]] = defaultdict(dict)
    for user_id, tenant_id, role in memberships.values_list("user_id", "tenant_id", "role"):
        roles[user_id][tenant_id] = role
    operators: dict[str, Operator | None] = dict.fromkeys(keys)
    for key, user in users.items():
        operator = _operator(user, roles[user.pk])
        if operator and sessions[key].get(ACCESS, operator.access) == operator.access:
            operators[key] = operator
    return operators


def _users_of(sessions: Mapping[str, dict[str, Any]]) -> dict[str, AbstractBaseUser]:
    """Return the user whom each session's hash vouches for, by the keys of the sessions."""
    model = get_user_model()
    named = {
        key: model._meta.pk.to_python(session[SESSION_KEY])
        for key, session in sessions.items()
        if session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        and SESSION_KEY in session
    }
    users = model.objects.in_bulk(set(named.values()))
    return {
        key: users[pk]
        for key, pk in named.items()
        if pk in users and _is_vouched_for(users[pk], sessions[key].get(HASH_SESSION_KEY) or "")
    }


def _is_vouched_for(user: AbstractBaseUser, session_hash: str) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, one) for one in hashes)


def renew_sign_in(session: SessionBase) -> None:
    """Have a sign-in session that a fallback key vouches for be vouched for by the current key.

    Django's `get_user` does so under a new session key. A page sends several HTTP requests at once
    and its live stream cannot set a cookie, so that all but one of them would be signed out.
    """
    if not settings.SECRET_KEY_FALLBACKS or SESSION_KEY not in session:
        return
    user = get_user_model().objects.filter(pk=session[SESSION_KEY]).first()
    if user is None:
        return
    stored, current = session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash()
    if constant_time_compare(stored, current):
        return
    if any(constant_time_compare(stored, one) for one in user.get_session_auth_fallback_hash()):
        session[HASH_SESSION_KEY] = current
