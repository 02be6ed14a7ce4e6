"""The pages around the desk: tenants, people, policies, the outbox, the book, signing out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.desk import INBOX, Desk, Operator, sign_out
from tests.browser.test_looking import serious

Open = Callable[..., Operator]

_BOSS = """
import json, sys
from django.contrib.auth.models import User
from dwp_project.gateway.models import Membership, Tenant
from hitl.models import AuditRecord, OutboxEntry, Policy
User.objects.filter(username="boss").update(is_superuser=True)
for tenant, name in (("tenant1", "Payments"), ("tenant2", "")):
    Tenant.objects.get_or_create(tenant_id=tenant, defaults={"name": name})
print(json.dumps({
    "outbox": OutboxEntry.objects.values_list("pk", flat=True).last(),
    "policy": Policy.objects.values_list("pk", flat=True).last(),
    "record": AuditRecord.objects.filter(tenant_id="tenant1").values_list("pk", flat=True).last(),
    "user": User.objects.get(username="lee").pk,
    "member": Membership.objects.filter(user__username="lee").values_list("pk", flat=True).first(),
    "tenant": Tenant.objects.get(tenant_id="tenant1").pk,
}))
"""


@pytest.fixture
def boss(desk: Desk, operator: Open) -> Callable[..., Operator]:
    """Return a function that signs a superuser in who administers tenant1."""
    desk.people(("boss", {"tenant1": "admin"}))
    desk.manage(_BOSS)

    def sign_in(path: str = "/admin/", **options: Any) -> Operator:
        somebody = operator(**options)
        somebody.sign_in("boss", page=path)
        return somebody

    return sign_in


_TOO_WIDE = """
document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => `${one.tagName} ${one.id} ${one.className} ${one.textContent.slice(0, 30)}`)
"""


def test_tenant_is_made_on_purpose_and_a_person_with_memberships_on_one_form(
    desk: Desk, boss: Open
) -> None:
    somebody = boss("/admin/gateway/tenant/add/")
    page = somebody.page
    page.fill("#id_tenant_id", "acme")
    page.fill("#id_name", "ACME Ltd")
    page.click("input[name=_save]")
    expect(page.locator("#result_list")).to_contain_text("ACME Ltd")

    somebody.open("/admin/auth/user/add/")
    page.fill("#id_username", "newcomer")
    page.fill("#id_password1", "a-rather-long-secret")
    page.fill("#id_password2", "a-rather-long-secret")
    page.check("#id_is_staff")
    page.select_option("#id_memberships-0-tenant_id", label="acme (ACME Ltd)")
    page.select_option("#id_memberships-0-role", "approver")
    page.click(".add-row a")
    page.select_option("#id_memberships-1-tenant_id", "tenant1")
    page.select_option("#id_memberships-1-role", "viewer")
    somebody.shoot("account-add", whole=True)
    page.click("input[name=_save]")

    row = page.locator("#result_list tr", has_text="newcomer")
    expect(row).to_contain_text("acme approver")
    expect(row).to_contain_text("tenant1 viewer")


def test_admin_asks_which_policy_applies_and_tries_it_on_a_request(desk: Desk, boss: Open) -> None:
    asked = desk.ask("Pay 91 EUR?", action="pay_invoice")
    somebody = boss("/admin/hitl/policy/add/")
    page = somebody.page
    page.select_option("#id_tenant_id", "tenant1")
    page.fill("#id_pattern", "pay_*")
    page.fill("#id_min_approvals", "2")
    page.click("input[name=_save]")

    page.fill("#explain-request", asked["requestId"])
    page.click(".explain-form button")

    expect(page.locator(".explanation")).to_contain_text("pay_* v1 of tenant1 applies")
    expect(page.locator(".explanation")).to_contain_text("2 people must approve, 1 rejects")
    expect(page.locator(".explanation")).to_contain_text("Opened now, it would fall under")
    somebody.shoot("policy-explained", whole=True)
    assert serious(page) == []


def test_list_is_filtered_by_words_that_open_on_demand(desk: Desk, boss: Open) -> None:
    for name in ("Pay 92 EUR?", "Pay 93 EUR?"):
        desk.decide(desk.ask(name), "reject")
    somebody = boss("/admin/hitl/outboxentry/")
    page = somebody.page
    expect(page.locator("#result_list tbody tr").first).to_be_visible()

    page.locator(".list-filter summary").last.click()
    choices = page.locator(".list-filter[open] li a")
    expect(choices.first).to_be_visible()
    somebody.shoot("outbox-filter")
    choices.nth(1).click()

    expect(page.locator(".list-filter b").last).not_to_have_text("All")
    assert "outcome=" in page.url


def test_signing_out_says_so_and_leads_back(desk: Desk, operator: Open) -> None:
    desk.people(("goer", {"tenant1": "viewer"}))
    goer = operator()
    page = goer.sign_in("goer")

    sign_out(page)

    expect(page.locator("h1")).to_have_text("You are signed out")
    assert "quality time" not in page.content()
    goer.shoot("signed-out")
    assert serious(page) == []
    page.click("a.sign-in-again")
    expect(page.locator("#id_username")).to_be_visible()
    assert page.url.endswith(f"?next={INBOX}")


# At these widths axe looks as well; it takes longest, and finds the same at every width.
LOOKED_AT = (360, 1366)


@pytest.mark.parametrize(
    ("width", "theme", "language"),
    [(360, "light", "en-US"), (1024, "dark", "en-US"), (1366, "dark", "ko-KR"),
     (1920, "light", "ko-KR")],
)  # fmt: skip
def test_pages_fit_have_no_serious_violation_and_nothing_of_the_stock_admin(
    desk: Desk, boss: Open, width: int, theme: str, language: str
) -> None:
    desk.decide(desk.ask("Pay 94 EUR to a customer whose name is long?"), "reject")
    somebody = boss(viewport={"width": width, "height": 800}, color_scheme=theme, locale=language)
    page = somebody.page
    somebody.open("/admin/hitl/policy/add/")
    page.select_option("#id_tenant_id", "tenant1")
    page.fill("#id_pattern", f"transfer_money_abroad_{width}_{theme}_*")
    page.click("input[name=_save]")
    keys = json.loads(desk.manage(_BOSS))
    violations: dict[str, list[str]] = {}
    for path in (
        "/admin/",
        "/admin/gateway/tenant/",
        f"/admin/gateway/tenant/{keys['tenant']}/change/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        f"/admin/auth/user/{keys['user']}/change/",
        "/admin/gateway/membership/",
        f"/admin/gateway/membership/{keys['member']}/change/",
        f"/admin/gateway/membership/{keys['member']}/delete/",
        "/admin/hitl/policy/",
        f"/admin/hitl/policy/{keys['policy']}/change/",
        "/admin/hitl/policy/explain/?tenant=tenant1&action=transfer_money_abroad_360_light_x",
        "/admin/hitl/rejectionreason/",
        "/admin/hitl/outboxentry/",
        f"/admin/hitl/outboxentry/{keys['outbox']}/change/",
        "/admin/hitl/auditrecord/",
        f"/admin/hitl/auditrecord/{keys['record']}/change/",
    ):
        somebody.open(path)
        if width in LOOKED_AT:
            violations[path] = serious(page, *(["color-contrast"] if theme == "dark" else []))
        name = path.split("?")[0].strip("/").removeprefix("admin").strip("/").replace("/", "-")
        somebody.shoot(f"admin-{name or 'index'}-{width}-{theme}-{language[:2]}", whole=True)
        assert page.evaluate(_TOO_WIDE) == [], path
        somebody.assert_no_complaint()
        assert page.locator(".historylink, .viewsitelink, #recent-actions-module").count() == 0

    assert [f"{name} {text}" for name, texts in violations.items() for text in texts] == []
