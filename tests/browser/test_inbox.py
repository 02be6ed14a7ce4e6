"""The inbox: what is searched, filtered and kept; and that nothing moves while it is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import INBOX, Desk, Operator
from tests.browser.test_looking import serious

Open = Callable[..., Operator]
_POLICY = """
import json, sys
from hitl.actors import Actor
from hitl.models import Policy
from hitl.policies import changes
from hitl.policies.rules import Rule
from hitl.states import ActorKind, Channel
pattern, rule = json.load(sys.stdin)
head = Actor("head", "tenant1", ActorKind.OPERATOR, Channel.ADMIN, "admin")
if not Policy.objects.filter(pattern=pattern).exists():
    changes.create(head, pattern, Rule(**rule))
"""
# Makes pending requests by the database alone: thousands over REST take minutes.
_MANY = """
import json, sys
from datetime import timedelta
from django.utils import timezone
from dwp_project.jsontext import compact, digest
from hitl.models import ApprovalRequest
count, seconds = json.load(sys.stdin)
now = timezone.now()
context = {"count": 3}
ApprovalRequest.objects.bulk_create(
    ApprovalRequest(
        request_id=f"many-{now.timestamp():.0f}-{n}", session_id=f"many-{n}", tenant_id="tenant1",
        user_id=f"user{n % 7}", origin="rest", action_type=f"action_{n % 5}",
        message=f"May I do {n:04}?", context_text=compact(context), context_digest=digest(context),
        body_digest="0" * 64, created_at=now, expires_at=now + timedelta(seconds=seconds + n))
    for n in range(count))
"""
_NONE_OF_MANY = (
    "from hitl.models import ApprovalRequest;"
    "ApprovalRequest.objects.filter(request_id__startswith='many-').delete()"
)

_VIEWS = """
from django.contrib.auth.models import User
from hitl.models import InboxView
user = User.objects.get(username="rising")
InboxView.objects.bulk_create(
    InboxView(user=user, query=f"action=a{n}",
              name=f"A view with a name as long as one may be, of {n:02} views")
    for n in range(21))
