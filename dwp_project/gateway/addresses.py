"""The address that an HTTP request came from."""

from __future__ import annotations

from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the client's address; empty if it is unknown, as behind a Unix socket."""
    return request.META.get("REMOTE_ADDR") or ""
