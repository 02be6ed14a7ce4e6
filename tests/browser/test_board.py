"""What every page of the desk says by itself: whether it is up to date, how much is its reader's to
decide, and what is new, once for all tabs of a browser."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PEOPLE
from tests.browser.desk import INBOX, LIST, Desk, Operator, served, wait_until
from tests.browser.test_looking import serious

Open = Callable[..., Operator]
BOOK = "/admin/hitl/auditrecord/"
REASONS = "/admin/hitl/rejectionreason/"
# Tells the test of each notification, and keeps the last one.
_RECORD = """
window.Notification = class {
  static permission = "granted";
  static async requestPermission() { return "granted"; }
  constructor(title, options) {
    window.lastNotification = this;
    window.notified(title);
  }
  close() {}
};
"""
_HIDE = """
Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
document.dispatchEvent(new Event("visibilitychange"));
"""
_SHOW = """
Object.defineProperty(document, "hidden", { configurable: true, get: () => false });
document.dispatchEvent(new Event("visibilitychange"));
"""
# How a browser leaves a page that it keeps for the way back, and returns to it.
_LEAVE = 'dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }))'
_RETURN = 'dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }))'


@pytest.fixture(scope="session")
def freezable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with served(tmp_path_factory.mktemp("frozen") / "data") as office:
        office.people(*PEOPLE)
        yield office


@pytest.fixture
def own_desk(freezable: Desk) -> Iterator[Desk]:
    """Return the desk of a server that this test may freeze, and has to let go on."""
    yield freezable
    freezable.withdraw_all()


def counted(page: Page, count: int) -> None:
    """Wait until the title says how many requests are the reader's to decide."""
    begins = re.compile(rf"^\({count}\) " if count else r"^[^(]")
    expect(page).to_have_title(begins)


class Tabs:
    """The tabs of one browser, and the notifications of all of them."""

    def __init__(self, kim: Operator) -> None:
        self.kim = kim
        self.notified: list[str] = []
        kim.context.expose_function("notified", self._record)
        kim.context.add_init_script(_RECORD)
        kim.context.add_init_script("localStorage.setItem('desk.notify', 'on')")

    def heard(self, *messages: str) -> None:
        """Wait for these notifications, and check that there was no other."""
        page = self.kim.context.pages[0]
        wait_until(page, lambda: len(self.notified) >= len(messages))
        assert self.notified == [f"New request: {message}" for message in messages]

    def _record(self, text: str) -> None:
        self.notified.append(text)

    def open(self, path: str) -> Page:
        page = self.kim.context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{self.kim.desk.url}{path}")
        return page


def test_frozen_server_is_seen_and_said_within_20_seconds(
    own_desk: Desk, chromium: Browser
) -> None:
    asked = own_desk.ask("Pay 1 EUR?")
    kim = Operator(own_desk, chromium.new_context(locale="en-US"))
    inbox = kim.sign_in("kim")
    request = kim.context.new_page()
    request.goto(inbox.locator("#rows .open").first.evaluate("link => link.href"))
    request.wait_for_selector("#link.is-live")
    archive = kim.context.new_page()
    archive.goto(f"{own_desk.url}{LIST}")
    counted(archive, 1)
    process = own_desk.server.process.pid

    os.kill(process, signal.SIGSTOP)
    try:
        for page in (inbox, request):
            expect(page.locator(".silence")).to_contain_text(
                re.compile(r"The server does not answer since \d\d:\d\d:\d\d\. Nothing can be"),
                timeout=20_000,
            )
            expect(page.locator("#link.is-live")).to_have_count(0)
        # Of the inbox's rows, pages without a stream of their own know the same.
        for page in (archive, inbox):
            expect(page).to_have_title(re.compile(r"^\(\?\) "))
        expect(archive.locator(".silence")).to_contain_text("The server does not answer since")
        kim.shoot("inbox-silent")
        request.bring_to_front()
        request.fill("#id_comment", "as agreed")
        request.click("button.approve")
        expect(request.locator(".silence")).to_contain_text("Nothing was sent. The server does")
        assert serious(inbox, "color-contrast") == []
        request.set_viewport_size({"width": 360, "height": 740})
        assert request.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finally:
        os.kill(process, signal.SIGCONT)

    for page in (inbox, request):
        expect(page.locator("#link.is-live")).to_have_text("live")
        expect(page.locator(".silence")).to_be_empty()
    expect(archive.locator(".silence")).to_be_empty()
    expect(request.locator("#id_comment")).to_have_value("as agreed")
    assert own_desk.status(asked) == "pending"
    own_desk.ask("Pay 2 EUR?")
    counted(inbox, 2)
    kim.assert_no_complaint()
    kim.context.close()


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_nothing_moves_when_the_server_falls_silent_and_comes_back(
    own_desk: Desk, chromium: Browser, locale: str
) -> None:
    own_desk.ask("Pay 1 EUR?")
    pages = []
    for width in (360, 1024, 1366, 1920):
        kim = Operator(
            own_desk,
            chromium.new_context(locale=locale, viewport={"width": width, "height": 740}),
        )
        pages.append(kim.sign_in("kim"))
    process = own_desk.server.process.pid

    def tops() -> list[float]:
        first = "document.querySelector('#rows > .row').getBoundingClientRect().top"
        return [page.evaluate(first) for page in pages]

    before = tops()
    os.kill(process, signal.SIGSTOP)
    try:
        for page in pages:
            expect(page.locator(".silence")).not_to_be_empty()
            # The strip is over nothing that one clicks, and what was there is there.
            assert page.locator("#views a").first.bounding_box()["width"] > 0  # type: ignore[index]
            page.locator(".silence").evaluate(
                "strip => { if (getComputedStyle(strip).pointerEvents !== 'none') throw strip; }"
            )
        expect(pages[0].locator(".filter-toggle")).to_be_in_viewport()
        assert tops() == before
    finally:
        os.kill(process, signal.SIGCONT)
    for page in pages:
        page.wait_for_selector("#link.is-live")
        expect(page.locator(".silence")).to_be_empty()
    assert tops() == before
    for page in pages:
        page.context.close()


