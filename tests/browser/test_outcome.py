"""What became of a decision, and what was decided before: on the request's page, by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import Desk, Operator
from tests.browser.test_looking import serious
from tests.integration import redis_agents
from tests.integration.ears import Ear

Open = Callable[..., Operator]


def opened_at_the_desk(who: Operator, name: str, text: str) -> Page:
    """Sign in and open the page of the pending request that says `text`."""
    page = who.sign_in(name)
    who.row(text).locator(".open").click()
    who.ready()
    return page


def read(desk: Desk, request: Mapping[str, Any], way: str, tenant: str = "tenant1") -> None:
    """Have the agent that opened the request read it over REST."""
    headers = desk.server.headers("user123", tenant, "user")
    answer = desk.server.get(f"/aura/hitl/requests/{request['requestId']}{way}", headers)
    assert answer.status == 200


@pytest.mark.parametrize("way", ["", "/wait"])
def test_page_says_by_itself_when_the_agent_has_read_the_decision(
    desk: Desk, operator: Open, way: str
) -> None:
    request = desk.ask(f"Pay 61 EUR?{way}")
    kim = operator()
    page = opened_at_the_desk(kim, "kim", "Pay 61 EUR?")
    expect(page.locator(".aftermath")).to_have_count(0)

    desk.decide(request, "approve", user="park")

    told = page.locator(".aftermath")
    expect(told).to_contain_text("nobody has received it yet")
    expect(told).to_contain_text("Nobody who asked has read it over REST so far")
    kim.shoot("outcome-unheard")
    element = told.element_handle()
    read(desk, request, way)
    expect(told).to_contain_text("Read over REST at")
    # The same element, so that a screen reader says what is new, and no alert again.
    assert page.evaluate("element => element.isConnected", element)
    expect(page.locator(".state")).to_have_count(1)
    kim.shoot("outcome-read")
    assert serious(page) == []


def test_page_says_when_an_agent_on_redis_has_heard(desk: Desk, operator: Open) -> None:
    session = "session_user123_1706159001"
    client = desk.server.redis()
    ear = Ear(client, session)
    redis_agents.asks(client, session, "req-heard", message="Delete what is heard?")
    kim = operator()
    page = opened_at_the_desk(kim, "kim", "Delete what is heard?")

    desk.decide({"requestId": "req-heard"}, "reject", user="park")

    expect(page.locator(".aftermath")).to_contain_text("its agent first had it at")
    ear.close()


def test_message_and_page_say_that_a_newer_question_took_its_place(
    desk: Desk, operator: Open
) -> None:
    session = "session-of-two"
    older = desk.ask("Pay 62 EUR, the older?", session=session)
    desk.ask("Pay 63 EUR, the newer?", session=session)
    kim = operator()
    page = opened_at_the_desk(kim, "kim", "the older?")
    address = page.url

    page.click("button.approve")

    expect(page.locator(".messagelist .warning")).to_contain_text(
        "has asked a newer question since"
    )
    assert desk.status(older) == "approved"
    page.goto(address)
    told = page.locator(".aftermath-superseded")
    expect(told).to_contain_text("The agent is not told")
    kim.shoot("outcome-superseded", whole=True)
    told.get_by_role("link").click()
    expect(page.locator("h1")).to_have_text("Pay 63 EUR, the newer?")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1024, 1366, 1920])
def test_block_fits_and_is_accessible_in_korean(
    desk: Desk, operator: Open, width: int, theme: str
) -> None:
    session = f"session-{width}-{theme}"
    older = desk.ask("Pay 64 EUR to ACME?", session=session)
    desk.ask("Pay 65 EUR to ACME?", session=session)
    kim = operator(viewport={"width": width, "height": 800}, locale="ko-KR", color_scheme=theme)
    page = opened_at_the_desk(kim, "kim", "Pay 64 EUR")

    desk.decide(older, "approve", user="park")

    expect(page.locator(".aftermath")).to_contain_text("같은 세션에서 새 질문이 왔습니다")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious(page) == []
    kim.shoot(f"outcome-korean-{width}-{theme}", whole=True)


def test_expired_request_says_what_its_agent_sees(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 66 EUR at once?", seconds=8)
    kim = operator()
    page = opened_at_the_desk(kim, "kim", "Pay 66 EUR")

    expect(page.locator(".aftermath")).to_contain_text("reads over REST that there is no decision")


def test_earlier_decisions_are_those_on_the_same_arguments_first(
    desk: Desk, operator: Open
) -> None:
    same, other = {"to": "acme", "amount": 67}, {"to": "globex", "amount": 68}
    for message, verb, context in (
        ("Pay ACME once?", "approve", same),
        ("Pay ACME twice?", "reject", same),
        ("Pay Globex?", "approve", other),
    ):
        asked = desk.ask(message, action="settle_same", context=context)
        desk.decide(asked, verb, user="park")
    desk.ask("Pay ACME again?", action="settle_same", context=same)
    kim = operator()
    page = opened_at_the_desk(kim, "kim", "Pay ACME again?")
    lists = page.locator(".earlier-list")

    expect(lists).to_have_count(2)
    expect(lists.nth(0)).to_contain_text("approved 1, rejected 1, expired 0")
    expect(lists.nth(1)).to_contain_text("approved 2, rejected 1, expired 0")
    expect(page.get_by_role("link", name="Pay ACME twice?")).to_be_visible()
    expect(page.get_by_role("link", name="Pay Globex?")).not_to_be_visible()
    kim.shoot("earlier-same-arguments", whole=True)
    lists.nth(1).locator("summary").click()
    expect(page.get_by_role("link", name="Pay Globex?")).to_be_visible()
    expect(lists.nth(0)).not_to_have_attribute("open", "")
    assert serious(page) == []


def test_history_of_another_of_ones_tenants_is_searched_there(desk: Desk, operator: Open) -> None:
    request = desk.ask("Send 69 EUR?", tenant="tenant2")
    lee = operator()
    page = opened_at_the_desk(lee, "lee", "Send 69 EUR?")
    page.get_by_role("link", name="whole history of this request").click()
    expect(page.locator(".book-records tbody tr")).to_have_count(1)

    page.locator(".breadcrumbs a", has_text="Audit records").click()
    expect(page.locator("#book-tenant")).to_have_value("tenant2")
    page.select_option("#book-tenant", "tenant1")
    page.fill("#book-request", request["requestId"])
    page.click(".book-search[role=search] button")

    expect(page.locator("#book-tenant")).to_have_value("tenant2")
    expect(page.locator(".book-records tbody tr")).to_have_count(1)
    expect(page.locator(".book-note")).to_be_visible()
    lee.shoot("book-other-tenant")
    assert serious(page) == []
    kim = operator()
    page = kim.sign_in("kim", page=f"/admin/hitl/auditrecord/request/?id={request['requestId']}")
    expect(page.locator("#content")).to_contain_text("read by its members, in any role")
    assert serious(page) == []
    kim.shoot("book-refused")
