"""The base of every page whose rows belong to tenants: it alone decides whose rows an operator
sees and changes, which tenants a form offers, and that text from outside is shown marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, DateTimeField, Model, QuerySet, TextField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.models import validate_tenant_id
from dwp_project.gateway.operators import Operator, operator_at
from hitl.text import dates, sanitize

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]  # generic in its stubs only
    ModelForm = forms.ModelForm[Any]
else:
    ModelAdmin = admin.ModelAdmin
    ModelForm = forms.ModelForm

# The tenants that count at a page; None stands for every tenant there is.
Tenants = Sequence[str] | None


def _field(model: type[Model], name: Any) -> Any:
    """Return the column of this name, or None for what is none."""
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def _text_field(model: type[Model], name: Any) -> CharField[Any, Any] | TextField[Any, Any] | None:
    """Return the text column of this name, or None for anything else, such as a choice."""
    field = _field(model, name)
    if not isinstance(field, CharField | TextField) or field.choices:
        return None
    return field


def _marked(model: type[Model], name: Any, *, prefix: str = "") -> Any:
    """Return what shows a text column of `model` marked, or a time in the zone of who reads it; the
    name of any other column."""
    if text_field := _text_field(model, name):
        return _marked_column(text_field, prefix + text_field.name)
    field = _field(model, name)
    return _time_column(field, prefix + name) if isinstance(field, DateTimeField) else name


@cache
def _marked_column(
    field: CharField[Any, Any] | TextField[Any, Any], name: str
) -> Callable[[Any], str]:
    @admin.display(description=field.verbose_name, ordering=field.name)
    def marked(obj: Any) -> str:
        text = str(getattr(obj, field.name))
        is_multiline = isinstance(field, TextField)
        return sanitize.marked(text, is_multiline=is_multiline) if text else "-"

    marked.__name__ = name  # the admin names the cell's class by it
    return marked


@cache
def _time_column(field: DateTimeField[Any, Any], name: str) -> Callable[[Any], str]:
    @admin.display(description=field.verbose_name, ordering=field.name)
    def shown(obj: Any) -> str:
        moment = getattr(obj, field.name)
        return dates.html(moment) if moment else "-"

    shown.__name__ = name
    return shown


class MarkedValuesFilter(admin.AllValuesFieldListFilter):
    """Filters a list by every value of a text column, each shown marked."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": sanitize.plain(str(choice["display"]))}


class TenantForm(ModelForm):
    """A form of a row whose tenant is chosen when the row is added, and stays.

    A form that names a tenant that is not offered is refused, whatever page it came from.
    """

    # Set on the class that is made for one operator's request.
    tenants: ClassVar[Tenants] = ()

    tenant_id = forms.CharField(label=_("tenant"), max_length=255, validators=[validate_tenant_id])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields.pop("tenant_id", None)
        elif self.tenants is not None:
            choices = [(tenant, sanitize.plain(tenant)) for tenant in self.tenants]
            self.fields["tenant_id"] = forms.ChoiceField(label=_("tenant"), choices=choices)


class TenantAdmin(ModelAdmin):
    """The page of a model whose rows belong to tenants: members read, a tenant's admins change.

    Being a superuser opens no tenant, membership does; Django's own permissions do not count. A
    subclass names the tenant's field and, where they differ, the tenants that count.
    """

    # The lookup of a row's tenant: `tenant_id`, or `request__tenant_id` through a relation.
    tenant_field: ClassVar[str] = "tenant_id"
    # What the page that adds a row asks for; `fields` and `readonly_fields` are an existing row's.
    add_fields: ClassVar[Sequence[str]] = ()

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["hitl/admin.css"]}

    # --- which tenants count ---------------------------------------------------------------

    def visible_tenants(self, operator: Operator) -> Tenants:
        """Return the tenants whose rows the operator sees."""
        return operator.tenants

    def writable_tenants(self, operator: Operator) -> Tenants:
        """Return the tenants whose rows the operator adds, changes and deletes."""
        return operator.administers

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        tenants = self.visible_tenants(operator_at(request))
        return rows if tenants is None else rows.filter(**{f"{self.tenant_field}__in": tenants})

    def _is_covered(self, tenants: Tenants, obj: Any) -> bool:
        """Say whether the row belongs to one of `tenants`; without a row, whether there are any."""
        if tenants is None or obj is None:
            return tenants is None or bool(tenants)
        for name in self.tenant_field.split("__"):
            obj = getattr(obj, name)
        return obj in tenants

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_covered(self.visible_tenants(operator_at(request)), obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._is_covered(self.writable_tenants(operator_at(request)), None)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_covered(self.writable_tenants(operator_at(request)), obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_covered(self.writable_tenants(operator_at(request)), obj)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.tenants = self.writable_tenants(operator_at(request))
        return form

    # --- text from outside -----------------------------------------------------------------

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # A row's name, such as a request id that an agent chose, is in the title of its page.
        marked = {"subtitle": sanitize.plain(context.get("subtitle") or "")}
        return super().render_change_form(request, context | marked, *args, **kwargs)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [_marked(self.model, name) for name in super().get_list_display(request)]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [
            (item, MarkedValuesFilter)
            if isinstance(item, str) and _text_field(self.model, item) is not None
            else item
            for item in super().get_list_filter(request)
        ]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return list(self.add_fields)
        names = list(super().get_fields(request, obj))
        is_form = self.has_change_permission(request, obj)
        read_only = self.readonly_fields if is_form else names
        return [self._read_only(name) if name in read_only else name for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [] if obj is None else [self._read_only(name) for name in self.readonly_fields]

    def _read_only(self, name: Any) -> Any:
        # Not under the field's own name: the admin would add the help on filling it in.
        return _marked(self.model, name, prefix="marked_")


class ReadOnlyAdmin(TenantAdmin):
    """A table that nobody adds to, changes or deletes from by hand. All staff may open it; somebody
    without a tenant sees it empty."""

    def writable_tenants(self, operator: Operator) -> Tenants:
        return ()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)


class ServiceAdmin(TenantAdmin):
    """A table whose rows a service changes: what the service refuses becomes a message."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # A changed row may have another address: there is nothing to save and go on with.
        context = {"show_save_and_continue": False, "show_save_and_add_another": False}
        try:
            return super().changeform_view(
                request, object_id, form_url, {**context, **(extra_context or {})}
            )
        except DwpError as exc:
            messages.error(request, str(exc.message))
            changelist = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
            return HttpResponseRedirect(reverse(changelist))
