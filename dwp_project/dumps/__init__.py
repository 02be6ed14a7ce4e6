"""What `manage.py dumpdata` writes and `loaddata` reads: rows, exactly as the database has them.

Django's own serializers cut times to milliseconds, which breaks the hashes and signatures that are
taken of them, and name content types and permissions by primary keys, which another database gives
in another order.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

if TYPE_CHECKING:
    from django.core.serializers.python import Serializer as Rows
else:
    Rows = object

# Rows that `migrate` makes in every database: they are named by what they are.
_MADE_BY_MIGRATE = frozenset({"contenttypes.ContentType", "auth.Permission"})


class ExactEncoder(DjangoJSONEncoder):
    """Django's encoder, with the microseconds of times."""

    def default(self, o: Any) -> Any:
        if isinstance(o, datetime.datetime | datetime.time):
            return o.isoformat()
        return super().default(o)


class ExactRows(Rows):
    """Mixed into a serializer of Django's: what its rows say can be read back unchanged."""

    json_kwargs: dict[str, Any]
    _current: dict[str, Any]

    def _init_options(self) -> None:
        super()._init_options()  # type: ignore[misc]
        # ASCII, because a file or a terminal may have any encoding, and because readers of lines
        # split at line ends that JSON does not escape otherwise.
        self.json_kwargs |= {"cls": ExactEncoder, "ensure_ascii": True}

    def get_dump_object(self, obj: Any) -> dict[str, Any]:
        row: dict[str, Any] = super().get_dump_object(obj)
        if obj._meta.label in _MADE_BY_MIGRATE:
            row.pop("pk", None)
        return row

    def handle_fk_field(self, obj: models.Model, field: Any) -> None:
        with self._named_by_what_it_is(field):
            super().handle_fk_field(obj, field)

    def handle_m2m_field(self, obj: models.Model, field: Any) -> None:
        with self._named_by_what_it_is(field):
            super().handle_m2m_field(obj, field)
        if values := self._current.get(field.name):
            values.sort()  # databases have orders of their own

    @contextmanager
    def _named_by_what_it_is(self, field: Any) -> Iterator[None]:
        asked = self.use_natural_foreign_keys
        is_made = field.remote_field.model._meta.label in _MADE_BY_MIGRATE
        self.use_natural_foreign_keys = asked or is_made
        try:
            yield
        finally:
            self.use_natural_foreign_keys = asked
