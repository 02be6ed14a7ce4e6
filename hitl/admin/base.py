"""Tables for operators to read: of their own tenants, every text column shown marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, Model, QuerySet, TextField
from django.http import HttpRequest

from dwp_project.gateway.operators import operator_at
from hitl.text import sanitize

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]  # generic in its stubs only
else:
    ModelAdmin = admin.ModelAdmin


def _displayed(model: type[Model], name: Any) -> Any:
    """Return what shows a text column of `model` marked, and the name of any other."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    if not isinstance(field, CharField | TextField) or field.choices:
        return name
    return _marked_column(field)


@cache
def _marked_column(field: CharField[Any, Any] | TextField[Any, Any]) -> Callable[[Any], str]:
    @admin.display(description=field.verbose_name, ordering=field.name)
    def marked(obj: Any) -> str:
        text = str(getattr(obj, field.name))
        is_multiline = isinstance(field, TextField)
        return sanitize.marked(text, is_multiline=is_multiline) if text else "-"

    marked.__name__ = field.name  # the admin names the cell's class by it
    return marked


class MarkedValuesFilter(admin.AllValuesFieldListFilter):
    """Every value of a text column, marked."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            yield {**choice, "display": sanitize.plain(str(choice["display"]))}


class ReadOnlyAdmin(ModelAdmin):
    """A table that nobody adds to, changes or removes from by hand, of one's own tenants.

    Its texts come from outside and are shown marked, in lists and on pages.
    """

    tenant_field = "tenant_id"

    class Media:
        css = {"all": ["hitl/admin.css"]}

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [_displayed(self.model, name) for name in super().get_list_display(request)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [_displayed(self.model, name) for name in super().get_fields(request, obj)]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        mine = operator_at(request).tenants
        return super().get_queryset(request).filter(**{f"{self.tenant_field}__in": mine})
