"""What live pages show of the board: the keys that match a filter, what came, changed and left, and
what is the operator's to decide."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import translation

from dwp_project import clocks
from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.desk import board, live_pages
from hitl.desk.board import BoardEntry
from hitl.desk.filters import Filter
from hitl.desk.live_pages import LiveDesk, LiveInbox
from tests import factories
from tests.people import TENANT, Person
from tests.ruling import ADMIN, APPROVERS, ESCALATING, a_policy

pytestmark = pytest.mark.django_db

KIM = Operator("approver1", False, {TENANT: "approver"})


class Board:
    """What is pending, read as the process's board does."""

    def __init__(self) -> None:
        self.entries: dict[int, BoardEntry] = {}
        self.read(None)

    def read(self, known: dict[int, BoardEntry] | None, **later: float) -> dict[int, BoardEntry]:
        now = clocks.now() + timedelta(**later)
        changed = board.read(TENANT, known, now).entries
        for pk, entry in changed.items():
            self.entries.pop(pk, None)
            if entry.is_pending:
                self.entries[pk] = entry.without_context()
        return changed

    def changed(self, **later: float) -> dict[int, BoardEntry]:
        return self.read(self.entries, **later)


def inbox(query: str = "", operator: Operator = KIM) -> LiveInbox:
    return LiveInbox(operator, Filter.from_query(QueryDict(query)))


def update(page: Any, changed: dict[int, BoardEntry]) -> dict[str, Any]:
    message = page.update(changed)
    assert message is not None
    return dict(message)


def test_first_message_has_the_keys_of_all_that_match() -> None:
    first, second = factories.opened(), factories.opened(context={"folder": "needle"})
    entries = Board().entries

    whole = inbox().begin(entries)
    searched = inbox("q=needle").begin(entries)

    assert (whole["keys"], whole["count"], whole["mine"]) == ([first.pk, second.pk], 2, 2)
    assert (searched["keys"], searched["count"], searched["mine"]) == ([second.pk], 1, 2)
    assert inbox("asker=nobody").begin(entries)["keys"] == []


def test_what_comes_is_announced_and_what_leaves_says_why() -> None:
    leaving = [factories.opened() for _ in range(3)]
    desk, page = Board(), inbox()
    page.begin(desk.entries)
    approved, rejected, withdrawn = leaving
    services.approve(approved.request_id, factories.actor())
    services.reject(rejected.request_id, factories.actor(APPROVERS[2]), reason="no")
    services.cancel(withdrawn.request_id, factories.actor())
    new = factories.opened(timeout_seconds=5)

    message = update(page, desk.changed())

    assert message["arrived"] == [{"pk": new.pk, "text": "Delete 3 mails?"}]
    assert message["gone"] == {
        approved.pk: "approved by approver1",
        rejected.pk: "rejected by approver3",
        withdrawn.pk: "withdrawn",
    }
    assert (message["count"], message["mine"]) == (1, 1)
    assert "keys" not in message
    with translation.override("ko"):
        assert update(page, desk.changed(seconds=6))["gone"] == {new.pk: "만료됨"}


def test_row_that_a_page_may_list_before_its_stream_knows_of_it_looks_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_policy(min_approvals=2)
    desk, page = Board(), inbox()
    page.begin(desk.entries)
    monkeypatch.setattr(live_pages, "_MAX_LOOKS", 2)
    first, second, _ = [factories.opened() for _ in range(3)]
    services.approve(first.request_id, factories.actor(APPROVERS[0]))

    message = update(page, desk.changed())

    assert len(message["arrived"]) == 3
    assert list(message["rows"]) == [first.pk, second.pk]
    assert "you approved" in message["rows"][first.pk]


def test_search_finds_what_comes_later_by_its_context() -> None:
    desk, page = Board(), inbox("q=needle")
    page.begin(desk.entries)
    factories.opened()
    match = factories.opened(context={"deep": [{"folder": "the needle"}]})

    message = update(page, desk.changed())

    assert [row["pk"] for row in message["arrived"]] == [match.pk]
    assert (message["count"], message["mine"]) == (1, 2)


