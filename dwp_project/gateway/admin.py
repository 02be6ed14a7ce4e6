"""The sign-in to the operators' pages, and the names that they bear."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway import accounts_admin as accounts_admin  # registers the accounts' pages
from dwp_project.gateway import lockout, signals
from dwp_project.gateway.passwords import SESSION_BACKEND

admin.site.site_title = admin.site.site_header = _("Approvals")
admin.site.index_title = _("All pages")


class SignInForm(AdminAuthenticationForm):
    """The sign-in form, which reports a right password of an account that may not enter."""

    def get_user(self) -> Any:
        user: Any = super().get_user()
        user.backend = SESSION_BACKEND
        return user

    def confirm_login_allowed(self, user: Any) -> None:
        try:
            super().confirm_login_allowed(user)
        except ValidationError:
            assert self.request is not None
            lockout.count_failure(self.request, user.get_username())
            signals.sign_in_refused.send(
                SignInForm, request=self.request, username=user.get_username()
            )
            raise


admin.site.login_form = SignInForm
