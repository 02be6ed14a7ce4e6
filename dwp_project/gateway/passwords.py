"""Checks the passwords of accounts, at every sign-in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import hashers
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest


class PasswordBackend(ModelBackend):
    """Django's own way to authenticate, in which a rehash commits with its audit record."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the active user of this name and password, or None."""
        if username is None or password is None:
            return None
        user = User.objects.filter(username=username).first()
        if user is None:
            # As much work as for a user that exists: the time must not tell them apart.
            hashers.make_password(password)
            return None
        return user if check_password(user, password) and user.is_active else None


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
