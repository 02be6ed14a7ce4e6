"""Make a superuser, in one transaction with its audit record."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import User, UserManager
from django.db import transaction


class Command(createsuperuser.Command):
    """Django's command. The transaction begins when everything has been typed: it holds locks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.UserModel: Any = _UserModel()


class _Manager(UserManager[User]):
    def create_superuser(self, *args: Any, **kwargs: Any) -> User:
        with transaction.atomic(using=self.db):
            return super().create_superuser(*args, **kwargs)


class _UserModel:
    """The user model as Django's command uses it, with our own manager."""

    def __init__(self) -> None:
        self._default_manager = _Manager()
        self._default_manager.model = User

    def __call__(self, **fields: Any) -> User:
        return User(**fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(User, name)
