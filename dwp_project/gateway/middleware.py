"""Django's middleware, fitted to an API and pages in one process."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware

from dwp_project.gateway.views import PAGES


class CommonForPages(CommonMiddleware):
    """Holds pages to ALLOWED_HOSTS. API, stream and health answer under any name: they trust
    the token alone, and probes come by address."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if request.path_info.startswith(PAGES):
            return super().process_request(request)
        return None
