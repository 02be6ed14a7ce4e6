"""Every path of the project, as `ReadPath` gives it: without a leading `/api`."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from dwp_project.gateway.accounts_admin import password_change
from dwp_project.gateway.documentation import DocsView, SchemaView

urlpatterns = [
    path("", include("dwp_project.gateway.urls")),
    path("", include("hitl.api.urls")),
    path("", include("streaming.urls")),
    path("schema/", SchemaView.as_view()),
    path("docs/", DocsView.as_view()),
    path("", RedirectView.as_view(url="/admin/")),
    path("admin", RedirectView.as_view(url="/admin/")),
    # Before the admin's own, which opens no transaction.
    path("admin/password_change/", admin.site.admin_view(password_change, cacheable=True)),
    # Before the admin's own too: the inbox is at its index.
    path("admin/", include("hitl.admin.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "dwp_project.gateway.views.bad_request"
handler403 = "dwp_project.gateway.views.permission_denied"
handler404 = "dwp_project.gateway.views.not_found"
handler500 = "dwp_project.gateway.views.server_error"
