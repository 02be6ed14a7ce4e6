"""Memberships for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.models import Membership

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]  # generic in its stubs only
else:
    ModelAdmin = admin.ModelAdmin

admin.site.site_title = admin.site.site_header = _("Approvals")
admin.site.index_title = _("Desk")


@admin.register(Membership)
class MembershipAdmin(ModelAdmin):
    list_display = ("user", "tenant_id", "role", "created_at")
    list_filter = ("role", "tenant_id")
    search_fields = ("user__username", "tenant_id")
    autocomplete_fields = ("user",)
