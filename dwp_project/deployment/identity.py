"""Says which deployment this process belongs to (docs/reference/wire.md, 5.1)."""

from __future__ import annotations

import secrets

from dwp_project import clocks
from dwp_project.deployment.models import Deployment

# The key of the one row.
_ONLY = 1

_current: str | None = None


def current() -> str:
    """Return this deployment's id, 16 hexadecimal digits; read once for each process.

    Raises `django.db.Error` while it has not been read and the database is away.
    """
    global _current  # noqa: PLW0603 - one deployment for each process
    if _current is None:
        _current = stored()
    return _current


def stored() -> str:
    """Return the id that the database has now, which `renew` may have changed; raises
    `django.db.Error`."""
    rows = Deployment.objects.filter(pk=_ONLY).values_list("identifier", flat=True)
    identifier = rows.first()
    if identifier is None:
        # A database that was emptied. Of several processes one gives the id.
        new = Deployment(pk=_ONLY, identifier=_new_id(), created_at=clocks.now())
        Deployment.objects.bulk_create([new], ignore_conflicts=True)
        identifier = rows.get()
    return identifier


def renew() -> str:
    """Give this database a new id, because another one has the old; return it.

    Processes that run keep the old id until they are started again.
    """
    global _current  # noqa: PLW0603 - see `current`
    _current = _new_id()
    Deployment.objects.update_or_create(
        pk=_ONLY, defaults={"identifier": _current, "created_at": clocks.now()}
    )
    return _current


def _new_id() -> str:
    return secrets.token_hex(8)
