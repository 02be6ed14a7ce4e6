"""A client of the REST API, and what it is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.test.client import ClientHandler

from tests.people import Person


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer: status, headers by lower-case name, and the body's bytes."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The envelope."""
        members = json.loads(self.content)
        assert isinstance(members, dict)
        return members

    @property
    def data(self) -> Any:
        """The envelope's `data`."""
        return self.body["data"]

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and error code of an error's envelope."""
        body = self.body
        assert (body["status"], body["success"]) == ("ERROR", False)
        return self.status, body["errorCode"]

    @property
    def facts(self) -> tuple[int, dict[str, Any], dict[str, str]]:
        """All that two answers to indistinguishable questions must have in common."""
        body = self.body
        body.pop("timestamp")
        return self.status, body, dict(self.headers)


class Api:
    """Calls the URL table as browsers and services do: JSON in, cookies and CSRF as they are."""

    def __init__(self) -> None:
        self._client = Client(raise_request_exception=False)
        self._client.handler = handler_with_csrf_checks()

    def get(
        self, path: str, by: Person | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """GET `path` as `by`."""
        return self.send("GET", path, by, headers=headers)

    def post(
        self,
        path: str,
        by: Person | None = None,
        body: Any = b"",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST `body`, bytes as they are and anything else as JSON, to `path` as `by`."""
        return self.send("POST", path, by, body, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        by: Person | None = None,
        body: Any = b"",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send any method; `headers` win over those of the person."""
        sent = {**(by.headers if by else {}), **(headers or {})}
        response = self._client.generic(
            method,
            path,
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            content_type="application/json",
            headers=sent,
        )
        return Answer(
            response.status_code,
            {name.lower(): value for name, value in response.items()},
            response.content,
        )


def browser(user: User | None = None, **defaults: Any) -> Client:
    """Return a browser in which `user` is signed in; pages' forms send their tokens."""
    client = Client(**defaults)
    client.handler = handler_without_csrf_checks()
    if user is not None:
        client.force_login(user)
    return client


# Middleware is loaded once: it looks for every static file when it is.
@cache
def handler_with_csrf_checks() -> ClientHandler:
    """Return the handler of clients that are no browsers."""
    return _loaded(ClientHandler(enforce_csrf_checks=True))


@cache
def handler_without_csrf_checks() -> ClientHandler:
    """Return the handler of browsers that send the token of every form."""
    return _loaded(ClientHandler(enforce_csrf_checks=False))


def _loaded(handler: ClientHandler) -> ClientHandler:
    handler.load_middleware()
    return handler
