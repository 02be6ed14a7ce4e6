"""Every path of the project. `/api` in front of any of them is taken off before this."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns = [
    path("", include("dwp_project.gateway.urls")),
    path("", include("hitl.api.urls")),
    path("", include("streaming.urls")),
    path("schema/", SpectacularAPIView.as_view(authentication_classes=[]), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(authentication_classes=[], url="../schema/")),
    path("", RedirectView.as_view(url="/admin/")),
    path("admin", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]

handler400 = "dwp_project.gateway.views.bad_request"
handler403 = "dwp_project.gateway.views.permission_denied"
handler404 = "dwp_project.gateway.views.not_found"
handler500 = "dwp_project.gateway.views.server_error"
