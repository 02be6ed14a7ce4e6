"""Telling the operators' open pages that something has changed, over the channel layer.

The message says only that there is something to read: the layer may drop it, so whoever hears
it reads the database, and reads it again in time where nothing is heard.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from structlog.stdlib import get_logger

from dwp_project import wakeup
from hitl.models import ApprovalRequest

logger = get_logger(__name__)

MESSAGE = {"type": "desk.changed"}


def group_of(tenant_id: str) -> str:
    """Return the channel layer's group for one tenant.

    A hash: tenants are any text, groups are short and of few letters.
    """
    return f"desk.{sha256(tenant_id.encode()).hexdigest()[:40]}"


def tell(request: ApprovalRequest) -> None:
    """Tell the pages of the request's tenant to read again; after the commit, from any thread.

    Never raises, and while Redis has just failed does not ask it: pages read again in time.

    Published by the process's own client, in the layer's form. `group_send` is a coroutine: in
    the threads that decide it would need an event loop, and a connection, for each message.
    """
    if wakeup.is_paused():
        return
    layers: Any = settings.CHANNEL_LAYERS
    channel = f"{layers['default']['CONFIG']['prefix']}__group__{group_of(request.tenant_id)}"
    try:
        layer = get_channel_layer()
        assert layer is not None
        with wakeup.redis_may_be_away("desk_not_told"):
            wakeup.redis_client().publish(channel, layer.serialize(MESSAGE))
    except Exception:
        logger.exception("desk_not_told")