def test_vote_changes_the_row_and_what_is_mine() -> None:
    a_policy(min_approvals=2)
    request = factories.opened()
    desk, page, mine = Board(), inbox(), inbox("mine=1")
    other = inbox(operator=Operator("approver2", False, {TENANT: "approver"}))
    for each in (page, mine, other):
        assert each.begin(desk.entries)["mine"] == 1
    services.approve(request.request_id, factories.actor(APPROVERS[0]))
    changed = desk.changed()

    voted, others = update(page, changed), update(other, changed)

    assert (voted["count"], voted["mine"]) == (1, 0)
    assert "you approved" in voted["rows"][request.pk]
    assert (others["count"], others["mine"]) == (1, 1)
    assert "1 of 2 approvals" in others["rows"][request.pk]
    assert "you approved" not in others["rows"][request.pk]
    assert update(mine, changed)["gone"] == {request.pk: ""}


def test_escalation_changes_whose_it_is() -> None:
    a_policy(timeout_seconds=60, **ESCALATING)
    request = factories.opened()
    desk, page = Board(), inbox()
    head = LiveDesk(Operator(ADMIN.user_id, False, {TENANT: "admin"}))
    page.begin(desk.entries)
    head.begin(desk.entries)
    services.expire_overdue(now=request.expires_at + timedelta(seconds=1))

    changed = desk.changed()

    message = update(page, changed)
    assert (message["mine"], list(message["rows"]), message["gone"]) == (0, [request.pk], {})
    assert head.update(changed) is None


def test_what_is_about_to_expire_comes_by_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    soon, late = factories.opened(timeout_seconds=60), factories.opened(timeout_seconds=400)
    desk, page = Board(), inbox("soon=1")
    assert page.begin(desk.entries)["keys"] == [soon.pk]
    assert page.update({}, desk.entries.get) is None

    later = clocks.estimate() + timedelta(seconds=300)
    monkeypatch.setattr(clocks, "estimate", lambda: later)
    message = page.update({}, desk.entries.get)

    assert message is not None
    assert message["arrived"] == [{"pk": late.pk, "text": "Delete 3 mails?"}]


def test_nothing_is_sent_of_what_a_page_does_not_list() -> None:
    viewer = Operator("viewer", False, {TENANT: "viewer"})
    desk, page, alerts = Board(), inbox("asker=somebody", viewer), LiveDesk(viewer)
    page.begin(desk.entries)
    assert alerts.begin(desk.entries)["mine"] == 0
    factories.opened()
    changed = desk.changed()

    assert page.update(changed) is None
    assert alerts.update(changed) is None


def test_alerts_are_of_what_is_mine_with_text_and_address() -> None:
    desk, alerts = Board(), LiveDesk(KIM)
    assert alerts.begin(desk.entries)["arrived"] == []
    own = Person(KIM.username, TENANT, "user")
    a_policy(forbid_requester=True)
    request, of_mine = factories.opened(), factories.opened(by=own)

    message = update(alerts, desk.changed())

    first = message["arrived"][0]
    assert (message["mine"], message["last"]) == (2, of_mine.pk)
    assert first["pk"] == request.pk
    assert first["text"] == "Delete 3 mails?"
    assert first["url"] == f"/admin/hitl/approvalrequest/{request.pk}/change/"


def test_browser_that_connects_again_hears_of_what_it_missed_and_of_nothing_old() -> None:
    known = factories.opened()
    old = factories.opened(timeout_seconds=3000, now=clocks.now() - timedelta(minutes=20))
    new = factories.opened()
    entries = Board().entries

    again = LiveDesk(KIM).begin(entries, after=known.pk)

    assert [row["pk"] for row in again["arrived"]] == [new.pk]
    assert (again["mine"], again["last"]) == (3, new.pk)
    assert old.pk in entries
    assert LiveDesk(KIM).begin(entries)["arrived"] == []
    assert LiveDesk(KIM).begin({}, after=7)["last"] == 7
