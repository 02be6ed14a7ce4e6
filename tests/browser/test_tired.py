"""Mistakes and hostile input: sending while offline or signed out, and deceptive texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.browser.desk import Desk, Operator

Open = Callable[..., Operator]


def test_approval_while_offline_says_that_nothing_was_sent(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 50 EUR?")
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    kim.ready()
    kim.context.set_offline(True)

    page.click("button.approve")

    expect(page.locator("#offline")).to_be_visible()
    assert desk.status(request) == "pending"
    kim.context.set_offline(False)
    expect(page.locator("#offline")).to_be_hidden()
    page.click("button.approve")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")


def test_signing_in_again_does_not_send_the_decision_of_the_ended_session(
    desk: Desk, operator: Open
) -> None:
    request = desk.ask("Pay 51 EUR?")
    kim = operator()
    page = kim.sign_in("kim")
    page.route("**/live/", lambda route: route.abort())
    page.locator("#rows .open").click()
    kim.ready()
    cookies: list[Any] = [*kim.context.cookies()]
    kim.context.clear_cookies(name="sessionid")
    page.click("button.approve")
    page.wait_for_selector("#id_password")
    target = page.url.split("next=")[1]
    # Signed in again: the browser comes back with a GET.
    kim.context.add_cookies(cookies)
    kim.open(target)

    expect(page.locator(".messagelist")).to_contain_text("Nothing was decided")
    expect(page.locator("h1")).to_have_text("Pay 51 EUR?")
    assert desk.status(request) == "pending"


def test_hostile_texts_neither_run_nor_break_the_page(desk: Desk, operator: Open) -> None:
    desk.ask("x" * 400, context={"k": "y" * 900}, seconds=300)
    desk.ask(
        "Pay \u202eRUE 21\u202c <script>window.ran = 1</script>?",
        context={"<img src=x onerror='window.ran = 1'>": "\u202egnol\u202c", "n\nn": "a\n" * 50},
        seconds=301,
    )
    desk.ask("긴 메시지 " * 60, context={"설명": "모든 고객에게 " * 80}, seconds=302)
    for width in (1280, 360):
        kim = operator(viewport={"width": width, "height": 800})
        page = kim.sign_in("kim")
        expect(page.locator("#rows > .row")).to_have_count(3)
        kim.shoot(f"inbox-hostile-{width}", whole=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        kim.row("RUE 21").locator(".open").click()
        kim.ready()
        kim.shoot(f"request-hostile-{width}", whole=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate("window.ran") is None
        expect(page.locator("h1 .unseen").first).to_have_text("⟨U+202E⟩")
