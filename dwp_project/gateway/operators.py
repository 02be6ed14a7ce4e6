"""Who is signed in to the pages: the tenants they are a member of, and in which role.

Superusers need a membership as well: nothing else gives access to a tenant's requests or
records.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user, get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
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
    if not (user.is_active and getattr(user, "is_staff", False)):
        return None
    memberships = Membership.objects.filter(user__username=user.get_username())
    return Operator(
        username=user.get_username(),
        is_superuser=bool(getattr(user, "is_superuser", False)),
        roles=dict(memberships.values_list("tenant_id", "role")),
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


def signed_in(request: HttpRequest) -> Operator | None:
    """Return the operator of the session cookie of `request`, where no middleware has run; None if
    what they may do has changed since they signed in.

    Queries the database for session, user and memberships.
    """
    # A quoted cookie can hold a NUL, which PostgreSQL takes in no text.
    key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    request.session = _ReadSession(key if key.isalnum() else None)
    renew_sign_in(request.session)
    operator = operator_of(get_user(request))
    if operator is None or request.session.get(ACCESS, operator.access) != operator.access:
        return None
    return operator


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


class _ReadSession(SessionStore):
    """A sign-in session where no cookie can be answered: its key stays, and a page ends it."""

    # Django takes it from the name of the class; this one reads the same sessions.
    key_salt = f"django.contrib.sessions.{SessionStore.__qualname__}"

    def cycle_key(self) -> None:
        """Do nothing: the browser would not learn of the new key."""

    def flush(self) -> None:
        """Forget the session here only; the next page says why it ended."""
        self.clear()
