"""NUL in what is sent to pages, API and consumers is no failure: PostgreSQL takes it in no text.

Every path is tried that the site's own tables of URLs name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from dwp_project.offload import run_sync
from tests import factories
from tests.integration import foreign
from tests.integration.calls import Api, browser
from tests.integration.exchange import Exchange
from tests.integration.foreign import Foreign, Place
from tests.people import TENANT, Person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]

# What Django's lists read besides the filters of `foreign.queries`, and filters by date.
LIST_NAMES = ("q", "o", "p", "e", "all", "_facets", "_popup", "_to_field", "_changelist_filters")
DATES = ("created_at__gte", "created_at__year", "at__day", "from", "to", "before", "after")
# Behind percent signs: NUL, text around one, and half a surrogate pair.
ODD = ("%00", "a%00b", "%ED%A0%80")
# Where Django logs that something suspicious was sent.
LOGGERS = (
    "django.security.DisallowedModelAdminLookup",
    "django.security.DisallowedHost",
    "django.security.SuspiciousOperation",
)
# A session cookie of NULs, as a quoted cookie spells them.
NUL_COOKIE = '"' + r"\000" * 32 + '"'
# What takes long is tried where a text with NUL is refused; SQLite takes one.
where_refused = pytest.mark.skipif(connection.vendor == "sqlite", reason="PostgreSQL refuses NUL")
PARAMETER = re.compile(r"<[^>]*>|\(\?P<\w+>[^)]*\)")


@pytest.fixture(autouse=True)
def _as_deployed(settings: Settings) -> None:
    """Sign what is signed."""
    settings.AUDIT_SIGNING_KEY = foreign.SIGNING_KEY


def operator() -> User:
    return factories.user("desk", role="admin", is_staff=True, is_superuser=True)


def signed_in() -> Client:
    client = browser(operator())
    client.raise_request_exception = False
    return client


def pages(their: Foreign) -> Iterator[Place]:
    for place in foreign.places(their):
        if place.theirs.startswith("/admin/") and place.theirs != "/admin/logout/":
            yield place


def path_with(place: Place, odd: str) -> str:
    """Return the path of the place with `odd` for each of its parameters."""
    return "/" + PARAMETER.sub(odd, re.sub(r"[\^$\\]", "", place.route))


@where_refused
@pytest.mark.parametrize("odd", ODD)
def test_list_that_is_asked_with_nul_is_no_failure(odd: str) -> None:
    their = foreign.made()
    names = {name for query in foreign.queries(their) for name in query}
    asked = sorted({*names, *LIST_NAMES, *DATES})
    client = signed_in()
    lists = [place for place in pages(their) if place.is_list]
    assert len(lists) > 8

    failures = [
        (place.theirs, name)
        for place in lists
        for name in asked
        if client.get(f"{place.theirs}?{name}={odd}").status_code >= 500
    ]

    assert not failures


@where_refused
def test_form_with_nul_is_no_failure() -> None:
    their = foreign.made()
    client = signed_in()
    forms = [form for is_list in (True, False) for form in foreign.forms(their, is_list=is_list)]
    fields = {**forms[0], **forms[-1], "username": "", "password": "", "next": ""}
    failures = []

    for place in pages(their):
        for name in fields:
            sent = urlencode({**fields, name: "a\0b"}, doseq=True)
            kind = "application/x-www-form-urlencoded"
            if client.post(place.theirs, sent, content_type=kind).status_code >= 500:
                failures.append((place.theirs, name))

    assert not failures


@where_refused
@pytest.mark.parametrize("odd", ODD)
def test_path_with_nul_is_no_failure(odd: str) -> None:
    their = foreign.made()
    client, api = signed_in(), Api()
    person = Person("desk", TENANT, "admin")
    failures = []

    for place in foreign.places(their):
        path = path_with(place, odd)
        for method in ("GET", "POST"):
            is_page = path.startswith("/admin")
            answer: Any = (
                client.generic(method, path) if is_page else api.send(method, path, person, b"{}")
            )
            if (answer.status_code if is_page else answer.status) >= 500:
                failures.append((method, path))

    assert not failures


@pytest.mark.parametrize("name", ["username", "password", "next", "csrfmiddlewaretoken"])
def test_sign_in_with_nul_is_no_failure(name: str) -> None:
    client = browser()
    form = {"username": "desk", "password": "wrong", name: "a\0b"}

    for path in ("/admin/login/", "/admin/login/?next=%00", "/admin/login/?next=/admin/%00"):
        assert client.post(path, form).status_code == 400


def test_page_says_what_a_request_with_nul_is(client: Client) -> None:
    path = "/admin/hitl/approvalrequest/"
    for each in (client, signed_in()):
        answer = each.get(f"{path}?q=%00")

        assert (answer.status_code, answer["Content-Type"]) == (400, "text/html; charset=utf-8")
        page = answer.content.decode()
        assert "<h1>Not understood</h1>" in page
        assert f'href="{path}"' in page


def test_filter_that_a_list_does_not_have_is_answered_with_a_page_and_no_error_is_logged() -> None:
    answer = signed_in().get("/admin/gateway/membership/?user__password__startswith=p")

    assert answer.status_code == 400
    assert "<h1>Not understood</h1>" in answer.content.decode()
    assert not [name for name in LOGGERS if logging.getLogger(name).isEnabledFor(logging.ERROR)]


def test_inbox_ignores_a_value_with_nul_and_names_it() -> None:
    client = signed_in()
    desk = "/admin/hitl/approvalrequest/"

    for query in ("action=%00", "q=a%00b&tenant=%00", "after=%00", "%00=1"):
        answer = client.get(f"{desk}inbox/?{query}")
        assert answer.status_code == 200
        named = [name for name in ("action", "q", "tenant") if f"{name}=" in query]
        assert f"they are ignored: {', '.join(named)}" in answer.content.decode() or not named
    form = {"decision": "approve"}
    assert client.post(f"{desk}many/?action=%00", form).status_code < 400


@pytest.mark.parametrize("name", ["sessionid", "csrftoken", "messages", "django_language", "x"])
def test_cookie_with_nul_is_no_failure(name: str) -> None:
    client = browser()

    for path in ("/admin/", "/admin/login/", "/admin/hitl/policy/", "/health"):
        assert client.get(path, headers={"Cookie": f"{name}={NUL_COOKIE}"}).status_code < 500


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("fresh_hub")
async def test_consumer_that_is_sent_nul_is_no_failure() -> None:
    def sign_in() -> str:
        client = browser(operator())
        return f"sessionid={client.cookies['sessionid'].value}; csrftoken={'t' * 32}"

    their = await run_sync(foreign.made)
    signed = await run_sync(sign_in)
    form = {"Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": "t" * 32}
    routes = {route for route, _methods, _consumer in foreign.consumers()}
    places = [place for place in await run_sync(foreign.places, their) if place.route in routes]
    assert len(places) > 8
    failures = []

    for place in places:
        for cookie in (signed, f"sessionid={NUL_COOKIE}"):
            for method in ("GET", "POST"):
                headers = {**form, "Cookie": cookie}
                path = path_with(place, "%00") + "?message=%00&timeout=%00&after=%00"
                body = b"tenant=%00&format=%00&from=%00&to=%00" if method == "POST" else b""
                async with Exchange(method, path, None, body, headers) as exchange:
                    status, _answered = await exchange.start()
                if status >= 500:
                    failures.append((method, path, cookie))

    assert not failures
