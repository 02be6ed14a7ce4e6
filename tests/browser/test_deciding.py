"""Deciding at the desk: requests arrive, are read and decided, and the agent gets the decision."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.desk import Desk, Operator

Open = Callable[..., Operator]


def test_request_arrives_live_is_approved_and_the_agent_goes_on(desk: Desk, operator: Open) -> None:
    kim = operator()
    page = kim.sign_in_by_form("kim")
    expect(page.locator("#empty")).to_be_visible()
    kim.shoot("inbox-empty")

    with desk.server.stream(
        "/aura/test/stream",
        desk.server.headers(),
        {"prompt": "Delete 3 mails from my inbox"},
        method="POST",
    ) as stream:
        expect(page.locator("#rows > .row")).to_have_count(1)
        expect(page).to_have_title(re.compile(r"^\(1\) "))
        expect(page.locator("#news")).to_contain_text("New request")
        page.locator("#rows .open").click()
        kim.ready()
        expect(page.locator("#timeline li[data-kind=hitl]")).to_have_count(1)
        kim.shoot("request-of-the-agent")
        page.click("button.approve")
        page.wait_for_selector("#inbox")
        expect(page.locator(".messagelist")).to_contain_text("is now approved")
        frames = list(stream.events())

    assert [frame.event for frame in frames].count("hitl") == 1
    assert frames[-1].is_done
    assert frames[-2].event == "end"


def test_rejection_with_a_preset_goes_on_to_the_next(desk: Desk, operator: Open) -> None:
    first = desk.ask("Pay 900 EUR to ACME?", seconds=200)
    second = desk.ask("Pay 12 EUR to ACME?", seconds=500)
    kim = operator()
    page = kim.sign_in("kim")

    kim.row("900 EUR").locator(".open").click()
    kim.ready()
    page.get_by_label("The amount is too high").check()
    kim.shoot("request-reject")
    page.click("button.reject")

    expect(page.locator("h1")).to_have_text("Pay 12 EUR to ACME?")
    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
    expect(page.locator(".earlier")).to_contain_text("The amount is too high")
    assert desk.status(first) == "rejected"
    assert desk.status(second) == "pending"


def test_a_colleague_who_is_faster_is_named_and_the_buttons_go(desk: Desk, operator: Open) -> None:
    request = desk.ask("Deploy version 7?", action="deploy")
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    kim.ready()

    desk.decide(request, "reject", user="park")

    expect(page.locator(".state-rejected")).to_contain_text("park")
    expect(page.locator("#decision")).to_have_count(0)
    kim.shoot("request-lost-race")


def test_a_decision_that_comes_second_says_who_was_first(desk: Desk, operator: Open) -> None:
    request = desk.ask("Deploy version 8?", action="deploy")
    kim = operator()
    page = kim.sign_in("kim")
    # Without its stream, the page cannot know in time.
    page.route("**/live/", lambda route: route.abort())
    page.locator("#rows .open").click()
    kim.ready()
    desk.decide(request, "reject", user="park")

    page.click("button.approve")

    expect(page.locator(".messagelist")).to_contain_text("already rejected by park")
    expect(page.locator(".state-rejected")).to_contain_text("park")
    assert desk.status(request) == "rejected"


def test_request_that_expires_while_it_is_read_says_so(desk: Desk, operator: Open) -> None:
    desk.ask("Send the newsletter?", action="send_mail", seconds=8)
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    page.wait_for_selector(".countdown.is-urgent")

    expect(page.locator(".state-expired")).to_contain_text("Nobody decided in time")
    expect(page.locator("#decision")).to_have_count(0)
    kim.shoot("request-expired")


def test_keyboard_alone_is_enough(desk: Desk, operator: Open) -> None:
    requests = [desk.ask(f"Pay {n} EUR?", seconds=300 + n) for n in (1, 2, 3)]
    kim = operator()
    page = kim.sign_in("kim")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    kim.shoot("keys")
    page.keyboard.press("Escape")

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(kim.row("Pay 1 EUR?").locator(".open")).to_be_focused()
    kim.shoot("inbox-focus")
    page.keyboard.press("Enter")
    kim.ready()
    # A Korean keyboard sends another letter for the same key.
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ㅁ', code: 'KeyA'}))")
    expect(page.locator("h1")).to_have_text("Pay 2 EUR?")
    page.keyboard.press("a")  # meant for the request before: too soon to be read
    # Letters that follow each other are a text.
    page.wait_for_timeout(1200)
    assert desk.status(requests[1]) == "pending"
    page.keyboard.down("r")
    page.keyboard.up("r")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_have_text("Pay 3 EUR?")
    assert [desk.status(request) for request in requests] == ["approved", "rejected", "pending"]


def test_repeating_key_approves_nothing(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 5 EUR?")
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    kim.ready()

    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', repeat: true}))")
    page.wait_for_timeout(300)

    expect(page.locator("h1")).to_have_text("Pay 5 EUR?")
    assert desk.status(request) == "pending"


def test_many_are_approved_once_their_number_is_typed(desk: Desk, operator: Open) -> None:
    requests = [
        desk.ask(f"Send letter {n}?", action="send_mail", seconds=400 + n) for n in range(5)
    ]
    kim = operator()
    page = kim.sign_in("kim")
    boxes = page.locator("#rows .pick input")
    boxes.nth(0).click()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(page.locator("#selected")).to_have_text("4 selected")
    kim.shoot("inbox-selected")
    desk.decide(requests[1], "reject", user="park")
    expect(page.locator("#rows > .is-gone")).to_have_count(1)
    expect(page.locator("#selected")).to_have_text("3 selected")

    page.click("#bar button[value=approve]")
    page.fill("#id_typed", "4")
    page.click(".many button.approve")
    expect(page.locator("#typed-wrong")).to_contain_text("Nothing was changed")
    kim.shoot("many")
    page.fill("#id_typed", "3")
    page.click(".many button.approve")

    expect(page.locator("h1")).to_have_text("3 requests decided.")
    expect(page.locator(".result.success")).to_have_count(3)
    kim.shoot("results")
    states = [desk.status(request) for request in requests]
    assert states == ["approved", "rejected", "approved", "approved", "pending"]
