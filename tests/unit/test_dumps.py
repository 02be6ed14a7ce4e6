"""What `dumpdata` writes is read back unchanged."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from django.core import serializers

from streaming.models import Event

# Whatever a reader of lines, a terminal or a parser could take for something else.
ODD = "\x00\x01\x1c\x1e\x7f\x85\u2028\u2029\ufeff 메일 🙂 \\u0000 \r\n\t'\""


@pytest.mark.parametrize("format_", ["json", "jsonl"])
@pytest.mark.parametrize("microsecond", [0, 1, 999_999, 500_000])
def test_row_is_read_back_unchanged(format_: str, microsecond: int) -> None:
    at = datetime(2026, 1, 16, 12, 0, 0, microsecond, tzinfo=UTC)
    row = Event(pk=2**40, session_id=7, sequence=1, name="content", payload=ODD, created_at=at)

    text = serializers.serialize(format_, [row, row])

    for source in (text, text.encode("ascii"), io.StringIO(text)):
        first, second = (each.object for each in serializers.deserialize(format_, source))
        for read in (first, second):
            assert isinstance(read, Event)
            assert (read.payload, read.created_at, read.pk) == (ODD, at, 2**40)
