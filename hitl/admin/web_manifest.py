"""The web app manifest, from which a browser installs the desk as an app."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from dwp_project.jsontext import compact

# The colour of the header, as in the head of every page.
HEADER_COLOUR = "#417690"
# File, size, and what it is for: launchers cut a maskable icon into their own shape.
_ICONS = (
    ("icons/192.png", "192x192", "any"),
    ("icons/512.png", "512x512", "any"),
    ("icons/maskable-512.png", "512x512", "maskable"),
)


def web_manifest(request: HttpRequest) -> HttpResponse:
    """Answer the manifest in the reader's language, to anybody: browsers fetch it without the
    sign-in session."""
    name = str(admin.site.site_title)
    icons = [
        {"src": static(f"hitl/{file}"), "sizes": sizes, "type": "image/png", "purpose": purpose}
        for file, sizes, purpose in _ICONS
    ]
    vector = {"src": static("hitl/icon.svg"), "sizes": "any", "type": "image/svg+xml"}
    manifest = {
        "id": reverse("admin:index"),
        "name": name,
        "short_name": name,
        "description": _("What agents ask before they act, and the decisions of people."),
        "lang": get_language(),
        "start_url": reverse("admin:hitl_approvalrequest_inbox"),
        "scope": reverse("admin:index"),
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": HEADER_COLOUR,
        "icons": [*icons, vector],
    }
    return HttpResponse(compact(manifest), content_type="application/manifest+json")
