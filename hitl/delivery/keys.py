"""The only code that knows the names of Redis keys (docs/reference/wire.md, 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dwp_project.wakeup import redis_client

REQUEST_TTL = 1800
SESSION_TTL = 3600
SIGNAL_TTL = 300

# Says which run of Redis it was that was given every signal so far.
LAST_RUN = "dwp:hitl:memory"


def request_key(request_id: str) -> str:
    """Return the key of a request: what is asked, as JSON."""
    return f"hitl:request:{request_id}"


def session_key(session_id: str) -> str:
    """Return the key that names the request which a session waits for."""
    return f"hitl:session:{session_id}"


def channel_of(session_id: str) -> str:
    """Return the channel on which a session's agent listens."""
    return f"hitl:channel:{session_id}"


def signal_key(session_id: str) -> str:
    """Return the key of a session's newest signal."""
    return f"hitl:signal:{session_id}"


def newest_key(session_id: str) -> str:
    """Return the key of our own that tells when the session's newest request was opened."""
    return f"dwp:hitl:newest:{session_id}"


def text_of(value: bytes | str) -> str:
    """Return what Redis answered as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def call(script: str, keys: list[str], arguments: list[str]) -> Any:
    """Run a script; raises `redis.RedisError`."""
    # register_script sends the digest and falls back to the text where Redis lacks it.
    return redis_client().register_script(script)(keys=keys, args=arguments)


def call_all(script: str, calls: Iterable[tuple[Sequence[str], Sequence[str]]]) -> list[Any]:
    """Run a script once for each pair of keys and arguments, in one round trip; return what each
    answered, or the `redis.ResponseError` it met. Raises `redis.RedisError` if Redis cannot be
    reached."""
    pipeline = redis_client().pipeline(transaction=False)
    for keys, arguments in calls:
        # The text itself: to ask first whether Redis knows its digest takes another round trip.
        pipeline.eval(script, len(keys), *keys, *arguments)
    return pipeline.execute(raise_on_error=False)
