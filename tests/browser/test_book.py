"""The audit pages and the policies in a browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.acceptance.server import CHECKOUT
from tests.browser.desk import Desk, Operator
from tests.browser.test_looking import serious

Open = Callable[..., Operator]
BOOK = "/admin/hitl/auditrecord/"


def test_chain_is_verified_and_its_export_is_verified_offline(
    desk: Desk, operator: Open, tmp_path: Path
) -> None:
    desk.decide(desk.ask("Pay 40 EUR?"), "approve", user="park")
    lee = operator()
    page = lee.sign_in("lee", page=BOOK)
    page.click("details.book-chain summary")
    page.click(".book-verify button")
    expect(page.locator(".book-verify")).to_have_attribute("data-state", "holds")
    expect(page.locator(".book-verify output")).to_contain_text("The chain holds.")
    lee.shoot("book-verified")
    with page.expect_download() as downloading:
        page.click("form[action$='/export'] button")
    export = tmp_path / "export.zip"
    downloading.value.save_as(export)

    done = subprocess.run(
        [sys.executable, "manage.py", "verify_export", str(export)],
        cwd=CHECKOUT,
        env=desk.server.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    # The key comes with the file alone here, and the command says so.
    assert done.returncode == 2, done.stdout + done.stderr
    assert "It holds in itself" in done.stdout
    damaged = bytearray(export.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    export.write_bytes(damaged)
    assert subprocess.run([*done.args], cwd=CHECKOUT, env=desk.server.environment,
                          capture_output=True, check=False).returncode == 1  # fmt: skip


def test_audit_pages_are_accessible_and_fit_into_360_pixels(desk: Desk, operator: Open) -> None:
    desk.decide(desk.ask("Pay 41 EUR?"), "reject", user="park")
    lee = operator(viewport={"width": 360, "height": 740}, locale="ko-KR", color_scheme="dark")
    page = lee.sign_in("lee", page=BOOK)
    page.click("details.book-chain summary")
    violations = serious(page)
    lee.shoot("book-360", whole=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(".book-records a[href*='/request/']").first.click()
    expect(page.locator(".book-facts")).to_be_visible()
    violations += serious(page)
    lee.shoot("book-request-360", whole=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert violations == []


def test_policy_of_two_needs_two_and_says_how_many_are_missing(desk: Desk, operator: Open) -> None:
    head = operator()
    page = head.sign_in("head", page="/admin/hitl/policy/add/")
    page.fill("#id_pattern", "wire_*")
    page.fill("#id_min_approvals", "2")
    assert serious(page) == []
    head.shoot("policy-add", whole=True)
    page.click("input[name=_save]")
    expect(page.locator(".messagelist")).to_contain_text("wire_*")
    request = desk.ask("Wire 5 EUR?", action="wire_money")

    kim = operator()
    page = kim.sign_in("kim")
    kim.row("Wire 5").locator(".open").click()
    kim.ready()
    page.dblclick("button.approve")
    messages = page.locator(".messagelist")
    expect(messages).to_contain_text("1 more is needed")
    expect(messages).not_to_contain_text("is now")
    assert desk.status(request) == "pending"
    page.go_back()
    expect(page.locator("#state")).to_contain_text("You have approved")
    expect(page.locator("button.approve")).to_have_count(0)
    kim.shoot("request-one-of-two", whole=True)

    lee = operator()
    page = lee.sign_in("lee")
    lee.row("Wire 5").locator(".open").click()
    lee.ready()
    page.click("button.approve")
    expect(page.locator(".messagelist")).to_contain_text("is now approved")
    assert desk.status(request) == "approved"
