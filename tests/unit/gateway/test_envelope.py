"""The envelope and the table of codes (docs/reference/wire.md, 2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import (
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import DataError, InterfaceError, InternalError, OperationalError
from django.http import Http404
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import Settings
from rest_framework import exceptions as drf

from dwp_project.gateway import envelope, errors
from dwp_project.gateway.errors import DwpError, ErrorCode
from hitl import errors as hitl_errors

# The table of wire.md, 2, row by row.
CODES = {
    "E1000": 500,
    "E1001": 400,
    "E1002": 405,
    "E1004": 404,
    "E2000": 401,
    "E2001": 403,
    "E2002": 401,
    "E2003": 401,
    "E2004": 401,
    "E2006": 400,
    "E2007": 403,
    "E3002": 410,
    "E3006": 409,
    "E3007": 422,
    "E3008": 422,
    "E4000": 400,
    "E4130": 413,
    "E4290": 429,
    "E5001": 504,
    "E5003": 503,
}


@pytest.mark.parametrize("code", CODES)
def test_code_has_the_status_of_the_table(code: str) -> None:
    [row] = [row for row in ErrorCode if row.code == code]

    assert row.status == CODES[code]


def test_codes_are_those_of_the_table_and_no_others() -> None:
    assert {row.code for row in ErrorCode} == CODES.keys()
    assert len(ErrorCode) == len(CODES)


def test_success_has_these_members_in_this_order() -> None:
    body = envelope.success({"a": None}, "Done")

    assert list(body) == ["status", "message", "data", "success", "timestamp"]
    assert (body["status"], body["message"], body["success"]) == ("SUCCESS", "Done", True)
    assert body["data"] == {"a": None}


@pytest.mark.parametrize("data", [[], {}, "", 0, False])
def test_success_keeps_data_that_is_merely_empty(data: Any) -> None:
    assert envelope.success(data, "Done")["data"] == data


def test_success_leaves_out_what_is_null() -> None:
    assert list(envelope.success(None, "Done")) == ["status", "message", "success", "timestamp"]


def failure(error: DwpError, **headers: str) -> dict[str, Any]:
    return envelope.failure(error, RequestFactory().get("/", headers=headers))


def test_failure_has_these_members_in_this_order() -> None:
    body = failure(errors.NotFound())

    assert list(body) == ["status", "message", "errorCode", "success", "timestamp"]
    assert (body["status"], body["errorCode"], body["success"]) == ("ERROR", "E1004", False)


def test_failure_says_what_the_error_says() -> None:
    assert failure(errors.NotFound("No such mailbox."))["message"] == "No such mailbox."
    assert failure(errors.NotFound())["message"] == "Not found."


def test_failure_echoes_trace_ids() -> None:
    body = failure(errors.NotFound(), **{"X-Trace-Id": "t", "X-Gateway-Request-Id": "g"})

    assert list(body)[-2:] == ["traceId", "gatewayRequestId"]
    assert (body["traceId"], body["gatewayRequestId"]) == ("t", "g")
    assert "traceId" not in failure(errors.NotFound(), **{"X-Trace-Id": ""})


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul"])
def test_timestamp_is_local_without_an_offset(settings: Settings, zone: str) -> None:
    settings.TIME_ZONE = zone
    with timezone.override(zone):
        text = envelope.local_timestamp()
        moment = timezone.make_aware(datetime.fromisoformat(text))

    assert len(text) == len("2026-01-16T12:00:00.123456")
    assert datetime.fromisoformat(text).tzinfo is None
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)


def test_rendered_answer_is_exactly_json() -> None:
    response = envelope.render({"message": "가"}, 418)

    assert (response.status_code, response["Content-Type"]) == (418, "application/json")
    assert response.content == '{"message":"가"}'.encode()


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.AuthenticationRequired(), {"WWW-Authenticate": "Bearer"}),
        (errors.TokenExpired(), {"WWW-Authenticate": "Bearer"}),
        (errors.TokenInvalid(), {"WWW-Authenticate": "Bearer"}),
        (errors.WrongCredentials(), {"WWW-Authenticate": "Bearer"}),
        (errors.DatabaseAway(), {"Retry-After": "1"}),
        (errors.Forbidden(), {}),
    ],
)
def test_error_has_the_headers_that_http_wants(error: DwpError, headers: dict[str, str]) -> None:
    response = envelope.render_error(error, RequestFactory().get("/"))

    assert response.status_code == error.code.status
    assert json.loads(response.content)["errorCode"] == error.code.code
    assert {name: response[name] for name in headers} == headers
    for name in ("WWW-Authenticate", "Retry-After"):
        assert (name in response) == (name in headers)


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (errors.Gone(), "E3002"),
        (hitl_errors.RequestExpired(), "E3002"),
        (hitl_errors.RequestCancelled(), "E3002"),
        (hitl_errors.RequestNotFound(), "E1004"),
        (hitl_errors.SessionNotFound(), "E1004"),
        (hitl_errors.MayNotDecide(), "E2001"),
        (hitl_errors.RequestIdTaken(), "E3006"),
        (errors.UserMismatch(), "E2001"),
        (Http404(), "E1004"),
        (drf.NotFound(), "E1004"),
        (drf.MethodNotAllowed("PUT"), "E1002"),
        (PermissionDenied(), "E2001"),
        (drf.PermissionDenied(), "E2001"),
        (drf.NotAuthenticated(), "E2000"),
        (drf.AuthenticationFailed(), "E2000"),
        (drf.ValidationError("x"), "E4000"),
        (drf.ParseError(), "E4000"),
        (RequestDataTooBig(), "E4130"),
        (SuspiciousOperation(), "E1001"),
        (DisallowedHost(), "E1001"),
        (OperationalError("connection refused"), "E5003"),
        (InterfaceError("closed"), "E5003"),
        (InternalError("idle-in-transaction timeout"), "E5003"),
        (DataError("nobody foresaw"), "E1000"),
        (ValueError("nobody foresaw"), "E1000"),
        (RecursionError(), "E1000"),
    ],
    ids=lambda part: (
        f"{type(part).__module__}.{type(part).__name__}" if isinstance(part, Exception) else part
    ),
)
def test_exception_becomes_the_error_that_clients_know(exc: Exception, code: str) -> None:
    error = envelope.as_error(exc)

    assert error.code.code == code
    assert "nobody foresaw" not in str(error.message)
    assert "refused" not in str(error.message)


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("wrong", "wrong"),
        (["first", "second"], "first"),
        ({"a": ["wrong"]}, "a: wrong"),
        ({"a": {"b": ["wrong"]}, "c": ["too"]}, "a: b: wrong"),
        ({"non_field_errors": ["wrong"]}, "wrong"),
    ],
)
def test_validation_names_the_first_member_that_failed(detail: Any, message: str) -> None:
    assert str(envelope.as_error(drf.ValidationError(detail)).message) == message
