"""A session's events as operators read them: page by page, the newest of a long session."""

from __future__ import annotations

import pytest

from streaming import log, timeline
from streaming.agents.base import AgentEvent
from streaming.models import SessionStatus
from tests import factories
from tests.integration.events import END, START, begin, said

pytestmark = pytest.mark.django_db

STEP = {"stepId": "step-1", "status": "completed", "progress": 1.0}


def test_timeline_of_a_running_session_may_grow() -> None:
    session = begin()
    log.append(session.pk, [START, said("a")], after=0, lease=1)

    page = timeline.read(session.pk, 0)

    assert [item.kind for item in page.items] == ["start", "content"]
    assert (page.sequence, page.is_partial, page.is_last) == (2, False, False)
    assert timeline.read(session.pk, 2).items == []


def test_timeline_of_an_ended_session_is_read_to_its_end() -> None:
    session = begin()
    log.append(session.pk, [START, END], after=0, lease=1, ending=SessionStatus.COMPLETED)

    assert timeline.read(session.pk, 1).is_last
    assert timeline.read(session.pk, 2) == timeline.TimelinePage([], 2, False, True)


def test_timeline_of_a_long_session_is_read_in_pages_from_its_newest_500() -> None:
    session = begin()
    log.append(session.pk, [said(str(number)) for number in range(620)], after=0, lease=1)

    sequences: list[int] = []
    after, is_partial = 0, True
    while is_partial:
        page = timeline.read(session.pk, after)
        assert len(page.items) <= 100
        sequences += [item.sequence for item in page.items]
        after, is_partial = page.sequence, page.is_partial

    assert sequences == list(range(121, 621))


def test_timeline_leaves_out_a_step_that_is_said_twice_and_goes_on_behind_it() -> None:
    session = begin()
    twice = [
        AgentEvent("plan_step_update", STEP),
        AgentEvent("timeline_step_update", {**STEP, "title": "Delete"}),
    ]
    log.append(session.pk, [*twice, AgentEvent("plan_step_update", STEP)], after=0, lease=1)

    page = timeline.read(session.pk, 0)

    assert [item.kind for item in page.items] == ["timeline_step_update"]
    assert page.sequence == 3


def test_timeline_marks_what_an_agent_wrote() -> None:
    session = begin()
    log.append(session.pk, [said("<script>x</script>")], after=0, lease=1)

    [item] = timeline.read(session.pk, 0).items

    assert "<script>" not in item.html + item.piece
    assert item.piece in item.html


def test_session_is_found_in_its_own_tenant_only() -> None:
    session = begin()

    assert timeline.find(session.session_id, [session.tenant_id]) == session
    assert timeline.find(session.session_id, ["tenant2"]) is None
    assert timeline.find(session.session_id, []) is None


def test_session_that_only_requests_name_is_elsewhere_for_their_tenant() -> None:
    request = factories.opened()

    assert timeline.is_elsewhere(request.session_id, [request.tenant_id])
    assert not timeline.is_elsewhere(request.session_id, ["tenant2"])
    assert not timeline.is_elsewhere("s-none", [request.tenant_id])
