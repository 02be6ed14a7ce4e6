"""The desk on a phone: the first row stands high, nothing is too wide or too small, and it is an
app that opens at a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import BY_FORM, INBOX, LIST, PASSWORD, Desk, Operator, sign_out, wait_until
from tests.browser.test_looking import open_requests

Open = Callable[..., Operator]
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 3,
    "is_mobile": True,
    "has_touch": True,
}
# Chosen: what WCAG 2.2 (2.5.5) and both makers of phones ask for.
FINGER = 44
_WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
# Every control of a selector that is seen: its text and its box, of a tick box its label's.
_BOXES = """
(selector) => [...document.querySelectorAll(selector)]
  .map((control) => (["checkbox", "radio"].includes(control.type) ? control.parentNode : control))
  .map((control) => [control.textContent.trim() || control.id, control.getBoundingClientRect()])
  .filter(([, box]) => box.width)
  .map(([text, { width, height }]) => [text, width, height])
"""


def is_too_wide(page: Page) -> list[int]:
    """Return the width of the page and of the screen if the page is wider."""
    content, screen = page.evaluate(_WIDTHS)
    return [content, screen] if content > screen else []


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_first_row_begins_within_120_pixels(desk: Desk, operator: Open, locale: str) -> None:
    open_requests(desk)
    lee = operator(**PHONE, locale=locale)
    page = lee.sign_in("lee")

    expect(page.locator("#rows > .row")).to_have_count(5)
    first = page.locator("#rows > .row").first.bounding_box()
    assert first is not None
    assert first["y"] <= 120
    header = page.locator("#header").bounding_box()
    assert header is not None
    assert header["height"] <= 48


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_head_of_the_inbox_is_whole(desk: Desk, operator: Open, locale: str, width: int) -> None:
    open_requests(desk)
    lee = operator(**PHONE | {"viewport": {"width": width, "height": 740}}, locale=locale)
    page = lee.sign_in("lee")
    lee.shoot(f"phone-head-{width}-{locale}")

    # Neither cut by the list of views nor beneath what stands beside it.
    assert page.evaluate(_NOT_WHOLE, ".views a, .views .count, #sound") == []


_NOT_WHOLE = """
(selector) => [...document.querySelectorAll(selector)].filter((element) => {
  const { left, right, top, bottom } = element.getBoundingClientRect();
  const met = [left + 2, (left + right) / 2, right - 2].map((x) =>
    document.elementFromPoint(x, (top + bottom) / 2));
  return element.scrollWidth > element.clientWidth + 1
    || met.some((top) => !element.contains(top));
}).map((element) => element.textContent.trim())
"""


def test_rejection_that_lacks_a_reason_leads_to_the_field(desk: Desk, operator: Open) -> None:
    desk.manage(
        "from hitl.actors import Actor\n"
        "from hitl.policies import changes\n"
        "from hitl.policies.rules import Rule\n"
        "from hitl.states import ActorKind, Channel\n"
        "boss = Actor('head', 'tenant1', ActorKind.OPERATOR, Channel.ADMIN, 'admin')\n"
        "changes.create(boss, 'want_reason', Rule(reason_required=True))"
    )
    request = desk.ask("Pay 74 EUR?", action="want_reason", context={f"a{n}": n for n in range(40)})
    kim = operator(**PHONE)
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    kim.ready()
    address = page.url

    page.tap("button.reject")

    hint = page.locator(".reasons-hint")
    expect(hint).to_contain_text("Choose a reason or write one")
    expect(hint).to_be_in_viewport()
    assert page.evaluate("document.activeElement.closest('.reasons') !== null")
    kim.shoot("phone-reason")
    assert page.url == address
    assert page.evaluate(_NOT_WHOLE, ".reasons-hint, #id_reason") == []
    expect(page.locator(".messagelist")).to_have_count(0)
    page.fill("#id_reason", "Too late")
    page.tap("button.reject")
    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
    assert desk.status(request) == "rejected"


def test_phone_is_told_of_no_keys(desk: Desk, operator: Open) -> None:
    open_requests(desk)
    lee = operator(**PHONE)
    page = lee.sign_in("lee")
    for place in ("#inbox", "#request"):
        page.wait_for_selector(place)
        assert [kbd.inner_text() for kbd in page.locator("kbd").all() if kbd.is_visible()] == []
        expect(page.locator("#help")).to_be_hidden()
        if place == "#inbox":
            page.locator("#rows .open").first.click()
    # A tablet with a wide screen has no keys either.
    tablet = operator(**PHONE | {"viewport": {"width": 1024, "height": 1366}})
    tablet.sign_in("lee")
    expect(tablet.page.locator("#help")).to_be_hidden()
    # Somebody at a keyboard still has them.
    desktop = operator()
    desktop.sign_in("lee")
    expect(desktop.page.locator("#help")).to_be_visible()


@pytest.mark.parametrize("width", [320, 360])
def test_no_page_is_wider_than_the_screen(desk: Desk, operator: Open, width: int) -> None:
    open_requests(desk)
    for number in range(2):
        desk.ask(f"Pay 9{number} EUR to a customer whose name is as long as {width}?")
    desk.decide(desk.ask("Pay 77 EUR?"), "approve")
    head = operator(**PHONE | {"viewport": {"width": width, "height": 640}})
    page = head.sign_in("head")
    wide: dict[str, list[int]] = {"inbox": is_too_wide(page)}
    boxes = page.locator("#rows > .row", has_text=f"as long as {width}").locator(".pick input")

    def is_listed() -> bool:
        # What comes while a page is open joins it only when somebody asks for it.
        head.open(INBOX)
        return boxes.count() == 2

    wait_until(page, is_listed)
    for box in boxes.all():
        box.check()
    page.click("#bar button[value=reject]")
    page.wait_for_selector(".many")
    wide["many"] = is_too_wide(page)
    page.fill(".many input[name=reason]", "Not today")
    page.click(".many button.reject")
    page.wait_for_selector(".result")
    wide["results"] = is_too_wide(page)
    page.click(".result a")
    page.wait_for_selector("#request")
    wide["request"] = is_too_wide(page)
    page.click("#request a[href*='book/request'], #request a[href*='auditrecord']")
    page.wait_for_selector(".book-records")
    wide["history"] = is_too_wide(page)
    paths = [
        *(LIST, "/admin/pages/", "/admin/hitl/auditrecord/", "/admin/hitl/policy/"),
        *("/admin/hitl/policy/add/", "/admin/hitl/rejectionreason/", "/admin/hitl/outboxentry/"),
        *("/admin/gateway/membership/", "/admin/gateway/membership/add/"),
        *("/admin/requests/nobodys", "/admin/hitl/approvalrequest/add/"),
    ]
    for path in paths:
        head.open(path)
        wide[path] = is_too_wide(page)
    for path in ("/admin/hitl/auditrecord/", "/admin/hitl/outboxentry/"):
        head.open(path)
        row = page.locator(".book-records td a, #result_list tbody a").first
        head.open(row.evaluate("link => link.pathname"))
        wide[f"{path} one"] = is_too_wide(page)
    head.context.clear_cookies()
    head.open("/admin/login/")
    wide["sign-in"] = is_too_wide(page)

    assert {path: widths for path, widths in wide.items() if widths} == {}


@pytest.mark.parametrize("width", [320, 360])
def test_pages_of_accounts_are_no_wider_than_the_screen(
    desk: Desk, operator: Open, width: int
) -> None:
    desk.people(("keeper", {"tenant1": "admin"}))
    desk.manage(
        "from django.contrib.auth.models import User;"
        "User.objects.filter(username='keeper').update(is_superuser=True)"
    )
    keeper = operator(**PHONE | {"viewport": {"width": width, "height": 640}})
    page = keeper.sign_in("keeper", page="/admin/auth/user/")
    wide = {"users": is_too_wide(page)}
    for path in ("/admin/auth/user/add/", "/admin/password_change/", "/admin/pages/"):
        keeper.open(path)
        wide[path] = is_too_wide(page)
    keeper.open("/admin/auth/user/")
    page.locator("#result_list tbody a").first.click()
    page.wait_for_selector("#user_form")
    wide["user"] = is_too_wide(page)
    sign_out(page)
    wide["logged out"] = is_too_wide(page)

    assert {path: widths for path, widths in wide.items() if widths} == {}


def test_controls_are_as_large_as_a_finger(desk: Desk, operator: Open) -> None:
    open_requests(desk)
    head = operator(**PHONE)
    page = head.sign_in("head")
    small = _too_small(page, ".pick input", "#bar button")
    page.locator("#rows .open", has_text="ACME").click()
    head.ready()
    small += _too_small(page, "#request button", ".pager a", ".preset input")
    small += _too_small(page, "#rejection input[type=text]")

    assert small == []


def _too_small(page: Page, *selectors: str) -> list[Any]:
    boxes = [box for selector in selectors for box in page.evaluate(_BOXES, selector)]
    assert boxes
    return [box for box in boxes if box[1] < FINGER or box[2] < FINGER]


def test_menu_leads_to_other_pages_and_closes_without_leaving_the_page(
    desk: Desk, operator: Open
) -> None:
    desk.ask("Pay 71 EUR?")
    head = operator(**PHONE)
    page = head.sign_in("head")
    page.locator("#rows .open").click()
    head.ready()
    address = page.url

    page.tap(".menu-button")
    expect(page.locator("#desk-menu")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#desk-menu")).to_be_hidden()
    assert page.url == address
    page.tap(".menu-button")
    page.tap("#desk-menu a[href='/admin/hitl/policy/']")
    expect(page).to_have_url(f"{desk.url}/admin/hitl/policy/")


def test_desk_can_be_installed_as_an_app(desk: Desk, operator: Open) -> None:
    kim = operator(**PHONE)
    page = kim.sign_in("kim")
    browser = kim.context.new_cdp_session(page)

    manifest = browser.send("Page.getAppManifest")
    hindrances = browser.send("Page.getInstallabilityErrors")["installabilityErrors"]

    assert manifest["errors"] == []
    assert manifest["url"] == f"{desk.url}/admin/manifest.webmanifest"
    assert json.loads(manifest["data"])["start_url"] == INBOX
    # A window like those of the tests keeps nothing, and so installs nothing.
    assert [one for one in hindrances if one["errorId"] != "in-incognito"] == []


def test_link_to_a_request_leads_there_through_the_sign_in(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 72 EUR?")
    kim = operator(**PHONE)
    page = kim.open(f"/admin/requests/{request['requestId']}")
    page.fill("#id_username", BY_FORM)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")

    expect(page.locator("#request h1")).to_have_text("Pay 72 EUR?")
    assert desk.status(request) == "pending"


def test_sign_in_lands_on_the_inbox(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 73 EUR?")
    kim = operator()
    page = kim.open("/admin/")
    page.fill("#id_username", BY_FORM)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")

    page.wait_for_selector("#link.is-live")
    expect(page).to_have_url(f"{desk.url}{INBOX}")
    expect(kim.row("Pay 73 EUR?")).to_be_visible()
    page.goto(f"{desk.url}/admin/hitl/policy/")
    page.click("#site-name a")
    expect(page).to_have_url(f"{desk.url}{INBOX}")
