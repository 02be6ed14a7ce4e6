"""A deployed agent listening on its session's channel."""

from __future__ import annotations

import redis


class Ear:
    """A deployed agent's subscription to its session's channel, confirmed."""

    def __init__(self, client: redis.Redis, session_id: str) -> None:
        self._pubsub = client.pubsub()
        self._pubsub.subscribe(f"hitl:channel:{session_id}")
        assert self._pubsub.get_message(timeout=5)

    def hear(self, seconds: float = 3.0) -> str | None:
        message = self._pubsub.get_message(timeout=seconds)
        return None if message is None else str(message["data"])

    def hears_nothing(self) -> bool:
        # What is published is published before the call that does it returns.
        return self.hear(0.1) is None

    def arrived(self) -> list[str]:
        """Return what came since the last call: for certain all that was published before it."""
        self._pubsub.ping()
        messages: list[str] = []
        while (message := self._pubsub.get_message(timeout=5)) is not None:
            if message["type"] != "message":
                return messages  # the answer to the ping
            messages.append(str(message["data"]))
        raise AssertionError("Redis does not answer")

    def close(self) -> None:
        self._pubsub.close()
