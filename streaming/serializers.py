"""The query and the body that start a session (docs/reference/wire.md, 4.1)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class MessageQuery(serializers.Serializer[Any]):
    """The prompt in the address."""

    message = serializers.CharField(
        trim_whitespace=False, help_text="The prompt: what the agent is to do."
    )

    def validate_message(self, value: str) -> str:
        return _not_blank(self.fields["message"], value)


class PromptBody(serializers.Serializer[Any]):
    """The prompt, and what the agent may want to know besides."""

    prompt = serializers.CharField(trim_whitespace=False, help_text="What the agent is to do.")
    context = serializers.DictField(  # type: ignore[assignment]
        required=False, allow_null=True, help_text="Anything the agent may want to know."
    )
    thread_id = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=255,
        help_text="The conversation this belongs to.",
    )

    def validate_prompt(self, value: str) -> str:
        return _not_blank(self.fields["prompt"], value)


def _not_blank(field: serializers.Field[Any, Any, Any, Any], value: str) -> str:
    if not value.strip():
        field.fail("blank")
    return value
