"""What the gallery of screenshots shows: a desk with people, policies, requests and their ends, and
the list of pages. A new page is one more line of `PAGES`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.browser.desk import INBOX, LIST, Desk, Operator, sign_out

TENANT, OTHER_TENANT = "acme", "acme-labs"
# The one who sits at the desk, and who keeps its accounts.
MAIN, KEEPER = "kim", "root"
# Each signs out once.
LEAVERS = ("park", "choi", "jung", "han", "yoon", "lim", "oh", "seo")
PEOPLE: tuple[tuple[str, dict[str, str]], ...] = (
    (MAIN, {TENANT: "admin", OTHER_TENANT: "approver"}),
    (KEEPER, {TENANT: "admin"}),
    ("newcomer", {}),
    *((name, {TENANT: "viewer"}) for name in LEAVERS),
)
# Members that this version's rules do not have are left out.
POLICIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("send_payment", {"reason_required": True, "forbid_requester": True, "risk": "medium"}),
    ("deploy_*", {"min_approvals": 2, "risk": "high"}),
    ("delete_customer", {"required_role": "admin", "risk": "critical"}),
    ("delete_*", {"risk": "low"}),
    ("run_sql", {"required_role": "approver", "timeout_seconds": 1800, "risk": "high"}),
    (
        "rotate_*",
        {
            "timeout_seconds": 2,
            "on_timeout": "escalate",
            "escalate_to_role": "admin",
            "escalate_seconds": 5400,
        },
    ),
)
REASONS = ("The amount is too high", "Ask the customer first", "Not during office hours")
_FURNISH = """
import json, sys
from django.contrib.auth.models import User
from hitl.actors import Actor
from hitl.policies import changes, reasons
from hitl.policies.rules import Rule
from hitl.states import ActorKind, Channel
sent = json.load(sys.stdin)
boss = Actor(sent["boss"], sent["tenant"], ActorKind.OPERATOR, Channel.ADMIN, "admin")
for pattern, rule in sent["policies"]:
    changes.create(boss, pattern, Rule(**{
        name: value for name, value in rule.items() if name in Rule.__dataclass_fields__
    }))
for place, text in enumerate(sent["reasons"]):
    reasons.add(boss, text, place)
User.objects.filter(username=sent["keeper"]).update(is_superuser=True)
"""

DIFF = """--- a/config/retention.yaml
+++ b/config/retention.yaml
@@ -3,9 +3,9 @@ defaults:
   archive: true
 rules:
   - name: invoices
-    keep_days: 3650
+    keep_days: 730
     legal_hold: true
   - name: access-logs
-    keep_days: 90
-    compress: false
+    keep_days: 30
+    compress: true
"""
SQL = """UPDATE subscriptions AS s
   SET plan = 'team',
       renewed_at = now()
  FROM customers AS c
 WHERE c.id = s.customer_id
   AND c.country IN ('KR', 'DE')
   AND s.plan = 'starter';"""
SCRIPT = """#!/bin/sh
set -eu
cd /srv/builds
if [ "$(df --output=pcent . | tail -1)" -gt 90 ]; then
\trm -f *.o *.tmp
\tfind . -name '*.log' -mtime +14 -delete
fi"""
POST = """# Version 8 is here

The **inbox** opens on your phone. What is new:

- search and filters, kept as views
- risk, shown as a word and a colour

| plan | price |
| --- | --- |
| Team | 12 EUR |

