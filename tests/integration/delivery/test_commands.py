"""What Redis is asked to publish again reaches every kind of subscriber, and no newer question."""

from __future__ import annotations

import pytest
import redis

from hitl import services
from hitl.delivery.keys import Script
from hitl.models import OutboxEntry
from tests import factories
from tests.integration import redis_agents
from tests.integration.delivery.sending import SESSION, turn

pytestmark = pytest.mark.django_db(transaction=True)


def test_agent_that_subscribes_by_pattern_receives_a_repeated_signal(
    redis_client: redis.Redis, unsent: OutboxEntry
) -> None:
    assert turn().receivers == 0
    hub_of_agents = redis_client.pubsub()
    hub_of_agents.psubscribe("hitl:channel:*")
    assert hub_of_agents.get_message(timeout=5)

    entry = turn()

    message = hub_of_agents.get_message(timeout=3)
    assert message is not None
    assert message["data"] == unsent.signal
    assert (entry.outcome, entry.receivers) == ("delivered", 1)
    hub_of_agents.close()


def test_repeated_signal_never_reaches_a_newer_question(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asked(redis_client, SESSION)
    services.approve(request_id, factories.actor())
    assert turn().receivers == 0
    # Not adopted yet, and heard by pattern: neither the database nor a count tells of it.
    redis_agents.asks(redis_client, SESSION)
    hub_of_agents = redis_client.pubsub()
    hub_of_agents.psubscribe("hitl:channel:*")
    assert hub_of_agents.get_message(timeout=5)

    entry = turn()

    assert hub_of_agents.get_message(timeout=0.3) is None
    assert (entry.outcome, entry.receivers) == ("superseded", 0)
    hub_of_agents.close()


def test_script_takes_exactly_the_values_that_it_names(redis_client: redis.Redis) -> None:
    script = Script(
        "redis.call('SET', key, value) return redis.call('GET', other)",
        keys=("key", "other"),
        arguments=("value",),
    )
    redis_client.set("b", "older")

    assert script.run(other="b", value="newer", key="a") == b"older"
    assert redis_client.get("a") == "newer"
    for wrong in ({"key": "a", "value": "x"}, {"key": "a", "other": "b", "value": "x", "more": ""}):
        with pytest.raises(TypeError, match="value"):
            script.run(**wrong)
