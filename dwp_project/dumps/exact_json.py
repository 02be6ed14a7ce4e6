"""The format `json` of `dumpdata` and `loaddata`: one list of rows."""

from __future__ import annotations

from django.core.serializers import json

from dwp_project.dumps import ExactRows

Deserializer = json.Deserializer


class Serializer(ExactRows, json.Serializer):
    """Writes the list."""
