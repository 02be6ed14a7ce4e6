"""What starts a stream (docs/reference/wire.md, 4.1)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class MessageQuery(serializers.Serializer[Any]):
    message = serializers.CharField(trim_whitespace=False)

    def validate_message(self, value: str) -> str:
        return _not_blank(self.fields["message"], value)


class PromptBody(serializers.Serializer[Any]):
    prompt = serializers.CharField(trim_whitespace=False)
    context = serializers.DictField(required=False, allow_null=True)  # type: ignore[assignment]
    thread_id = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=255
    )

    def validate_prompt(self, value: str) -> str:
        return _not_blank(self.fields["prompt"], value)


def _not_blank(field: serializers.Field[Any, Any, Any, Any], value: str) -> str:
    if not value.strip():
        field.fail("blank")
    return value
