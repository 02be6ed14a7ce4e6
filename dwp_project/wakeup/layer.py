"""The channel layer of Channels under names of this deployment's own."""

from __future__ import annotations

from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer

from dwp_project.deployment import identity


class ChannelLayer(RedisPubSubChannelLayer):
    """A channel layer whose messages reach the processes of this deployment alone.

    Made by the first `get_channel_layer()`, which therefore may read the database and raise
    `django.db.Error`: call it in a thread.
    """

    def __init__(self, **config: Any) -> None:
        self._prefix = f"dwp:layer:{identity.current()}"
        super().__init__(prefix=self._prefix, **config)

    def channel_of_group(self, group: str) -> str:
        """Return the Redis channel that carries a group's messages."""
        return f"{self._prefix}__group__{group}"
