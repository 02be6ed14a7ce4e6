"""Pages run no script and load no style but from files of ours, errors and login included."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests import factories
from tests.integration.calls import browser

pytestmark = pytest.mark.django_db

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}
_INLINE = re.compile(r"<style|<script(?![^>]*\bsrc=)[^>]*>|\son\w+=|\sstyle=|javascript:", re.I)


def pages() -> list[str]:
    request = factories.opened()
    return [
        "/admin/pages/",
        "/admin/hitl/approvalrequest/inbox/",
        "/admin/hitl/approvalrequest/",
        f"/admin/hitl/approvalrequest/{request.pk}/change/",
        "/admin/hitl/auditrecord/",
        "/admin/password_change/",
        "/admin/nothing-here/",
        "/docs/",
    ]


def test_every_page_carries_the_policy_and_keeps_it() -> None:
    client = browser(factories.user("desk", role="admin", is_staff=True, is_superuser=True))

    for page in [*pages(), "/admin/auth/user/", "/admin/auth/user/add/"]:
        answer = client.get(page)
        assert set(answer["Content-Security-Policy"].split("; ")) == POLICY, page
        assert not _INLINE.findall(answer.content.decode()), page


def test_login_and_refused_forms_keep_it_too() -> None:
    client = Client(enforce_csrf_checks=True)

    for answer in (client.get("/admin/login/"), client.post("/admin/login/", {"username": "x"})):
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert not _INLINE.findall(answer.content.decode())
