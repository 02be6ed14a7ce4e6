"""The errors that mean that the database is away: one list, for all who wait for it or say so.

For Redis see `dwp_project.wakeup.redis_may_be_away`."""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError

# InternalError: PostgreSQL ended the connection because its transaction was idle, or the
# connection is to a standby that has just been promoted.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
