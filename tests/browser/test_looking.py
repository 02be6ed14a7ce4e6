"""How the pages look: in Korean, narrow, dark, accessible, and under a strict policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.desk import INBOX, LIST, Desk, Operator, wait_until
from tests.integration import redis_agents

Open = Callable[..., Operator]
CONTEXT: dict[str, Any] = {
    "to": "billing@acme.example",
    "amount": 1250.5,
    "currency": "EUR",
    "urgent": True,
    "api_key": "sk-this-must-never-be-seen",
    "invoice": {"number": "2026-1123", "lines": ["Consulting", "Travel"], "password": "hunter2"},
    "note": "Please pay before the end of the month. " * 20,
}


def open_requests(desk: Desk) -> None:
    """Open requests of several kinds, tenants and languages."""
    desk.ask("Pay 1,250.50 EUR to ACME for invoice 2026-1123?", context=CONTEXT, seconds=900)
    desk.ask("Delete 340 mails from “Archive”?", action="delete_mail", seconds=95,
             context={"folder": "Archive", "count": 340, "older_than": "2024-01-01"})  # fmt: skip
    desk.ask("프로덕션에 버전 8을 배포할까요?", action="deploy_release", seconds=7200, user="choi",
             context={"서비스": "결제", "version": "8.0.1", "env": "production"})  # fmt: skip
    desk.ask("Merge pull request 512?", action="merge_pull_request", seconds=24,
             context={"repository": "payments", "number": 512, "checks": "passed"})  # fmt: skip
    desk.ask("Send the contract to the customer?", action="send_mail", seconds=200_000,
             tenant="tenant2", context={"to": "cho@customer.example"})  # fmt: skip


def serious(page: Any, *rules: str) -> list[str]:
    """Return the violations that axe calls serious or critical; of `rules` alone, if any."""
    # Without its preload, which styles the page inline.
    options: dict[str, Any] = {"preload": False, "resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    violations = Axe().run(page, options=options).response["violations"]
    return [
        f"{violation['id']}: {node['target']} {node['any'][0]['message'] if node['any'] else ''}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_have_no_serious_violation_and_break_no_policy(
    desk: Desk, operator: Open, theme: str
) -> None:
    open_requests(desk)
    lee = operator(color_scheme=theme)
    page = lee.sign_in("lee")
    expect(page.locator("#rows > .row")).to_have_count(5)
    lee.shoot(f"inbox-{theme}")
    # A theme changes colours and nothing else.
    rules = ["color-contrast"] if theme == "dark" else []
    violations = {"inbox": serious(page, *rules)}
    page.locator("#rows .open", has_text="ACME").click()
    lee.ready()
    assert "sk-this-must-never" not in page.content()
    assert "hunter2" not in page.content()
    lee.shoot(f"request-{theme}", whole=True)
    violations["request"] = serious(page, *rules)
    violations |= {path: serious(lee.open(path), *rules) for path in ("/admin/pages/", LIST)}
    lee.shoot(f"archive-{theme}")
    if theme == "light":
        for path in ("/admin/hitl/auditrecord/", "/admin/nothing-here/", "/admin/password_change/"):
            violations[path] = serious(lee.open(path))
            lee.assert_no_complaint()

    assert [f"{name} {text}" for name, texts in violations.items() for text in texts] == []


def test_login_has_no_serious_violation(operator: Open) -> None:
    nobody = operator()
    page = nobody.open("/admin/login/")
    nobody.shoot("login")
    assert serious(page) == []


def test_documentation_works_under_the_policy(operator: Open) -> None:
    nobody = operator()
    page = nobody.open("/docs/")
    expect(page.locator(".opblock").first).to_be_visible()
    page.locator(".opblock").first.click()
    nobody.shoot("docs")
    nobody.assert_no_complaint()


def test_desk_speaks_korean(desk: Desk, operator: Open) -> None:
    open_requests(desk)
    lee = operator(locale="ko-KR")
    page = lee.sign_in("lee")
    expect(page.locator("h1")).to_contain_text("받은 요청")
    expect(page.locator("#link")).to_have_text("실시간")
    lee.shoot("inbox-korean")
    page.locator("#rows .open", has_text="ACME").click()
    lee.ready()
    expect(page.locator("button.approve")).to_contain_text("승인")
    lee.shoot("request-korean", whole=True)


def test_desk_fits_into_360_pixels(desk: Desk, operator: Open) -> None:
    open_requests(desk)
    lee = operator(viewport={"width": 360, "height": 740})
    page = lee.sign_in("lee")
    lee.shoot("inbox-360")
    paths = [INBOX, LIST]
    page.locator("#rows .open", has_text="ACME").click()
    lee.ready()
    lee.shoot("request-360", whole=True)
    paths.append(page.url.removeprefix(desk.url))

    for path in paths:
        lee.open(path)
        # Nothing is wider than the window, or it could only be read by scrolling sideways.
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        if path != LIST:  # the stock list scrolls inside itself
            assert widths[0] <= widths[1], path


def test_live_stream_stops_when_the_membership_ends(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 77 EUR?")
    leaver = operator()
    page = leaver.sign_in("leaver")
    expect(page.locator("#rows > .row")).to_have_count(1)

    desk.manage(
        "from dwp_project.gateway.models import Membership;"
        "Membership.objects.filter(user__username='leaver').delete()"
    )
    desk.ask("Pay 78 EUR?")

    expect(page.locator("#rows > .row")).to_have_count(0, timeout=60_000)
    assert "78 EUR" not in page.content()


def test_live_stream_stops_when_the_session_ends(desk: Desk, operator: Open) -> None:
    desk.ask("Pay 79 EUR?")
    viewer = operator()
    page = viewer.sign_in("viewer")
    expect(page.locator("#rows > .row")).to_have_count(1)

    desk.manage(
        "import json, sys; from django.contrib.sessions.models import Session;"
        "Session.objects.filter(session_key=json.load(sys.stdin)).delete()",
        desk.sessions.pop("viewer"),
    )
    desk.ask("Pay 80 EUR?")

    expect(page.locator("#stopped")).to_be_visible(timeout=60_000)
    assert "80 EUR" not in page.content()


@pytest.mark.parametrize("width", [360, 1366])
def test_locked_sign_in_says_how_long_to_wait(desk: Desk, operator: Open, width: int) -> None:
    stranger = operator(viewport={"width": width, "height": 740})
    page = stranger.page
    for _ in range(6):
        stranger.open("/admin/login/")
        page.fill("#id_username", f"stranger-{width}")
        page.fill("#id_password", "wrong")
        page.click("input[type=submit]")

    expect(page.locator("[role=alert]")).to_contain_text("Wait 15 min")
    stranger.shoot(f"sign-in-locked-{width}")
    assert serious(page) == []
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    page.click("#content a")
    expect(page.locator("#id_username")).to_be_visible()


def test_pages_of_admins_fit_into_360_pixels_and_have_no_serious_violation(
    desk: Desk, operator: Open
) -> None:
    for number in range(3):
        desk.ask(f"Pay 8{number} EUR to a customer whose name is long?", seconds=900)
    head = operator(viewport={"width": 360, "height": 740})
    page = head.sign_in("head", page="/admin/hitl/policy/add/")
    page.fill("#id_pattern", "transfer_money_abroad_*")
    page.click("input[name=_save]")
    violations: dict[str, list[str]] = {}
    paths = ["policy/", "rejectionreason/", "rejectionreason/add/", "outboxentry/"]
    for path in [*(f"/admin/hitl/{path}" for path in paths), "/admin/gateway/membership/"]:
        violations[path] = serious(head.open(path))
        head.shoot("360-" + path.strip("/").replace("/", "-"), whole=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        head.assert_no_complaint()
    head.open(INBOX)
    page.check("#all")
    page.click("#bar button[value=reject]")
    violations["many"] = serious(page)
    page.fill(".many input[name=reason]", "Not today")
    page.click(".many button.reject")
    expect(page.locator(".result.success")).to_have_count(3)
    violations["results"] = serious(page)
    head.shoot("360-results", whole=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert [f"{name} {text}" for name, texts in violations.items() for text in texts] == []


def test_who_approves_what_is_withheld_is_warned_before_and_after(
    desk: Desk, operator: Open
) -> None:
    session = "session_user123_1706152860"
    for number in (1, 2):
        redis_agents.asks(
            desk.server.redis(), session, f"req-{number}", message=f"Delete {number}?"
        )
    kim = operator(viewport={"width": 1366, "height": 768})
    page = kim.sign_in("kim")
    # They are adopted one after the other, and new ones join when they are asked for.
    wait_until(page, lambda: kim.open(INBOX).locator("#rows > .row").count() == 2)
    kim.row("Delete 2?").locator(".open").click()
    kim.ready()
    expect(page.locator(".withheld")).to_contain_text("the agent is not told")
    kim.shoot("request-withheld")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    kim.shoot("request-withheld-360", whole=True)

    page.click("button.approve")

    expect(page.locator(".messagelist")).to_contain_text("The agent is not told: another agent")
