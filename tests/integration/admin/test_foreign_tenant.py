"""A tenant's operator tries everything that belongs to another, and learns and changes nothing.

Every path is tried that the site's own tables of URLs name, so one that is added later is tried
as well. Each attempt is made twice: with what the other tenant has, and with what nobody has.
The two answers must not differ, and hold nothing but what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from pytest_django import Settings

from dwp_project.offload import run_sync
from hitl.admin.base import ModelAdmin, ReadOnlyAdmin
from tests import factories
from tests.integration import foreign
from tests.integration.calls import Api, browser
from tests.integration.exchange import Exchange
from tests.integration.foreign import MARK, NOBODYS, Foreign, Place
from tests.people import TENANT, Person

# With an empty Redis: a test before this may have left sessions of the same names there.
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]

LIST = "/admin/hitl/approvalrequest/"
WHO: dict[str, dict[str, Any]] = {
    "viewer": {"role": "viewer"},
    "approver": {"role": "approver"},
    "admin": {"role": "admin"},
    "stranger": {"role": None},
    "superuser": {"role": None, "is_superuser": True},
    "superuser_and_admin": {"role": "admin", "is_superuser": True},
}
# On PostgreSQL, which answers the same queries, who sees most; on SQLite all others.
SEES_MOST = "superuser_and_admin"
TRYING = [who for who in WHO if (who == SEES_MOST) == (connection.vendor == "postgresql")]
# Who asks a list everything that it can be asked; the others ask a few questions, since a role
# decides which pages somebody has, and not what a filter or a search does.
ASKING_ALL = ("admin", SEES_MOST)
# An account is no tenant's: that one of some number exists is no secret, all else of it is.
ACCOUNTS = "/admin/auth/"
# Accounts, tenants, and who belongs where, are the deployment's: its superusers keep them.
DEPLOYMENTS = (ACCOUNTS, "/admin/gateway/membership/", "/admin/gateway/tenant/")
# What is sent under these names are keys.
KEYED = ("item", "_selected_action", "pk__in", "id")
# What changes from one answer to the next whatever is asked.
CHANGING = re.compile(
    r'(csrfmiddlewaretoken"\s+value|csrfToken"?\s*[:=])\s*=?\s*"[^"]*"'
    r"|nonce-[\w+/=-]+|\"timestamp\":\"?[^,\"}]*\"?|data-now=\"[\d.]+\"|\"now\":\d+"
)


@pytest.fixture(autouse=True)
def _as_deployed(settings: Settings) -> None:
    """Sign what is signed."""
    settings.AUDIT_SIGNING_KEY = foreign.SIGNING_KEY


def operator(who: str) -> User:
    user = factories.user("desk", is_staff=True, email="desk@example.com", **WHO[who])
    factories.opened(request_id="req-mine")
    return user


def all_of(answer: Any) -> str:
    """Return everything that an answer says: status, headers, body."""
    headers = "\n".join(f"{name}: {value}" for name, value in answer.items())
    cookies = "\n".join(str(cookie) for cookie in answer.cookies.values())
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return f"{answer.status_code}\n{headers}\n{cookies}\n{body.decode('utf-8', 'replace')}"


def alike(said: str) -> str:
    """Return an answer without what no two have in common."""
    said = CHANGING.sub("", said)
    # Messages are signed in their cookie; who follows it reads them on the next page.
    said = re.sub(r"Set-Cookie: .*", "", said)
    return re.sub(
        r"(?i)content-length: \d+|etag: \S+|(?:expires|last-modified|set-cookie): .*", "", said
    )


@contextmanager
def undone() -> Iterator[None]:
    """Take back what happens inside: no attempt may help or hinder the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def writes() -> Iterator[list[str]]:
    """Collect the statements that may change a row; without one nothing is to be compared."""
    statements: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        if not sql.startswith(("SELECT", "SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO")):
            statements.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield statements


def hidden(their: Foreign, said: str, sent: str) -> list[str]:
    """Return what of the other tenant is in an answer without having been sent."""
    for echoed in sorted(set(re.findall(rf"{MARK}[\w.:~@* -]*", sent)), key=len, reverse=True):
        for spelled in (echoed, quote(echoed), quote(echoed, safe="")):
            said = said.replace(spelled, "")
    found = re.findall(rf".{{0,60}}{MARK}.{{0,60}}", said)
    return found + [digest for digest in their.digests if digest in said and digest not in sent]


