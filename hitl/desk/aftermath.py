"""What became of a request's end: whether and when its agent heard of it, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hitl.delivery import keys, outbox
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome, Origin, Status
from hitl.text import dates, sanitize


class Kind(models.TextChoices):
    """How it stands with the agent, in two or three words."""

    SENDING = "sending", gettext_lazy("on its way")
    UNSENT = "unsent", gettext_lazy("not sent yet")
    OPEN = "open", gettext_lazy("nobody has received it yet")
    UNHEARD = "unheard", gettext_lazy("nobody has received it")
    HEARD = "heard", gettext_lazy("the agent has it")
    READ = "read", gettext_lazy("read over REST")
    WITHHELD = "withheld", gettext_lazy("held back")
    SUPERSEDED = "superseded", gettext_lazy("stored, not sent")
    REFUSED = "refused", gettext_lazy("never sent")
    NOTHING = "nothing", gettext_lazy("nothing is sent")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A translated text, and the times that stand in it by name."""

    text: str
    times: dict[str, datetime] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % {name: _clock_time(moment) for name, moment in self.times.items()}

    @property
    def html(self) -> SafeString:
        """Return the text with its times as elements."""
        times = {n: dates.html(at, form=_form_of(at)) for n, at in self.times.items()}
        return sanitize.filled(self.text, **times)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What became of a request's end: the first sentence says it, the others what to do."""

    kind: Kind
    sentences: list[Sentence]
    # The session's newer question, where that is why nothing was sent.
    newer: ApprovalRequest | None = None
    # What Redis or its client said.
    error: str = ""
    # Whether somebody may have to act (`is_bad`).
    is_bad: bool = False

    def __str__(self) -> str:
        return str(self.sentences[0])


def became(entry: OutboxEntry) -> DeliveryOutcome:
    """Return what became of a signal; one that is sent again may have been read elsewhere."""
    if entry.outcome != DeliveryOutcome.REFUSED and entry.known_heard_at is not None:
        return DeliveryOutcome.DELIVERED
    return entry.reported_outcome


def is_bad(outcome: DeliveryOutcome) -> bool:
    """Say whether the agent does not get the decision, or not now, and somebody may have to act."""
    return outcome in (
        DeliveryOutcome.WITHHELD,
        DeliveryOutcome.SUPERSEDED,
        DeliveryOutcome.REFUSED,
    )


def is_final(request: ApprovalRequest, entry: OutboxEntry | None) -> bool:
    """Say whether what became of the request's end cannot change any more."""
    if request.status == Status.PENDING:
        return False
    if not request.is_decided:
        return True
    if entry is None:
        return False
    if entry.outcome == DeliveryOutcome.REFUSED or entry.known_heard_at is not None:
        return True
    match entry.reported_outcome:
        case DeliveryOutcome.DELIVERED:
            return True
        case DeliveryOutcome.WITHHELD:
            return entry.outcome == DeliveryOutcome.WITHHELD
        case DeliveryOutcome.SUPERSEDED | DeliveryOutcome.UNHEARD:
            # Over REST an agent may read it whenever it comes.
            return request.origin != Origin.REST
    return False


def of(request: ApprovalRequest, entry: OutboxEntry | None) -> Aftermath | None:
    """Return what became of the request's end; None while it is pending. `entry` is the entry of
    its signal."""
    if request.status == Status.PENDING:
        return None
    if not request.is_decided:
        return Aftermath(Kind.NOTHING, [Sentence(_END_WITHOUT_DECISION[request.origin]())])
    if entry is None:
        return Aftermath(Kind.NOTHING, [Sentence(_("There is no signal of this decision."))])
    said = _of_signal(request, entry)
    return replace(said, is_bad=is_bad(became(entry)))


def _of_signal(request: ApprovalRequest, entry: OutboxEntry) -> Aftermath:
    """Return what became of a decision's signal."""
    outcome = became(entry)
    if outcome == DeliveryOutcome.REFUSED:
        return Aftermath(
            Kind.REFUSED,
            [
                Sentence(_("The audit does not have this decision: nothing is sent.")),
                Sentence(_("Whoever runs this deployment has to verify the audit.")),
            ],
        )
    if outcome == DeliveryOutcome.DELIVERED:
        heard_at = entry.known_heard_at
        is_read = heard_at is not None and not entry.receivers and request.origin == Origin.REST
        kind = Kind.READ if is_read else Kind.HEARD
        return Aftermath(kind, [_heard(request, entry, heard_at)])
    match outcome:
        case DeliveryOutcome.WITHHELD:
            return Aftermath(Kind.WITHHELD, [_withheld(entry)])
        case DeliveryOutcome.SUPERSEDED:
            text = _("The agent is not told: its session has asked a newer question since.")
            texts = [text, *([_what_now(request)] if request.origin == Origin.REST else [])]
            return Aftermath(Kind.SUPERSEDED, [Sentence(one) for one in texts], _newer(request))
        case DeliveryOutcome.UNHEARD:
            return Aftermath(Kind.UNHEARD, _unheard(request, entry))
    return _pending(request, entry)


