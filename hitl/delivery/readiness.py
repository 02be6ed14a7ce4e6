"""Says for `/ready` whether Redis would take a signal (docs/reference/wire.md, 2.1 and 5)."""

from __future__ import annotations

from contextlib import suppress

from django.db import Error
from redis import exceptions

from dwp_project.gateway import readiness
from dwp_project.gateway.readiness import Fault
from dwp_project.wakeup import redis_client
from hitl.delivery import keys as redis_keys

_SILENCE = Fault("redis", "Redis does not answer in time: signals wait.")
_CLUSTER = Fault("redis cluster", "Redis is a cluster, which the keys of signals do not work on.")
_REPLICA = Fault("redis read-only", "Redis is a replica and takes no signals.")
# By what Redis answers. An error of another kind is a connection that cannot be used.
_FAULTS: dict[type[Exception], Fault] = {
    exceptions.OutOfMemoryError: Fault("redis full", "Redis is out of memory: signals wait."),
    exceptions.ReadOnlyError: _REPLICA,
    exceptions.MasterDownError: _REPLICA,
    exceptions.NoPermissionError: Fault("redis rights", "The Redis user may not send signals."),
    exceptions.AuthenticationError: Fault("redis rights", "Redis refuses user or password."),
    exceptions.MovedError: _CLUSTER,
    exceptions.ClusterCrossSlotError: _CLUSTER,
    exceptions.ClusterDownError: _CLUSTER,
    # MISCONF: its disk cannot be written. NOREPLICAS: too few replicas are left.
    exceptions.ResponseError: Fault("redis read-only", "Redis refuses to write: signals wait."),
    exceptions.BusyLoadingError: Fault("redis", "Redis loads its data: signals wait."),
    Exception: Fault("redis", "Redis cannot be reached: signals wait."),
}


def connect() -> None:
    """Have `/ready` ask Redis too."""
    readiness.add_late(look, _SILENCE)


def look() -> Fault | None:
    """Return what keeps Redis from taking a signal.

    The commands of a signal are queued in a transaction and discarded: Redis checks rights, memory
    and disk when it queues, and nothing is written or published.
    """
    keys = [
        redis_keys.request_key(""),
        redis_keys.session_key(""),
        redis_keys.signal_key(""),
    ]
    with suppress(Error):  # a database that has been away since the start is another check's
        keys += [
            redis_keys.newest_key(""),
            redis_keys.unadopted_key(""),
            redis_keys.scanned_key(),
        ]
    commands = [
        ("MULTI",),
        *(("SET", key, "", "EX", "1") for key in keys),
        ("PUBLISH", redis_keys.channel_of(""), ""),
        ("EVAL", "return redis.call('TIME')", len(keys), *keys),
        ("DISCARD",),
    ]
    try:
        pool = redis_client().connection_pool
        connection = pool.get_connection()
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                connection.read_response()
        except BaseException:
            # Further answers are on their way, and the transaction may be open.
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
    except (exceptions.RedisError, OSError) as exc:
        return next(_FAULTS[kind] for kind in type(exc).__mro__ if kind in _FAULTS)
    return None
