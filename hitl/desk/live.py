"""Tells the operators' open pages that a request has changed, over the channel layer.

`tell` receives the Django signal `after_commit.request_changed` and publishes a message. `listen`
sets an event for each message. A message says only that there is something to read, and the layer
may drop it: a page reads the database, and reads it again after a while without any message.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any

from channels.layers import get_channel_layer
from structlog.stdlib import get_logger

from dwp_project import wakeup
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from hitl.delivery.after_commit import request_changed
from hitl.models import ApprovalRequest

logger = get_logger(__name__)

MESSAGE = {"type": "desk.changed"}
# Between two tries to join a group. Chosen: a page reads again within ten seconds anyway.
_JOIN_AGAIN_SECONDS = 5.0
# After the layer failed to receive. Chosen: often enough for a page, and no burden on Redis.
_RECEIVE_AGAIN_SECONDS = 1.0
# Chosen: a page that leaves waits for two seconds at most.
_CANCELLATIONS, _CANCEL_SECONDS = 4, 0.5


def group_of(tenant_id: str) -> str:
    """Return the channel layer's group for one tenant.

    A hash, because a tenant is any text, and a group's name is short and takes few characters.
    """
    return f"desk.{sha256(tenant_id.encode()).hexdigest()[:40]}"


# --- telling ------------------------------------------------------------------------------


def connect() -> None:
    """Call `tell` for every change of a request from now on."""
    request_changed.connect(_on_request_changed, dispatch_uid="desk.live")


def _on_request_changed(
    *, request: ApprovalRequest, carried: list[wakeup.Message] | None, **_: object
) -> None:
    if carried is None:
        tell(request)
    else:
        carried.append(_message(request))


def tell(request: ApprovalRequest) -> None:
    """Have the pages of the request's tenant read again; after the commit, from any thread.

    With Redis away nothing is sent, and the pages read again after a while.

    Published by the process's own client, in the layer's form. `group_send` is a coroutine: in
    the threads that decide it would need an event loop, and a connection, for each message.
    """
    if wakeup.is_paused():
        return
    message = _message(request)
    with wakeup.redis_may_be_away("desk_not_told"):
        wakeup.redis_client().publish(*message)


def _message(request: ApprovalRequest) -> wakeup.Message:
    layer: Any = get_channel_layer()
    channel = layer.channel_of_group(group_of(request.tenant_id))
    return wakeup.Message(channel, layer.serialize(MESSAGE))


# --- listening ----------------------------------------------------------------------------


@asynccontextmanager
async def listen(tenants: list[str]) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set whenever the channel layer reports a change in `tenants`."""
    changed = asyncio.Event()
    task = asyncio.create_task(_listen(tenants, changed), name="desk-listen")
    try:
        yield changed
    finally:
        await _cancel(task)


async def _listen(tenants: list[str], changed: asyncio.Event) -> None:
    """Join the tenants' groups and receive until cancelled; with Redis away, try again."""
    layer = await _layer()
    channel = f"desk.{uuid.uuid4().hex}"
    groups = [group_of(tenant) for tenant in tenants]
    receiving = asyncio.create_task(_receive(layer, channel, changed), name="desk-receive")
    try:
        # The layer knows a channel from the first step of `receive` on.
        await asyncio.sleep(0)
        for group in groups:
            while not await _join(layer, group, channel):  # noqa: ASYNC110 - Redis sets no event
                await asyncio.sleep(_JOIN_AGAIN_SECONDS)
        # Messages that were sent before the subscription began are lost.
        changed.set()
        await receiving
    finally:
        await _cancel(receiving)
        for group in groups:
            with suppress(Exception):
                await layer.group_discard(group, channel)


async def _layer() -> Any:
    while True:
        try:
            # In a thread: to make it, the deployment's id is read from the database.
            return await run_sync(get_channel_layer)
        except DATABASE_AWAY as exc:
            logger.info("desk_does_not_hear", error=str(exc).strip())
            await asyncio.sleep(_JOIN_AGAIN_SECONDS)


async def _join(layer: Any, group: str, channel: str) -> bool:
    try:
        await layer.group_add(group, channel)
    except Exception as exc:
        logger.info("desk_does_not_hear", error=str(exc))
        return False
    return True


async def _receive(layer: Any, channel: str, changed: asyncio.Event) -> None:
    """Empty the channel as it fills, one `receive` at a time and never under a timeout:
    cancelling it unsubscribes, and loses what came meanwhile."""
    while True:
        try:
            await layer.receive(channel)
            changed.set()
        except Exception as exc:
            logger.info("desk_does_not_hear", error=str(exc))
            await asyncio.sleep(_RECEIVE_AGAIN_SECONDS)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: the layer swallows a cancellation while it subscribes. A
    page that has left does not wait for a Redis that does not answer."""
    for _ in range(_CANCELLATIONS):
        task.cancel()
        if (await asyncio.wait([task], timeout=_CANCEL_SECONDS))[0]:
            return
    logger.warning("desk_still_listens", task=task.get_name())
