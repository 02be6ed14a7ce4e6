"""The format `jsonl` of `dumpdata` and `loaddata`: one row in each line, so that neither has to
have all of them in memory."""

from __future__ import annotations

from django.core.serializers import jsonl

from dwp_project.dumps import ExactRows

Deserializer = jsonl.Deserializer


class Serializer(ExactRows, jsonl.Serializer):
    """Writes the lines."""
