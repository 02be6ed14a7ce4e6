"""What is at stake stays in sight: the risk of an action, the decision beside a long context, and
the policy as it is in force."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import INBOX, Desk, Operator
from tests.browser.test_looking import serious

Open = Callable[..., Operator]
_POLICIES = """
import json, sys
from hitl.actors import Actor
from hitl.models import Policy
from hitl.policies import changes
from hitl.policies.rules import Rule
from hitl.states import ActorKind, Channel
head = Actor("head", "tenant1", ActorKind.OPERATOR, Channel.ADMIN, "admin")
for pattern, rule in json.load(sys.stdin).items():
    if not Policy.objects.filter(pattern=pattern).exists():
        changes.create(head, pattern, Rule(**rule))
"""
RISKS = ("low", "medium", "high", "critical")
# 180 kB of what is asked.
LONG = {f"file-{n:04}": f"/archive/{n:04}/" + "x" * 60 for n in range(2000)}
WIDTHS = {360: 740, 1024: 768, 1366: 768, 1920: 1080}
# Says of each button whether a click at its centre reaches it, here where the page is scrolled to.
_CLICKABLE = """
() => [...document.querySelectorAll("#buttons button")].map((button) => {
  const box = button.getBoundingClientRect();
  const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return hit?.closest("button") === button;
})
"""
# Says what hides the middle of what has the focus, if anything does.
_HIDDEN_BY = """
() => {
  const active = document.activeElement;
  if (active === document.body) return "end";
  const box = active.getClientRects()[0];
  const hit = document.elementFromPoint(box.x + Math.min(box.width / 2, 8), box.y + box.height / 2);
  if (!hit) return `${active.outerHTML.slice(0, 80)} is outside the window`;
  const isSeen = active.contains(hit) || hit.contains(active);
  return isSeen ? "" : `${active.outerHTML.slice(0, 80)} is beneath ${hit.outerHTML.slice(0, 80)}`;
}
"""


@pytest.fixture
def risky(desk: Desk) -> Desk:
    """Return the desk with a policy for each risk, of actions such as `risk_high`."""
    desk.manage(_POLICIES, {f"risk_{risk}": {"risk": risk} for risk in RISKS})
    return desk


def first_request(kim: Operator) -> Page:
    """Open the inbox's first request, until it can be decided."""
    kim.page.locator("#rows .open").first.click()
    kim.ready()
    return kim.page


@pytest.mark.parametrize("width", WIDTHS)
def test_decision_stays_in_sight_however_long_the_context_is(
    risky: Desk, operator: Open, width: int
) -> None:
    request = risky.ask("Delete 2,000 files?", action="risk_high", context={"files": LONG})
    kim = operator(viewport={"width": width, "height": WIDTHS[width]})
    kim.sign_in("kim")
    page = first_request(kim)
    for fold in page.locator(".context details").all():
        fold.evaluate("fold => { fold.open = true }")
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > 10 * WIDTHS[width]

    for place in (0, 0.5, 1):
        page.evaluate("top => scrollTo(0, top)", height * place)
        assert page.evaluate(_CLICKABLE) == [True, True], place
        for part in (".decide-action", ".decide-tenant", ".risk-high", ".countdown"):
            expect(page.locator(f"#facts {part}")).to_be_in_viewport(ratio=0.9)
        kim.shoot(f"decision-{width}-{place}")
    expect(page.locator("#facts .countdown")).to_contain_text(re.compile(r"^\d+:\d\d$"))
    page.locator("button.approve").click()
    expect(page.locator(".messagelist")).to_contain_text("is now approved")
    assert risky.status(request) == "approved"


@pytest.mark.parametrize("width", [360, 1366])
def test_what_has_the_focus_is_never_beneath_the_buttons(
    risky: Desk, operator: Open, width: int
) -> None:
    context = {f"object {n}": {f"member {m}": m for m in range(60)} for n in range(40)}
    risky.ask("Read on?", action="risk_medium", context=context)
    kim = operator(viewport={"width": width, "height": WIDTHS[width]})
    kim.sign_in("kim")
    page = first_request(kim)

    hidden = []
    for _ in range(200):
        page.keyboard.press("Tab")
        if (by := page.evaluate(_HIDDEN_BY)) == "end":
            break
        hidden.append(by)

    assert len(hidden) > 40
    assert [by for by in hidden if by] == []


