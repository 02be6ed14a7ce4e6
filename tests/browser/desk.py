"""The desk as an operator uses it in a browser, and an agent that asks over REST."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.acceptance.server import CHECKOUT, RunningServer
from tests.browser.shell import Shell

# Long, because the machine may be busy with other things.
expect.set_options(timeout=60_000)

SCREENSHOTS = CHECKOUT / "build/screenshots"
INBOX = "/admin/hitl/approvalrequest/inbox/"
LIST = "/admin/hitl/approvalrequest/"
# Who signs in by the form; to hash a password takes a third of a second.
BY_FORM, PASSWORD = "kim", "an-operator-of-the-desk"

# The first takes half of the processor time of the others.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_COMPLAINTS = ("Content Security Policy", "Content-Security-Policy")
# Collects every violation of the Content-Security-Policy that the page reports.
_LISTEN = """
window.cspReports = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.cspReports.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""
_PEOPLE = """
import json, sys
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from dwp_project.gateway.models import Membership
from hitl.models import RejectionReason
sessions = {}
for person in json.loads(sys.stdin.read()):
    user, is_new = User.objects.get_or_create(username=person["username"], is_staff=True)
    if is_new:
        user.set_password(person["password"])
        user.save()
    for tenant, role in person["roles"].items():
        Membership.objects.get_or_create(user=user, tenant_id=tenant, defaults={"role": role})
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    sessions[person["username"]] = session.session_key
for text in ("The amount is too high", "Ask the customer first"):
    RejectionReason.objects.get_or_create(tenant_id="tenant1", text=text)
print(json.dumps(sessions))
"""


