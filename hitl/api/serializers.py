"""Bodies of the approvals API (docs/reference/wire.md, 3)."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from hitl.models import ID_PATTERN
from hitl.models.policies import MAX_ACTION_LENGTH, MOST_SECONDS
from hitl.states import Status

# Characters of a message and of a reason (wire.md, 3.2 and 3.5).
MAX_TEXT = 10_000
# Chosen: how much of an unknown member's name the answer repeats.
_MAX_NAME = 100


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


class StrictBody(serializers.Serializer[Any]):
    """A body of which no member is passed over: an edit that is silently dropped would decide
    something else than the person saw (wire.md, 3.2)."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = [name for name in data if name not in self.fields]
        if unknown:
            names = ", ".join(self.fields)
            raise serializers.ValidationError(
                {
                    unknown[0][:_MAX_NAME]: _("This member is not known. Known are: %(names)s.")
                    % {"names": names}
                }
            )
        return super().to_internal_value(data)


class DecisionBody(StrictBody):
    """Who decides, for clients that say it twice."""

    userId = serializers.CharField(  # noqa: N815 - the wire's name
        required=False, allow_null=True, allow_blank=True, help_text="Must be the token's `sub`."
    )


class ShownBody(DecisionBody):
    """Who decides, and what they were shown."""

    contextDigest = serializers.RegexField(  # noqa: N815
        r"\A[0-9a-f]{64}\Z",
        required=False,
        allow_null=True,
        trim_whitespace=False,
        help_text="The `contextDigest` of what you decide on: if another context is stored, "
        "nothing is decided (409).",
    )
    requestDigest = serializers.RegexField(  # noqa: N815
        r"\A[0-9a-f]{64}\Z",
        required=False,
        allow_null=True,
        trim_whitespace=False,
        help_text="The `requestDigest` of what you decide on: it covers all that you are shown and "
        "every rule that applies.",
    )


class ApprovalBody(ShownBody):
    """Who approves, what they say of it, and what they were shown."""

    comment = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=MAX_TEXT,
        help_text="What is to be known of your yes; kept with the request and in the audit.",
    )


class RejectionBody(ShownBody):
    """Who rejects, why, and what they were shown."""

    reason = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=MAX_TEXT,
        help_text="Why not; the agent's client shows it. `User rejected` if you give none, "
        "where no policy wants one.",
    )


class OpeningBody(StrictBody):
    """A question of an agent."""

    requestId = IdField(  # noqa: N815
        required=False,
        allow_null=True,
        help_text="Your own id for it; one is made if you give none.",
    )
    sessionId = IdField(help_text="The session that waits for the answer.")  # noqa: N815
    actionType = PrintableField(  # noqa: N815
        max_length=MAX_ACTION_LENGTH,
        help_text="What the agent wants to do, such as `delete_mail`.",
    )
    message = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=MAX_TEXT,
        help_text="The question, for people.",
    )
    context = serializers.DictField(  # type: ignore[assignment]
        required=False, allow_null=True, help_text="The particulars of the action: any JSON object."
    )
    timeoutSeconds = serializers.IntegerField(  # noqa: N815
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MOST_SECONDS,
        help_text="How long the question waits before it expires; 300 unless the deployment says "
        "otherwise.",
    )


class ListQuery(serializers.Serializer[Any]):
    """Which requests to list; what the description shows, `hitl.api.pagination` reads."""

    status = serializers.ChoiceField(
        choices=Status.choices, required=False, help_text="Only requests in this state."
    )
    sessionId = serializers.CharField(  # noqa: N815
        required=False, help_text="Only requests of this session."
    )
    cursor = serializers.CharField(required=False, help_text="The `nextCursor` of the page before.")
