"""What the OpenAPI document promises: all paths, all errors, and examples that are true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import translation
from inflection import camelize

from dwp_project.gateway.documentation import _generated, document
from dwp_project.gateway.errors import ErrorCode
from dwp_project.gateway.views import ConsumerView
from hitl.api import urls as hitl_urls
from streaming import urls as streaming_urls
from tests import described
from tests.described import METHODS, Operation

# What people look at; everything else in the URL table is the API.
PAGES = ("admin", "docs/", "static/")
CONTENTS = [
    pytest.param(operation, status, content, id=f"{operation} {status} {media_type}")
    for operation in described.operations()
    for status, media_type, content in operation.contents()
]
CONSUMED = {
    "/" + route: set(methods)
    for route, methods, _ in [*hitl_urls.consumers, *streaming_urls.consumers]
}


def _patterns(resolver: URLResolver, before: str = "/") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        path = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _patterns(entry, path)
        else:
            yield path, entry


def _served(path: str, pattern: URLPattern) -> set[str]:
    """Return the methods that the path has, as the code and not the description knows them."""
    view: Any = getattr(pattern.callback, "cls", None) or getattr(
        pattern.callback, "view_class", None
    )
    assert view is not None, f"{path} is no class-based view"
    if issubclass(view, ConsumerView):
        return CONSUMED[path]
    return {method.upper() for method in METHODS if hasattr(view, method)}


def _as_described(path: str) -> str:
    parts = (
        f"{{{camelize(part[1:-1].partition(':')[2], uppercase_first_letter=False)}}}"
        if part[0:1] == "<"
        else part
        for part in path.split("/")
    )
    return "/".join(parts)


def test_document_is_valid_and_made_without_a_warning() -> None:
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO())


def test_document_has_every_path_of_the_url_table_with_its_methods() -> None:
    table = {
        _as_described(path): _served(path, pattern)
        for path, pattern in _patterns(get_resolver())
        # A monitor knows /metrics from its own configuration.
        if path not in {"/", "/metrics"} and not path.removeprefix("/").startswith(PAGES)
    }

    methods: dict[str, set[str]] = {}
    for operation in described.operations():
        methods.setdefault(operation.path, set()).add(operation.method.upper())

    assert methods == table


def test_document_has_the_paths_of_the_wire() -> None:
    """The URL table could lose a path, and the document with it."""
    operations = {str(operation) for operation in described.operations()}

    assert operations >= {
        "POST /auth/login",
        "GET /auth/me",
        "POST /aura/hitl/approve/{requestId}",
        "POST /aura/hitl/reject/{requestId}",
        "GET /aura/hitl/requests/{requestId}",
        "GET /aura/hitl/requests/{requestId}/wait",
        "GET /aura/hitl/signals/{sessionId}",
        "GET /aura/test/stream",
        "POST /aura/test/stream",
        "POST /agent/chat-stream",
        "GET /health",
    }


@pytest.mark.parametrize("operation", described.operations(), ids=str)
def test_operation_tells_what_it_is_for(operation: Operation) -> None:
    tags = {tag["name"] for tag in document()["tags"]}

    assert operation.fields["summary"]
    assert operation.fields["description"]
    assert set(operation.fields["tags"]) <= tags
    for parameter in operation.fields.get("parameters", []):
        assert parameter["description"], parameter["name"]
    for status, response in operation.fields["responses"].items():
        assert response["description"], status


@pytest.mark.parametrize(("operation", "status", "content"), CONTENTS)
def test_examples_are_as_their_schema_says(
    operation: Operation, status: str, content: dict[str, Any]
) -> None:
    if (operation.path, status) == ("/schema/", "200"):
        return  # the document shows no copy of itself
    assert content["examples"], f"{operation} {status} has no example"
    for example in content["examples"].values():
        described.check(example["value"], content["schema"])


@pytest.mark.parametrize("operation", described.operations(), ids=str)
def test_every_error_code_stands_under_its_own_status(operation: Operation) -> None:
    statuses = {code.code: code.status for code in ErrorCode}

    for status, _, content in operation.contents():
        for example in content.get("examples", {}).values():
            if isinstance(example["value"], dict) and "errorCode" in example["value"]:
                code = example["value"]["errorCode"]
                assert statuses[code] == int(status)
                assert f"`{code}`" in operation.fields["responses"][status]["description"]


def test_every_error_code_is_some_operations() -> None:
    shown = {
        example["value"]["errorCode"]
        for operation in described.operations()
        for _, _, content in operation.contents()
        for example in content.get("examples", {}).values()
        if isinstance(example["value"], dict) and "errorCode" in example["value"]
    }

    assert shown == {code.code for code in ErrorCode}
    assert described.component("ErrorCode")["enum"] == [code.code for code in ErrorCode]


@pytest.mark.parametrize("operation", described.operations(), ids=str)
def test_operation_wants_a_token_or_says_nothing_of_one(operation: Operation) -> None:
    codes = {
        example["errorCode"]
        for status in ("400", "401", "403")
        if status in operation.fields["responses"]
        for example in operation.examples(status)
    }
    identity = {"E2006", "E2000", "E2002", "E2003", "E2007"}

    if operation.fields.get("security"):
        assert operation.fields["security"] == [{"bearerToken": [], "tenant": []}]
        assert operation.parameters["X-Tenant-ID"]["required"]
        assert identity <= codes
    else:
        assert not identity & codes


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decision_made_before_is_a_409_that_says_success(verb: str) -> None:
    envelopes = described.operation("post", f"/aura/hitl/{verb}/{{requestId}}").examples(409)

    successes = [envelope for envelope in envelopes if "errorCode" not in envelope]
    for envelope in successes:
        assert (envelope["status"], envelope["success"]) == ("SUCCESS", True)
        assert envelope["message"] == "Request was already processed (idempotent)"
    assert {envelope["data"]["status"] for envelope in successes} == {"approved", "rejected"}
    # The other 409 comes only to who says what they were shown.
    assert [envelope["errorCode"] for envelope in envelopes if envelope not in successes] == [
        "E3006"
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/aura/hitl/requests/{requestId}", "ApprovalRequest"),
        ("/aura/hitl/signals/{sessionId}", "Signal"),
    ],
)
def test_data_that_is_a_json_string_holds_what_it_says(path: str, name: str) -> None:
    texts = [
        envelope["data"]
        for envelope in described.operation("get", path).examples(200)
        if "data" in envelope
    ]

    assert texts
    for text in texts:
        assert isinstance(text, str)
        described.check(json.loads(text), described.component(name))


@pytest.mark.parametrize("name", ["ApprovalBody", "RejectionBody", "DecisionBody", "OpeningBody"])
def test_body_that_takes_no_other_member_says_so(name: str) -> None:
    schema = described.component(name)

    assert schema["additionalProperties"] is False
    assert ("comment" in schema["properties"]) == (name == "ApprovalBody")
    assert "additionalProperties" not in described.component("PromptBody")


def test_document_is_in_english_whatever_the_reader_speaks() -> None:
    _generated.cache_clear()
    with translation.override("ko"):
        korean = document()
    _generated.cache_clear()

    assert korean == document()
