"""The page of memberships: a tenant's admins give and take them in their tenant, superusers in
every one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.models import Membership
from dwp_project.gateway.operators import Operator
from hitl.admin.base import TenantAdmin, TenantForm, Tenants


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
    list_display = ("user", "tenant_id", "role", "created_at")
    list_filter = ("role", "tenant_id")
    list_select_related = ("user",)
    search_fields = ("user__username", "tenant_id")
    fields = ("user", "tenant_id", "role")
    readonly_fields = ("user", "tenant_id")
    add_fields = ("username", "tenant_id", "role")

    def visible_tenants(self, operator: Operator) -> Tenants:
        return self.writable_tenants(operator)

    def writable_tenants(self, operator: Operator) -> Tenants:
        return None if operator.is_superuser else operator.administers
