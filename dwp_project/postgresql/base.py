"""PostgreSQL as Django has it, but for when a connection of the pool is tried before it is used.

Django asks the server each time, which is an exchange more for each request. Here the server is
asked only if the connection was idle for a while, or if something has come by it unasked, as the
end of the connection does.
"""

from __future__ import annotations

import select
import time
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool

# Chosen: a server that went away without a word, as with a machine that lost its power, is noticed
# by those who come a second later.
_IDLE_SECONDS = 1.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to PostgreSQL."""

    _taken_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection that works, from the pool if there is one."""
        while True:
            taken = super().get_new_connection(conn_params)
            if self.pool is None or self._works(taken):
                return taken
            # The pool makes a new one in place of each that is closed.
            taken.close()
            self.pool.putconn(taken)

    def _works(self, taken: Any) -> bool:
        now = time.monotonic()
        before = self._taken_at.get(taken)
        self._taken_at[taken] = now
        if before is None:
            return True  # The pool has just made it.
        if now - before < _IDLE_SECONDS and not _has_input(taken):
            return True
        try:
            ConnectionPool.check_connection(taken)
        except psycopg.OperationalError:
            return False
        return True


def _has_input(taken: Any) -> bool:
    poll = select.poll()
    poll.register(taken.fileno(), select.POLLIN)
    return bool(poll.poll(0))
