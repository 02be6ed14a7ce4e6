"""The two envelopes in the API description (docs/reference/wire.md, 2)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import translation
from drf_spectacular.utils import OpenApiExample

from dwp_project.gateway import envelope
from dwp_project.gateway.errors import DwpError, ErrorCode
from dwp_project.gateway.openapi.components import Schema, component, member, record

# The time of every example.
TIMESTAMP = "2026-01-16T12:00:00.123456"


def in_english(text: object) -> str:
    """Return `text`, lazy or not, in the document's language, whatever is active meanwhile."""
    with translation.override("en"):
        return str(text)


def plain(text: str) -> str:
    """Return Markdown that reads as `text`: `<token>` is not an HTML tag."""
    return text.replace("<", "\\<")


ERROR_CODE = component(
    "ErrorCode",
    {
        "type": "string",
        "enum": [code.code for code in ErrorCode],
        "description": "What went wrong. A code never changes; the message beside it is for "
        "people and follows `Accept-Language`.\n\n"
        "| code | HTTP | default message |\n| --- | --- | --- |\n"
        + "\n".join(
            f"| {code.code} | {code.status} | {plain(in_english(code.message))} |"
            for code in ErrorCode
        ),
    },
)
_TIMESTAMP = member(
    "string",
    "When the answer was made: ISO-8601 local date-time of the server, without offset.",
    pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$",
    example=TIMESTAMP,
)
ENVELOPE = component(
    "Envelope",
    record(
        {
            "status": {"type": "string", "enum": ["SUCCESS"]},
            "message": member("string", "What was done. These sentences never change."),
            "data": {"description": "What was asked for; left out where there is nothing."},
            "success": {"type": "boolean", "enum": [True]},
            "timestamp": _TIMESTAMP,
        },
        optional=["data"],
        description="Around every answer that worked.",
    ),
)
ERROR_ENVELOPE = component(
    "ErrorEnvelope",
    record(
        {
            "status": {"type": "string", "enum": ["ERROR"]},
            "message": member("string", "What went wrong and what to do next, for people."),
            "errorCode": ERROR_CODE,
            "success": {"type": "boolean", "enum": [False]},
            "timestamp": _TIMESTAMP,
            "traceId": member("string", "The request's `X-Trace-Id`, if it had one."),
            "gatewayRequestId": member(
                "string", "The request's `X-Gateway-Request-Id`, if it had one."
            ),
        },
        optional=["traceId", "gatewayRequestId"],
        description="Around every error.",
    ),
)


def enveloped(data: Schema | None = None) -> Schema:
    """Return the schema of the envelope around `data`, or around nothing."""
    return {"allOf": [ENVELOPE, record({"data": data})]} if data else ENVELOPE


def example(name: str, message: str, data: Any = None) -> OpenApiExample:
    """Return an answer that worked, in the envelope that `gateway.envelope` makes."""
    return OpenApiExample(name, {**envelope.success(data, message), "timestamp": TIMESTAMP})


def error_example(name: str, error: DwpError) -> OpenApiExample:
    """Return an error in the envelope that `gateway.envelope` makes."""
    with translation.override("en"):
        sent = envelope.failure(error, HttpRequest())
    return OpenApiExample(name, {**sent, "timestamp": TIMESTAMP})
