"""Letters that no style can break, and marks that hang out of their line, stay in their own place:
nothing covers the decision, and no page is wider than the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.desk import INBOX, Desk, Operator, wait_until
from tests.browser.test_phone import PHONE
from tests.browser.test_reading import COVERED

Open = Callable[..., Operator]
# Each is one letter to a browser: no line breaks within.
LETTERS = {
    "jamo": "ᄀ" * 60,
    "emoji": "✔\u200d" * 70 + "✔",
    "conjunct": "क\u094d" * 120 + "क",
    "marks": "o" + "\u0301" * 120,
}
SCREENS: dict[str, dict[str, Any]] = {
    "phone": PHONE,
    "desktop": {"viewport": {"width": 1366, "height": 768}},
}
# How much wider the page is than the screen, without what keeps it from being so.
_TOO_WIDE = """
() => {
  const roots = [document.documentElement, document.body];
  for (const root of roots) root.style.overflowX = "visible";
  const { scrollWidth, clientWidth } = document.documentElement;
  for (const root of roots) root.style.overflowX = "";
  return scrollWidth - clientWidth;
}
"""
# The buttons that a finger would not meet in what is seen of the page.
_OUT_OF_REACH = """
(selector) => [...document.querySelectorAll(selector)].filter((button) => {
  const { left, right, top, bottom } = button.getBoundingClientRect();
  const { offsetLeft, offsetTop, width, height, scale } = visualViewport;
  const isSeen = left >= offsetLeft && right <= offsetLeft + width && top >= offsetTop
    && bottom <= offsetTop + height && scale === 1;
  const met = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  return !isSeen || !button.contains(met);
}).map((button) => button.outerHTML)
"""


def question(text: str) -> dict[str, Any]:
    rows = [{text: text, "amount": 900_000 + number} for number in range(3)]
    context = {
        "note": text,
        text: "a value",
        "list": [text, "b"],
        "rows": rows,
        "code": text,
        "z": 1,
    }
    # No action has what only joins letters.
    return {"action": text.replace("\u200d", "")[:100], "context": context}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("letter", LETTERS)
def test_text_of_an_asker_stays_in_its_place(
    desk: Desk, operator: Open, letter: str, screen: str
) -> None:
    for number in range(2):
        desk.ask(f"Pay {number}? {LETTERS[letter]}", **question(LETTERS[letter]))
    kim = operator(**SCREENS[screen])
    page = kim.sign_in("kim")
    wait_until(page, lambda: page.locator("#rows > .row").count() == 2)
    kim.shoot(f"any-text-{letter}-{screen}-inbox")
    faults = {"inbox is too wide": page.evaluate(_TOO_WIDE)}
    for box in page.locator("#rows > .row .pick input").all():
        box.check()
    faults["inbox's buttons"] = page.evaluate(_OUT_OF_REACH, "#bar button[type=submit]")
    page.click("#bar button[value=approve]")
    page.wait_for_selector(".card.many")
    kim.shoot(f"any-text-{letter}-{screen}-many")
    faults["many is too wide"] = page.evaluate(_TOO_WIDE)
    kim.open(INBOX)
    page.locator("#rows .open").first.click()
    kim.ready()
    kim.shoot(f"any-text-{letter}-{screen}")
    faults["request is too wide"] = page.evaluate(_TOO_WIDE)
    faults["request's buttons"] = page.evaluate(_OUT_OF_REACH, "#buttons button")
    faults["covered"] = page.evaluate(COVERED)

    assert {name: fault for name, fault in faults.items() if fault} == {}


def test_marks_draw_over_no_other_place(desk: Desk, operator: Open) -> None:
    marks = f"{LETTERS['marks']} "
    desk.ask("Pay?", context={"iban": "DE02 1203 0000 0000 2020 51"})
    kim = operator(viewport={"width": 1366, "height": 768})
    kim.sign_in("kim")
    clean = _picture(kim, kim.page)
    desk.withdraw_all()
    desk.ask("Pay?", context={"iban": "DE02 1203 0000 0000 2020 51", "note": marks * 30})
    kim.open(INBOX)

    assert _picture(kim, kim.page) == clean


def _picture(window: Operator, page: Page) -> bytes:
    page.locator("#rows .open").first.click()
    window.ready()
    return page.locator(".context dl.json > div").first.screenshot()
