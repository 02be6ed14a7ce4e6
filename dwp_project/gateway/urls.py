"""Paths of the edge: health, login, the front end's start-up."""

from django.urls import path

from dwp_project.gateway import health, login, monitoring

HEALTH_PATHS = ("health", "aura/health", "aura/agents/health", "main/health", "auth/health")

urlpatterns = [
    *(path(alias, health.HealthView.as_view()) for alias in HEALTH_PATHS),
    path("ready", health.ReadyView.as_view()),
    path("metrics", monitoring.metrics),
    path("auth/login", login.LoginView.as_view()),
    path("auth/policy", login.PolicyView.as_view()),
    path("auth/idp", login.IdentityProvidersView.as_view()),
    path("auth/me", login.MeView.as_view()),
    path("auth/permissions", login.PermissionsView.as_view()),
    path("auth/menus/tree", login.MenusView.as_view()),
]
