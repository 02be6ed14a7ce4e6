"""The request that is being answered, for code that is told of a change and not by whom."""

from __future__ import annotations

from contextvars import ContextVar

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def current_request() -> HttpRequest | None:
    """Return the request of a page or view that is being answered; None in a command."""
    return _request.get()


class RememberRequest(MiddlewareMixin):
    """Lets `current_request` tell the request while it is answered."""

    def process_request(self, request: HttpRequest) -> None:
        """Begin."""
        _request.set(request)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """End: a thread answers another request after this one, or runs something else."""
        _request.set(None)
        return response