def keyed(text: str, their: Foreign) -> str:
    """Return a text with the other tenant's names and keys in place of nobody's."""
    for key in sorted(their.keys.values(), reverse=True):
        text = text.replace(str(key + foreign.KEYS_AWAY), str(key))
    return text.replace(NOBODYS, MARK)


def as_nobodys(form: Mapping[str, Any], their: Foreign) -> dict[str, Any]:
    """Return a query or form that names what nobody has instead."""

    def change(name: str, text: str) -> str:
        key, colon, rest = text.partition(":")
        if name in KEYED and int(key) in their.keys.values():
            key = foreign.nobodys(key)
        return (key + colon + rest).replace(MARK, NOBODYS)

    return {
        name: [change(name, each) for each in value]
        if isinstance(value, list)
        else change(name, value)
        for name, value in form.items()
    }


def wrong(
    their: Foreign, client: Client, method: str, place: Place, form: Mapping[str, Any]
) -> list[tuple[str, object]]:
    """Send an attempt with their names and with nobody's; return what it learns or changes."""

    def send(path: str, sent: Mapping[str, Any]) -> str:
        # No message of the attempt before is shown in this one's page.
        client.cookies.pop("messages", None)
        with undone(), writes() as written:
            answer: Any = (
                client.get(f"{path}?{urlencode(sent)}" if sent else path)
                if method == "GET"
                else client.post(path, sent)
            )
            said = all_of(answer)
            if written and foreign.everything() != their.before:
                found.append((attempt, "changes something"))
        return said

    found: list[tuple[str, object]] = []
    attempt = f"{method} {place.theirs} {dict(form)}"
    said = send(place.theirs, form)
    if leaked := hidden(their, said, attempt):
        found.append((attempt, leaked))
    nobodys = as_nobodys(form, their)
    # What names nothing of theirs is the same attempt: nothing is to be compared.
    if not place.theirs.startswith(ACCOUNTS) and (place.theirs, form) != (place.nobodys, nobodys):
        other = send(place.nobodys, nobodys)
        one, two = alike(keyed(said, their)), alike(keyed(other, their))
        if one != two:
            found.append((attempt, _first_difference(one, two)))
    return found


def _first_difference(one: str, other: str) -> tuple[str, str]:
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return one[max(0, at - 80) : at + 120], other[max(0, at - 80) : at + 120]


def tried(their: Foreign, who: str) -> list[Place]:
    """Return the pages; a superuser's own business is not another tenant's."""
    found = [place for place in foreign.places(their) if place.theirs.startswith("/admin")]
    assert len(found) > 50
    found = [place for place in found if place.theirs != "/admin/logout/"]
    if who.startswith("superuser"):
        found = [place for place in found if not place.theirs.startswith(DEPLOYMENTS)]
    return found


@pytest.mark.parametrize("who", TRYING)
def test_no_page_shows_what_is_anothers(who: str) -> None:
    their = foreign.made()
    client = browser(operator(who))
    found = []

    for place in tried(their, who):
        for query in foreign.queries(their, few=who not in ASKING_ALL) if place.is_list else [{}]:
            if who.startswith("superuser") and query.get("app_label") == "gateway":
                continue  # accounts again
            found += wrong(their, client, "GET", place, query)

    assert not found


@pytest.mark.parametrize("who", TRYING)
def test_no_form_changes_what_is_anothers(who: str) -> None:
    their = foreign.made()
    client = browser(operator(who))
    found = []

    for place in tried(their, who):
        for form in foreign.forms(their, is_list=place.is_list):
            found += wrong(their, client, "POST", place, form)

    assert not found


@pytest.mark.parametrize("path", ["/admin/pages/", "/admin/hitl/", "/admin/hitl/policy/"])
def test_what_was_done_elsewhere_is_on_no_sidebar(path: str) -> None:
    their = foreign.made()

    said = all_of(browser(operator(SEES_MOST)).get(path))

    assert not hidden(their, said, "")


def test_members_of_others_are_on_no_list_of_an_admin() -> None:
    their = foreign.made()
    client = browser(operator("admin"))

    for query in foreign.queries(their):
        path = f"/admin/gateway/membership/?{urlencode(query)}"
        assert not hidden(their, all_of(client.get(path)), path)