def test_page_says_that_one_can_still_decide_while_the_server_answers(
    desk: Desk, operator: Open
) -> None:
    desk.ask("Pay 19 EUR?")
    kim = operator()
    # A stream that is held up on its way, as a proxy does.
    kim.context.add_init_script(
        "const Real = EventSource; const late = []; window.EventSource = class extends Real {"
        " addEventListener(name, react) {"
        "  super.addEventListener(name, (event) => window.isHeld || react(event)); } };"
    )
    page = kim.sign_in("kim")

    page.evaluate("window.isHeld = true")

    expect(page.locator(".silence")).to_contain_text(
        re.compile(r"Not up to date since \d\d:\d\d:\d\d\. You can still decide")
    )


@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_any_number_of_tabs_leave_the_desk_reachable(
    desk: Desk, operator: Open, locks: bool
) -> None:
    kim = operator()
    if not locks:
        # As on an address without TLS.
        kim.context.add_init_script("delete Navigator.prototype.locks")
    first = page = kim.sign_in("kim")
    for _ in range(6):
        kim.context.pages[-1].evaluate(_HIDE)
        page = kim.context.new_page()
        page.goto(f"{desk.url}{INBOX}", timeout=15_000)
        page.wait_for_selector("#link.is-live", timeout=15_000)

    desk.ask("Pay 20 EUR?")
    expect(page.locator("#rows > .row")).to_have_count(1)
    assert first.locator("#rows > .row").count() == 0
    first.evaluate(_SHOW)

    expect(first.locator("#rows > .row")).to_have_count(1)
    first.wait_for_selector("#link.is-live")


def test_title_of_every_page_says_how_many_are_mine_to_decide(desk: Desk, operator: Open) -> None:
    asked = desk.ask("Pay 3 EUR?")
    head = operator()
    page = head.sign_in("head", page=LIST)
    for path in (LIST, BOOK, REASONS, "/admin/password_change/", INBOX):
        head.open(path)
        counted(page, 1)
        head.assert_no_complaint()

    desk.ask("Pay 4 EUR?")
    counted(page, 2)
    desk.decide(asked, "approve")
    counted(page, 1)
    desk.withdraw_all()
    counted(page, 0)


