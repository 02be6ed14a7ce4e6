"""What it looks like when the database is away: one list, for all who wait for it or say so."""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError

# InternalError: a connection that PostgreSQL ended because its transaction stood still, or a
# standby that has just become what is connected to.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
