"""The base of every page whose rows belong to tenants: it alone decides whose rows an operator
sees and changes, which tenants a form offers, and that text from outside is shown marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, DateTimeField, Model, QuerySet, TextField
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.models import tenant_choices
from dwp_project.gateway.operators import Operator, operator_at
from hitl.text import dates, sanitize

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]  # generic in its stubs only
    ModelForm = forms.ModelForm[Any]
    # What is shown otherwise than by Django: text marked, times to the second.
    _Column = CharField[Any, Any] | TextField[Any, Any] | DateTimeField[Any, Any]
else:
    ModelAdmin = admin.ModelAdmin
    ModelForm = forms.ModelForm

# The tenants that count at a page; None stands for every tenant there is.
Tenants = Sequence[str] | None


def _column(model: type[Model], name: Any) -> _Column | None:
    """Return the column of text or times of this name, or None for anything else, such as a
    choice."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    if not isinstance(field, CharField | TextField | DateTimeField) or field.choices:
        return None
    return field


def _marked(model: type[Model], name: Any, *, prefix: str = "") -> Any:
    """Return what shows a column of text or times of `model`, and the name of any other."""
    field = _column(model, name)
    return name if field is None else _marked_column(field, prefix + field.name)


@cache
def _marked_column(field: _Column, name: str) -> Callable[[Any], str]:
    @admin.display(description=field.verbose_name, ordering=field.name)
    def marked(obj: Any) -> str:
        if isinstance(field, DateTimeField):
            return dates.html(getattr(obj, field.name))
        text = str(getattr(obj, field.name))
        is_multiline = isinstance(field, TextField)
        return sanitize.marked(text, is_multiline=is_multiline) if text else "-"

    marked.__name__ = name  # the admin names the cell's class by it
    return marked


class MarkedValuesFilter(admin.AllValuesFieldListFilter):
    """Filters a list by every value of a text column, each shown marked, if there are several."""

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": sanitize.plain(str(choice["display"]))}


class TenantForm(ModelForm):
    """A form of a row whose tenant is chosen when the row is added, and stays.

    A form that names a tenant that is not offered is refused, whatever page it came from.
    """

    # Set on the class that is made for one operator's request.
    tenants: ClassVar[Tenants] = ()

    tenant_id = forms.ChoiceField(
        label=_("tenant"),
        error_messages={
            "invalid_choice": _("This tenant is not one of those that you may choose here.")
        },
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields.pop("tenant_id", None)
            return
        field = self.fields["tenant_id"]
        assert isinstance(field, forms.ChoiceField)
        choices = [(each, sanitize.plain(text)) for each, text in tenant_choices(self.tenants)]
        # Of several none is chosen beforehand: the first is as likely wrong as right.
        field.choices = choices if len(choices) == 1 else [("", "---------"), *choices]


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

    # --- what became of a row --------------------------------------------------------------

    def audit_of(self, obj: Any) -> str | None:
        """Return the address of the page that has what became of a row, or None."""
        return None

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Lead to the audit in place of Django's own log, in which nothing stands."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            return HttpResponseRedirect(reverse("admin:index"))
        address = self.audit_of(obj) if self.has_view_permission(request, obj) else None
        if address is None:
            raise Http404
        return HttpResponseRedirect(address)

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
            if isinstance(item, str) and _column(self.model, item) is not None
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

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._is_covered(self.visible_tenants(operator_at(request)), None)

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return what the page of one row shows besides its fields."""
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        context = {} if obj is None else self.page_context(request, obj)
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )


def audit_search(tenant_id: str, **query: str) -> str:
    """Return the address of the audit records of a tenant that meet the conditions."""
    page = reverse("admin:hitl_auditrecord_changelist")
    return f"{page}?{urlencode({'tenant': tenant_id, **query})}"


def audit_of_request(request_id: str) -> str:
    """Return the address of the whole history of a request."""
    return f"{reverse('admin:hitl_book_request')}?{urlencode({'id': request_id})}"


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