def _heard(request: ApprovalRequest, entry: OutboxEntry, at: datetime | None) -> Sentence:
    if at is None:
        return Sentence(_("Its agent has it."))
    if entry.receivers:
        # Somebody who asked over REST may have read it there before.
        text = _("Delivered: its agent first had it at %(time)s.")
    elif request.origin == Origin.REST:
        text = _("Read over REST at %(time)s by who asked.")
    else:
        text = _("Read by its agent at %(time)s, on this server.")
    return Sentence(text, {"time": at})


def _withheld(entry: OutboxEntry) -> Sentence:
    if entry.outcome == DeliveryOutcome.WITHHELD or entry.withheld_until is None:
        return Sentence(
            _(
                "The agent is not told: another agent of its session may have taken this approval "
                "for its own. Have it ask again."
            )
        )
    text = _(
        "The agent is told only at %(time)s: until then another agent of its session may take this "
        "approval for its own."
    )
    return Sentence(text, {"time": entry.withheld_until})


def _unheard(request: ApprovalRequest, entry: OutboxEntry) -> list[Sentence]:
    times = {"time": _end(entry)}
    sentences = [Sentence(_("It was sent again and again until %(time)s."), times)]
    return [*sentences, Sentence(_what_now(request))]


def _what_now(request: ApprovalRequest) -> str:
    if request.origin == Origin.REST:
        return _("Nobody who asked has read it over REST so far. They still can.")
    return _("The agent may have stopped. To let it act on an answer, have it ask again.")


def _pending(request: ApprovalRequest, entry: OutboxEntry) -> Aftermath:
    """Return what became of a decision whose signal is sent again, or for the first time."""
    end = _end(entry)
    if entry.error == outbox.NOT_VOUCHED_FOR:
        text = _("A key signed the record of this decision that is not trusted here.")
        return Aftermath(Kind.UNSENT, [Sentence(text)])
    if entry.error and entry.published_at is None:
        text = _("Redis is away, or refuses it, since %(time)s.")
        later = _("It is sent as soon as Redis takes it, until %(time)s.")
        sentences = [Sentence(text, {"time": entry.created_at}), Sentence(later, {"time": end})]
        return Aftermath(Kind.UNSENT, sentences, error=sanitize.plain(entry.error))
    if entry.published_at is not None:
        if entry.first_sent_at is None:
            text, times = _("It is sent again and again until %(time)s."), {"time": end}
        else:
            text = _("It was first sent at %(time)s, and is sent again and again until %(end)s.")
            times = {"time": entry.first_sent_at, "end": end}
        sentences = [Sentence(text, times)]
        if request.origin == Origin.REST:
            sentences.append(Sentence(_what_now(request)))
        return Aftermath(Kind.OPEN, sentences, error=sanitize.plain(entry.error))
    again = Sentence(_("It is sent again and again until %(time)s."), {"time": end})
    return Aftermath(Kind.SENDING, [again])


def _end(entry: OutboxEntry) -> datetime:
    """Return until when the signal may be sent."""
    return entry.created_at + timedelta(seconds=keys.SIGNAL_TTL)


def _newer(request: ApprovalRequest) -> ApprovalRequest | None:
    newest = ApprovalRequest.objects.filter(session_id=request.session_id).newest_first().first()
    if newest is None or newest.pk == request.pk or newest.tenant_id != request.tenant_id:
        return None
    return newest


def _end_on_redis() -> str:
    return _("The agent stops when its own time is over, 300 s after it has asked.")


def _end_over_rest() -> str:
    return _("The agent reads over REST that there is no decision.")


def _end_here() -> str:
    return _("The agent runs on this server and stops by itself.")


_END_WITHOUT_DECISION: dict[str, Callable[[], str]] = {
    Origin.REDIS: _end_on_redis,
    Origin.REST: _end_over_rest,
    Origin.AGENT: _end_here,
}


def _clock_time(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), _form_of(moment))


def _form_of(moment: datetime) -> str:
    """Return how a time is written: of today by the clock alone, any other with its day."""
    is_today = timezone.localtime(moment).date() == timezone.localdate()
    return "H:i:s" if is_today else "Y-m-d H:i:s"
