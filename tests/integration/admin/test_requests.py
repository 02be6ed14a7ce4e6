"""The request's page: the keyboard cannot approve by chance, and nothing shown hides."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from hitl import services
from hitl.actors import Actor
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, RejectionReason
from hitl.states import ActorKind, Channel, Origin
from tests import factories

pytestmark = pytest.mark.django_db

LIST = "/admin/hitl/approvalrequest/"
AUDIT = "/admin/hitl/auditrecord/"
# Turned round, a letter without width, a letter nobody sees, and a long way to the right.
TRICK = "a\u202eb\u200bc\u3164d" + " " * 41 + "e"
HIDDEN = ("\u202e", "\u200b", "\u3164", " " * 41)
MARKS = ("⟨U+202E⟩", "⟨U+200B⟩", "⟨U+3164⟩", "⟨41 spaces⟩")


class _Controls(HTMLParser):
    """Which form each named control of a page belongs to, in the page's order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.of_form: dict[str, list[str]] = {}
        self._open_form = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "form":
            self._open_form = attributes.get("id") or ""
        elif tag in ("input", "button") and attributes.get("type") != "hidden":
            form = attributes.get("form") or self._open_form
            self.of_form.setdefault(form, []).append(attributes.get("name") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open_form = ""


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(factories.user("desk", role="approver", is_staff=True))
    return client


def opened(**question: Any) -> ApprovalRequest:
    request, _ = services.open_request(
        factories.question(**question), factories.actor(), Origin.REST
    )
    return request


def page(client: Client, path: str, language: str = "en") -> str:
    answer = client.get(path, headers={"accept-language": language})
    assert answer.status_code == 200
    return answer.content.decode()


def assert_marked(shown: str) -> None:
    # The exact form keeps every space.
    shown = re.sub(r'<pre class="shown exact">.*?</pre>', "", shown, flags=re.DOTALL)
    for hidden, mark in zip(HIDDEN, MARKS, strict=True):
        assert hidden not in shown
        assert mark in shown


def test_reason_is_in_a_form_that_only_rejects(client: Client) -> None:
    for text in ("too much", "not now"):
        RejectionReason.objects.create(tenant_id="tenant1", text=text)
    controls = _Controls(page(client, f"{LIST}{opened().pk}/change/")).of_form

    assert controls["rejection"] == ["", "preset", "preset", "reason", "reject"]
    assert controls["approval"] == ["approve"]


def test_page_marks_what_the_message_hides(client: Client) -> None:
    assert_marked(page(client, f"{LIST}{opened(message=TRICK).pk}/change/"))


def test_page_marks_what_the_context_hides(client: Client) -> None:
    for context in ({"to": TRICK}, {TRICK: [1]}):
        shown, stored = page(client, f"{LIST}{opened(context=context).pk}/change/").split(
            'id="stored"'
        )
        assert_marked(shown)
        # What is stored is shown with all its spaces.
        assert " " * 41 in stored
        assert not any(hidden in stored for hidden in HIDDEN[:3])
        assert all(mark in stored for mark in MARKS[:3])


def test_page_shows_the_stored_context_to_the_letter(client: Client) -> None:
    request = opened()
    ApprovalRequest.objects.filter(pk=request.pk).update(context_text='{"b" : "x  \\ty"}')

    shown = page(client, f"{LIST}{request.pk}/change/")

    assert "{&quot;b&quot; : &quot;x  \\ty&quot;}</pre>" in shown


def test_secrets_are_masked_in_the_stored_context(client: Client) -> None:
    request = opened(context={"b": 1, "token": "hunter2"})

    shown = page(client, f"{LIST}{request.pk}/change/")

    assert (
        '{&quot;b&quot;:1,&quot;token&quot;:&quot;<span class="masked">'
        "masked by HITL_REDACT: *token*</span>&quot;}</pre>" in shown
    )
    assert "hunter2" not in shown


def test_page_marks_what_the_action_hides(client: Client) -> None:
    assert_marked(page(client, f"{LIST}{opened(action_type=TRICK).pk}/change/"))


def test_page_marks_what_the_reason_hides(client: Client) -> None:
    request = opened()
    services.reject(request.request_id, factories.actor(), reason=TRICK)

    assert_marked(page(client, f"{LIST}{request.pk}/change/"))
    record = AuditRecord.objects.get(event="request:rejected")
    assert_marked(page(client, f"{AUDIT}{record.pk}/change/"))
    entry = OutboxEntry.objects.get()
    assert_marked(page(client, f"/admin/hitl/outboxentry/{entry.pk}/change/"))


def test_page_shows_the_lines_of_a_message(client: Client) -> None:
    request = opened(message="one\n<b>two</b>")

    shown = page(client, f"{LIST}{request.pk}/change/")

    assert '<span class="shown">one\n&lt;b&gt;two&lt;/b&gt;</span>' in shown


def test_actors_are_marked_in_lists_pages_and_messages(client: Client) -> None:
    request = opened()
    actor = Actor(TRICK, "tenant1", ActorKind.USER, Channel.REST, role="approver")
    services.approve(request.request_id, actor)
    record = AuditRecord.objects.get(event="request:approved")

    for path in (LIST, f"{LIST}{request.pk}/change/", AUDIT, f"{AUDIT}{record.pk}/change/"):
        assert_marked(page(client, path))
    answer = client.post(
        f"{LIST}{request.pk}/decide/", {"reject": "", "digest": request.context_digest}, follow=True
    )
    messages = answer.content.decode().split('class="messagelist"')[1].split("</ul>")[0]
    assert_marked(messages)


@pytest.mark.parametrize("path", [LIST, AUDIT, "/admin/hitl/outboxentry/"])
def test_pages_bring_the_styles_of_marks_as_a_file(client: Client, path: str) -> None:
    shown = page(client, path)

    assert "/static/hitl/admin.css" in shown
    assert finders.find("hitl/admin.css")
    assert "style=" not in shown.split('id="content"')[1].split("<footer")[0]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_messages_keep_the_id_as_it_is(client: Client, language: str) -> None:
    request, over = opened(), opened()
    services.cancel(over.request_id, factories.actor())

    for target, data in ((request, "approve"), (request, "reject"), (over, "approve")):
        answer = client.post(
            f"{LIST}{target.pk}/decide/",
            {data: "", "digest": target.context_digest},
            follow=True,
            headers={"accept-language": language},
        )
        messages = answer.content.decode().split('class="messagelist"')[1].split("</ul>")[0]
        assert target.request_id in messages


def test_title_holds_no_untranslated_status(client: Client) -> None:
    shown = page(client, f"{LIST}{opened().pk}/change/", "ko")

    assert "(pending)" not in shown
    assert "대기 중" in shown


def test_message_of_several_lines_is_shown_as_what_it_is(client: Client) -> None:
    request = opened(message="Run:\n  rm *.a *.b")

    shown = page(client, f"{LIST}{request.pk}/change/")

    assert '<pre class="code"><code class="shown">Run:\n  rm *.a *.b</code></pre>' in shown


@pytest.mark.parametrize("path", [LIST, AUDIT, "/admin/hitl/outboxentry/", "{request}", "{record}"])
def test_every_time_is_an_element_that_the_script_puts_into_the_readers_zone(
    client: Client, path: str
) -> None:
    request = opened()
    services.reject(request.request_id, factories.actor(), reason="no")
    record = AuditRecord.objects.get(event="request:rejected")
    pages = {"{request}": f"{LIST}{request.pk}/change/", "{record}": f"{AUDIT}{record.pk}/change/"}

    shown = page(client, pages.get(path, path))

    assert "/static/hitl/desk/times.js" in shown
    content = shown.split('id="content"')[1].split("<footer")[0]
    assert '<time datetime="' in content
    # What an element does not hold would stay in the server's zone.
    rest = re.sub(r"<time.*?</time>|data-[a-z-]+=\".*?\"", "", content, flags=re.DOTALL)
    assert re.findall(r"\d\d:\d\d|[ap]\.m\.", rest) == []