def test_narrow_page_ends_above_its_buttons_and_takes_a_reason(risky: Desk, operator: Open) -> None:
    request = risky.ask("Delete 3 files?", action="risk_low")
    kim = operator(viewport={"width": 360, "height": 740})
    kim.sign_in("kim")
    page = first_request(kim)
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")

    ends = page.evaluate(
        "['.request-grid', '.decide-bar'].map("
        "each => document.querySelector(each).getBoundingClientRect())"
    )
    assert ends[0]["bottom"] <= ends[1]["top"]
    assert ends[1]["bottom"] == 740
    # A bar, and not half of the screen.
    assert ends[1]["height"] <= 130
    field = page.locator("#rejection input[type=text]")
    field.click()
    assert page.evaluate(_HIDDEN_BY) == ""
    field.fill("Keep them")
    page.locator("button.reject").click()
    expect(page.locator(".messagelist")).to_contain_text("is now rejected")
    assert risky.status(request) == "rejected"


@pytest.mark.parametrize("width", [320, 360, 1366])
def test_bar_says_the_whole_action_and_tenant(risky: Desk, operator: Open, width: int) -> None:
    action = "risk_high_read_the_mailbox_summary_and_then_delete_the_mailbox"
    risky.ask("Read?", action=action)
    kim = operator(viewport={"width": width, "height": 640})
    kim.sign_in("kim")
    first_request(kim)

    for part, text in (
        (".decide-action", "Risk high read the mailbox summary and then delete the mailbox"),
        (".decide-tenant", "tenant1"),
    ):
        place = kim.page.locator(f"#facts {part}")
        expect(place).to_have_attribute("title", text)
        assert place.evaluate(
            "e => e.scrollWidth <= e.clientWidth + 1 && e.scrollHeight <= e.clientHeight + 1"
        ), part
    kim.shoot(f"decision-words-{width}")
    assert kim.page.evaluate(_CLICKABLE) == [True, True]


@pytest.mark.parametrize(("width", "height"), [(667, 300), (568, 320), (1100, 300)])
def test_low_window_has_the_decision_in_one_line(
    risky: Desk, operator: Open, width: int, height: int
) -> None:
    risky.ask("Delete 2,000 files?", action="risk_high", context={"files": LONG})
    size = {"viewport": {"width": width, "height": height}}
    kim = operator(**size, **({"is_mobile": True, "has_touch": True} if width < 900 else {}))
    kim.sign_in("kim")
    page = first_request(kim)

    for place in (0, 4000):
        page.evaluate("top => scrollTo(0, top)", place)
        assert page.evaluate(_CLICKABLE) == [True, True]
        bar = page.locator(".decide-bar").bounding_box()
        assert bar is not None
        assert bar["height"] <= 60
        assert bar["y"] + bar["height"] == height
        for part in (".decide-action", ".decide-tenant", ".risk-high", ".countdown"):
            expect(page.locator(f"#facts {part}")).to_be_in_viewport(ratio=0.9)
    kim.shoot(f"decision-low-{width}")


def test_bar_goes_with_the_last_button(risky: Desk, operator: Open) -> None:
    request = risky.ask("Delete 4 files?", action="risk_low")
    kim = operator(viewport={"width": 360, "height": 740})
    kim.sign_in("kim")
    page = first_request(kim)
    risky.decide(request, "approve")

    expect(page.locator("#buttons")).to_have_count(0)
    assert page.locator(".decide-bar").evaluate("bar => getComputedStyle(bar).position") == "static"


