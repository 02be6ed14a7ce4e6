"""How each database is used: what a commit survives, and when a connection is given up."""

from __future__ import annotations

from typing import Any


def with_options(
    database: dict[str, Any], *, pool_size: int, is_behind_pgbouncer: bool
) -> dict[str, Any]:
    """Return Django's description of a database with the options of this project.

    Those that `DATABASE_URL` has stand, but for SQLite's transactions and PostgreSQL's pool.
    """
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"].endswith("sqlite3"):
        # IMMEDIATE: a transaction that will write takes the write lock when it begins, so it
        # waits for its turn instead of failing half-way. FULL: a committed decision survives
        # a power cut.
        options.update(
            transaction_mode="IMMEDIATE",
            timeout=20,
            init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        )
    elif database["ENGINE"].endswith("postgresql"):
        options["pool"] = {
            "min_size": 1,
            "max_size": pool_size,
            "timeout": 5,
            # The pool makes one connection at a time, and while that one waits to be tried again,
            # twice as long each time, no other is tried. Given up early, the next caller tries.
            "reconnect_timeout": 2,
        }
        options.setdefault("connect_timeout", 5)
        # A dead connection is given up after 10 s.
        options.setdefault("tcp_user_timeout", 10_000)
        options.setdefault("keepalives_idle", 5)
        options.setdefault("keepalives_interval", 2)
        options.setdefault("keepalives_count", 3)
        # After a restart of the database the pool would hand out dead connections, one by one.
        database["ENGINE"] = "dwp_project.postgresql"
        if is_behind_pgbouncer:
            # One transaction and the next have different connections to the server: no cursor
            # outlives its transaction, and PgBouncer refuses `options`; deploy.md has the role's
            # own setting for it. Statements are not prepared in any case.
            database["DISABLE_SERVER_SIDE_CURSORS"] = True
            return database
        # A process that freezes in a transaction must not hold its locks, on which others wait, for
        # as long as it is frozen. If a relay freezes, another can then send its signals within the
        # promised 6 s. A transaction that calls Redis is idle for 1 s at most.
        options.setdefault("options", "-c idle_in_transaction_session_timeout=3s")
    return database
