"""Django's middleware, adapted to an API and pages in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponsePermanentRedirect, QueryDict
from django.middleware.common import CommonMiddleware
from django.utils.deprecation import MiddlewareMixin

from dwp_project.gateway.operators import renew_sign_in
from dwp_project.gateway.views import PAGES

V = TypeVar("V", bound=Callable[..., Any])


class CommonForPages(CommonMiddleware):
    """Checks ALLOWED_HOSTS for pages only, and refuses NUL in what is sent to them, but for the
    query of a view that checks every value of it.

    API, stream and health answer under any host name: they rely on the token alone, and probes use
    addresses. They check every value that they read. Pages pass some on to the database as they
    come, and PostgreSQL takes no NUL in a text.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        if request.path_info.startswith(PAGES):
            if any("\0" in text for text in _texts(request)):
                raise BadRequest("NUL in a request for a page")
            return super().process_request(request)
        return None

    def process_view(
        self, request: HttpRequest, view: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if not request.path_info.startswith(PAGES) or getattr(view, "checks_query", False):
            return
        if any("\0" in text for text in _texts_in(request.GET)):
            raise BadRequest("NUL in a request for a page")


def checks_query(view: V) -> V:
    """Mark a view that checks every value of its query, so that NUL may come to it."""
    view.checks_query = True  # type: ignore[attr-defined]
    return view


class RenewSignIn(MiddlewareMixin):
    """Keeps operators signed in while `DJANGO_SECRET_KEY` is changed."""

    def process_request(self, request: HttpRequest) -> None:
        """Renew the sign-in session before anybody asks whose it is."""
        if request.path_info.startswith(PAGES):
            renew_sign_in(request.session)


def _texts(request: HttpRequest) -> Iterator[str]:
    """Yield every text of the request that a page may read, but for its query."""
    yield request.path_info
    yield from request.COOKIES.values()
    yield from _texts_in(request.POST)


def _texts_in(form: QueryDict) -> Iterator[str]:
    for name, values in form.lists():
        yield from (name, *values)
