"""Make a superuser, in one transaction with its audit record."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import User, UserManager
from django.contrib.auth.password_validation import validate_password
from django.db import transaction


class Command(createsuperuser.Command):
    """Django's command. The transaction begins when everything has been typed: it holds locks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.UserModel: Any = _UserModel()

    def handle(self, *args: Any, **options: Any) -> str | None:
        # Django validates what somebody types, and nothing that comes from the environment.
        self.UserModel._default_manager.is_validating = not options["interactive"]
        return super().handle(*args, **options)


class _Manager(UserManager[User]):
    is_validating = False

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> User:
        if self.is_validating and password is not None:
            validate_password(password, User(username=username, email=email or ""))
        with transaction.atomic(using=self.db):
            return super().create_superuser(username, email, password, **fields)


class _UserModel:
    """The user model as Django's command uses it, with our own manager."""

    def __init__(self) -> None:
        self._default_manager = _Manager()
        self._default_manager.model = User

    def __call__(self, **fields: Any) -> User:
        return User(**fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(User, name)
