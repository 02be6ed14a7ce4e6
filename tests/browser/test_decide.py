"""A decision is what the person meant: reasons, comments, what was typed, and many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import BY_FORM, INBOX, PASSWORD, Desk, Operator, sign_out, wait_until
from tests.browser.test_looking import serious

Open = Callable[..., Operator]
TYPED = "#rejection input[name=reason]"
COMMENT = "#approval textarea"
_POLICY = """
import json, sys
from hitl.actors import Actor
from hitl.policies import changes
from hitl.policies.rules import Rule
from hitl.states import ActorKind, Channel
tenant, pattern, rule = json.load(sys.stdin)
head = Actor("head", tenant, ActorKind.OPERATOR, Channel.ADMIN, "admin")
changes.create(head, pattern, Rule(**rule))
"""
_END_SESSION = """
import json, sys
from django.contrib.sessions.models import Session
Session.objects.filter(session_key=json.load(sys.stdin)).delete()
"""
_RENAME = """
import json, sys
from django.db import connection
before, after = json.load(sys.stdin)
connection.cursor().execute(f"ALTER TABLE {before} RENAME TO {after}")
"""


def opened(kim: Operator, message: str, *, is_live: bool = True) -> Page:
    """Open the request of this message from the inbox, until it can be decided."""
    page = kim.page
    if not is_live:
        page.route("**/live/", lambda route: route.abort())
    kim.row(message).locator(".open").click()
    kim.ready()
    return page


def session_of(kim: Operator) -> str:
    cookies: list[Any] = [*kim.context.cookies()]
    return next(str(cookie["value"]) for cookie in cookies if cookie["name"] == "sessionid")


def stays_pending(desk: Desk, request: dict[str, Any], page: Page) -> None:
    """Check that the page has sent nothing."""
    page.wait_for_timeout(400)
    expect(page.locator("#rejection")).to_be_visible()
    assert desk.status(request) == "pending"


# --- reasons ------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [["Enter"], ["Enter", "Enter"], ["Tab", "Enter", "Enter"]])
def test_enter_after_r_rejects_nothing_and_says_what_to_do(
    desk: Desk, operator: Open, keys: list[str]
) -> None:
    request = desk.ask("Pay 101 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 101 EUR?")

    page.keyboard.press("r")
    for key in keys:
        page.keyboard.press(key)

    expect(page.locator(".reasons-hint")).to_contain_text("Choose a reason or write one")
    assert page.locator("input[name=preset]:checked").count() == 0
    stays_pending(desk, request, page)
    if keys == ["Enter"]:
        assert serious(page) == []
        kim.shoot("request-reasons")


def test_where_no_reason_is_offered_enter_in_the_empty_field_rejects_nothing(
    desk: Desk, operator: Open
) -> None:
    request = desk.ask("Pay 102 EUR?", tenant="tenant2")
    lee = operator()
    lee.sign_in("lee")
    page = opened(lee, "Pay 102 EUR?")

    page.keyboard.press("r")
    expect(page.locator(TYPED)).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")

    expect(page.locator(".reasons-hint")).to_contain_text("The button rejects without one")
    page.wait_for_timeout(400)
    assert page.url.endswith("/change/")
    # The button is a deliberate act, and no policy wants a reason.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
    assert request["requestId"] in page.locator(".messagelist").inner_text()


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["2", "Enter"], "Ask the customer first"),
        (["ArrowDown", "Enter"], "The amount is too high"),
        (["ArrowUp", "Enter"], "Ask the customer first"),
        (["Tab", "Space", "Enter"], "The amount is too high"),
        ([*"already paid", "Enter"], "already paid"),
        (["1", "Tab", *"by far", "Enter"], "The amount is too high – by far"),
    ],
)
def test_reason_is_chosen_by_its_number_or_written_at_once(
    desk: Desk, operator: Open, keys: list[str], reason: str
) -> None:
    request = desk.ask("Pay 103 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 103 EUR?")
    address = page.url

    page.keyboard.press("r")
    for key in keys:
        page.keyboard.press(key)

    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
    page.goto(address)
    expect(page.locator(".state-reason")).to_have_text(reason)
    assert desk.status(request) == "rejected"


def test_escape_leaves_the_reasons_and_not_the_page(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 104 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 104 EUR?")
    address = page.url

    page.keyboard.press("r")
    page.keyboard.press("Escape")
    expect(page.locator(".reasons")).not_to_be_focused()
    page.keyboard.press("r")
    page.keyboard.type("x")
    page.keyboard.press("Escape")

    expect(page.locator(TYPED)).to_have_value("x")
    assert page.url == address
    stays_pending(desk, request, page)


# --- comments -----------------------------------------------------------------------------------


def test_approval_carries_a_comment_and_no_key_in_it_decides(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 105 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 105 EUR?")
    address = page.url

    page.keyboard.press("c")
    page.keyboard.type("a rare")
    height = page.locator(COMMENT).bounding_box()
    page.keyboard.press("Enter")
    page.keyboard.type("case")
    expect(page.locator(COMMENT)).to_have_value("a rare\ncase")
    grown = page.locator(COMMENT).bounding_box()
    assert height is not None
    assert grown is not None
    assert grown["height"] > height["height"]
    stays_pending(desk, request, page)
    kim.shoot("request-comment")
    page.keyboard.press("Escape")
    page.keyboard.press("a")

    expect(page.locator(".messagelist")).to_contain_text("is now approved")
    page.goto(address)
    expect(page.locator(".state-reason")).to_have_text("a rare\ncase")
    page.get_by_role("link", name="whole history").click()
    expect(page.locator(".book-records")).to_contain_text("a rare")


def test_comment_of_a_vote_is_there_for_the_next_to_vote(desk: Desk, operator: Open) -> None:
    desk.manage(_POLICY, ["tenant1", "vote_*", {"min_approvals": 2}])
    request = desk.ask("Pay 106 EUR?", action="vote_payment")
    kim, lee = operator(), operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 106 EUR?")
    page.fill(COMMENT, "The customer agreed by phone")
    page.click("button.approve")
    expect(page.locator(".messagelist")).to_contain_text("1 more is needed")

    lee.sign_in("lee")
    theirs = opened(lee, "Pay 106 EUR?")

    expect(theirs.locator(".vote-comment")).to_have_text("The customer agreed by phone")
    lee.shoot("request-vote-comment")
    theirs.click("button.approve")
    expect(theirs.locator(".messagelist")).to_contain_text("is now approved")
    assert desk.status(request) == "approved"


@pytest.mark.parametrize(
    ("key", "typed", "button", "answer", "status", "kept"),
    [
        ("c", "Not ours", "reject", "Reject with it as the reason", "rejected", "Not ours"),
        ("c", "Not ours", "reject", "Reject without it", "rejected", "User rejected"),
        ("r", "All fine", "approve", "Approve with it as the comment", "approved", "All fine"),
        ("r", "1", "approve", "Approve without it", "approved", ""),
    ],
)
def test_what_is_written_for_the_other_decision_is_asked_about(
    desk: Desk, operator: Open, key: str, typed: str, button: str, answer: str, status: str,
    kept: str,
) -> None:  # fmt: skip
    request = desk.ask("Pay 128 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 128 EUR?")
    address = page.url
    page.keyboard.press(key)
    page.keyboard.type(typed)

    page.click(f"button.{button}")
    question = page.locator("dialog[open]")
    expect(question).to_contain_text("The amount is too high" if typed == "1" else typed)
    kim.shoot(f"request-other-{button}")
    violations = serious(page)
    # The answer that a key gives by mistake is the one that sends nothing.
    page.keyboard.press("Enter")
    expect(question).to_have_count(0)
    stays_pending(desk, request, page)
    page.click(f"button.{button}")
    question.get_by_role("button", name=answer).click()

    expect(page.locator(".messagelist")).to_contain_text(f"is now {status}")
    page.goto(address)
    if kept:
        expect(page.locator(".state-reason")).to_have_text(kept)
    else:
        expect(page.locator(".state-reason")).to_have_count(0)
    assert violations == []


def test_question_about_what_is_written_ends_with_the_request(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 129 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 129 EUR?")
    page.fill(COMMENT, "Not ours")
    page.click("button.reject")
    expect(page.locator("dialog[open]")).to_be_visible()

    desk.decide(request, "approve", user="park")

    expect(page.locator(".state-approved")).to_contain_text("park")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#typed-before")).to_have_text("You had typed: Not ours")


# --- what is typed --------------------------------------------------------------------------------


def test_what_is_typed_survives_a_session_that_ended(desk: Desk, operator: Open) -> None:
    request = desk.ask("Pay 107 EUR?", seconds=500)
    desk.ask("Pay 108 EUR?", seconds=900)
    kim = operator()
    kim.sign_in_by_form(BY_FORM)
    page = opened(kim, "Pay 107 EUR?", is_live=False)
    page.fill(COMMENT, "first line\nsecond")
    page.fill(TYPED, "The invoice is not ours")
    desk.manage(_END_SESSION, session_of(kim))

    page.click("button.reject")
    page.get_by_role("button", name="Reject without it").click()
    page.fill("#id_username", BY_FORM)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")

    expect(page.locator(".messagelist")).to_contain_text("Nothing was decided")
    expect(page.locator("h1")).to_have_text("Pay 107 EUR?")
    expect(page.locator(TYPED)).to_have_value("The invoice is not ours")
    expect(page.locator(COMMENT)).to_have_value("first line\nsecond")
    expect(page.locator("#typed-before")).to_contain_text("here again")
    kim.shoot("request-typed-before")
    assert serious(page) == []
    assert desk.status(request) == "pending"
    # It is nobody else's reason, and once it is sent it is gone.
    address = page.url
    kim.ready()
    page.click("button.reject")
    page.get_by_role("button", name="Reject without it").click()
    expect(page.locator("h1")).to_have_text("Pay 108 EUR?")
    expect(page.locator(TYPED)).to_have_value("")
    wait_until(page, lambda: page.evaluate("sessionStorage.length") == 0)
    page.goto(address)
    expect(page.locator(".state-reason")).to_have_text("The invoice is not ours")
    expect(page.locator("#typed-before")).to_be_hidden()


def test_what_is_typed_survives_a_reload_and_is_forgotten_with_the_sign_out(
    desk: Desk, operator: Open
) -> None:
    desk.ask("Pay 109 EUR?")
    kim = operator()
    kim.sign_in_by_form(BY_FORM)
    page = opened(kim, "Pay 109 EUR?")
    page.fill(TYPED, "Not this year")
    page.reload()
    expect(page.locator(TYPED)).to_have_value("Not this year")
    # Cleared by the person: nothing comes back.
    page.fill(TYPED, "")
    page.reload()
    kim.ready()
    expect(page.locator(TYPED)).to_have_value("")
    page.fill(TYPED, "Not this month")
    assert "Not this month" in page.evaluate("sessionStorage.getItem('dwp.drafts')")

    sign_out(page)

    wait_until(page, lambda: page.evaluate("sessionStorage.length") == 0)


def test_what_one_person_typed_is_not_shown_to_the_next(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 110 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 110 EUR?")
    page.fill(TYPED, "Between you and me")

    kim.sign_in("lee", page=page.url.removeprefix(desk.url))
    kim.ready()

    expect(page.locator(TYPED)).to_have_value("")
    expect(page.locator("#typed-before")).to_be_hidden()


@pytest.mark.parametrize("is_live", [True, False])
def test_what_was_typed_for_a_request_that_somebody_else_decided_can_be_copied(
    desk: Desk, operator: Open, is_live: bool
) -> None:
    request = desk.ask("Pay 111 EUR?")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 111 EUR?", is_live=is_live)
    page.fill(TYPED, "A long and careful reason")

    desk.decide(request, "approve", user="park")
    if not is_live:
        page.click("button.reject")

    expect(page.locator(".state-approved")).to_contain_text("park")
    expect(page.locator("#typed-before")).to_have_text("You had typed: A long and careful reason")
    kim.shoot("request-lost-race-typed")
    page.reload()
    expect(page.locator("#typed-before")).to_have_text("You had typed: A long and careful reason")
    kim.open(INBOX)
    wait_until(page, lambda: page.evaluate("sessionStorage.length") == 0)


@pytest.mark.parametrize("delay", [60, 150, 250])
@pytest.mark.parametrize(
    ("key", "typed"),
    [("r", "Please do not pay: "), ("c", "Please do pay: "), ("r", "")],
    ids=["reason", "comment", "before the first letter"],
)
def test_what_is_typed_while_the_request_ends_decides_and_opens_nothing(
    desk: Desk, operator: Open, key: str, typed: str, delay: int
) -> None:
    request = desk.ask("Pay 120 EUR?", seconds=500)
    others = [desk.ask(f"Pay {n} EUR?", seconds=900 + n) for n in (121, 122)]
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 120 EUR?")
    address = page.url

    page.keyboard.press(key)
    page.keyboard.type(typed, delay=20)
    desk.decide(request, "approve", user="park")
    expect(page.locator(".state-approved")).to_contain_text("park")
    # Later than anybody pauses in a sentence.
    page.wait_for_timeout(2500)
    page.keyboard.type("just ask them, Jim", delay=delay)
    page.keyboard.press("Enter")
    page.keyboard.press("Space")

    page.wait_for_timeout(800)
    assert page.url == address
    assert [desk.status(other) for other in others] == ["pending", "pending"]
    if typed:
        expect(page.locator("#typed-before")).to_have_text(f"You had typed: {typed}")
    # Who leaves it on purpose has the keys again.
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("h1")).to_have_text("Pay 121 EUR?")


@pytest.mark.parametrize("delay", [60, 250])
def test_letters_of_a_text_neither_decide_nor_open_another_request(
    desk: Desk, operator: Open, delay: int
) -> None:
    requests = [desk.ask(f"Pay {n} EUR?", seconds=500 + n) for n in (123, 124, 125)]
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 124 EUR?")
    address = page.url

    page.keyboard.type("whom did Jack ask again", delay=delay)
    page.wait_for_timeout(800)

    assert page.url == address
    assert [desk.status(request) for request in requests] == ["pending"] * 3
    # A key by itself is a command again.
    page.wait_for_timeout(500)
    page.keyboard.press("a")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")


def test_field_that_goes_away_alone_takes_no_letter_for_a_command(
    desk: Desk, operator: Open
) -> None:
    desk.manage(_POLICY, ["tenant1", "quartet_*", {"min_approvals": 4}])
    request = desk.ask("Pay 126 EUR?", action="quartet_payment")
    desk.ask("Pay 127 EUR?", seconds=900)
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 126 EUR?")
    address = page.url
    page.locator(COMMENT).press_sequentially("As far as ")

    # In another tab, kim's own vote: there is nothing left for kim to approve.
    desk.decide(request, "approve", user="kim")
    expect(page.locator("#approval")).to_have_count(0)
    page.keyboard.type("just now: ask Jim", delay=120)
    page.wait_for_timeout(800)

    assert page.url == address
    assert desk.status(request) == "pending"
    expect(page.locator("#typed-before")).to_have_text("You had typed: As far as ")
    expect(page.locator(TYPED)).to_have_value("")


def test_reload_for_new_buttons_waits_for_who_types_and_loses_nothing(
    desk: Desk, operator: Open
) -> None:
    desk.manage(_POLICY, ["tenant1", "trio_*", {"min_approvals": 3}])
    request = desk.ask("Pay 112 EUR?", action="trio_payment")
    kim = operator()
    kim.sign_in("kim")
    page = opened(kim, "Pay 112 EUR?")
    # As if kim might not have approved when the page was opened.
    page.locator("#approval").evaluate("form => form.remove()")
    page.locator("button.approve").evaluate("button => button.remove()")
    page.locator(TYPED).press_sequentially("Too la")

    desk.decide(request, "approve", user="park")
    expect(page.locator(".votes-list")).to_contain_text("park")
    expect(page.locator(TYPED)).to_be_focused()
    page.keyboard.type("te")
    page.keyboard.press("Escape")

    expect(page.locator("button.approve")).to_be_visible()
    expect(page.locator(TYPED)).to_have_value("Too late")
    assert desk.status(request) == "pending"


# --- many -----------------------------------------------------------------------------------------


def chosen(kim: Operator, decision: str) -> Page:
    """Select everything in the inbox and go on to the confirmation."""
    page = kim.page
    page.check("#all")
    page.click(f"#bar button[value={decision}]")
    page.wait_for_selector("#many-form")
    return page


@pytest.mark.parametrize(
    ("width", "theme", "locale"), [(1366, "light", "en-US"), (360, "dark", "ko-KR")]
)
def test_many_are_counted_read_first_and_reported_by_kind(
    desk: Desk, operator: Open, width: int, theme: str, locale: str
) -> None:
    action = f"pair_{width}"
    desk.manage(_POLICY, ["tenant1", f"{action}*", {"min_approvals": 2}])
    decided = [desk.ask(f"Send letter {n}?", action="send_mail", seconds=400 + n) for n in (1, 2)]
    vote = desk.ask("Pay 113 EUR?", action=f"{action}_payment", seconds=300)
    lost = desk.ask("Send letter 3?", action="send_mail", tenant="tenant2", seconds=500)
    lee = operator(viewport={"width": width, "height": 800}, color_scheme=theme, locale=locale)
    lee.sign_in("lee")
    page = chosen(lee, "approve")

    expect(page.locator("#listed-title")).to_be_focused()
    totals = page.locator(".totals")
    expect(totals.locator(".total", has_text="send_mail")).to_contain_text("3")
    expect(totals.locator(".total", has_text="tenant2")).to_contain_text("1")
    expect(page.locator(".many-warnings li")).to_have_count(1)
    expect(page.locator(".listed .badge.votes")).to_have_count(1)
    lee.shoot(f"many-{width}-{theme}", whole=True)
    violations = serious(page)
    page.fill("#id_comment", "as agreed")
    page.keyboard.press("Enter")  # a line break, not an answer
    expect(page.locator("#many-form")).to_be_visible()
    page.fill("#id_typed", "4")
    desk.call(f"/aura/hitl/reject/{lost['requestId']}", {}, user="park", tenant="tenant2",
              role="approver")  # fmt: skip
    page.click(".many button.approve")

    expect(page.locator(".results h2")).to_have_count(3)
    expect(page.locator(".result").first).to_have_class("result warning result-refused")
    expect(page.locator(".result-voted")).to_contain_text(vote["requestId"])
    expect(page.locator(".result-decided")).to_have_count(2)
    if locale == "en-US":
        expect(page.locator("h1")).to_have_text(
            "2 requests decided, 1 voted (others are needed), 1 refused."
        )
    lee.shoot(f"results-{width}-{theme}", whole=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations + serious(page) == []
    assert [desk.status(request) for request in decided] == ["approved", "approved"]
    wait_until(page, lambda: page.evaluate("sessionStorage.length") == 0)
    page.locator(".result-voted a").click()
    expect(page.locator(".vote-comment")).to_have_text("as agreed")


def test_enter_without_a_reason_rejects_none_of_many(desk: Desk, operator: Open) -> None:
    requests = [desk.ask(f"Pay {n} EUR?", seconds=300 + n) for n in (114, 115)]
    kim = operator()
    kim.sign_in("kim")
    page = chosen(kim, "reject")

    page.keyboard.press("Enter")
    page.locator("input[name=preset]").first.focus()
    page.keyboard.press("Enter")
    page.locator("input[name=reason]").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".reasons-hint")).to_contain_text("Choose a reason or write one")
    page.wait_for_timeout(400)
    assert [desk.status(request) for request in requests] == ["pending", "pending"]
    page.keyboard.type("not now")
    page.keyboard.press("Enter")

    expect(page.locator(".result.success")).to_have_count(2)


def test_selection_and_reason_of_many_survive_a_session_that_ended(
    desk: Desk, operator: Open
) -> None:
    requests = [desk.ask(f"Pay {n} EUR?", seconds=300 + n) for n in (116, 117, 118)]
    kim = operator()
    page = kim.sign_in_by_form(BY_FORM)
    page.locator("#rows .pick input").nth(0).check()
    page.locator("#rows .pick input").nth(1).check()
    page.click("#bar button[value=reject]")
    page.wait_for_selector("#many-form")
    page.fill("input[name=reason]", "Not before the audit")
    desk.manage(_END_SESSION, session_of(kim))
    # One of them ends meanwhile.
    desk.decide(requests[0], "approve", user="park")

    page.click(".many button.reject")
    page.fill("#id_username", BY_FORM)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")

    expect(page.locator(".messagelist")).to_contain_text("Nothing was decided")
    expect(page.locator("#many .typed-before")).to_contain_text("selected again")
    expect(page.locator("#selected")).to_have_text("1 selected")
    expect(kim.row("Pay 117 EUR?").locator(".pick input")).to_be_checked()
    kim.shoot("inbox-selected-again")
    assert serious(page) == []
    # Once: what is cleared does not come back. The text is there for another list as well.
    page.click("#clear")
    expect(page.locator("#many .typed-before")).to_have_count(0)
    kim.open(INBOX)
    page.wait_for_selector("#link.is-live")
    expect(page.locator("#bar")).to_be_hidden()
    kim.row("Pay 118 EUR?").locator(".pick input").check()
    page.click("#bar button[value=approve]")
    expect(page.locator("#id_comment")).to_have_value("")
    page.get_by_role("link", name="Back to the inbox").click()
    expect(page.locator("#selected")).to_have_text("1 selected")
    page.click("#bar button[value=reject]")
    expect(page.locator("input[name=reason]")).to_have_value("Not before the audit")
    expect(page.locator(".typed-before")).to_be_visible()
    page.click(".many button.reject")
    expect(page.locator(".result.success")).to_have_count(1)
    wait_until(page, lambda: page.evaluate("sessionStorage.length") == 0)
    assert [desk.status(request) for request in requests] == ["approved", "pending", "rejected"]


# --- a failure ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "theme"), [(1366, "light"), (360, "dark")])
def test_decision_while_the_database_is_away_leads_back_and_is_not_sent_by_a_reload(
    desk: Desk, operator: Open, width: int, theme: str
) -> None:
    request = desk.ask("Pay 130 EUR?")
    kim = operator(viewport={"width": width, "height": 740}, color_scheme=theme)
    kim.sign_in("kim")
    page = opened(kim, "Pay 130 EUR?", is_live=False)
    page.fill(COMMENT, "as agreed")
    desk.manage(_RENAME, ["django_session", "django_session_away"])
    try:
        page.click("button.approve")
        expect(page.locator(".refused-form")).to_contain_text("look at the request before you")
        expect(page.locator("#back")).to_have_text("Back to the request")
        kim.shoot(f"unavailable-{width}")
        violations = serious(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.reload()
        expect(page.locator("#back")).to_have_text("Try again")
    finally:
        desk.manage(_RENAME, ["django_session_away", "django_session"])
    page.reload()

    expect(page.locator("h1")).to_have_text("Pay 130 EUR?")
    expect(page.locator(COMMENT)).to_have_value("as agreed")
    assert desk.status(request) == "pending"
    assert violations == []


# --- a refused form -------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "theme"), [(1366, "light"), (360, "dark")])
def test_form_of_an_older_sign_in_is_refused_on_a_page_that_leads_back(
    desk: Desk, operator: Open, width: int, theme: str
) -> None:
    request = desk.ask("Pay 118 EUR?")
    kim = operator(viewport={"width": width, "height": 740}, color_scheme=theme)
    kim.sign_in_by_form(BY_FORM)
    page = opened(kim, "Pay 118 EUR?", is_live=False)
    page.fill(COMMENT, "as agreed")
    other = kim.context.new_page()
    other.goto(f"{desk.url}/admin/")
    sign_out(other)
    other.goto(f"{desk.url}/admin/login/")
    other.fill("#id_username", BY_FORM)
    other.fill("#id_password", PASSWORD)
    other.click("input[type=submit]")
    other.wait_for_url(lambda url: "login" not in url)

    page.click("button.approve")

    expect(page.locator("h1")).to_have_text("Nothing was decided.")
    expect(page.locator(".refused-form")).to_contain_text("signed in again in another tab")
    kim.shoot(f"refused-form-{width}")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert desk.status(request) == "pending"
    page.keyboard.press("Enter")  # the link back has the focus
    expect(page.locator("h1")).to_have_text("Pay 118 EUR?")
    expect(page.locator(COMMENT)).to_have_value("as agreed")
    kim.ready()
    page.click("button.approve")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")


def test_enter_rejects_nothing_without_a_script_or_before_it_has_come(
    desk: Desk, operator: Open
) -> None:
    request = desk.ask("Pay 119 EUR?")
    kim = operator(java_script_enabled=False)
    kim.context.add_cookies([{"name": "sessionid", "value": desk.sessions["kim"], "url": desk.url}])
    page = kim.open(INBOX)
    page.click(".row a.open")

    page.locator("input[name=reason]").press("Enter")

    page.wait_for_timeout(500)
    assert desk.status(request) == "pending"
    page.click("button.reject")
    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
