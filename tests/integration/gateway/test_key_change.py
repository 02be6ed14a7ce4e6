"""Operators stay signed in while `DJANGO_SECRET_KEY` changes (docs/how-to/deploy.md)."""

from __future__ import annotations

from io import BytesIO

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.handlers.asgi import ASGIRequest
from django.test import Client
from pytest_django import Settings

from dwp_project.gateway.operators import Operator, signed_in
from tests.integration.watching import cookie

pytestmark = pytest.mark.django_db

INBOX = "/admin/hitl/approvalrequest/inbox/"
OLD, NEW = "the-key-of-yesterday-0123456789abcdef", "the-key-of-tomorrow-0123456789abcdef"


@pytest.fixture
def desk(settings: Settings) -> str:
    """Return the cookie of an operator who signed in under the old key."""
    settings.SECRET_KEY = OLD
    return cookie()["Cookie"]


def change(settings: Settings, key: str, *fallbacks: str) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(fallbacks)


def page(desk: str) -> int:
    """Return the status of a page; each call is another tab's, with the cookie as it was."""
    return Client(headers={"Cookie": desk}).get(INBOX).status_code


def live(desk: str) -> Operator | None:
    """Return who an open live stream belongs to; a stream cannot set a cookie."""
    headers = [(b"cookie", desk.encode())]
    scope = {"type": "http", "method": "GET", "path": INBOX, "headers": headers}
    return signed_in(ASGIRequest(scope, BytesIO()))


def test_every_tab_and_live_stream_stays_signed_in(desk: str, settings: Settings) -> None:
    change(settings, NEW, OLD)
    assert live(desk) is not None
    assert [page(desk), page(desk)] == [200, 200]
    assert live(desk) is not None
    assert Session.objects.count() == 1


def test_processes_with_either_key_accept_each_other(desk: str, settings: Settings) -> None:
    for _ in range(2):
        change(settings, NEW, OLD)
        assert page(desk) == 200
        change(settings, OLD, NEW)
        assert page(desk) == 200


def test_session_that_was_used_outlives_the_old_key(desk: str, settings: Settings) -> None:
    change(settings, NEW, OLD)
    assert page(desk) == 200
    change(settings, NEW)
    assert page(desk) == 200
    assert live(desk) is not None


def test_session_of_a_key_that_was_dropped_has_ended(desk: str, settings: Settings) -> None:
    change(settings, NEW)
    assert live(desk) is None
    assert page(desk) == 302


def test_new_password_ends_sessions_whatever_key_vouched_for_them(
    desk: str, settings: Settings
) -> None:
    change(settings, NEW, OLD)
    user = User.objects.get(username="desk")
    user.set_password("another one")
    user.save()
    assert live(desk) is None
    assert page(desk) == 302


def test_account_that_is_gone_is_signed_out(desk: str, settings: Settings) -> None:
    change(settings, NEW, OLD)
    User.objects.all().delete()
    assert page(desk) == 302
