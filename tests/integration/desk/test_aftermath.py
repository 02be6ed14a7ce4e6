"""What became of a decision, as its page says it: by what really happened to its signal."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import redis
from django.template.loader import render_to_string
from django.utils import timezone, translation
from pytest_django import Settings

from dwp_project.gateway.operators import Operator
from hitl import services
from hitl.delivery import first_heard
from hitl.desk import aftermath, one, snapshot
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api, browser
from tests.integration.delivery.sending import SESSION, turn
from tests.integration.ears import Ear
from tests.integration.outages import no_redis
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db(transaction=True)

KIM = Operator("kim", False, {"tenant1": "approver"})


def approved(session_id: str = SESSION) -> ApprovalRequest:
    request = factories.opened(session_id)
    return services.approve(request.request_id, factories.actor())


def shown(request: ApprovalRequest) -> tuple[str, str]:
    """Return the kind and the text of the block on the request's page."""
    request = ApprovalRequest.objects.get(pk=request.pk)
    state = one.state_context(request, KIM)
    page = " ".join(render_to_string("hitl/state.html", state).split())
    return state["aftermath"].kind.value, page


def clock_time(moment: object) -> str:
    assert isinstance(moment, datetime)
    return timezone.localtime(moment).strftime("%H:%M:%S")


def test_pending_request_has_no_aftermath() -> None:
    request = factories.opened()

    assert one.state_context(request, KIM)["aftermath"] is None
    assert "aftermath" not in render_to_string("hitl/state.html", one.state_context(request, KIM))


def test_signal_that_redis_has_not_taken_says_since_when_and_until_when(
    settings: Settings, redis_client: redis.Redis
) -> None:
    with no_redis(settings):
        request = approved()
        turn()
        kind, page = shown(request)

    assert request.decided_at is not None
    assert kind == "unsent"
    assert "Redis is away, or refuses it, since <time" in page
    assert clock_time(request.decided_at) in page
    assert clock_time(request.decided_at + timedelta(seconds=300)) in page
    turn()
    assert shown(request)[0] == "open"


def test_signal_that_nobody_has_received_says_how_long_it_is_repeated(
    redis_client: redis.Redis,
) -> None:
    request = approved()

    kind, page = shown(request)

    entry = OutboxEntry.objects.get()
    assert kind == "open"
    assert "nobody has received it yet" in page
    assert "first sent at <time datetime" in page
    assert f">{clock_time(entry.published_at)}</time>, and is sent again" in page
    assert clock_time(entry.created_at + timedelta(seconds=300)) in page
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))
    turn()
    kind, page = shown(request)
    assert kind == "unheard"
    assert "It was sent again and again until" in page


def test_decision_of_the_version_before_has_no_time_of_its_first_signal(
    redis_client: redis.Redis,
) -> None:
    request = approved()
    # As that version leaves an entry it has published.
    OutboxEntry.objects.update(record=None, published_at=None, attempts=3)
    turn()
    entry = OutboxEntry.objects.get()
    # By which delivery goes.
    assert entry.published_at is not None

    kind, page = shown(request)
    client = browser(factories.user("desk", role="approver", is_staff=True))
    listed = client.get("/admin/hitl/outboxentry/").content.decode()

    assert kind == "open"
    assert "first sent at" not in page
    assert "It is sent again and again until" in page
    assert '<td class="field-first_sent">–</td>' in listed


def test_signal_that_an_agent_has_received_says_when_first(redis_client: redis.Redis) -> None:
    ear = Ear(redis_client, SESSION)

    request = approved()

    kind, page = shown(request)
    heard_at = clock_time(OutboxEntry.objects.get().first_heard_at)
    assert kind == "heard"
    assert "its agent first had it at <time" in page
    assert f">{heard_at}</time>" in page
    ear.close()


def test_entry_of_the_version_before_says_when_it_was_received(redis_client: redis.Redis) -> None:
    ear = Ear(redis_client, SESSION)
    request = approved()
    ear.close()
    OutboxEntry.objects.update(first_heard_at=None)

    assert clock_time(OutboxEntry.objects.get().answered_at) in shown(request)[1]
    OutboxEntry.objects.update(answered_at=None, attempted_at=None)
    assert "Its agent has it." in shown(request)[1]


