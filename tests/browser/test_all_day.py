"""A day at the desk: alerts, tabs side by side, a full inbox, and roles that change meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.desk import INBOX, Desk, Operator, wait_until

Open = Callable[..., Operator]
# Counts the notifications and tones of the page.
_RECORD = """
window.notified = [];
window.tones = 0;
window.Notification = class {
  static permission = "default";
  static async requestPermission() { return (window.Notification.permission = "granted"); }
  constructor(title) { window.notified.push(title); }
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...given) {
  window.tones += 1;
  return start.apply(this, given);
};
"""
_HIDDEN = "Object.defineProperty(document, 'hidden', { get: () => true })"
_HIDE = f"{_HIDDEN}; document.dispatchEvent(new Event('visibilitychange'))"
_POLICY = """
import json, sys
from hitl.actors import Actor
from hitl.policies import changes
from hitl.policies.rules import Rule
from hitl.states import ActorKind, Channel
pattern, rule = json.load(sys.stdin)
head = Actor("head", "tenant1", ActorKind.OPERATOR, Channel.ADMIN, "admin")
changes.create(head, pattern, Rule(**rule))
"""


def test_alerts_are_off_until_they_are_turned_on(desk: Desk, operator: Open) -> None:
    kim = operator()
    kim.page.add_init_script(_RECORD)
    page = kim.sign_in("kim")
    desk.ask("Pay 1 EUR?", seconds=500)
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    assert page.evaluate("[notified, tones]") == [[], 0]

    page.click("#notify")
    page.click("#sound")
    expect(page.locator("#notify")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#sound")).to_have_attribute("aria-pressed", "true")
    tried = page.evaluate("tones")
    desk.ask("Pay 2 EUR?", seconds=501)
    wait_until(page, lambda: page.evaluate("tones") > tried)
    # No notification while the inbox is visible, which is looked at a moment later.
    page.wait_for_timeout(3000)
    assert page.evaluate("notified") == []
    assert page.evaluate("tones") == tried + 2
    page.evaluate(_HIDE)
    desk.ask("Pay 3 EUR?", seconds=502)
    wait_until(page, lambda: page.evaluate("notified"))
    assert page.evaluate("notified") == ["New request: Pay 3 EUR?"]

    kim.open(INBOX)
    expect(page.locator("#sound")).to_have_attribute("aria-pressed", "true")
    page.wait_for_selector("#link.is-live")
    page.keyboard.press("j")
    desk.ask("Pay 4 EUR?", seconds=503)
    wait_until(page, lambda: page.evaluate("tones"))
    assert page.evaluate("tones") == 2


def test_tabs_side_by_side_agree(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 5 EUR?")
    kim = operator()
    inbox = kim.sign_in("kim")
    first, second = (_tab(kim, inbox) for _ in range(2))

    first.click("button.approve")

    expect(first.locator(".messagelist")).to_contain_text("“Pay 5 EUR?”")
    expect(second.locator(".state-approved")).to_contain_text("kim")
    expect(second.locator("#decision")).to_have_count(0)
    expect(inbox.locator("#rows .row-note")).to_have_text("approved by kim")
    assert desk.status(request) == "approved"


def _tab(kim: Operator, inbox: Page) -> Page:
    """Open the inbox's first request in a tab of its own, until it can be decided."""
    tab = kim.context.new_page()
    tab.goto(inbox.locator("#rows .open").first.evaluate("link => link.href"))
    tab.wait_for_selector("#request #help:not([hidden])")
    tab.wait_for_timeout(900)
    return tab


def test_enter_never_approves(desk: Desk, operator: Open) -> None:
    requests = [desk.ask(f"Pay {n} EUR?", seconds=600 + n) for n in (6, 7, 8)]
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").first.click()
    kim.ready()

    page.keyboard.press("Enter")
    page.fill("#rejection input[type=text]", "Not this year")
    page.keyboard.press("Enter")

    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
    kim.open(INBOX)
    for box in page.locator("#rows .pick input").all():
        box.check()
    page.keyboard.press("Enter")
    page.wait_for_selector(".many")
    page.keyboard.press("Enter")  # nothing typed
    page.fill("#id_typed", "1")
    page.keyboard.press("Enter")
    expect(page.locator("#typed-wrong")).to_be_visible()
    assert [desk.status(request) for request in requests] == ["rejected", "pending", "pending"]


