"""The pages on which accounts and passwords change, each in a transaction with its audit record.

Django opens one to add, change and delete an account, and none on its two password pages.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import forms as admin_forms
from django.contrib.auth import admin as auth_admin
from django.contrib.auth import authenticate
from django.contrib.auth import forms as auth_forms
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from dwp_project.gateway import lockout

if TYPE_CHECKING:
    UserAdmin = auth_admin.UserAdmin[User]  # generic in its stubs only
    SetPasswordForm = auth_forms.AdminPasswordChangeForm[User]
else:
    UserAdmin = auth_admin.UserAdmin
    SetPasswordForm = auth_forms.AdminPasswordChangeForm

# Importing Django's module has registered its own.
admin.site.unregister(User)


class _PasswordForm:
    """A password form of which only the save is in a transaction: hashing takes long, and a
    transaction holds the write lock of SQLite meanwhile."""

    def save(self, commit: bool = True) -> Any:
        user: Any = super().save(commit=False)  # type: ignore[misc]  # of Django's form
        if commit:
            with transaction.atomic():
                user.save()
        return user


class _SetPasswordForm(_PasswordForm, SetPasswordForm):
    pass


class _ChangePasswordForm(_PasswordForm, admin_forms.AdminPasswordChangeForm):
    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request = request

    @sensitive_variables("password")
    def clean_old_password(self) -> str:
        """Return the old password, tried like that of a sign-in: counted, locked and audited."""
        password: str = self.cleaned_data["old_password"]
        name = self.user.get_username()
        if authenticate(self._request, username=name, password=password) is None:
            raise ValidationError(self.error_messages["password_incorrect"], "password_incorrect")
        lockout.forget_failures(self._request, self.user)
        return password


@admin.register(User)
class AccountAdmin(UserAdmin):
    change_password_form = _SetPasswordForm


def password_change(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
    """Answer the page on which people change their own password, as `AdminSite` does."""
    view = PasswordChangeView.as_view(
        form_class=partial(_ChangePasswordForm, request),
        success_url=reverse("admin:password_change_done"),
        extra_context={**admin.site.each_context(request), **kwargs.get("extra_context", {})},
        template_name="registration/password_change_form.html",
    )
    return view(request)
