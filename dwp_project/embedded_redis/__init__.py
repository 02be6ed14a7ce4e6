"""The Redis of a machine without one: a real redis-server, on a Unix socket only."""

from dwp_project.embedded_redis.binary import find_binary
from dwp_project.embedded_redis.errors import RedisNotStarted
from dwp_project.embedded_redis.process import RedisProcess
from dwp_project.embedded_redis.supervision import EmbeddedRedis

__all__ = ["EmbeddedRedis", "RedisNotStarted", "RedisProcess", "find_binary"]
