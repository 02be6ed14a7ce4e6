"""The envelope around every answer, Django's own errors included (wire.md, 2)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.urls import path
from pytest_django import Settings
from rest_framework.request import Request
from rest_framework.response import Response

from dwp_project import urls
from dwp_project.gateway.views import PublicView
from tests import factories
from tests.integration.calls import Api
from tests.integration.outages import no_database
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db


def _broken(request: HttpRequest, kind: str) -> HttpResponse:
    raise {"403": PermissionDenied, "400": SuspiciousOperation}.get(kind, RuntimeError)


class _BrokenView(PublicView):
    def get(self, request: Request) -> Response:
        raise RuntimeError("nobody foresaw this")


# The project's own URL table, with views that break.
urlpatterns = [
    path("broken/drf", _BrokenView.as_view()),
    path("broken/<str:kind>", _broken),
    *urls.urlpatterns,
]
handler400 = urls.handler400
handler403 = urls.handler403
handler404 = urls.handler404
handler500 = urls.handler500


@pytest.fixture
def broken_urls(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def test_error_has_exactly_the_members_of_the_envelope(api: Api) -> None:
    answer = api.get("/no/such/path")

    body = answer.body
    assert list(body) == ["status", "message", "errorCode", "success", "timestamp"]
    assert (body["status"], body["errorCode"], body["success"]) == ("ERROR", "E1004", False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", body["timestamp"])


def test_success_has_exactly_the_members_of_the_envelope(api: Api) -> None:
    body = api.get("/auth/idp").body

    assert list(body) == ["status", "message", "data", "success", "timestamp"]
    assert (body["status"], body["success"]) == ("SUCCESS", True)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/auth/idp"),
        ("GET", "/no/such/path"),
        ("GET", "/auth/me"),
        ("DELETE", "/auth/idp"),
        ("GET", "/broken/500"),
        ("GET", "/broken/drf"),
    ],
)
def test_content_type_is_exactly_json(api: Api, broken_urls: None, method: str, url: str) -> None:
    for accepted in ("text/html", "application/xml", "*/*", "nonsense"):
        answer = api.send(method, url, headers={"Accept": accepted})
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("/broken/400", (400, "E1001")),
        ("/broken/403", (403, "E2001")),
        ("/broken/404/x", (404, "E1004")),
        ("/broken/500", (500, "E1000")),
        ("/broken/drf", (500, "E1000")),
    ],
)
def test_djangos_own_errors_are_in_the_envelope(
    api: Api, broken_urls: None, url: str, refusal: tuple[int, str]
) -> None:
    answer = api.get(url)

    assert answer.refusal == refusal
    assert b"nobody foresaw" not in answer.content


def test_pages_under_an_unknown_host_are_refused_and_say_what_to_set(api: Api) -> None:
    answer = api.get("/admin/login/", headers={"Host": "elsewhere"})

    assert answer.refusal == (400, "E1001")
    assert b"ALLOWED_HOSTS" in answer.content


def test_api_answers_under_any_host(api: Api) -> None:
    for url in ("/health", "/auth/idp"):
        assert api.get(url, headers={"Host": "10.0.0.7"}).status == 200


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/auth/login"),
        ("POST", "/auth/policy"),
        ("DELETE", "/aura/hitl/requests"),
        ("PUT", "/aura/hitl/approve/req_1"),
        ("PATCH", "/aura/hitl/requests/req_1"),
        ("PUT", "/aura/test/stream"),
        ("DELETE", "/agent/chat-stream"),
        ("POST", "/aura/sessions/s/stream"),
        ("POST", "/aura/hitl/requests/req_1/wait"),
    ],
)
def test_wrong_method_is_refused_and_told_the_right_one(api: Api, method: str, url: str) -> None:
    answer = api.send(method, url, REQUESTER)

    assert answer.refusal == (405, "E1002")
    allowed = answer.headers["allow"].split(", ")
    assert "OPTIONS" in allowed
    assert method not in allowed


def test_trace_ids_are_echoed_in_errors(api: Api) -> None:
    headers = {"X-Trace-Id": "trace-1", "X-Gateway-Request-Id": "gate-1"}

    for url in ("/no/such/path", "/auth/me"):
        body = api.get(url, headers=headers).body
        assert (body["traceId"], body["gatewayRequestId"]) == ("trace-1", "gate-1")


def test_trace_ids_are_cut_to_200_characters(api: Api) -> None:
    body = api.get("/auth/me", headers={"X-Trace-Id": "x" * 5000}).body

    assert body["traceId"] == "x" * 200
    assert "gatewayRequestId" not in body


def test_korean_is_sent_as_it_is(api: Api) -> None:
    request = factories.opened()

    answer = api.post(f"/aura/hitl/reject/{request.request_id}", REQUESTER, {"reason": "아니요"})

    assert "아니요".encode() in answer.content


@pytest.mark.django_db(transaction=True)
def test_database_that_is_away_is_told_with_a_time_to_try_again(api: Api) -> None:
    request = factories.opened()
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"/aura/hitl/requests/{request.request_id}", b""),
        ("GET", "/aura/hitl/requests", b""),
        ("POST", f"/aura/hitl/approve/{request.request_id}", b""),
        ("POST", "/auth/login", {"username": "a", "password": "b", "tenantId": "c"}),
    ]

    with no_database():
        answers = [api.send(method, url, REQUESTER, body) for method, url, body in calls]

    for answer in answers:
        assert answer.refusal == (503, "E5003")
        assert answer.headers["retry-after"] == "1"
    assert api.get(calls[0][1], REQUESTER).status == 200
