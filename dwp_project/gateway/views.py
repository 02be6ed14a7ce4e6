"""The bases of DRF views and the error handlers: JSON, the envelope and its errors."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, ClassVar

from django.contrib.admin import site
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve, reverse
from django.utils.translation import gettext as _
from django.views import defaults
from rest_framework import status as http
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from dwp_project.gateway import envelope, lockout
from dwp_project.gateway.body import read_json
from dwp_project.gateway.errors import (
    DatabaseAway,
    DwpError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    TooManyAttempts,
)
from dwp_project.gateway.identity import Identity
from dwp_project.outages import DATABASE_AWAY

# The paths of pages for people; all others answer in the envelope.
PAGES = ("/admin/", "/static/")


class EnvelopeView(APIView):
    """A view that needs a token and a tenant and answers in the envelope."""

    def identity(self, request: Request) -> Identity:
        """Return who sends the request."""
        identity = request.user
        assert isinstance(identity, Identity)
        return identity

    def body(self, request: Request, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """Return the validated body; raise `ValidationFailed` or `BodyTooLarge`."""
        sent = read_json(request._request)
        try:
            return dict(_validator(serializer).run_validation(sent))
        except ValidationError:
            # One of its own says why: the fields keep their first text, in that one's language.
            checked = serializer(data=sent)
            checked.is_valid(raise_exception=True)
            return dict(checked.validated_data)

    def success(self, data: Any, message: str, status: int = http.HTTP_200_OK) -> Response:
        """Return the envelope of a successful answer."""
        return Response(envelope.success(data, message), status=status)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """Answer an OPTIONS that is not a CORS preflight."""
        return self.success(None, "OK")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # OPTIONS carries neither token nor tenant (wire.md, 1: preflight).
        if request.method != "OPTIONS":
            super().initial(request, *args, **kwargs)
        else:
            self.format_kwarg = None
            negotiated = self.perform_content_negotiation(request)
            request.accepted_renderer, request.accepted_media_type = negotiated


@cache
def _validator(serializer: type[Serializer[Any]]) -> Serializer[Any]:
    """Return the one serializer of its kind that validates bodies: to make one copies each field,
    which takes longer than to validate."""
    return serializer()


class PublicView(EnvelopeView):
    """A view without token or tenant; it ignores an `Authorization` header."""

    authentication_classes: ClassVar[list[Any]] = []  # type: ignore[misc]


class ConsumerView(EnvelopeView):
    """The entry in the URL table of a path whose GET or POST an ASGI consumer serves.

    The router passes those methods to the consumer, every other one to this view. The API
    description reads the path from here.
    """

    methods: ClassVar[tuple[str, ...]] = ("GET",)

    @property
    def allowed_methods(self) -> list[str]:
        return [*self.methods, "OPTIONS"]

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Refuse; exists for the API description, as `methods` never arrive here."""
        raise MethodNotAllowed

    post = get


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """Turn any exception of a DRF view into the envelope (`REST_FRAMEWORK`)."""
    error = envelope.as_error(exc)
    request: HttpRequest = context["request"]._request
    response = Response(envelope.failure(error, request), status=error.code.status)
    for name, value in envelope.error_headers(error).items():
        response[name] = value
    if isinstance(error, MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer Django's own 400 in the envelope, and pages with a page."""
    # Of another host no page is served.
    if request.path_info.startswith(PAGES) and not isinstance(exception, DisallowedHost):
        return HttpResponse(render_to_string("400.html", {}, request), status=400)
    return envelope.render_error(envelope.as_error(exception), request)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer Django's own 403 in the envelope; the pages keep Django's."""
    if request.path_info.startswith(PAGES):
        return defaults.permission_denied(request, exception)
    return envelope.render_error(Forbidden(), request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer Django's own 404 in the envelope; the pages keep Django's."""
    if request.path_info.startswith(PAGES):
        return defaults.page_not_found(request, exception)
    return envelope.render_error(NotFound(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer Django's own 500, which Django has logged already, in the envelope or as a page.

    It says so if the database is away.
    """
    # Django calls this while it handles the exception.
    is_away = isinstance(sys.exc_info()[1], DATABASE_AWAY)
    return unavailable(DatabaseAway() if is_away else DwpError(), request)


def too_many_attempts(
    request: HttpRequest, original_response: HttpResponse, credentials: Any = None
) -> HttpResponse:
    """Answer a locked sign-in (`AXES_LOCKOUT_CALLABLE`); the API's answer says so already."""
    seconds = lockout.seconds_locked(request)
    if seconds is None or not request.path_info.startswith(PAGES):
        return original_response
    error = TooManyAttempts(seconds)
    context = {"error": error, "site_header": site.site_header, "site_title": site.site_title}
    page = render_to_string("gateway/locked.html", context, request)
    headers = envelope.error_headers(error)
    return HttpResponse(page, status=error.code.status, headers=headers)


def unavailable(error: DwpError, request: HttpRequest) -> HttpResponse:
    """Answer that something is unavailable for now, in the envelope or as a page that leads back.

    The page is rendered without the request, whose session and user are in the database.
    """
    if not request.path_info.startswith(PAGES):
        return envelope.render_error(error, request)
    title, message = (
        _("Something went wrong"),
        _(
            "The server made an error, which is in its log. "
            "If it stays, tell whoever runs this server."
        ),
    )
    if isinstance(error, DatabaseAway):
        title, message = str(error.title), str(error.message)
    context = {
        "title": title,
        "message": message,
        "site_header": site.site_header,
        "is_sent": request.method not in ("GET", "HEAD"),
        # A connection may break while it commits.
        "is_uncertain": not isinstance(error, Overloaded),
        **_way_back(request),
    }
    page = render_to_string("gateway/unavailable.html", context)
    headers = envelope.error_headers(error)
    return HttpResponse(page, status=error.code.status, headers=headers)


def _way_back(request: HttpRequest) -> dict[str, Any]:
    """Return where a page leads back to: for a decision to what was decided on."""
    here: dict[str, Any] = {"back": request.get_full_path(), "back_to": "", "is_decision": False}
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return here
    query = request.GET.urlencode()
    after = f"?{query}" if query else ""
    if match.url_name == "hitl_approvalrequest_decide":
        page = reverse("admin:hitl_approvalrequest_change", args=[match.kwargs["pk"]])
        return {"back": f"{page}{after}", "back_to": "request", "is_decision": True}
    if match.url_name == "hitl_approvalrequest_many":
        page = reverse("admin:hitl_approvalrequest_inbox")
        return {"back": f"{page}{after}", "back_to": "inbox", "is_decision": True}
    return here