@pytest.mark.parametrize(
    "role", ["user", "viewer", "approver"] if connection.vendor == "sqlite" else ["admin"]
)
def test_no_token_opens_what_is_anothers(role: str) -> None:
    their = foreign.made()
    person, api = Person("desk", TENANT, role), Api()
    bodies = [
        {},
        {"userId": "desk", "reason": "because", "contextDigest": their.texts["digest"]},
        {"prompt": "x", "sessionId": their.texts["session"]},
    ]
    rest = [p for p in foreign.places(their) if not p.theirs.startswith("/admin")]
    assert len(rest) > 15

    for place in rest:
        for method, body in [("GET", {}), *(("POST", body) for body in bodies)]:
            for query in foreign.queries(their) if method == "GET" and place.is_list else [{}]:
                said = _asked(their, api, person, method, place.theirs, query, body)
                attempt = f"{method} {place.theirs} {query} {body}"
                assert not (leaked := hidden(their, said, attempt)), (attempt, leaked)
                if "sessionId" in body:
                    continue  # names are taken once for all: a taken one is refused
                nobodys = as_nobodys(query, their)
                if (place.theirs, query) == (place.nobodys, nobodys):
                    continue
                other = _asked(their, api, person, method, place.nobodys, nobodys, body)
                assert alike(keyed(said, their)) == alike(keyed(other, their)), attempt


def _asked(
    their: Foreign,
    api: Api,
    by: Person,
    method: str,
    path: str,
    query: Mapping[str, str],
    body: Any,
) -> str:
    url = f"{path}?{urlencode(query)}" if query else path
    with undone(), writes() as written:
        answer = api.send(method, url, by, body)
        assert not written or foreign.everything() == their.before, url
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    return f"{answer.status}\n{headers}\n{answer.content.decode('utf-8', 'replace')}"


# --- what stays open, and what is served outside Django's views -----------------------------


def _cookies(who: str) -> dict[str, str]:
    client = Client()
    client.force_login(operator(who))
    token = "t" * 32
    return {
        "Cookie": f"sessionid={client.cookies['sessionid'].value}; csrftoken={token}",
        "X-CSRFToken": token,
        "Content-Type": "application/x-www-form-urlencoded",
    }


async def _said(method: str, path: str, headers: Mapping[str, str], form: str) -> str:
    """Return the whole answer, or of a stream that stays open its first two pieces."""
    async with Exchange(method, path, None, form.encode(), headers) as exchange:
        status, answered = await exchange.start()
        is_stream = answered.get("content-type") == "text/event-stream"
        pieces = [await exchange.piece(), await exchange.piece()] if is_stream else []
        said = b"".join(pieces) if is_stream else await exchange.rest()
        headers_said = "\n".join(f"{name}: {value}" for name, value in answered.items())
        return f"{status}\n{headers_said}\n{said.decode('utf-8', 'replace')}"


@pytest.mark.anyio
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", TRYING)
async def test_no_consumer_tells_of_what_is_anothers(
    who: str, redis_client: object, fresh_hub: None
) -> None:
    their = await run_sync(foreign.made)
    headers = await run_sync(_cookies, who)
    tried_paths = [
        place
        for place in await run_sync(foreign.places, their)
        if place.route in {route for route, _methods, _consumer in foreign.consumers()}
        and place.route.startswith("admin/")
    ]
    assert len(tried_paths) >= 5

    for place in tried_paths:
        for method in ("GET", "POST"):
            for wanted in ("jsonl", "csv", "nothing"):
                sent = {"tenant": their.texts["tenant"], "format": wanted}
                form, other = urlencode(sent), urlencode(as_nobodys(sent, their))
                said = await _said(method, place.theirs, headers, form)
                attempt = f"{method} {place.theirs} {form}"
                assert not (leaked := hidden(their, said, attempt)), (attempt, leaked)
                nobodys = await _said(method, place.nobodys, headers, other)
                assert alike(keyed(said, their)) == alike(keyed(nobodys, their)), attempt

    assert await run_sync(foreign.everything) == their.before


@pytest.mark.parametrize("who", ["viewer", "superuser"])
def test_what_leaks_is_seen(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    their = foreign.made()
    client = browser(operator(who))
    monkeypatch.setattr(ReadOnlyAdmin, "get_queryset", ModelAdmin.get_queryset)
    key = their.keys["hitl.approvalrequest"]

    place = Place("", f"/admin/hitl/approvalrequest/{key}/change/", f"{LIST}1/change/", False)

    assert wrong(their, client, "GET", place, {})
