"""Change a password, in one transaction with its audit record."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.db import transaction


class Command(changepassword.Command):
    """Django's command; a transaction is open whenever it does not wait for somebody to type."""

    def handle(self, *args: Any, **options: Any) -> str | None:
        self._database = options["database"]
        with ExitStack() as self._transaction:
            return super().handle(*args, **options)

    def _get_pass(self, prompt: str = "Password: ") -> Any:
        self._transaction.close()
        password = super()._get_pass(prompt)  # type: ignore[misc]  # not in the stubs
        self._transaction.enter_context(transaction.atomic(using=self._database))
        return password
