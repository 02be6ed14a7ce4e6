"""The pages on which accounts and passwords change, each in a transaction with its audit record.

An account and its memberships are one form. Django opens a transaction to add, change and delete
them, and none on its two password pages.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin import forms as admin_forms
from django.contrib.auth import admin as auth_admin
from django.contrib.auth import authenticate
from django.contrib.auth import forms as auth_forms
from django.contrib.auth.models import Group, User
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from dwp_project.gateway import lockout
from dwp_project.gateway.models import Membership, tenant_choices
from dwp_project.gateway.operators import operator_at

if TYPE_CHECKING:
    UserAdmin = auth_admin.UserAdmin[User]  # generic in its stubs only
    SetPasswordForm = auth_forms.AdminPasswordChangeForm[User]
    MembershipForm = forms.ModelForm[Membership]
    MembershipForms = forms.BaseInlineFormSet[Membership, User, MembershipForm]
    TabularInline = admin.TabularInline[Membership, User]
else:
    UserAdmin = auth_admin.UserAdmin
    SetPasswordForm = auth_forms.AdminPasswordChangeForm
    MembershipForm = forms.ModelForm
    MembershipForms = forms.BaseInlineFormSet
    TabularInline = admin.TabularInline

# Importing Django's module has registered its own. Groups give nothing here.
admin.site.unregister(User)
admin.site.unregister(Group)

_FLAGS = ("is_active", "is_staff", "is_superuser")
_FLAG_LABELS = {
    "is_active": _("is in use"),
    "is_staff": _("may sign in to the desk"),
    "is_superuser": _("keeps accounts and tenants"),
}
_FLAG_TEXTS = {
    "is_active": _("Without this nobody signs in with the account, and its tokens end."),
    "is_staff": _("Operators need this. Who only uses the API does not."),
    "is_superuser": _(
        "Makes tenants, accounts and memberships, and reads the deployment's own audit records. "
        "Opens no tenant: requests are seen and decided by members only."
    ),
}


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


class AccountMembershipForm(MembershipForm):
    """A membership of the account. Its tenant is chosen when it is added, and stays: another tenant
    is another membership."""

    tenant_id = forms.ChoiceField(
        label=_("tenant"),
        # A table has its labels in the head, where a screen reader does not connect them.
        widget=forms.Select({"aria-label": _("tenant")}),
        error_messages={
            "invalid_choice": _("There is no such tenant. Make it on the page Tenants first.")
        },
    )

    class Meta:
        model = Membership
        fields = ("tenant_id", "role")
        widgets: ClassVar[dict[str, Any]] = {"role": forms.Select({"aria-label": _("role")})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tenant_id"]
        assert isinstance(field, forms.ChoiceField)
        if self.instance.pk is None:
            field.choices = [("", "---------"), *tenant_choices()]
        else:
            field.choices = tenant_choices([self.instance.tenant_id])
            field.disabled = True


class AccountMembershipForms(MembershipForms):
    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        form.fields["DELETE"].widget.attrs["aria-label"] = _("Remove")


class AccountMembershipInline(TabularInline):
    model = Membership
    form = AccountMembershipForm
    formset = AccountMembershipForms
    verbose_name_plural = _("member of")
    ordering = ("tenant_id",)

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 0 if obj else 1

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator_at(request).is_superuser

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission


def _flag_filter(name: str) -> type[admin.BooleanFieldListFilter]:
    """Return a filter by a flag, titled with what the flag says."""

    class AccountFilter(admin.BooleanFieldListFilter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = _FLAG_LABELS[name]

    return AccountFilter


@admin.register(User)
class AccountAdmin(UserAdmin):
    """Accounts, for superusers: Django's own permissions and groups do not count."""

    add_form = auth_forms.UserCreationForm
    add_form_template = None
    change_password_form = _SetPasswordForm
    inlines = (AccountMembershipInline,)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("What the account may do"), {"fields": _FLAGS}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (None, {"fields": ("signed_in_at", "made_at")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "password1", "password2")}),
        (_("What the account may do"), {"fields": ("is_staff", "is_superuser")}),
    )
    readonly_fields = ("signed_in_at", "made_at")
    list_display = ("username", "member_of", "staff", "superuser", "signed_in_at", "active")
    list_filter = tuple((name, _flag_filter(name)) for name in _FLAGS)
    search_fields = ("username", "first_name", "last_name", "email")
    filter_horizontal = ()

    @admin.display(description=_("member of"))
    def member_of(self, obj: User) -> str:
        members = [(each.tenant_id, each.get_role_display()) for each in obj.memberships.all()]
        lines = format_html_join("", '<li>{} <span class="quiet">{}</span></li>', sorted(members))
        return format_html('<ul class="member-of">{}</ul>', lines) if members else "–"

    @admin.display(description=_("desk"), boolean=True, ordering="is_staff")
    def staff(self, obj: User) -> bool:
        return obj.is_staff

    @admin.display(description=_("superuser"), boolean=True, ordering="is_superuser")
    def superuser(self, obj: User) -> bool:
        return obj.is_superuser

    @admin.display(description=_("in use"), boolean=True, ordering="is_active")
    def active(self, obj: User) -> bool:
        return obj.is_active

    @admin.display(description=_("last sign-in to the desk"), ordering="last_login")
    def signed_in_at(self, obj: User) -> str:
        return _moment(obj.last_login)

    @admin.display(description=_("made at"), ordering="date_joined")
    def made_at(self, obj: User) -> str:
        return _moment(obj.date_joined)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form, whose flags say what they mean here."""
        words = {"labels": _FLAG_LABELS, "help_texts": _FLAG_TEXTS}
        return super().get_form(request, obj, change=change, **{**words, **kwargs})

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("memberships")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return operator_at(request).is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator_at(request).is_superuser

    has_add_permission = has_module_permission
    has_change_permission = has_delete_permission = has_view_permission

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Answer that there is none: the audit has what was changed."""
        raise Http404

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Not Django's way, which goes on to a second form.
        return admin.ModelAdmin.response_add(self, request, obj, post_url_continue)


def _moment(at: datetime | None) -> str:
    if at is None:
        return "–"
    local = timezone.localtime(at)
    text = date_format(local, "Y-m-d H:i:s")
    return format_html('<time datetime="{}">{}</time>', local.isoformat(), text)


def password_change(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
    """Answer the page on which people change their own password, as `AdminSite` does."""
    view = PasswordChangeView.as_view(
        form_class=partial(_ChangePasswordForm, request),
        success_url=reverse("admin:password_change_done"),
        extra_context={**admin.site.each_context(request), **kwargs.get("extra_context", {})},
        template_name="registration/password_change_form.html",
    )
    return view(request)
