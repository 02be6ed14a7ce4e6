"""Errors in Korean: the code never changes (docs/reference/wire.md, 2)."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis
from django.utils import translation

from dwp_project.gateway.errors import ErrorCode
from hitl.errors import (
    MayNotDecide,
    RequestCancelled,
    RequestExpired,
    RequestIdTaken,
    RequestNotFound,
    SessionNotFound,
)
from tests import factories
from tests.integration.calls import Api
from tests.integration.exchange import call
from tests.people import REQUESTER, Person

HANGUL = re.compile("[가-힣]")
KOREAN = {"Accept-Language": "ko"}


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.code)
def test_every_code_has_a_korean_message(code: ErrorCode) -> None:
    with translation.override("en"):
        english = str(code.message)
    with translation.override("ko"):
        korean = str(code.message)

    assert not HANGUL.search(english)
    assert HANGUL.search(korean)


@pytest.mark.parametrize(
    "error",
    [
        MayNotDecide,
        RequestCancelled,
        RequestExpired,
        RequestIdTaken,
        RequestNotFound,
        SessionNotFound,
    ],
)
def test_every_error_of_approvals_has_a_korean_message(error: type[MayNotDecide]) -> None:
    with translation.override("ko"):
        assert HANGUL.search(str(error().message))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "language", ["ko", "ko-KR", "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "fr,ko;q=0.5"]
)
def test_error_is_korean_for_whoever_prefers_it(api: Api, language: str) -> None:
    answer = api.get("/auth/me", headers={"Accept-Language": language})

    assert answer.refusal == (400, "E2006")
    assert HANGUL.search(answer.body["message"])


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["", "en", "fr", "en,ko;q=0.9", "nonsense", "*"])
def test_error_is_english_for_everybody_else(api: Api, language: str) -> None:
    answer = api.get("/auth/me", headers={"Accept-Language": language})

    assert answer.refusal == (400, "E2006")
    assert answer.body["message"].isascii()


@pytest.mark.django_db
def test_refusals_are_the_same_in_both_languages(api: Api) -> None:
    request = factories.opened()
    bystander = Person("bystander", "tenant1", "user")
    decision = f"/aura/hitl/approve/{request.request_id}"
    calls = [
        ("GET", "/no/such/path", None, b""),
        ("DELETE", "/auth/me", REQUESTER, b""),
        ("POST", decision, bystander, b""),
        ("POST", decision, REQUESTER, b"{"),
        ("POST", decision, REQUESTER, b" " * (256 * 1024 + 1)),
        ("GET", "/aura/hitl/requests/none", REQUESTER, b""),
        ("GET", "/aura/hitl/requests?status=none", REQUESTER, b""),
    ]

    for method, path, person, body in calls:
        english = api.send(method, path, person, body)
        korean = api.send(method, path, person, body, headers=KOREAN)
        assert english.refusal == korean.refusal
        assert english.body["message"].isascii()
        assert HANGUL.search(korean.body["message"]), path


@pytest.mark.django_db
@pytest.mark.parametrize(
    "sent", [{"message": "x" * 10_001}, {"timeoutSeconds": 0}, {"context": 1}, {"other": 1}]
)
def test_what_is_wrong_with_a_body_is_said_in_the_language_of_each_call(
    api: Api, sent: dict[str, Any]
) -> None:
    body = {"sessionId": "session-1", "actionType": "delete_mail", **sent}

    answers = [
        api.post("/aura/hitl/requests", REQUESTER, body, headers=headers)
        for headers in (None, KOREAN, None)
    ]

    english, korean, again = (answer.body["message"] for answer in answers)
    assert HANGUL.search(korean)
    assert not HANGUL.search(english)
    assert again == english


@pytest.mark.django_db
def test_successes_are_constant(api: Api) -> None:
    request = factories.opened()

    answer = api.post(f"/aura/hitl/approve/{request.request_id}", REQUESTER, headers=KOREAN)

    assert answer.body["message"] == "Request approved successfully"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("fresh_hub")
async def test_consumers_answer_in_korean_too(redis_client: redis.Redis) -> None:
    for path in ("/api/aura/test/stream", "/aura/hitl/requests/none/wait"):
        answer = await call("GET", path, REQUESTER, headers=KOREAN)
        assert HANGUL.search(answer.body["message"])
        english = await call("GET", path, REQUESTER)
        assert english.refusal == answer.refusal
        assert english.body["message"].isascii()
