"""Checks the passwords of accounts, at every sign-in."""

from __future__ import annotations

from typing import Any

from axes.backends import AxesBackend
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

# The backend that sign-in sessions name.
SESSION_BACKEND = "django.contrib.auth.backends.ModelBackend"


class PasswordBackend(AxesBackend):
    """Django's own way to authenticate, in which a locked name or address tries no password and a
    rehash commits with its audit record."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the active user of this name and password, or None where one is missing.

        Raises `PermissionDenied` for a wrong one, so that no further backend hashes it again, and
        for a locked sign-in, before it hashes: nobody learns whether the password was right.
        """
        if username is None or password is None:
            return None
        if request is not None:
            super().authenticate(request, username, password)
        user = User.objects.filter(username=username).first()
        if user is None:
            # As much work as for a user that exists: the time must not tell them apart.
            hashers.make_password(password)
            raise PermissionDenied
        if not (check_password(user, password) and user.is_active):
            raise PermissionDenied
        return user


def check_password(user: User, password: str) -> bool:
    """Say whether this is the user's password; hash it again where the hasher's settings changed.

    Only the save is in a transaction: hashing takes long, and a transaction holds the write
    lock of SQLite meanwhile.
    """

    def rehash(password: str) -> None:
        user.password = hashers.make_password(password)
        with transaction.atomic():
            user.save(update_fields=["password"])

    return hashers.check_password(password, user.password, rehash)