def test_title_counts_nothing_that_the_reader_may_not_decide(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 5 EUR?", tenant="tenant2")
    desk.ask("Pay 6 EUR?")
    viewer, lee = operator(), operator()
    with viewer.page.expect_response(re.compile("/hitl/live/")):
        page = viewer.sign_in("head", page=LIST)
    counted(page, 1)
    counted(lee.sign_in("lee", page=LIST), 2)


def test_request_is_alerted_once_however_many_tabs_are_open(desk: Desk, operator: Open) -> None:
    tabs = Tabs(operator())
    tabs.kim.sign_in("kim", page=LIST)
    pages = [tabs.kim.page, *(tabs.open(path) for path in (LIST, BOOK, INBOX))]
    pages[-1].evaluate(_HIDE)
    for page in pages:
        counted(page, 0)

    desk.ask("Pay 7 EUR?")
    for page in pages:
        counted(page, 1)
    desk.ask("Pay 8 EUR?")
    for page in pages:
        counted(page, 2)

    tabs.heard("Pay 7 EUR?", "Pay 8 EUR?")
    # Neither a page that is loaded again nor a connection that is made anew alerts again.
    for page in pages[:-1]:
        page.reload()
        counted(page, 2)
    desk.ask("Pay 9 EUR?")
    counted(pages[0], 3)
    tabs.heard("Pay 7 EUR?", "Pay 8 EUR?", "Pay 9 EUR?")


def test_nothing_pops_up_while_the_inbox_is_seen(desk: Desk, operator: Open) -> None:
    tabs = Tabs(operator())
    archive = tabs.kim.sign_in("kim", page=LIST)
    inbox = tabs.open(INBOX)
    inbox.wait_for_selector("#link.is-live")

    desk.ask("Pay 10 EUR?")
    for page in (archive, inbox):
        counted(page, 1)
    # Whether an inbox is seen is looked at a moment later.
    inbox.wait_for_timeout(3000)
    assert tabs.notified == []
    inbox.evaluate(_HIDE)
    desk.ask("Pay 11 EUR?")
    for page in (archive, inbox):
        counted(page, 2)

    tabs.heard("Pay 11 EUR?")


@pytest.mark.parametrize("query", ["?action=zzz", "?q=nowhere"])
def test_inbox_that_does_not_list_a_request_holds_back_no_alert(
    desk: Desk, operator: Open, query: str
) -> None:
    tabs = Tabs(operator())
    archive = tabs.kim.sign_in("kim", page=LIST)
    inbox = tabs.open(f"{INBOX}{query}")
    inbox.wait_for_selector("#link.is-live")

    desk.ask("Pay 21 EUR?")
    tabs.heard("Pay 21 EUR?")
    archive.evaluate(_HIDE)
    desk.ask("Pay 22 EUR?")
    counted(inbox, 2)

    tabs.heard("Pay 21 EUR?", "Pay 22 EUR?")


def test_another_tab_takes_over_when_the_one_that_alerts_is_closed(
    desk: Desk, operator: Open
) -> None:
    tabs = Tabs(operator())
    tabs.kim.sign_in("kim", page=LIST)
    tabs.kim.open("/health")
    leader = tabs.open(LIST)
    desk.ask("Pay 12 EUR?")
    counted(leader, 1)
    other = tabs.open(LIST)
    counted(other, 1)

    leader.close()
    desk.ask("Pay 13 EUR?")
    counted(other, 2)

    tabs.heard("Pay 12 EUR?", "Pay 13 EUR?")


def test_click_on_a_notification_opens_the_request_and_leaves_the_page(
    desk: Desk, operator: Open
) -> None:
    tabs = Tabs(operator())
    page = tabs.kim.sign_in("kim", page=LIST)
    counted(page, 0)
    desk.ask("Pay 14 EUR?")
    counted(page, 1)
    tabs.heard("Pay 14 EUR?")

    with page.expect_popup() as opened:
        page.evaluate("lastNotification.onclick()")

    expect(opened.value.locator("h1")).to_contain_text("Pay 14 EUR?")
    assert page.url.endswith(LIST)


def test_page_that_the_browser_kept_for_the_way_back_counts_and_alerts_again(
    desk: Desk, operator: Open
) -> None:
    tabs = Tabs(operator())
    page = tabs.kim.sign_in("kim", page=LIST)
    counted(page, 0)
    page.evaluate(_LEAVE)
    desk.ask("Pay 15 EUR?")

    page.evaluate(_RETURN)

    counted(page, 1)
    desk.ask("Pay 16 EUR?")
    counted(page, 2)
    # What came in between is told as well.
    tabs.heard("Pay 15 EUR?", "Pay 16 EUR?")


def test_hidden_tabs_hold_one_stream_for_alerts_together(desk: Desk, operator: Open) -> None:
    tabs = Tabs(operator())
    open_streams: set[Any] = set()

    def begun(request: Any) -> None:
        if "/live/" in request.url:
            open_streams.add(request)

    def ended(request: Any) -> None:
        open_streams.discard(request)

    tabs.kim.context.on("request", begun)
    tabs.kim.context.on("requestfailed", ended)
    tabs.kim.context.on("requestfinished", ended)
    pages = [tabs.kim.sign_in("kim", page=LIST), *(tabs.open(path) for path in (LIST, BOOK))]
    desk.ask("Pay 17 EUR?")
    for page in pages:
        page.evaluate(_HIDE)
        counted(page, 1)

    assert len(open_streams) == 1


def test_turning_notifications_off_holds_for_all_tabs(desk: Desk, operator: Open) -> None:
    tabs = Tabs(operator())
    archive = tabs.kim.sign_in("kim", page=LIST)
    counted(archive, 0)
    inbox, second = tabs.open(INBOX), tabs.open(INBOX)
    expect(second.locator("#notify")).to_have_attribute("aria-pressed", "true")

    inbox.click("#notify")

    expect(second.locator("#notify")).to_have_attribute("aria-pressed", "false")
    for page in (inbox, second):
        page.evaluate(_HIDE)
    desk.ask("Pay 18 EUR?")
    counted(archive, 1)
    assert tabs.notified == []