def test_reason_that_has_the_focus_is_the_one_that_is_sent(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 11 EUR?")
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    kim.ready()
    address = page.url

    page.keyboard.press("r")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
    page.goto(address)
    expect(page.locator(".state-reason")).to_have_text("Ask the customer first")
    assert desk.status(request) == "rejected"


def test_hidden_tab_holds_no_connection(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 12 EUR?")
    kim = operator()
    page = kim.sign_in("kim")
    address = page.locator("#rows .open").evaluate("link => link.href")
    tab = kim.context.new_page()
    tab.add_init_script(_HIDDEN)
    started: list[str] = []
    ended: list[str] = []
    tab.on("request", lambda request: started.append(request.url))
    tab.on("requestfailed", lambda request: ended.append(request.url))
    tab.on("requestfinished", lambda request: ended.append(request.url))

    tab.goto(address)
    tab.wait_for_selector("#request #help:not([hidden])")
    tab.wait_for_timeout(1000)

    assert [url for url in started if "/live/" in url and url not in ended] == []


def test_200_requests_are_listed_and_rejected_at_once(desk: Desk, operator: Open) -> None:
    requests = [desk.ask(f"Delete file {n:03}?", seconds=3600 + n) for n in range(203)]
    kim = operator()
    page = kim.sign_in("kim")
    expect(page.locator("#rows > .row")).to_have_count(200)
    expect(page.locator("#range")).to_have_text("1–200 / 203")
    kim.shoot("inbox-200")
    for _ in range(3):
        page.keyboard.press("j")
    expect(kim.row("file 002").locator(".open")).to_be_focused()

    page.check("#all")
    expect(page.locator("#selected")).to_have_text("200 selected")
    page.click("#bar button[value=reject]")
    page.fill(".many input[name=reason]", "Cleared up already")
    # Two hundred decisions in one answer, for which the click waits.
    page.click(".many button.reject", timeout=180_000)

    expect(page.locator(".result.success")).to_have_count(200)
    assert [desk.status(request) for request in requests[199:]] == [
        "rejected",
        "pending",
        "pending",
        "pending",
    ]


def test_request_of_200_kb_is_shown_whole(desk: Desk, operator: Open) -> None:
    files = {f"file-{n:04}": f"/archive/{n:04}/" + "x" * 60 for n in range(2000)}
    desk.ask("Delete 2,000 files?", context={"files": files, "last": "the-very-end"})
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    kim.ready()

    assert all(name in page.content() for name in ("file-0000", "file-1999", "the-very-end"))
    page.click("button.approve")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")


def test_escalation_removes_the_buttons_and_says_why(desk: Desk, operator: Open) -> None:
    rule = {
        "timeout_seconds": 12,
        "on_timeout": "escalate",
        "escalate_to_role": "admin",
        "escalate_seconds": 600,
    }
    desk.manage(_POLICY, ["wipe_*", rule])
    request = desk.ask("Wipe the disk?", action="wipe_disk")
    kim = operator()
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()
    page.wait_for_selector("button.approve")
    first_term = page.locator("#expires").inner_text()

    expect(page.locator(".badge.escalated")).to_be_visible()
    expect(page.locator("#expires")).not_to_have_text(first_term)
    expect(page.locator("#buttons button")).to_have_count(0)
    expect(page.locator(".why-not")).to_contain_text("admin")
    kim.shoot("request-escalated")
    assert desk.status(request) == "pending"


def test_role_that_changes_ends_the_sign_in_and_buttons_appear_with_the_next(
    desk: Desk, operator: Open
) -> None:
    desk.ask("Pay 9 EUR?")
    rising = operator()
    page = rising.sign_in("rising")
    inbox = rising.context.new_page()
    inbox.goto(page.url)
    expect(inbox.locator("#rows > .row")).to_have_count(1)
    expect(inbox.locator("#all")).to_have_count(0)
    page.locator("#rows .open").click()
    expect(page.locator(".why-not")).to_be_visible()
    expect(page.locator("#decision")).to_have_count(0)

    desk.manage(
        "from dwp_project.gateway.models import Membership;"
        "Membership.objects.filter(user__username='rising').update(role='approver')"
    )

    expect(page.locator("#state .errornote")).to_contain_text("your access has changed")
    expect(inbox.locator("#stopped")).to_be_visible()
    expect(inbox.locator("#rows > .row")).to_have_count(0)
    address = page.url.removeprefix(desk.url)
    page.reload()
    expect(page.locator(".messagelist")).to_contain_text("has changed since you signed in")
    assert page.locator("input[name=next]").get_attribute("value") == address
    rising.shoot("sign-in-ended")
    desk.people(("rising", {"tenant1": "approver"}))
    rising.sign_in("rising", page=address)

    page.wait_for_selector("button.approve")
    inbox.reload()
    expect(inbox.locator("#all")).to_have_count(1)
    rising.ready()
    page.click("button.approve")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")


def test_session_elsewhere_has_no_timeline_and_no_error(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 10 EUR?")
    kim = operator()
    errors: list[str] = []
    kim.page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page = kim.sign_in("kim")
    page.locator("#rows .open").click()

    expect(page.locator("#timeline-note")).to_contain_text("works outside this server")
    assert errors == []