def test_decision_that_its_agent_has_read_over_rest_says_when(api: Api) -> None:
    request = approved()
    assert "Nobody who asked has read it over REST so far" in shown(request)[1]

    api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER)
    first_heard.write_waiting()

    kind, page = shown(request)
    assert kind == "read"
    assert "Read over REST at <time" in page
    assert clock_time(OutboxEntry.objects.get().first_heard_at) in page


def test_superseded_decision_leads_to_the_newer_question_and_its_message_says_so(
    redis_client: redis.Redis,
) -> None:
    older, newer = factories.opened(SESSION), factories.opened(SESSION)
    client = browser(factories.user("desk", role="approver", is_staff=True))
    path = f"/admin/hitl/approvalrequest/{older.pk}"

    form = {"approve": "1", "digest": older.context_digest}
    answer = client.post(f"{path}/decide/", form, follow=True)

    [message] = answer.context["messages"]
    assert "is now approved. The agent is not told: its session has asked a newer" in str(message)
    assert message.level_tag == "warning"
    kind, page = shown(older)
    assert kind == "superseded"
    assert "has read it over REST so far. They still can" in page
    assert f'href="/admin/hitl/approvalrequest/{newer.pk}/change/"' in page


def test_session_that_waits_for_what_nobody_here_knows_leads_nowhere(
    redis_client: redis.Redis,
) -> None:
    request = approved()
    OutboxEntry.objects.update(outcome="superseded")

    assert "/change/" not in shown(request)[1]


def test_refused_signal_says_so_even_if_the_row_was_read(redis_client: redis.Redis) -> None:
    request = approved()
    OutboxEntry.objects.update(outcome="refused", heard_at=timezone.now())

    kind, page = shown(request)

    assert kind == "refused"
    assert "Read over" not in page


def test_decision_that_nobody_made_has_a_warning_alone(redis_client: redis.Redis) -> None:
    request = factories.opened()
    ApprovalRequest.objects.filter(pk=request.pk).update(
        status="approved", decided_at=timezone.now(), decided_by="mallory"
    )
    request.refresh_from_db()

    state = one.state_context(request, KIM)

    assert state["warning"]
    assert state["aftermath"] is None


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_end_without_a_decision_says_what_its_agent_sees(
    redis_client: redis.Redis, end: str
) -> None:
    over_rest = factories.opened()
    on_redis = ApprovalRequest.objects.get(
        request_id=redis_agents.asked(redis_client, "session-on-redis")
    )
    for request, words in ((over_rest, "reads over REST"), (on_redis, "its own time is over")):
        if end == "cancelled":
            services.cancel(request.request_id, factories.actor())
        else:
            services.settle(request, now=request.expires_at)
        kind, page = shown(request)
        assert kind == "nothing"
        assert words in page


def test_live_page_is_told_when_the_agent_has_it(api: Api) -> None:
    request = approved()
    before = snapshot.of_request(KIM, request.pk)
    assert before is not None
    api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER)
    first_heard.write_waiting()

    after = snapshot.of_request(KIM, request.pk)

    assert after is not None
    change = after.since(before)
    assert change is not None
    assert "Read over REST" in change["pieces"]["state"]
    again = snapshot.of_request(KIM, request.pk)
    assert again is not None
    assert again.since(after) is None


def test_time_of_another_day_has_its_day(redis_client: redis.Redis) -> None:
    moment = timezone.now() - timedelta(days=3)
    sentence = aftermath.Sentence("At <b> %(time)s.", {"time": moment})

    day = timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S")
    assert str(sentence) == f"At <b> {day}."
    assert sentence.html == f'At &lt;b&gt; <time datetime="{moment.isoformat()}">{day}</time>.'


def test_history_of_a_request_says_the_same(redis_client: redis.Redis) -> None:
    request = approved()
    client = browser(factories.user("desk", role="viewer", is_staff=True))

    page = client.get(f"/admin/hitl/auditrecord/request/?id={request.request_id}").content.decode()

    assert "nobody has received it yet" in page


def test_words_are_korean_for_who_reads_korean(redis_client: redis.Redis) -> None:
    request = approved()

    with translation.override("ko"):
        assert "아직 아무도 받지 않음" in shown(request)[1]
