"""The desk's addresses in front of the admin's own: where a sign-in lands, the list of all pages, a
request by its id, and what makes the desk an app."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from hitl.admin.requests import INBOX, request_by_id
from hitl.admin.web_manifest import web_manifest

urlpatterns = [
    path("", RedirectView.as_view(pattern_name=INBOX)),
    path("pages/", admin.site.admin_view(admin.site.index), name="desk_pages"),
    path("manifest.webmanifest", web_manifest, name="desk_web_manifest"),
    path("requests/<segment:request_id>", request_by_id, name="desk_request_by_id"),
]