class Desk:
    """A running server, its operators, and the REST client of an agent."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{server.ports[0]}"
        # The session cookie of each of the people.
        self.sessions: dict[str, str] = {}
        self._shell: Shell | None = None

    def manage(self, code: str, sent: object = None) -> str:
        """Run a few lines of Python on the server's own data."""
        if self._shell is None:
            self._shell = Shell(self.server.environment)
        return self._shell.run(code, sent)

    def close(self) -> None:
        """End what works on the server's data beside it."""
        if self._shell is not None:
            self._shell.close()

    def people(self, *people: tuple[str, Mapping[str, str]]) -> None:
        """Make operators with their roles in tenants, each signed in."""
        accounts = [
            {
                "username": name,
                "password": PASSWORD if name == BY_FORM else None,
                "roles": dict(roles),
            }
            for name, roles in people
        ]
        self.sessions |= json.loads(self.manage(_PEOPLE, accounts))

    # --- an agent --------------------------------------------------------------------------

    def call(
        self,
        path: str,
        body: object,
        *,
        user: str = "user123",
        tenant: str = "tenant1",
        role: str = "user",
    ) -> dict[str, Any]:
        """Send a REST call and return the envelope, whatever the status."""
        answer = self.server.request("POST", path, self.server.headers(user, tenant, role), body)
        envelope = json.loads(answer.body)
        assert isinstance(envelope, dict)
        return envelope

    def ask(
        self,
        message: str,
        *,
        action: str = "send_payment",
        context: Mapping[str, Any] | None = None,
        seconds: int = 600,
        tenant: str = "tenant1",
        user: str = "user123",
        session: str = "",
    ) -> dict[str, Any]:
        """Open a request and return it."""
        session = session or f"s-{os.urandom(6).hex()}"
        body = {
            "sessionId": session,
            "actionType": action,
            "message": message,
            "context": {"amount": 120, "currency": "EUR"} if context is None else context,
            "timeoutSeconds": seconds,
        }
        envelope = self.call("/aura/hitl/requests", body, user=user, tenant=tenant)
        assert envelope["success"], envelope
        return dict(envelope["data"])

    def decide(self, request: Mapping[str, Any], verb: str, user: str = "somebody") -> None:
        """Decide over REST, as a colleague elsewhere."""
        envelope = self.call(
            f"/aura/hitl/{verb}/{request['requestId']}", {}, user=user, role="approver"
        )
        assert envelope["success"], envelope

    def withdraw_all(self) -> None:
        """Cancel the pending requests of the tests' tenants."""
        for tenant in ("tenant1", "tenant2"):
            headers = self.server.headers("admin1", tenant, "admin")
            while items := self._pending(headers):
                for request in items:
                    path = f"/aura/hitl/requests/{request['requestId']}/cancel"
                    self.server.request("POST", path, headers, {})

    def _pending(self, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the first page of what is pending."""
        answer = self.server.get("/aura/hitl/requests?status=pending", headers)
        return list(answer.json()["data"]["items"])

    def status(self, request: Mapping[str, Any]) -> str:
        headers = self.server.headers("user123", "tenant1", "admin")
        answer = self.server.get(f"/aura/hitl/requests/{request['requestId']}", headers)
        return str(json.loads(answer.json()["data"])["status"])


@contextmanager
def served(data_dir: Path) -> Iterator[Desk]:
    """Run a server on these data until the block ends, and return its desk."""
    server = RunningServer(data_dir)
    with ExitStack() as stack:
        stack.callback(server.end)
        desk = Desk(server.start())
        stack.callback(desk.close)
        yield desk


class Operator:
    """One browser window of an operator."""

    def __init__(self, desk: Desk, context: BrowserContext) -> None:
        self.desk = desk
        self.context = context
        self.page: Page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self._watch(self.page)

    def _watch(self, page: Page) -> None:
        page.add_init_script(_LISTEN)
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if any(text in message.text for text in _COMPLAINTS)
                else None
            ),
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.desk.url}{path}")
        return self.page

    def sign_in(self, username: str, *, page: str = INBOX) -> Page:
        """Open a page with an operator's session cookie; of the inbox, wait until it is live."""
        cookie: Any = {
            "name": "sessionid",
            "value": self.desk.sessions[username],
            "url": self.desk.url,
        }
        self.context.add_cookies([cookie])
        self.open(page)
        if page == INBOX:
            self.page.wait_for_selector("#link.is-live")
        return self.page

    def sign_in_by_form(self, username: str) -> Page:
        """Sign in by the form, which costs the server the hashing of a password."""
        page = self.open(f"/admin/login/?next={INBOX}")
        page.fill("#id_username", username)
        page.fill("#id_password", PASSWORD)
        page.click("input[type=submit]")
        page.wait_for_selector("#link.is-live")
        return page

    def shoot(self, name: str, *, whole: bool = False) -> None:
        """Keep a picture of the page where pictures are looked at: with `DESK=all`."""
        if os.environ.get("DESK") != "all":
            return
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)

    def assert_no_complaint(self) -> None:
        """Check that no page broke the policy or threw an error."""
        assert self.complaints == []
        assert self.page.evaluate("window.cspReports ?? []") == []

    def row(self, text: str) -> Any:
        return self.page.locator("#rows > .row", has_text=text)

    def ready(self) -> None:
        """Wait until the request has been visible for long enough to be decided."""
        # Phones do not show it.
        self.page.wait_for_selector("#request #help:not([hidden])", state="attached")
        self.page.wait_for_timeout(900)


def executable() -> str:
    """Return the path of the system's Chromium; an empty text if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None) or ""


def sign_out(page: Page) -> None:
    """Sign out by the menu, and wait for the page that says so."""
    page.click(".menu-button")
    page.click("#logout-form button")
    page.wait_for_selector("#desk-menu", state="detached")


def wait_until(page: Page, is_done: Callable[[], Any]) -> None:
    """Wait until `is_done` returns something true: the pages' policy allows no script to wait."""
    for _ in range(300):
        if is_done():
            return
        page.wait_for_timeout(200)
    raise AssertionError("it has not come to that within a minute")


def launched(playwright: Any, executable: str) -> Browser:
    """Return the system's Chromium, headless and quiet."""
    browser: Browser = playwright.chromium.launch(
        executable_path=executable,
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    )
    return browser
