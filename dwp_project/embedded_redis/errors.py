"""The errors of the embedded Redis."""


class RedisNotStarted(Exception):
    """The embedded Redis does not answer; the message says why and what to do."""
