"""Input that no client should send, on the approvals API (docs/reference/wire.md, 3)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from hitl.models import ApprovalRequest
from tests import factories
from tests.integration.calls import Api
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db

ODD_IDS = {
    "climbing": "../x",
    "300 characters": "x" * 300,
    "129 characters": "x" * 129,
    "NUL": "a\x00b",
    "emoji": "🙂",
    "hangul": "요청",
    "space": "a b",
    "line feed": "abc\n",
    "percent": "a%2Fb",
    "quote": "a'b",
    "semicolon": "a;b",
}
odd_id = pytest.mark.parametrize("odd", ODD_IDS.values(), ids=ODD_IDS.keys())


@odd_id
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/aura/hitl/requests/{}"),
        ("POST", "/aura/hitl/approve/{}"),
        ("POST", "/aura/hitl/reject/{}"),
        ("POST", "/aura/hitl/requests/{}/cancel"),
        ("POST", "/aura/sessions/{}/cancel"),
    ],
)
def test_odd_id_in_a_path_is_not_found(api: Api, method: str, path: str, odd: str) -> None:
    answer = api.send(method, path.format(quote(odd, safe="")), REQUESTER)

    assert answer.refusal == (404, "E1004")


@pytest.mark.parametrize("odd", ["a\x00b", "abc\n", "a\x7f", "a\x85", "x" * 513, "홍" * 171])
def test_session_that_cannot_be_has_no_signals(api: Api, odd: str) -> None:
    answer = api.get(f"/aura/hitl/signals/{quote(odd, safe='')}", REQUESTER)

    assert answer.refusal == (404, "E1004")


@odd_id
@pytest.mark.parametrize("member", ["requestId", "sessionId"])
def test_odd_id_in_a_body_fails_validation(api: Api, member: str, odd: str) -> None:
    body = {"sessionId": "s1", "actionType": "x", member: odd}

    answer = api.post("/aura/hitl/requests", REQUESTER, body)

    assert answer.refusal == (400, "E4000")
    assert answer.body["message"].startswith(f"{member}: ")


@pytest.mark.parametrize("fine", ["x", "x" * 128, "a.B_c:d~e@f-1", "hitl-1", "..", "-"])
def test_id_of_allowed_characters_is_taken_and_found(api: Api, fine: str) -> None:
    body = {"requestId": fine, "sessionId": fine, "actionType": "x"}

    assert api.post("/aura/hitl/requests", REQUESTER, body).status == 201
    # Two dots cannot be a path's last part: clients resolve them before they send it.
    if fine != "..":
        assert api.get(f"/aura/hitl/requests/{quote(fine)}", REQUESTER).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"{",
        b"[]",
        b'"text"',
        b"12",
        b"null",
        b"userId=user123",
        b"\xff\xfe{\x00}\x00",
        b'{"userId":"user123"} x',
        b'{"userId":"user123","userId":"user123"}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"userId":"\\u0000"}',
        b'{"userId":{"a":1}}',
        b'{"userId":["user123"]}',
        b'{"userId":true}',
    ],
    ids=repr,
)
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_body_that_is_no_usable_object_fails_validation(api: Api, verb: str, body: bytes) -> None:
    request = factories.opened()

    answer = api.post(f"/aura/hitl/{verb}/{request.request_id}", REQUESTER, body)

    assert answer.refusal == (400, "E4000")
    request.refresh_from_db()
    assert request.status == "pending"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_is_read_as_json_whatever_its_type(api: Api, kind: str) -> None:
    request = factories.opened()
    headers = {"Content-Type": kind}

    answer = api.post(
        f"/aura/hitl/reject/{request.request_id}", REQUESTER, {"reason": "no"}, headers=headers
    )

    assert answer.data["reason"] == "no"


def test_reason_of_a_megabyte_is_too_large(api: Api) -> None:
    request = factories.opened()

    answer = api.post(
        f"/aura/hitl/reject/{request.request_id}", REQUESTER, {"reason": "x" * 1024 * 1024}
    )

    assert answer.refusal == (413, "E4130")


@pytest.mark.parametrize("reason", ["x" * 10_001, "a\x00b", 1.5e3, ["x"], {"a": "b"}, True])
def test_reason_that_cannot_be_kept_fails_validation(api: Api, reason: Any) -> None:
    request = factories.opened()
    answer = api.post(f"/aura/hitl/reject/{request.request_id}", REQUESTER, {"reason": reason})

    if isinstance(reason, float):
        assert answer.status == 200  # numbers are text enough
    else:
        assert answer.refusal == (400, "E4000")


def test_reason_may_be_long_korean_and_lines(api: Api) -> None:
    request = factories.opened()
    reason = "아직 아닙니다\n🙂 " * 900 + "끝"

    answer = api.post(f"/aura/hitl/reject/{request.request_id}", REQUESTER, {"reason": reason})

    assert answer.data["reason"] == reason


def nested(depth: int) -> bytes:
    context = b'{"a":' * depth + b"1" + b"}" * depth
    return b'{"sessionId":"s1","actionType":"x","context":' + context + b"}"


@pytest.mark.parametrize("depth", [64, 1_000, 40_000])
def test_context_nested_too_deep_fails_validation(api: Api, depth: int) -> None:
    answer = api.post("/aura/hitl/requests", REQUESTER, nested(depth))

    assert answer.refusal == (400, "E4000")
    assert not ApprovalRequest.objects.exists()


def test_context_nested_63_deep_is_taken_and_read_back(api: Api) -> None:
    opened = api.post("/aura/hitl/requests", REQUESTER, nested(63))

    assert opened.status == 201
    read = api.get(f"/aura/hitl/requests/{opened.data['requestId']}", REQUESTER)
    assert json.loads(read.data)["context"] == opened.data["context"]


@pytest.mark.parametrize(
    "change",
    [
        {"sessionId": None},
        {"actionType": None},
        {"actionType": ""},
        {"actionType": "  "},
        {"actionType": "x" * 129},
        {"actionType": "a\nb"},
        {"actionType": "a\x00"},
        {"message": "x" * 10_001},
        {"message": "\x00"},
        {"message": {"a": 1}},
        {"context": []},
        {"context": "{}"},
        {"context": 1},
        {"timeoutSeconds": 0},
        {"timeoutSeconds": -1},
        {"timeoutSeconds": 10**30},
        {"timeoutSeconds": 1.5},
        {"timeoutSeconds": True},
        {"timeoutSeconds": "soon"},
        {"timeoutSeconds": []},
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_opening_with_an_unusable_member_fails_validation(api: Api, change: dict[str, Any]) -> None:
    body = {"sessionId": "s1", "actionType": "x", **change}

    answer = api.post("/aura/hitl/requests", REQUESTER, body)

    assert answer.refusal == (400, "E4000")
    assert answer.body["message"].startswith(f"{next(iter(change))}: ")
    assert not ApprovalRequest.objects.exists()


@pytest.mark.parametrize("missing", ["sessionId", "actionType"])
def test_opening_without_a_required_member_fails_validation(api: Api, missing: str) -> None:
    body = {"sessionId": "s1", "actionType": "x"}
    del body[missing]

    assert api.post("/aura/hitl/requests", REQUESTER, body).refusal == (400, "E4000")


def test_body_of_exactly_the_cap_is_taken(api: Api) -> None:
    request = factories.opened()
    body = b'{"reason":"no"}'.ljust(256 * 1024)

    assert api.post(f"/aura/hitl/reject/{request.request_id}", REQUESTER, body).status == 200


def test_body_over_the_cap_is_refused_where_none_is_read(api: Api) -> None:
    answer = api.post("/aura/sessions/session_1/cancel", REQUESTER, b" " * (256 * 1024 + 1))

    assert answer.refusal == (413, "E4130")
