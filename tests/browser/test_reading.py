"""Reading what is asked: nothing covers anything, texts are shown as what they are, times are the
reader's."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import LIST, Desk, Operator
from tests.browser.test_looking import serious
from tests.unit.text.test_kinds import DIFF, LOG, PYTHON, SQL

Open = Callable[..., Operator]
TOUCH: dict[str, Any] = {"has_touch": True, "viewport": {"width": 1024, "height": 768}}
MARKDOWN = """\
# Roll back

1. **Stop** the workers, then `rm *.a *.b`
2. Ask [the bank](https://bank.example.evil.example/login)
   or [run this](javascript:window.ran=1)

![a chart](https://tracker.example/pixel.png) <img src=x onerror="window.ran = 1">
"""
# Returns the elements that can be read or clicked and are not on top at their own middle, or that
# reach out of their card.
COVERED = """
async () => {
  const covered = [];
  // What is seen of an element's first line: the places around it clip or scroll it.
  const seen = (element) => {
    const line = element.getClientRects()[0];
    let [left, right] = [line.left, line.right];
    for (let place = element; place && !place.matches(".card"); place = place.parentElement) {
      const style = getComputedStyle(place);
      if (style.overflowX === "visible" || style.display === "inline") continue;
      const box = place.getBoundingClientRect();
      [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
    }
    return { left, right, top: line.top, height: line.height };
  };
  for (const fold of document.querySelectorAll("#request details")) fold.open = true;
  const elements = document.querySelectorAll(
    ".context summary, .context dt, .context .shown, .context .literal, .raw summary, " +
    "#decision button, #decision input, .decide summary");
  for (const element of elements) {
    if (element.type === "hidden") continue;
    if (!element.getClientRects()[0]?.width) continue;
    element.scrollIntoView({ block: "start", inline: "nearest", behavior: "instant" });
    // The first line of what is higher than the window.
    scrollBy({ top: element.getClientRects()[0].y - innerHeight / 2, behavior: "instant" });
    const box = seen(element);
    const card = element.closest(".card").getBoundingClientRect();
    if (box.right <= box.left) continue;
    const top = document.elementFromPoint((box.left + box.right) / 2, box.top + box.height / 2);
    if (top !== element && !element.contains(top) && !top?.contains(element)) {
      covered.push(`${element.outerHTML.slice(0, 120)} is below ${top?.outerHTML.slice(0, 120)}`);
    }
    if (box.left < card.left - 1 || box.right > card.right + 1) {
      covered.push(`${element.outerHTML.slice(0, 120)} is outside its card`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) covered.push("the page scrolls sideways");
  return covered;
}
"""


def nested(levels: int, leaf: Any) -> dict[str, Any]:
    value: Any = leaf
    for level in range(levels, 0, -1):
        value = {f"level-{level}": value, "note": f"beside level {level}"}
    return dict(value)


def opened(desk: Desk, window: Operator, message: str, **question: Any) -> Page:
    desk.ask(message, **question)
    page = window.sign_in("kim")
    page.locator("#rows .open").click()
    window.ready()
    return page


@pytest.mark.parametrize("width", [360, 1024, 1366, 2560])
def test_nothing_covers_anything_at_64_levels(desk: Desk, operator: Open, width: int) -> None:
    kim = operator(viewport={"width": width, "height": 768})
    page = opened(desk, kim, "Deploy?", context=nested(62, {"deepest": "x" * 300, "n": 120}))

    assert page.evaluate(COVERED) == []
    kim.shoot(f"reading-deep-{width}", whole=True)
    page.locator(".fold summary").last.scroll_into_view_if_needed()
    page.keyboard.press("a")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")


def test_fold_of_a_deep_level_opens_at_a_click(desk: Desk, operator: Open) -> None:
    kim = operator(viewport={"width": 1024, "height": 768})
    page = opened(desk, kim, "Deploy?", context=nested(40, "the-leaf"))

    folds = page.locator(".context .fold > summary")
    for number in range(folds.count()):
        folds.nth(number).click()

    expect(page.get_by_text("the-leaf", exact=True).first).to_be_visible()


CONTEXT: dict[str, Any] = {
    "sql": SQL,
    "code": PYTHON + "\n    " + "x" * 400,
    "log": "\n".join([LOG] * 30),
    "change": DIFF + "".join(f"-old {n}\n+new {n}\n" for n in range(60)),
    "body": '{"to": "Kim", "lines": [{"amount": 12000000}]}',
    "plan": MARKDOWN,
    "files": [
        {"file": f"/srv/data/{n:03}.csv", "size": 1_048_576 + n, "old": True} for n in range(45)
    ],
    "tags": ["web", "worker", "cache", "mail", "search", "cron", "audit"],
    "amount": 1234567.5,
    "year": 2026,
    "started": "2026-01-16T09:30:12Z",
    "to": "аdmin",
    "spaces": "a" + " " * 60 + "b",
    "few spaces": "a     b",
    "note": "Please pay before the end of the month. " * 60,
}


@pytest.mark.parametrize(
    ("width", "theme", "locale"),
    [
        (360, "light", "ko-KR"),
        (1024, "dark", "en-US"),
        (1366, "light", "en-US"),
        (1920, "dark", "ko-KR"),
    ],
)
def test_texts_are_shown_as_what_they_are(
    desk: Desk, operator: Open, width: int, theme: str, locale: str
) -> None:
    kim = operator(viewport={"width": width, "height": 900}, color_scheme=theme, locale=locale)
    page = opened(desk, kim, "Clean up?\n\n  rm *.a *.b", context=CONTEXT)
    kim.shoot(f"reading-{width}-{theme}", whole=True)

    expect(page.locator(".message pre")).to_have_text("Clean up?\n\n  rm *.a *.b")
    expect(page.locator(".context del.diff-line").nth(19)).to_be_visible()
    expect(page.locator(".context table tbody tr").nth(29)).to_be_visible()
    # Red is for what hides, reorders or imitates.
    expect(page.locator(".context .unseen")).to_have_text(["а"])
    expect(page.locator(".context .gap")).to_have_count(1)
    assert page.locator(".number").nth(0).evaluate("(e) => e.textContent") == "12000000"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious(page) == []
    assert page.evaluate(COVERED) == []
    kim.shoot(f"reading-{width}-{theme}-open", whole=True)
    assert serious(page) == []


def test_markdown_is_formatted_at_a_click_and_does_nothing(desk: Desk, operator: Open) -> None:
    kim = operator()
    asked: list[str] = []
    kim.page.on("request", lambda request: asked.append(request.url))
    page = opened(desk, kim, "Roll back?", context={"plan": MARKDOWN})
    expect(page.locator(".context")).to_contain_text("rm *.a *.b")
    expect(page.locator(".markdown")).not_to_be_visible()

    page.get_by_text("Show as formatted").click()

    expect(page.locator(".markdown strong")).to_have_text("Stop")
    expect(page.locator(".markdown a")).to_have_count(1)
    expect(page.locator(".markdown a")).to_have_attribute("rel", "noopener noreferrer")
    expect(page.locator(".markdown")).to_contain_text("the bank (bank.example.evil.example)")
    expect(page.locator(".markdown img")).to_have_count(0)
    assert page.evaluate("window.ran") is None
    assert [url for url in asked if not url.startswith(desk.url)] == []
    kim.shoot("reading-markdown", whole=True)
    assert serious(page) == []


def test_what_is_stored_is_one_click_away_and_exact(desk: Desk, operator: Open) -> None:
    context = {"b": "a" + " " * 60 + "b", "number": 12000000, "token": "hunter2", "x": "\u202e1"}
    page = opened(desk, operator(), "Pay?", context=context)

    page.click("#stored summary")

    assert page.locator("#stored pre").evaluate("(e) => e.textContent") == (
        '{"b":"a' + " " * 60 + 'b","number":12000000,'
        '"token":"masked by HITL_REDACT: *token*","x":"⟨U+202E⟩1"}'
    )


def test_digits_are_set_apart_and_copied_as_they_are(desk: Desk, operator: Open) -> None:
    page = opened(desk, operator(), "Pay?", context={"amount": 12000000})
    number = page.locator(".context .number")

    gaps = number.evaluate(
        "(e) => [...e.children].slice(1).map((c, n) =>"
        " c.getBoundingClientRect().left - e.children[n].getBoundingClientRect().right)"
    )
    assert all(gap > 2 for gap in gaps)
    assert (
        number.evaluate(
            "(e) => { getSelection().selectAllChildren(e); return String(getSelection()) }"
        )
        == "12000000"
    )


def test_times_are_the_readers_and_utc_is_their_title(desk: Desk, operator: Open) -> None:
    context = {"start": "2026-01-16T09:30:12.250+01:00", "plain": "2026-01-16"}
    seoul = operator(timezone_id="Asia/Seoul")
    page = opened(desk, seoul, "Start?", context=context)

    start = page.locator(".context time")
    expect(start).to_have_text("2026-01-16 17:30:12.250 +09:00")
    expect(start).to_have_attribute(
        "title", "2026-01-16T09:30:12.250+01:00 · 2026-01-16 08:30:12 UTC"
    )
    zones = page.locator("[data-zone]")
    expect(zones).to_have_text(["Asia/Seoul (UTC+9)"] * 2)
    expect(zones.first).to_be_visible()
    expires = page.locator("#expires")
    title = expires.get_attribute("title") or ""
    assert title.endswith(" UTC")
    utc, local = (
        datetime.fromisoformat(text.removesuffix(" UTC")) for text in (title, expires.inner_text())
    )
    assert (local - utc).total_seconds() == 9 * 3600
    assert abs((utc.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) < 1200
    title = page.locator(".countdown time").get_attribute("title") or ""
    assert re.fullmatch(r"\S+ \S+ · \S+ \S+ UTC", title)


def test_time_says_how_far_it_is_from_utc_and_how_it_was_sent(desk: Desk, operator: Open) -> None:
    sent = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25 02:30:00"]
    berlin = operator(timezone_id="Europe/Berlin", **TOUCH)
    page = opened(desk, berlin, "Start?", context={"a": sent[0], "b": sent[1], "c": sent[2]})

    values = page.locator(".context dd")
    shown = ["2026-10-25 02:30:00 +02:00", "2026-10-25 02:30:00 +01:00", sent[2]]
    expect(values).to_have_text(shown)
    berlin.shoot("reading-times")
    page.locator(".context time").first.tap()
    expect(values).to_have_text([sent[0], *shown[1:]])
    page.locator(".context time").nth(1).focus()
    page.keyboard.press("Enter")
    expect(values).to_have_text([*sent[:2], shown[2]])
    page.keyboard.press("Enter")
    expect(values).to_have_text([sent[0], *shown[1:]])
    assert serious(page) == []


_LINES = """
(selector) => [...document.querySelectorAll(selector)].filter((element) => {
  const words = document.createRange();
  words.selectNodeContents(element);
  const lines = new Set([...words.getClientRects()].map((line) => Math.round(line.bottom / 8)));
  return lines.size > 1;
}).map((element) => element.textContent)
"""


@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1366, "light")])
def test_tables_break_no_number_and_no_name(
    desk: Desk, operator: Open, width: int, theme: str
) -> None:
    columns = {"a heading that is as wide as several columns of this table together": 1}
    columns |= {f"column{n}": 1_900_000_000 + n for n in range(9)}
    invoices = [
        {
            "invoice": f"INV-2026-{number:05}",
            "customer": "Muster GmbH",
            "amount": 1_250_000 + number,
            "due": "2026-12-01T09:00:00Z",
            "note": "Paid late twice; asks for a delivery before the end of the year, if we can",
        }
        for number in range(4)
    ]
    kim = operator(viewport={"width": width, "height": 900}, color_scheme=theme)
    context = {"invoices": invoices, "wide": [columns] * 3, "amount": 9_000_000_000}
    page = opened(desk, kim, "Pay four invoices?", context=context)
    kim.shoot(f"reading-tables-{width}-{theme}", whole=True)

    assert page.evaluate(_LINES, ".context .number, .context time") == []
    assert page.evaluate(_LINES, ".context td:nth-child(2), .context td:nth-child(3)") == []
    scrolls = page.locator(".table-scroll")
    # The second has columns that are out of sight, and says so by a shadow that goes at its end.
    more, end = (
        scrolls.nth(1).evaluate(
            "(box, left) => { box.scrollLeft = left; return box.scrollWidth - box.clientWidth"
            " - box.scrollLeft }",
            left,
        )
        for left in (0, 100_000)
    )
    assert more > 50
    assert end < 2
    style = "box => getComputedStyle(box).backgroundAttachment"
    assert scrolls.nth(1).evaluate(style) == "local, local, scroll, scroll"
    assert page.evaluate(COVERED) == []


def test_times_that_arrive_later_are_the_readers_too(desk: Desk, operator: Open) -> None:
    seoul = operator(timezone_id="Asia/Seoul")
    request = desk.ask("Start?")
    page = seoul.sign_in("kim")
    page.locator("#rows .open").click()
    seoul.ready()

    desk.decide(request, "approve", user="park")

    expect(page.locator("#state time").first).to_have_attribute("title", re.compile(" UTC$"))


def test_audit_and_archive_show_times_of_the_reader(desk: Desk, operator: Open) -> None:
    desk.decide(desk.ask("Start?"), "approve", user="park")
    seoul = operator(timezone_id="Asia/Seoul")
    page = seoul.sign_in("lee", page="/admin/hitl/auditrecord/?tenant=tenant1")
    at = page.locator(".book-records time").first
    expect(at).to_have_attribute("title", re.compile(" UTC$"))
    expect(page.locator(".book-count [data-zone]")).to_have_text("Asia/Seoul (UTC+9)")

    # What is read in a zone is searched in it.
    shown = at.inner_text()
    page.fill("#book-from", shown[:16].replace(" ", "T"))
    page.fill("#book-to", shown[:16].replace(" ", "T"))
    page.click(".book-search[role=search] button")

    expect(page.locator(".book-records time").first).to_have_text(shown)
    seoul.shoot("reading-audit")
    seoul.open(LIST)
    expect(page.locator("#result_list time").first).to_have_attribute("title", re.compile(" UTC$"))
    seoul.shoot("reading-archive")


def test_without_javascript_times_are_in_utc_and_say_so(desk: Desk, operator: Open) -> None:
    desk.ask("Start?", context={"start": "2026-01-16T09:30:12Z"})
    kim = operator(timezone_id="Asia/Seoul", java_script_enabled=False)
    page = kim.sign_in("kim", page=LIST)
    page.locator("#result_list th a").first.click()

    expect(page.locator(".context time")).to_have_text("2026-01-16T09:30:12Z")
    expect(page.locator("[data-zone]")).to_have_text(["UTC"] * 2)
    page.click("#stored summary")
    expect(page.locator("#stored pre")).to_be_visible()
