"""Bodies of the approvals API (docs/reference/wire.md, 3)."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from hitl.models import ID_PATTERN

MAX_TEXT = 10_000
MAX_TIMEOUT_SECONDS = 30 * 24 * 3600


class IdField(serializers.RegexField):
    """An id of a request or a session."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault(
            "error_messages",
            {"invalid": _("An id is 1 to 128 of the characters A-Z a-z 0-9 . _ : ~ @ -")},
        )
        super().__init__(rf"\A{ID_PATTERN.pattern}\Z", trim_whitespace=False, **kwargs)


class PrintableField(serializers.CharField):
    """One line of text without control characters."""

    def to_internal_value(self, data: Any) -> str:
        value = str(super().to_internal_value(data))
        if not value.isprintable():
            raise serializers.ValidationError(_("Control characters are not allowed."))
        return value


class DecisionBody(serializers.Serializer[Any]):
    userId = serializers.CharField(  # noqa: N815 - the wire's name
        required=False, allow_null=True, allow_blank=True, help_text="Must equal the token's sub."
    )


class RejectionBody(DecisionBody):
    reason = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=MAX_TEXT
    )


class OpeningBody(serializers.Serializer[Any]):
    requestId = IdField(required=False, allow_null=True)  # noqa: N815
    sessionId = IdField()  # noqa: N815
    actionType = PrintableField(max_length=128)  # noqa: N815
    message = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=MAX_TEXT
    )
    context = serializers.DictField(required=False, allow_null=True)  # type: ignore[assignment]
    timeoutSeconds = serializers.IntegerField(  # noqa: N815
        required=False, allow_null=True, min_value=1, max_value=MAX_TIMEOUT_SECONDS
    )


class ListQuery(serializers.Serializer[Any]):
    status = serializers.CharField(required=False)
    sessionId = serializers.CharField(required=False)  # noqa: N815
    cursor = serializers.CharField(required=False)
