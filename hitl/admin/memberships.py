"""The page of memberships: a tenant's admins give and take them, and superusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.models import Membership, validate_tenant_id
from dwp_project.gateway.operators import operator_at
from hitl.admin.base import ModelAdmin

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Membership]  # generic in its stubs only
else:
    ModelForm = forms.ModelForm


class MembershipForm(ModelForm):
    """Who, where, what. The account is named, not chosen: nobody browses other people's."""

    username = forms.CharField(
        label=_("user name"), max_length=150, widget=forms.TextInput({"autocomplete": "off"})
    )

    # The tenants of a tenant's admin; None for superusers.
    own_tenants: ClassVar[list[str] | None] = None

    class Meta:
        model = Membership
        fields = ("tenant_id", "role")

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
        """Say whether the account is nobody else's: a member's sign-ins are in the tenant's book,
        and no tenant helps itself to the records of another one's people."""
        if self.own_tenants is None:
            return True
        elsewhere = user.memberships.exclude(tenant_id__in=self.own_tenants)
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


class RoleForm(ModelForm):
    """What a member may do. Who and where stay: another member is another membership."""

    class Meta:
        model = Membership
        fields = ("role",)


@admin.register(Membership)
class MembershipAdmin(ModelAdmin):
    list_display = ("user", "tenant_id", "role", "created_at")
    list_filter = ("role", "tenant_id")
    list_select_related = ("user",)
    search_fields = ("user__username", "tenant_id")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **{**kwargs, "form": RoleForm})
        own = None if request.user.is_superuser else operator_at(request).administers

        class Form(MembershipForm):
            own_tenants = own
            # Own tenants are a list to choose from, for a forged form too; superusers write any.
            tenant_id = (
                forms.CharField(label=_("tenant"), max_length=255, validators=[validate_tenant_id])
                if own is None
                else forms.ChoiceField(label=_("tenant"), choices=[(name, name) for name in own])
            )

        return super().get_form(request, obj, change, **{**kwargs, "form": Form})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        names = ["user", "tenant_id"] if obj is not None else ["username", "tenant_id"]
        return [*names, "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["user", "tenant_id"] if obj is not None else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found = super().get_queryset(request)
        if request.user.is_superuser:
            return found
        return found.filter(tenant_id__in=operator_at(request).administers)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _may_give(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_give(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _may_give(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_give(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_give(request, obj)


def _may_give(request: HttpRequest, membership: Membership | None = None) -> bool:
    """Say whether the one who is signed in may give and take memberships: of the tenant of
    `membership`, or of any tenant. Django's own permissions do not count."""
    if not (request.user.is_active and request.user.is_staff):
        return False
    if request.user.is_superuser:
        return True
    administers = operator_at(request).administers
    return bool(administers) if membership is None else membership.tenant_id in administers
