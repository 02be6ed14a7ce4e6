"""Tables that the admins of a tenant change and its other members read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.operators import operator_at
from hitl.admin.base import ModelAdmin
from hitl.text import sanitize

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]  # generic in its stubs only
else:
    ModelForm = forms.ModelForm


class TenantForm(ModelForm):
    """A form of what belongs to one of the operator's tenants, chosen when it is made.

    A form that names any other tenant is refused, whatever page it came from.
    """

    # Set on the class that is made for one operator's request.
    offered: ClassVar[Sequence[str]] = ()

    tenant_id = forms.ChoiceField(label=_("tenant"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            del self.fields["tenant_id"]
            return
        field = self.fields["tenant_id"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(tenant, sanitize.plain(tenant)) for tenant in self.offered]


class TenantAdmin(ModelAdmin):
    """A table whose rows belong to tenants. What a service refuses becomes a message.

    Being a superuser opens no tenant: membership does.
    """

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(tenant_id__in=operator_at(request).tenants)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(operator_at(request).tenants)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        mine = operator_at(request).tenants
        return bool(mine) if obj is None else obj.tenant_id in mine

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(operator_at(request).administers)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        mine = operator_at(request).administers
        return bool(mine) if obj is None else obj.tenant_id in mine

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kw: Any
    ) -> Any:
        made: Any = super().get_form(request, obj, change=change, **kw)
        made.offered = operator_at(request).administers
        return made

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # A changed row may have another address: there is nothing to save and go on with.
        shown = {"show_save_and_continue": False, "show_save_and_add_another": False}
        try:
            return super().changeform_view(
                request, object_id, form_url, {**shown, **(extra_context or {})}
            )
        except DwpError as exc:
            messages.error(request, str(exc.message))
            listed = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
            return HttpResponseRedirect(reverse(listed))
