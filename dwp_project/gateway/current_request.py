"""The request that is being answered, for receivers of signals that do not get it."""

from __future__ import annotations

from contextvars import ContextVar

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def current_request() -> HttpRequest | None:
    """Return the request of a page or view that is being answered; None in a command."""
    return _request.get()


class RememberRequest(MiddlewareMixin):
    """Sets what `current_request` returns while a request is answered."""

    def process_request(self, request: HttpRequest) -> None:
        """Remember the request."""
        _request.set(request)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Forget the request: the thread goes on to other work."""
        _request.set(None)
        return response
