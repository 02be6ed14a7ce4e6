"""Paths of the edge: health, login, the front end's start-up."""

from django.urls import path

from dwp_project.gateway import health, login, monitoring

_MAIN_SERVICE = "main/health"
HEALTH_PATHS = (*health.ALIASES, _MAIN_SERVICE)

urlpatterns = [
    *(path(alias, health.HealthView.as_view()) for alias in health.ALIASES),
    path(_MAIN_SERVICE, health.MainServiceView.as_view()),
    path("ready", health.ReadyView.as_view()),
    path("metrics", monitoring.metrics),
    path("auth/login", login.LoginView.as_view()),
    path("auth/policy", login.PolicyView.as_view()),
    path("auth/idp", login.IdentityProvidersView.as_view()),
    path("auth/me", login.MeView.as_view()),
    path("auth/permissions", login.PermissionsView.as_view()),
    path("auth/menus/tree", login.MenusView.as_view()),
]
