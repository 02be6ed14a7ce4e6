"""The page of memberships: a tenant's admins give and take them in their tenant, superusers in
every one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.models import Membership
from dwp_project.gateway.operators import Operator, operator_at
from hitl.admin.base import TenantAdmin, TenantForm, Tenants, audit_search
from hitl.text import dates, sanitize


class MembershipForm(TenantForm):
    """Who, where and in which role. The account is typed, not chosen from a list: nobody browses
    the accounts of other tenants."""

    username = forms.CharField(
        label=_("user name"), max_length=150, widget=forms.TextInput({"autocomplete": "off"})
    )

    class Meta:
        model = Membership
        fields = ("tenant_id", "role")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            # Another member is another membership.
            del self.fields["username"]

    def clean_username(self) -> str:
        username = str(self.cleaned_data["username"])
        user = get_user_model().objects.filter(username=username).first()
        if user is None or not self._may_add(user):
            raise ValidationError(
                _(
                    "There is no account of exactly this name that you may add. One that belongs "
                    "to other tenants is added by a superuser."
                )
            )
        self.instance.user = user
        return username

    def _may_add(self, user: Any) -> bool:
        """Say whether the account belongs to no other tenant: a member's sign-ins are written to
        the tenant's chain, and no tenant may get at the records of another tenant's people."""
        if self.tenants is None:
            return True
        elsewhere = user.memberships.exclude(tenant_id__in=self.tenants)
        return not user.is_superuser and not elsewhere.exists()

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        given = self.cleaned_data
        if "username" in given and "tenant_id" in given and self.instance.pk is None:
            same = Membership.objects.filter(
                user__username=given["username"], tenant_id=given["tenant_id"]
            )
            if same.exists():
                raise ValidationError(_("This account is a member of this tenant already."))
        return cleaned


@admin.register(Membership)
class MembershipAdmin(TenantAdmin):
    form = MembershipForm
    list_display = ("person", "tenant_id", "role", "may_sign_in", "signed_in_at", "made_at")
    list_filter = ("tenant_id", "role")
    list_select_related = ("user",)
    ordering = ("tenant_id", "user__username")
    search_fields = ("user__username", "tenant_id")
    fields = ("account", "tenant_id", "role", "signed_in_at", "made_at")
    readonly_fields = ("account", "tenant_id", "signed_in_at", "made_at")
    add_fields = ("username", "tenant_id", "role")
    show_full_result_count = False

    @admin.display(description=_("person"), ordering="user__username")
    def person(self, obj: Membership) -> str:
        return sanitize.marked(obj.user.get_username())

    @admin.display(description=_("account"))
    def account_page(self, obj: Membership) -> str:
        """Lead to the account, with all that it is a member of."""
        address = reverse("admin:auth_user_change", args=[obj.user_id])
        return format_html('<a href="{}">{}</a>', address, gettext("all memberships"))

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        columns = super().get_list_display(request)
        return [*columns, "account_page"] if operator_at(request).is_superuser else columns

    @admin.display(description=_("account"))
    def account(self, obj: Membership) -> str:
        return sanitize.marked(obj.user.get_username())

    @admin.display(description=_("desk"), boolean=True)
    def may_sign_in(self, obj: Membership) -> bool:
        return obj.user.is_active and obj.user.is_staff

    @admin.display(description=_("last sign-in to the desk"), ordering="user__last_login")
    def signed_in_at(self, obj: Membership) -> str:
        return dates.html(obj.user.last_login)

    @admin.display(description=_("made at"), ordering="created_at")
    def made_at(self, obj: Membership) -> str:
        return dates.html(obj.created_at)

    def visible_tenants(self, operator: Operator) -> Tenants:
        return self.writable_tenants(operator)

    def writable_tenants(self, operator: Operator) -> Tenants:
        return None if operator.is_superuser else operator.administers

    def audit_of(self, obj: Membership) -> str:
        return audit_search(obj.tenant_id, event="membership")
