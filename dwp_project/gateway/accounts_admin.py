"""The pages on which accounts and passwords change, each in a transaction with its audit record.

Django opens one to add, change and delete an account, and none on its two password pages.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    UserAdmin = auth_admin.UserAdmin[User]  # generic in its stubs only
else:
    UserAdmin = auth_admin.UserAdmin

# Importing Django's module has registered its own.
admin.site.unregister(User)


@admin.register(User)
class AccountAdmin(UserAdmin):
    def user_change_password(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer the page on which a superuser sets somebody's password."""
        with _transaction(request):
            return super().user_change_password(request, *args, **kwargs)


def password_change(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """Answer the page on which people change their own password."""
    with _transaction(request):
        return admin.site.password_change(request, **kwargs)


def _transaction(request: HttpRequest) -> AbstractContextManager[Any]:
    """Return a transaction for a form that is sent, and none for a page that is only read."""
    return transaction.atomic() if request.method == "POST" else nullcontext()