Read more [in the docs](https://docs.acme.example/8)."""
PLAN = {
    "workspace": "production-eu",
    "summary": {"add": 2, "change": 1, "destroy": 1},
    "resources": [
        {
            "address": "aws_rds_cluster.billing",
            "action": "change",
            "before": {"instances": 2, "backup": {"retention": {"days": 7, "copies": ["eu-1"]}}},
            "after": {
                "instances": 3,
                "backup": {"retention": {"days": 35, "copies": ["eu-1", "eu-2"]}},
            },
        },
        {"address": "aws_s3_bucket.exports_old", "action": "destroy", "before": {"objects": 48213}},
    ],
    "policy": {"tags": {"owner": "platform", "cost": {"centre": "4711", "limit": {"EUR": 900}}}},
}

# The requests with a page of their own in the gallery, by name; all are asked by the same agents.
REQUESTS: dict[str, dict[str, Any]] = {
    "escalated": {
        "message": "Rotate the signing key of the payment gateway?",
        "action": "rotate_key",
        "user": "ops-agent",
        "context": {"key": "gateway-2026", "reason": "older than 90 days", "grace_hours": 24},
    },
    "payment": {
        "message": "Pay 12,480.00 EUR to Nordwind Logistik GmbH for invoice 2026-1123?",
        "action": "send_payment",
        "user": "accounting-agent",
        "seconds": 1700,
        "context": {
            "to": "Nordwind Logistik GmbH",
            "iban": "DE02 1203 0000 0000 2020 51",
            "amount": 12480.0,
            "currency": "EUR",
            "due": "2026-12-15T00:00:00Z",
            "api_key": "sk-this-must-never-be-seen",
            "invoice": {
                "number": "2026-1123",
                "lines": [
                    {"text": "Freight Hamburg – Busan", "quantity": 2, "price": 5400},
                    {"text": "Customs", "quantity": 1, "price": 1680},
                ],
            },
            "note": "The second reminder came on Monday. They hold the next container until then.",
        },
    },
    "deletion": {
        "message": "Shorten the retention rules in config/retention.yaml?",
        "action": "delete_data",
        "user": "records-agent",
        "seconds": 2400,
        "context": {
            "repository": "acme/records",
            "path": "config/retention.yaml",
            "diff": DIFF,
            "rows_to_delete": 1284003,
        },
    },
    "sql": {
        "message": "Run this statement on the production database?",
        "action": "run_sql",
        "user": "data-agent",
        "context": {"database": "billing", "sql": SQL, "expected_rows": 2114},
    },
    "nested": {
        "message": "Apply this plan to production-eu?",
        "action": "apply_plan",
        "user": "platform-agent",
        "seconds": 3100,
        "context": PLAN,
    },
    "korean": {
        "message": "고객 1,204명에게 결제 수단 변경 안내 메일을 보낼까요?",
        "action": "send_newsletter",
        "user": "marketing-agent",
        "seconds": 5000,
        "context": {
            "제목": "결제 수단을 다시 확인해 주세요",
            "받는 사람": {"조건": "카드 만료 30일 전", "수": 1204},
            "본문": "안녕하세요, 고객님.\n등록하신 카드가 곧 만료됩니다.\n"
            "아래 버튼을 눌러 새 카드를 등록해 주세요.\n감사합니다.",
        },
    },
    "votes": {
        "message": "Deploy release 8.0.1 of payments to production?",
        "action": "deploy_release",
        "user": "release-agent",
        "seconds": 4000,
        "context": {"service": "payments", "version": "8.0.1", "canary": "5 %", "tests": "passed"},
    },
    "risky": {
        "message": "Delete the account of customer 48213 and everything in it?",
        "action": "delete_customer",
        "user": "support-agent",
        "seconds": 95,
        "context": {"customer": 48213, "name": "J. Aalto", "invoices": 31, "asked_by": "customer"},
    },
    "script": {
        "message": "Run this script on build-3?",
        "action": "run_script",
        "user": "ops-agent",
        "seconds": 640,
        "context": {"host": "build-3", "script": SCRIPT, "response": '{"free": "8 %", "pid": 911}'},
    },
    "markdown": {
        "message": "Publish this post in the company's blog?",
        "action": "publish_post",
        "user": "marketing-agent",
        "seconds": 90_000,
        "context": {"title": "Version 8 is here", "body": POST},
    },
    "hostile": {
        "message": "Send the contract to \u202eude.elpmaxe@ohc\u202c?",
        "action": "send_mail",
        "user": "\u0430dmin",
        "seconds": 7000,
        "tenant": OTHER_TENANT,
        "context": {"to": "cho@customer.example\u200b", "attachment": "contract.pdf"},
    },
}
# To choose several of, and to fill the list.
REFUNDS = 6
FILLERS = 14
DECIDED: tuple[tuple[str, str, str, str, str], ...] = (
    ("Pay 980.00 EUR to Nordwind Logistik GmbH?", "send_payment", "lee", "approve", ""),
    ("Pay 41,000.00 EUR to Nordwind Logistik GmbH?", "send_payment", "lee", "reject", REASONS[0]),
    ("Pay 230.40 EUR to Büro Nord?", "send_payment", "park", "approve", ""),
    ("Delete 12 drafts?", "delete_data", "park", "approve", ""),
    ("Delete the folder “Contracts”?", "delete_data", "lee", "reject", "Legal needs it until May."),
    ("Run the monthly report?", "run_report", "lee", "approve", ""),
    ("보고서를 삭제할까요?", "delete_data", "park", "reject", "다음 달까지 필요합니다."),
)


@dataclass(frozen=True, slots=True)
class Gallery:
    """A furnished desk: the addresses of its requests' pages by name."""

    desk: Desk
    addresses: Mapping[str, str]


def furnish(desk: Desk) -> Gallery:
    """Make people, policies, decisions and about thirty pending requests."""
    desk.people(*PEOPLE)
    desk.manage(
        _FURNISH,
        {
            "boss": MAIN,
            "keeper": KEEPER,
            "tenant": TENANT,
            "policies": POLICIES,
            "reasons": REASONS,
        },
    )
    for message, action, decider, verb, reason in DECIDED:
        request = desk.ask(message, action=action, tenant=TENANT, user="accounting-agent")
        _decide(desk, request, verb, decider, {"reason": reason} if reason else {})
    asked = {
        name: desk.ask(**{"tenant": TENANT, **question}) for name, question in REQUESTS.items()
    }
    _decide(desk, asked["votes"], "approve", "lee", {})
    for number in range(REFUNDS):
        refund(desk, number)
    for number in range(FILLERS):
        guest = ("Ana", "Bo", "Cem", "Dana")[number % 4]
        desk.ask(
            f"Invite {guest} to the project “Harbour”?",
            action="invite_member",
            user="office-agent",
            tenant=TENANT,
            seconds=10_000 + 3600 * number,
            context={"role": "guest", "seat": number + 1},
        )
    _wait_for_escalation(desk, asked["escalated"])
    return Gallery(
        desk,
        {
            name: f"/admin/requests/{quote(request['requestId'], safe='')}"
            for name, request in asked.items()
        }
        | {
            f"{name}_history": f"/admin/hitl/auditrecord/request/?id={quote(request['requestId'])}"
            for name, request in asked.items()
        },
    )


def refund(desk: Desk, number: int, *, word: str = "Refund") -> None:
    """Ask for one of several requests of a kind."""
    amount = 19 + 7 * number
    desk.ask(f"{word} {amount}.00 EUR to customer {48100 + number}?", action="refund_order",
             user="support-agent", tenant=TENANT, seconds=1200 + 60 * number,
             context={"customer": 48100 + number, "amount": amount, "currency": "EUR",
                      "order": f"2026-{7700 + number}"})  # fmt: skip


def _decide(
    desk: Desk, request: Mapping[str, Any], verb: str, decider: str, body: Mapping[str, Any]
) -> None:
    path = f"/aura/hitl/{verb}/{request['requestId']}"
    envelope = desk.call(path, dict(body), user=decider, tenant=TENANT, role="approver")
    assert envelope["success"], envelope


def _wait_for_escalation(desk: Desk, request: Mapping[str, Any]) -> None:
    headers = desk.server.headers("lee", TENANT, "approver")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        page = desk.server.get(f"/aura/hitl/requests/{request['requestId']}", headers).json()
        if str(request["expiresAt"]) not in str(page):
            return
        time.sleep(0.2)
    raise AssertionError("the request has not escalated")


# --- the pages -----------------------------------------------------------------------------------

Act = Callable[[Operator, Gallery, str], None]


@dataclass(frozen=True, slots=True)
class GalleryPage:
    """One page: its address, who looks at it, and what they do there before it is looked at.

    `{payment}` in an address is the page of the request of that name.
    """

    name: str
    path: str
    act: Act | None = None
    user: str = MAIN
    # What is there when the page is.
    shows: str = "#content"
    # Where the words of the page itself are elsewhere, one language is enough.
    languages: tuple[str, ...] = ("en", "ko")


def _follow(selector: str) -> Act:
    """Return an act that follows the first link of this selector."""

    def act(operator: Operator, gallery: Gallery, visit: str) -> None:
        operator.page.locator(selector).first.click()

    return act


def _choose(operator: Operator, word: str) -> None:
    rows = operator.page.locator("#rows > .row", has_text=f"{word} ")
    for row in rows.all():
        row.locator(".pick input").check()


def _confirm(operator: Operator, gallery: Gallery, visit: str) -> None:
    _choose(operator, "Refund")
    operator.page.click("#bar button[value=approve]")


def _decide_many(operator: Operator, gallery: Gallery, visit: str) -> None:
    word = f"Return-{visit}"
    for number in range(3):
        refund(gallery.desk, number, word=word)
    operator.open(INBOX)
    _choose(operator, word)
    operator.page.click("#bar button[value=reject]")
    operator.page.fill(".many input[name=reason]", "The customer withdrew")
    operator.page.click(".many button.reject")


def _forget_token(operator: Operator, gallery: Gallery, visit: str) -> None:
    operator.ready()
    operator.context.clear_cookies(name="csrftoken")
    operator.page.click("button.approve")


def _sign_out(operator: Operator, gallery: Gallery, visit: str) -> None:
    sign_out(operator.page)


def _open_menu(operator: Operator, gallery: Gallery, visit: str) -> None:
    operator.page.click(".menu-button")


PAGES: tuple[GalleryPage, ...] = (
    GalleryPage("sign-in", "/admin/login/", user="", shows="#id_username"),
    GalleryPage("inbox", INBOX, shows="#rows .badge.escalated"),
    GalleryPage("inbox-of-no-tenant", INBOX, user="newcomer", shows="#empty"),
    GalleryPage("menu", INBOX, _open_menu, shows="#desk-menu"),
    *(
        GalleryPage(
            f"request-{name}",
            f"{{{name}}}",
            shows="#request",
            languages=("en", "ko") if name in ("payment", "korean", "votes") else ("en",),
        )
        for name in REQUESTS
    ),
    GalleryPage("many", INBOX, _confirm, shows=".card.many"),
    GalleryPage("results", INBOX, _decide_many, shows=".card.results"),
    GalleryPage("archive", LIST, shows="#changelist"),
    GalleryPage(
        "request-ended",
        f"{LIST}?status__exact=rejected",
        _follow("#result_list tbody a"),
        shows="#request",
    ),
    GalleryPage("audit", "/admin/hitl/auditrecord/", shows=".book-records"),
    GalleryPage(
        "audit-record", "/admin/hitl/auditrecord/", _follow(".book-records td a"), shows="#content"
    ),
    GalleryPage("history", "{votes_history}", shows=".book-records"),
    GalleryPage("policies", "/admin/hitl/policy/", shows="#changelist"),
    GalleryPage(
        "policy", "/admin/hitl/policy/", _follow("#result_list tbody a"), shows="#policy_form"
    ),
    GalleryPage("policy-new", "/admin/hitl/policy/add/", shows="#policy_form"),
    GalleryPage("reasons", "/admin/hitl/rejectionreason/", shows="#changelist"),
    GalleryPage("outbox", "/admin/hitl/outboxentry/", shows="#changelist"),
    GalleryPage("memberships", "/admin/gateway/membership/", shows="#changelist"),
    GalleryPage("tenants", "/admin/gateway/tenant/", user=KEEPER, shows="#changelist"),
    GalleryPage("users", "/admin/auth/user/", user=KEEPER, shows="#changelist"),
    GalleryPage(
        "user",
        "/admin/auth/user/",
        _follow("#result_list tbody a"),
        user=KEEPER,
        shows="#user_form",
    ),
    GalleryPage("all-pages", "/admin/pages/", shows="#content-main"),
    GalleryPage("password", "/admin/password_change/", user=KEEPER, shows="#id_old_password"),
    GalleryPage("not-found", "/admin/requests/nobodys", shows="h1"),
    GalleryPage("not-allowed", "/admin/hitl/policy/add/", user=LEAVERS[0], shows="h1"),
    GalleryPage("form-refused", "{payment}", _forget_token, shows="a[href^='/admin/']"),
    GalleryPage("logged-out", INBOX, _sign_out, user="leaver", shows="#content"),
)
