"""Django's middleware, adapted to an API and pages in one process."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from django.utils.deprecation import MiddlewareMixin

from dwp_project.gateway.operators import renew_sign_in
from dwp_project.gateway.views import PAGES


class CommonForPages(CommonMiddleware):
    """Checks ALLOWED_HOSTS for pages only. API, stream and health answer under any host name: they
    rely on the token alone, and probes use addresses."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if request.path_info.startswith(PAGES):
            return super().process_request(request)
        return None


class RenewSignIn(MiddlewareMixin):
    """Keeps operators signed in while `DJANGO_SECRET_KEY` is changed."""

    def process_request(self, request: HttpRequest) -> None:
        """Renew the sign-in session before anybody asks whose it is."""
        if request.path_info.startswith(PAGES):
            renew_sign_in(request.session)
