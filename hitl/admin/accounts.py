"""The page of accounts: tenants are shown marked, and what is removed with an account is said."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dwp_project.gateway import accounts_admin
from hitl.models import InboxView
from hitl.text import sanitize

# The gateway has registered its own, which knows no marks.
admin.site.unregister(User)


class _MembershipForm(accounts_admin.AccountMembershipForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tenant_id"]
        assert isinstance(field, forms.ChoiceField)
        choices: Any = field.choices
        field.choices = [(value, sanitize.plain(str(text))) for value, text in choices]


class _MembershipInline(accounts_admin.AccountMembershipInline):
    form = _MembershipForm


@admin.register(User)
class MarkedAccountAdmin(accounts_admin.AccountAdmin):
    inlines = (_MembershipInline,)

    @admin.display(description=gettext_lazy("member of"))
    def member_of(self, obj: User) -> str:
        members = sorted(
            (each.tenant_id, each.get_role_display()) for each in obj.memberships.all()
        )
        shown = [(sanitize.marked(tenant), role) for tenant, role in members]
        lines = format_html_join("", '<li>{} <span class="quiet">{}</span></li>', shown)
        return format_html('<ul class="member-of">{}</ul>', lines) if members else "–"

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say as well what is removed with the account."""
        user = self.get_object(request, object_id)
        context = {} if user is None else {"goes_with": _goes_with(user)}
        return super().delete_view(request, object_id, {**(extra_context or {}), **context})


def _goes_with(user: User) -> list[tuple[str, list[str]]]:
    """Return what is removed with an account, each kind under its name."""
    memberships = user.memberships.order_by("tenant_id")
    kinds = (
        (
            _("Memberships"),
            [
                f"{sanitize.plain(each.tenant_id)} · {each.get_role_display()}"
                for each in memberships
            ],
        ),
        (
            _("Kept views of the inbox"),
            [sanitize.plain(view.name) for view in InboxView.objects.filter(user=user)],
        ),
    )
    return [(name, each) for name, each in kinds if each]
