"""Every change of a request is told to the operators' pages, once it is committed: harmless with
Redis away, and under names that any tenant fits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import redis
from channels.layers import channel_layers
from django.db import transaction

from dwp_project import wakeup
from dwp_project.deployment import identity
from dwp_project.offload import run_sync
from hitl import services
from hitl.desk import live
from hitl.models import ApprovalRequest
from tests import factories
from tests.integration import redis_agents
from tests.people import TENANT
from tests.ruling import ADMIN, APPROVERS, ESCALATING, a_policy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Status and votes of every request as it was told."""
    entries: list[tuple[str, int]] = []
    make = live._message

    def noting(request: ApprovalRequest) -> wakeup.Message:
        assert not transaction.get_connection().in_atomic_block
        entries.append((str(request.status), request.approvals))
        return make(request)

    monkeypatch.setattr(live, "_message", noting)
    return entries


def test_pages_are_told_of_opening_votes_escalation_and_end(
    redis_client: redis.Redis, changes: list[tuple[str, int]]
) -> None:
    a_policy(min_approvals=2, timeout_seconds=10, **ESCALATING)
    request = factories.opened()
    services.approve(request.request_id, factories.actor())
    services.approve(request.request_id, factories.actor())
    services.expire_overdue(now=request.expires_at)
    services.approve(
        request.request_id, factories.actor(ADMIN), now=request.expires_at + timedelta(seconds=1)
    )

    assert changes == [("pending", 0), ("pending", 1), ("pending", 1), ("approved", 2)]


def test_pages_are_told_of_every_other_end_and_of_adoption(
    redis_client: redis.Redis, changes: list[tuple[str, int]]
) -> None:
    rejected, cancelled, expired = (factories.opened() for _ in range(3))
    services.reject(rejected.request_id, factories.actor())
    services.cancel(cancelled.request_id, factories.actor())
    services.expire_overdue(now=expired.expires_at)
    services.find(redis_agents.asks(redis_client, "s-1"), TENANT)

    assert [status for status, _ in changes] == [
        *["pending"] * 3,
        "rejected",
        "cancelled",
        "expired",
        "pending",
    ]


def test_pages_are_not_told_of_a_change_that_was_rolled_back(
    redis_client: redis.Redis, changes: list[tuple[str, int]]
) -> None:
    request = factories.opened()

    with transaction.atomic():
        services.approve(request.request_id, factories.actor())
        transaction.set_rollback(True)

    assert changes == [("pending", 0)]


def test_decision_stands_if_telling_the_pages_fails(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: ApprovalRequest) -> None:
        raise RuntimeError("nobody there")

    monkeypatch.setattr(live, "tell", fail)
    request = factories.opened()

    decided = services.approve(request.request_id, factories.actor(APPROVERS[1]))

    assert decided.status == "approved"


async def test_page_hears_of_its_own_deployment_alone(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ApprovalRequest(tenant_id=TENANT)

    async def is_told() -> bool:
        try:
            await asyncio.wait_for(changed.wait(), 0.5)
        except TimeoutError:
            return False
        changed.clear()
        return True

    async with live.listen([TENANT]) as changed:
        while await is_told():  # of the beginning, and of the subscription
            pass
        with monkeypatch.context() as patch:
            patch.setattr(identity, "_current", "another")
            another: Any = channel_layers.make_backend("default")
        await another.group_send(live.group_of(TENANT), live.MESSAGE)
        assert not await is_told()

        await run_sync(live.tell, request)

        assert await is_told()
    await another.flush()


def test_telling_the_pages_with_redis_away_raises_nothing(redis_away: None) -> None:
    request = factories.opened()

    live.tell(request)

    # And the next decision does not wait for the next failure.
    assert wakeup.is_paused()
    live.tell(request)


def test_every_tenant_has_a_valid_group_name() -> None:
    names = {live.group_of(tenant) for tenant in ("a", "b", "테넌트 1", "x" * 255, "a b/c")}

    assert len(names) == 5
    assert all(name.isascii() and len(name) < 100 for name in names)
