"""The site of the operators' pages: what its index and its sidebar list, and in which order."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

# A section, and the models in it whose pages somebody may open.
_SECTIONS = (
    ("requests", _("Requests"), ("ApprovalRequest", "OutboxEntry")),
    ("rules", _("Rules"), ("Policy", "RejectionReason")),
    ("audit", _("Audit"), ("AuditRecord",)),
    ("people", _("People and tenants"), ("User", "Membership", "Tenant")),
)
_ABOUT = {
    "ApprovalRequest": _("All requests, the newest first."),
    "OutboxEntry": _("Whether the agents have received what was decided."),
    "Policy": _("Who must approve which action, and within which time."),
    "RejectionReason": _("What can be picked instead of written."),
    "AuditRecord": _("Who did what: search, verify, sign, export."),
    "User": _("Who may sign in, and to which tenants they belong."),
    "Membership": _("Who belongs to a tenant, and in which role."),
    "Tenant": _("In which tenants there can be members."),
}


class DeskSite(AdminSite):
    """Django's admin with sections instead of apps, and nothing that leads elsewhere."""

    site_url = None

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the sections with the models whose pages the operator may open."""
        models = {
            model["object_name"]: model
            for app in super().get_app_list(request, app_label)
            for model in app["models"]
        }
        sections = []
        for label, title, names in _SECTIONS:
            listed = [
                {**models.pop(name), "about": _ABOUT[name]} for name in names if name in models
            ]
            if listed:
                sections.append({"name": title, "app_label": label, "models": listed})
        # Of an app that somebody adds.
        if models:
            rest = {"name": _("More"), "app_label": "more", "models": list(models.values())}
            sections.append(rest)
        return sections

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Lead to the index: it has the pages of all apps."""
        return HttpResponseRedirect(reverse("admin:index"))