"""


def boxes(page: Page) -> dict[str, Any]:
    """Return where each row stands, by its key."""
    code = "rows => Object.fromEntries(rows.map(r => [r.id, r.getBoundingClientRect().toJSON()]))"
    placed: dict[str, Any] = page.locator("#rows > .row").evaluate_all(code)
    return placed


def ticked(page: Page) -> list[str]:
    items: list[str] = page.locator(".pick input[name=item]:checked").evaluate_all(
        "boxes => boxes.map(box => box.value)"
    )
    return items


def test_nothing_moves_under_the_pointer_or_the_focus(desk: Desk, operator: Open) -> None:
    asked = [desk.ask(f"Pay {n} EUR?", seconds=600 + n) for n in range(8)]
    kim = operator()
    page = kim.sign_in("kim")
    kim.row("Pay 2 EUR?").locator(".pick input").check()
    kim.row("Pay 5 EUR?").locator(".pick input").check()
    kim.row("Pay 3 EUR?").locator(".open").focus()
    kim.row("Pay 4 EUR?").hover()
    before = boxes(page)
    picked = ticked(page)

    more = [desk.ask(f"Urgent {n}?", seconds=100 + n) for n in range(3)]
    desk.decide(asked[0], "approve", "lee")
    desk.decide(asked[5], "reject", "lee")
    desk.decide(asked[4], "approve", "lee")

    expect(page.locator("#join")).to_have_text(re.compile("3 new requests · Show"))
    expect(page.locator("#rows > .is-gone")).to_have_count(3)
    expect(kim.row("Pay 0 EUR?").locator(".row-note")).to_have_text("approved by lee")
    expect(kim.row("Pay 5 EUR?").locator(".row-note")).to_have_text("rejected by lee")
    expect(kim.row("Pay 5 EUR?").locator(".pick input")).to_have_count(0)
    assert boxes(page) == before
    assert ticked(page) == picked[:1]
    expect(kim.row("Pay 3 EUR?").locator(".open")).to_be_focused()
    expect(page.locator("#count")).to_have_text("8")
    expect(page.locator("#mine")).to_have_text("8")
    kim.shoot("inbox-announced")
    kim.assert_no_complaint()

    page.keyboard.press("n")

    expect(page.locator("#rows > .row")).to_have_count(8)
    expect(page.locator("#join")).to_be_hidden()
    assert ticked(page) == picked[:1]
    expect(kim.row("Pay 3 EUR?").locator(".open")).to_be_focused()
    assert kim.row("Urgent 0?").get_attribute("id") == next(iter(boxes(page)))
    assert len(more) == 3


def test_row_that_changes_waits_until_the_pointer_has_gone_on(desk: Desk, operator: Open) -> None:
    desk.manage(_POLICY, ["join_*", {"min_approvals": 3}])
    voted, other = (
        desk.ask(f"Merge {n}?", action="join_it", seconds=600 + n, context={}) for n in range(2)
    )
    kim = operator()
    page = kim.sign_in("kim")
    first, second = kim.row("Merge 0?"), kim.row("Merge 1?")
    for row in (first, second):
        row.locator(".pick input").check()
    page.locator("h1").click()
    first.hover()
    before = boxes(page)

    desk.decide(voted, "approve", "lee")
    desk.decide(other, "approve", "lee")

    expect(second.locator(".votes")).to_have_text("1 of 3 approvals")
    expect(first.locator(".row-note")).to_have_text("changed")
    expect(first.locator(".votes")).to_have_text("0 of 3 approvals")
    assert boxes(page) == before
    page.mouse.move(0, 0)
    expect(first.locator(".votes")).to_have_text("1 of 3 approvals")
    # The same request: its votes are none of what an operator selects.
    assert len(ticked(page)) == 2


def test_row_that_grows_waits_while_that_would_move_what_is_pointed_at(
    desk: Desk, operator: Open
) -> None:
    rule = {
        "timeout_seconds": 10,
        "on_timeout": "escalate",
        "escalate_to_role": "approver",
        "escalate_seconds": 600,
    }
    desk.manage(_POLICY, ["raise_*", rule])
    kim = operator(viewport={"width": 360, "height": 740})
    desk.ask("Raise all of their salaries now?", action="raise_salaries")
    desk.ask("Pay 1 EUR?", seconds=900)
    page = kim.sign_in("kim")
    grows, below = kim.row("Raise all"), kim.row("Pay 1 EUR?")
    below.hover()
    before = boxes(page)

    expect(grows.locator(".row-note")).to_have_text("changed")
    assert boxes(page) == before
    page.mouse.move(0, 0)
    expect(grows.locator(".escalated")).to_be_visible()
    expect(grows.locator(".row-note")).to_have_count(0)
    assert boxes(page) != before


def test_row_with_the_focus_keeps_it_when_it_changes(desk: Desk, operator: Open) -> None:
    desk.manage(_POLICY, ["join_*", {"min_approvals": 3}])
    request = desk.ask("Join?", action="join_it")
    desk.ask("Pay 1 EUR?", seconds=900)
    kim = operator()
    page = kim.sign_in("kim")
    page.keyboard.press("j")
    expect(kim.row("Join?").locator(".open")).to_be_focused()
    # The first message of a stream may be older than its page.
    page.wait_for_timeout(3000)

    desk.decide(request, "approve", "lee")

    expect(kim.row("Join?").locator(".row-note")).to_have_text("changed")
    expect(kim.row("Join?").locator(".open")).to_be_focused()
    page.keyboard.press("j")
    expect(kim.row("Pay 1 EUR?").locator(".open")).to_be_focused()
    expect(kim.row("Join?").locator(".votes")).to_have_text("1 of 3 approvals")


def test_list_that_is_scrolled_stays_where_it_is_read(desk: Desk, operator: Open) -> None:
    for number in range(60):
        desk.ask(f"Pay {number:02} EUR?", seconds=600 + number)
    kim = operator()
    page = kim.sign_in("kim")
    row = kim.row("Pay 40 EUR?")
    row.locator("details, .open").first.scroll_into_view_if_needed()
    row.locator(".open").focus()
    top = row.bounding_box()["y"]
    for number in range(3):
        desk.ask(f"Urgent {number}?", seconds=300 + number)
    expect(page.locator("#join")).to_contain_text("3 new requests")
    assert row.bounding_box()["y"] == top

    page.keyboard.press("n")

    expect(page.locator("#rows > .row")).to_have_count(63)
    assert abs(row.bounding_box()["y"] - top) < 1
    expect(row.locator(".open")).to_be_focused()


def test_request_that_nobody_decides_stays_greyed_as_expired(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 1 EUR?", seconds=600)
    kim = operator()
    page = kim.sign_in("kim")
    desk.ask("Pay 2 EUR?", seconds=6)
    expect(page.locator("#join")).to_be_visible()
    page.click("#join")
    row = kim.row("Pay 2 EUR?")
    row.locator(".pick input").check()

    expect(row.locator(".row-note")).to_have_text("expired")
    expect(page.locator("#bar")).to_be_hidden()
    expect(page.locator("#join")).to_contain_text("1 ended")
    page.click("#join")
    expect(page.locator("#rows > .row")).to_have_count(1)


def test_search_and_filters_live_in_the_address(desk: Desk, operator: Open) -> None:
    desk.ask("프로덕션에 배포할까요?", action="deploy", context={"서비스": "결제"}, user="choi")
    desk.ask("Copy?", action="copy", context={"path": "C:\\dir", "note": 'a "b"'})
    desk.ask("Pay?", context={"api_key": "sk-secret", "to": "ann"})
    desk.ask("Pay abroad?", tenant="tenant2", context={"to": "bob"})
    lee = operator(viewport={"width": 1366, "height": 768})
    page = lee.sign_in("lee")
    rows = page.locator("#rows > .row")
    expect(rows).to_have_count(4)
    for words, count in (("결제", 1), ('c:\\dir "B"', 1), ("sk-secret", 0), ("PAY to", 2)):
        page.keyboard.press("/")
        page.keyboard.type(words)
        page.keyboard.press("Enter")
        expect(page.locator("#id_q")).to_have_value(words)
        expect(rows).to_have_count(count)
        page.locator("h1").click()
    page.click(".filter-more summary")
    lee.shoot("inbox-filter")
    page.select_option("#id_tenant", "tenant2")
    page.click(".filter-panel button")

    expect(rows).to_have_count(1)
    assert page.url.endswith("?q=PAY+to&tenant=tenant2")
    expect(page.locator("#count")).to_have_text("1")
    page.wait_for_selector("#link.is-live")
    desk.ask("Pay to somebody else?", tenant="tenant1")
    desk.ask("Pay to him?", tenant="tenant2")
    expect(page.locator("#count")).to_have_text("2")
    expect(page.locator("#join")).to_contain_text("1 new request")
    page.click("#join")
    expect(rows).to_have_count(2)

    rows.first.locator(".open").click()
    expect(page.locator("#request")).to_be_visible()
    page.click("a[rel=next]")
    expect(page.locator("#request h1")).to_contain_text("Pay")
    page.locator(".pager a", has_text="Inbox").click()
    assert page.url.endswith("?q=PAY+to&tenant=tenant2")
    page.locator(".part", has_text="tenant2").click()
    assert page.url.endswith("?q=PAY+to")
    lee.assert_no_complaint()


def test_filter_is_kept_as_a_view(desk: Desk, operator: Open) -> None:
    desk.ask("Pay?", action="pay")
    desk.ask("Mail?", action="mail")
    kim = operator(viewport={"width": 1366, "height": 768})
    page = kim.sign_in("kim")
    page.click(".filter-more summary")
    page.fill("#id_action", "pay")
    page.keyboard.press("Enter")
    page.click(".keep-view summary")
    page.fill("#id_name", "Payments \u202e<b>")
    kim.shoot("inbox-keep")
    page.keyboard.press("Enter")

    view = page.locator("#views a", has_text="Payments")
    expect(view).to_have_attribute("aria-current", "page")
    expect(view.locator(".unseen")).to_have_text("⟨U+202E⟩")
    page.locator("#views a", has_text="All").click()
    expect(page.locator("#rows > .row")).to_have_count(2)
    view.click()
    expect(page.locator("#rows > .row")).to_have_count(1)
    page.click(".keep-view summary")
    page.click("button[name=remove]")
    expect(page.locator("#views")).not_to_contain_text("Payments")


def test_new_request_that_belongs_on_another_page_is_led_to(desk: Desk, operator: Open) -> None:
    desk.manage(_MANY, [200, 600])
    kim = operator(viewport={"width": 1366, "height": 768})
    page = kim.sign_in("kim")
    expect(page.locator("#rows > .row")).to_have_count(200)
    page.keyboard.press("j")
    focused = "document.activeElement.closest('.row').id"
    before = page.evaluate(focused)
    desk.ask("The last to expire?", seconds=3000)
    expect(page.locator("#join")).to_contain_text("1 new request")

    page.keyboard.press("n")

    link = page.locator("#elsewhere a")
    expect(link).to_have_text("The last to expire?")
    expect(page.locator("#elsewhere")).to_contain_text("New on another page: 1.")
    assert page.evaluate(focused) == before
    link.click()
    expect(page.locator("#request h1")).to_contain_text("The last to expire?")
    desk.manage(_NONE_OF_MANY)


def test_mine_is_a_part_of_any_filter(desk: Desk, operator: Open) -> None:
    desk.ask("Pay?", action="pay")
    page = operator(viewport={"width": 1366, "height": 768}).sign_in("kim")
    page.click(".filter-more summary")
    page.fill("#id_action", "pay")
    page.check(".filter-panel [name=mine]")
    page.click(".filter-panel button")

    expect(page.locator("#rows > .row")).to_have_count(1)
    assert page.url.endswith("?action=pay&mine=1")


def test_any_number_of_views_and_chips_take_one_line(desk: Desk, operator: Open) -> None:
    desk.ask("Pay?", action="pay")
    desk.manage(_VIEWS)
    wide = operator(viewport={"width": 1366, "height": 768})
    page = wide.sign_in("rising")
    box = page.locator("#views").bounding_box()
    wide.shoot("inbox-views")
    assert box is not None
    assert box["height"] < 44
    page.click(".more-views summary")
    expect(page.locator(".more-views a")).to_have_count(18)
    page.locator(".more-views a").last.scroll_into_view_if_needed()
    expect(page.locator(".more-views a").last).to_be_in_viewport()

    phone = operator(viewport={"width": 360, "height": 740})
    page = phone.sign_in("rising", page=f"{INBOX}?q=pay&action=pay&asker=user123&risk=high&soon=1")
    views = page.locator("#views").bounding_box()
    assert views is not None
    assert views["height"] < 44
    parts = page.locator(".filter-parts")
    box = parts.bounding_box()
    phone.shoot("inbox-chips")
    assert box is not None
    assert box["height"] < 40
    assert parts.evaluate("parts => parts.scrollWidth > parts.clientWidth")
    expect(page.locator(".keep-view summary")).to_be_in_viewport()
    page.click(".keep-view summary")
    page.fill("#id_name", "Payments")
    expect(page.locator(".keep-view button").first).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    desk.manage("from hitl.models import InboxView; InboxView.objects.all().delete()")


def test_what_is_not_mine_is_quieter_and_not_counted(desk: Desk, operator: Open) -> None:
    desk.manage(_POLICY, ["erase_*", {"required_role": "admin"}])
    desk.ask("Wipe?", action="erase_disk", seconds=500)
    desk.ask("Pay?", seconds=600)
    kim = operator()
    page = kim.sign_in("kim")
    expect(page.locator("#mine")).to_have_text("1")
    expect(page.locator("#count")).to_have_text("2")
    expect(kim.row("Wipe?").locator(".pick input")).to_have_count(0)
    expect(kim.row("Wipe?")).to_contain_text("takes the role admin")
    weights = [
        kim.row(text).locator(".open").evaluate("link => getComputedStyle(link).fontWeight")
        for text in ("Wipe?", "Pay?")
    ]
    assert weights == ["400", "600"]

    page.locator("#views a", has_text="Mine to decide").click()

    expect(page.locator("#rows > .row")).to_have_count(1)
    kim.shoot("inbox-mine")


def test_page_works_without_scripts(desk: Desk, operator: Open) -> None:
    for number in range(3):
        desk.ask(f"Pay to person-{number}?", seconds=600 + number)
    kim = operator(java_script_enabled=False)
    page = kim.sign_in("kim", page=f"{INBOX}?sort=newest")
    page.fill("#id_q", "PERSON-1 pay")
    page.keyboard.press("Enter")
    expect(page.locator("#rows > .row")).to_have_count(1)
    page.locator("#rows .open").click()
    page.click("button.approve")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")
    expect(page.locator("#empty")).to_be_visible()


def test_all_of_5000_requests_are_reached_with_a_true_count(desk: Desk, operator: Open) -> None:
    desk.manage(_MANY, [5000, 3600])
    try:
        kim = operator(viewport={"width": 1366, "height": 768})
        page = kim.sign_in("kim")
        expect(page.locator("#count")).to_have_text("5,000")
        expect(page.locator("#rows > .row")).to_have_count(200)
        page.click("a[rel=next]")
        expect(page.locator("#range")).to_contain_text("201–400 / 5,000")
        expect(page.locator("#rows > .row .open").first).to_have_text("May I do 0200?")
        page.wait_for_selector("#link.is-live")
        desk.ask("One more?", seconds=100_000)
        expect(page.locator("#count")).to_have_text("5,001")
        expect(page.locator("#join")).to_contain_text("1 new request")
        kim.shoot("inbox-5000")
        page.goto(f"{desk.url}{INBOX}?q=4999")
        expect(page.locator("#rows > .row .open")).to_have_text("May I do 4999?")
    finally:
        desk.manage(_NONE_OF_MANY)


def test_hundred_decisions_from_the_sign_in_on_by_keyboard_alone(
    desk: Desk, operator: Open
) -> None:
    desk.manage(_MANY, [1, 3600])
    asked = [desk.ask(f"Pay {n} EUR?", seconds=900 + n, context={"n": n}) for n in range(100)]
    kim = operator()
    page = kim.open(f"/admin/login/?next={INBOX}")
    page.keyboard.type("kim")
    page.keyboard.press("Tab")
    page.keyboard.type("an-operator-of-the-desk")
    page.keyboard.press("Enter")
    page.wait_for_selector("#link.is-live")
    page.keyboard.press("Enter")
    for number in range(100):
        expect(page.locator("#request h1")).to_have_text(f"Pay {number} EUR?")
        page.wait_for_selector("#request #help:not([hidden])")
        page.wait_for_timeout(610)
        if number % 10:
            page.keyboard.press("a")
        else:
            page.keyboard.press("r")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowUp")
            page.keyboard.press("Enter")
    expect(page.locator("#request h1")).to_have_text("May I do 0000?")
    page.keyboard.press("Escape")
    expect(page.locator("#count")).to_have_text("1")
    assert {desk.status(request) for request in asked[1::10]} == {"approved"}
    assert {desk.status(request) for request in asked[::10]} == {"rejected"}
    desk.manage(_NONE_OF_MANY)


@pytest.mark.parametrize("width", [360, 1024, 1366, 1920])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_inbox_fits_and_has_no_serious_violation(
    desk: Desk, operator: Open, width: int, theme: str
) -> None:
    desk.manage(_POLICY, ["erase_*", {"required_role": "admin"}])
    desk.ask("Wipe the disk of the server in Busan?", action="erase_disk", seconds=110)
    for number in range(4):
        desk.ask(f"Pay {number} EUR to a customer whose name is long?", seconds=600 + number)
    locale = "ko-KR" if theme == "dark" else "en-US"
    kim = operator(viewport={"width": width, "height": 740}, color_scheme=theme, locale=locale)
    page = kim.sign_in("kim")
    page.goto(f"{desk.url}{INBOX}?q=a&soon=0&agent=x&sort=nonsense")
    kim.shoot(f"inbox-filtered-{width}-{theme}")
    page.goto(f"{desk.url}{INBOX}#filter")
    page.click(".filter-more summary")
    kim.shoot(f"inbox-filter-{width}-{theme}")
    violations = serious(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    kim.sign_in("kim")
    page.keyboard.press("j")
    desk.ask("One more?", seconds=100)
    expect(page.locator("#join")).to_be_visible()
    kim.shoot(f"inbox-{width}-{theme}")
    violations += serious(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations == []
    kim.assert_no_complaint()