def test_high_risk_is_kept_out_of_the_selection(risky: Desk, operator: Open) -> None:
    requests = {risk: risky.ask(f"A {risk} one?", action=f"risk_{risk}") for risk in RISKS}
    kim = operator()
    page = kim.sign_in("kim")
    for risk in RISKS:
        row = kim.row(f"A {risk} one?")
        expect(row.locator(f".risk-{risk}")).to_have_text(f"{risk} risk")
        boxes = 0 if risk in ("high", "critical") else 1
        expect(row.locator(".pick input")).to_have_count(boxes)
    note = kim.row("A high one?").locator(".pick.alone")
    expect(note).to_have_attribute("title", "Decide on its own page: high risk")
    kim.shoot("inbox-risks")

    page.check("#all")
    expect(page.locator("#selected")).to_have_text("2 selected")
    # A box that another page made.
    page.evaluate(
        """pk => document.getElementById("many").insertAdjacentHTML(
            "beforeend", `<input type="hidden" name="item" value="${pk}:">`)""",
        page.locator("#rows > .row", has_text="A critical one?").get_attribute("data-pk"),
    )
    page.click("#bar button[value=approve]")
    expect(page.locator("section.alone")).to_contain_text("A critical one?")
    expect(page.locator("section.alone .risk-critical")).to_be_visible()
    kim.shoot("many-alone")
    page.fill("#id_typed", "2")
    page.click(".many button.approve")

    expect(page.locator("h1")).to_contain_text("2 requests decided, 1 refused.")
    expect(page.locator("ol.results, .results").first).to_contain_text("It is of critical risk.")
    assert {risk: risky.status(request) for risk, request in requests.items()} == {
        "low": "approved",
        "medium": "approved",
        "high": "pending",
        "critical": "pending",
    }


def test_policy_follows_an_escalation_while_the_page_is_open(desk: Desk, operator: Open) -> None:
    rule = {
        "timeout_seconds": 15,
        "on_timeout": "escalate",
        "escalate_to_role": "admin",
        "escalate_seconds": 600,
    }
    desk.manage(_POLICIES, {"follow_*": rule})
    desk.ask("Follow it?", action="follow_up")
    head = operator()
    page = head.sign_in("head")
    first_request(head)
    policy = page.locator("#policy")
    expect(policy).to_contain_text("If nobody decides in time, it goes to the role admin")
    page.fill("#rejection input[type=text]", "Not wi")
    page.evaluate("window.isSamePage = true")

    expect(policy).to_contain_text("It has gone to the role admin until")
    expect(policy).to_contain_text("Approving takes the role admin.")
    expect(policy).not_to_contain_text("If nobody decides in time")
    expect(page.locator("#facts .countdown")).to_contain_text(re.compile(r"^(10:00|9:\d\d)$"))
    page.keyboard.type("thout a plan")
    expect(page.locator("#rejection input[type=text]")).to_have_value("Not without a plan")
    assert page.evaluate("window.isSamePage")
    head.shoot("policy-escalated")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_risks_are_seen_in_every_theme(risky: Desk, operator: Open, theme: str) -> None:
    for risk in RISKS:
        risky.ask(f"A {risk} one?", action=f"risk_{risk}", seconds=900 - RISKS.index(risk))
    kim = operator(color_scheme=theme)
    page = kim.sign_in("kim")
    expect(page.locator("#rows > .row")).to_have_count(4)
    violations: dict[str, Any] = {"inbox": serious(page)}
    kim.shoot(f"risks-inbox-{theme}")
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        kim.open(INBOX)
        first_request(kim)
        violations[f"request at {width}"] = serious(page)
        kim.shoot(f"risks-request-{width}-{theme}")

    assert {name: found for name, found in violations.items() if found} == {}


def test_risk_is_said_in_korean(risky: Desk, operator: Open) -> None:
    risky.ask("서버 40대를 지울까요?", action="risk_critical")
    kim = operator(locale="ko-KR")
    page = kim.sign_in("kim")
    expect(page.locator("#rows .risk-critical")).to_have_text("위험 심각")
    first_request(kim)
    expect(page.locator("#policy")).to_contain_text("자체 페이지에서만 결정합니다")
    kim.shoot("risk-korean")
    page.set_viewport_size({"width": 360, "height": 740})
    kim.shoot("risk-korean-360")
