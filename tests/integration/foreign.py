"""What belongs to another tenant, every text of it marked, and what an attacker sends to get it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import override_settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from dwp_project.gateway.models import Membership, Tenant
from hitl import services
from hitl.actors import Actor
from hitl.api import urls as api_urls
from hitl.audit import checkpoints
from hitl.audit import record as audit_record
from hitl.desk import urls as desk_urls
from hitl.models import (
    ApprovalRequest,
    AuditChain,
    AuditCheckpoint,
    AuditRecord,
    OutboxEntry,
    Policy,
    RejectionReason,
    Vote,
)
from hitl.policies import changes, reasons
from hitl.policies.rules import Rule
from hitl.states import ActorKind, AuditEvent, Channel, Origin
from streaming import sessions, urls
from streaming.models import Event, Session
from tests import factories
from tests.people import Person

# In every text of the other tenant, and of nobody: as long, so that only the mark differs.
MARK, NOBODYS = "zzbee", "zznil"
TENANT = f"{MARK}-tenant"
KEYS_AWAY = 1_000_000
SIGNING_KEY = base64.b64encode(b"k" * 32).decode()


@dataclass(frozen=True, slots=True)
class Foreign:
    """The other tenant's rows by model label, and the texts that would give them away."""

    keys: Mapping[str, int]
    texts: Mapping[str, str]
    digests: tuple[str, ...]
    # All that there is of it, to compare with what there is later.
    before: Mapping[str, list[tuple[Any, ...]]]


def made() -> Foreign:
    """Make a tenant that has something of everything."""
    asker = Person(f"{MARK}-asker", TENANT, "user")
    tenant = factories.tenant(TENANT, f"{MARK} name")
    admin = factories.user(f"{MARK}-admin", role="admin", tenant_id=TENANT, is_staff=True)
    decider = Actor(
        id=f"{MARK}-approver",
        tenant_id=TENANT,
        kind=ActorKind.OPERATOR,
        channel=Channel.ADMIN,
        role="approver",
        address="203.0.113.77",
        user_agent=f"{MARK}-browser",
    )
    boss = factories.actor(Person(f"{MARK}-admin", TENANT, "admin"))
    policy = changes.create(boss, f"{MARK}_*", Rule(min_approvals=2))
    preset = reasons.add(boss, f"{MARK} preset")
    prompt = sessions.Prompt(f"{MARK} prompt", {f"{MARK}-key": f"{MARK}-value"})
    session = sessions.begin(prompt, tenant_id=TENANT, user_id=asker.user_id)
    # A name that can be guessed, and with the mark in it.
    Session.objects.filter(pk=session.pk).update(session_id=f"{MARK}-session", last_sequence=1)
    Event.objects.create(
        session=session,
        sequence=1,
        name="content",
        payload=f'{{"content":"{MARK} answer"}}',
        created_at=timezone.now(),
    )
    waiting = _opened(asker, "waiting")
    services.approve(waiting.request_id, decider)
    decided = _opened(asker, "decided")
    services.reject(decided.request_id, decider, reason=f"{MARK} reason")
    with transaction.atomic():
        audit_record.write(AuditEvent.SIGN_IN_FAILED, decider, timezone.now(), details={"x": MARK})
    with override_settings(AUDIT_SIGNING_KEY=SIGNING_KEY):
        checkpoint = checkpoints.sign_head(TENANT)
    assert checkpoint is not None
    entry = LogEntry.objects.create(
        user=admin,
        content_type=ContentType.objects.get_for_model(Policy),
        object_id=str(policy.pk),
        object_repr=f"{MARK} policy",
        action_flag=CHANGE,
        change_message=f"{MARK} changed",
    )
    record = AuditRecord.objects.filter(tenant_id=TENANT).latest("id")
    rows = [
        waiting,
        policy,
        preset,
        record,
        checkpoint,
        entry,
        admin,
        tenant,
        Membership.objects.get(user=admin),
        OutboxEntry.objects.get(request=decided),
        Vote.objects.get(request=waiting),
        Session.objects.get(pk=session.pk),
        Event.objects.get(session=session),
    ]
    return Foreign(
        keys={row._meta.label_lower: row.pk for row in rows},
        texts={
            "tenant": TENANT,
            "request": waiting.request_id,
            "decided": decided.request_id,
            "session": f"{MARK}-session",
            "asker": asker.user_id,
            "approver": decider.id,
            "member": admin.username,
            "action": waiting.action_type,
            "pattern": policy.pattern,
            "preset": preset.text,
            "digest": waiting.context_digest,
        },
        digests=(
            waiting.context_digest,
            AuditChain.objects.get(tenant_id=TENANT).last_hash,
            checkpoint.signature,
            "203.0.113.77",
        ),
        before=everything(),
    )


def _opened(asker: Person, name: str) -> ApprovalRequest:
    question = factories.question(
        f"{MARK}-session",
        request_id=f"{MARK}-{name}",
        action_type=f"{MARK}_delete",
        message=f"{MARK} message",
        context={f"{MARK}-key": f"{MARK}-value"},
    )
    return services.open_request(question, factories.actor(asker), Origin.REST)[0]


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Return all that there is of the other tenant, to compare with what there is later."""
    of_tenant = (ApprovalRequest, AuditRecord, AuditChain, AuditCheckpoint, Policy)
    of_tenant += (RejectionReason, Membership, Session, Tenant)  # type: ignore[assignment]
    return {
        **{
            model.__name__: list(
                model.objects.filter(tenant_id=TENANT).order_by("pk").values_list()
            )
            for model in of_tenant
        },
        "Vote": list(Vote.objects.filter(request__tenant_id=TENANT).values_list()),
        "OutboxEntry": list(OutboxEntry.objects.filter(request__tenant_id=TENANT).values_list()),
        "Event": list(Event.objects.filter(session__tenant_id=TENANT).values_list()),
        "LogEntry": list(LogEntry.objects.filter(object_repr__contains=MARK).values_list()),
    }


# --- where ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A path with what it names of the other tenant, and the same with what nobody has."""

    route: str
    theirs: str
    nobodys: str
    # Whether it is worth asking with every filter and search.
    is_list: bool


_LISTS = ("_changelist", "_inbox", "_explain", "autocomplete")


def consumers() -> list[tuple[str, tuple[str, ...], Any]]:
    """Return what is served outside Django's views: path, methods, consumer."""
    return [*desk_urls.consumers, *urls.consumers, *api_urls.consumers]


def places(foreign: Foreign) -> list[Place]:
    """Return every path that the site serves, from its own tables of URLs."""
    found = [
        *_walk(get_resolver().url_patterns, ""),
        *((route, "") for route, _methods, _consumer in consumers()),
    ]
    return [_filled(route, name, foreign) for route, name in dict.fromkeys(found)]


def _walk(patterns: Any, before: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern.name or ""


# What a parameter of a route stands for. A page with another parameter fails until it is here,
# and so is tried.
_PARAMETERS: dict[str, Callable[[str, Foreign], str]] = {
    "request_id": lambda name, their: their.texts["request"],
    "session_id": lambda name, their: their.texts["session"],
    "object_id": lambda name, their: str(their.keys[_model_of(name)]),
    "pk": lambda name, their: str(their.keys[_model_of(name)]),
    "id": lambda name, their: str(their.keys["auth.user"]),
    "content_type_id": lambda name, their: str(
        ContentType.objects.get_for_model(ApprovalRequest).pk
    ),
    "app_label": lambda name, their: "hitl",
    "url": lambda name, their: their.texts["tenant"],
}
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)")


def _model_of(name: str) -> str:
    app, _, rest = name.partition("_")
    label = f"{app}.{rest.partition('_')[0]}"
    # What no table of its own names is about a request: its shortcut, its live stream.
    return label if label in _KNOWN else "hitl.approvalrequest"


_KNOWN = {
    model._meta.label_lower
    for model in (
        *(ApprovalRequest, AuditRecord, Policy, RejectionReason, OutboxEntry),
        *(Membership, Tenant),
    )
} | {"auth.user"}


def _filled(route: str, name: str, foreign: Foreign) -> Place:
    values = {
        found[1] or found[2]: _PARAMETERS[found[1] or found[2]](name, foreign)
        for found in _PARAMETER.finditer(route)
        if _model_of(name) in foreign.keys or "object_id" not in found[0]
    }
    plain = route.replace("^", "").replace("$", "").replace("\\", "")

    def fill(change: Any) -> str:
        text = _PARAMETER.sub(lambda found: change(values.get(found[1] or found[2], "1")), plain)
        return "/" + text

    is_list = name.endswith(_LISTS) or route.endswith("aura/hitl/requests")
    return Place(route, fill(str), fill(nobodys), is_list)


def nobodys(text: str) -> str:
    """Return the name or the key that nobody has in place of the other tenant's."""
    if text.isdigit():
        return str(int(text) + KEYS_AWAY)
    return text.replace(MARK, NOBODYS)


# --- what ----------------------------------------------------------------------------------


def queries(foreign: Foreign, *, few: bool = False) -> list[dict[str, str]]:
    """Return what is asked of every list: each filter and search there is, with their values.

    `few` is a search, a filter and the list itself.
    """
    their = foreign.texts
    key = str(foreign.keys["hitl.approvalrequest"])
    if few:
        return [{}, {"q": MARK}, {"tenant": their["tenant"], "tenant_id__exact": their["tenant"]}]
    return [
        {},
        *({"q": their[name]} for name in ("tenant", "request", "session", "asker", "action")),
        {"q": MARK},
        {"_facets": "True"},
        {"tenant": their["tenant"]},
        {"tenant_id": their["tenant"]},
        {"tenant_id__exact": their["tenant"], "_facets": "True"},
        {"tenant_id__in": their["tenant"]},
        {"tenant_id": their["tenant"], "action_type": their["action"]},
        {"action_type": their["action"]},
        {"user_id": their["asker"]},
        {"session_id": their["session"]},
        {"pk__in": key},
        {"id": key},
        {"outcome__exact": "delivered"},
        {"request__tenant_id": their["tenant"]},
        {"request__request_id__startswith": their["decided"]},
        {"user__username": their["member"]},
        {"message__contains": MARK},
        {"actor": their["approver"]},
        {"request": their["request"]},
        {"action": their["action"], "event": "request:opened"},
        {"tenant": their["tenant"], "from": "2020-01-01", "before": "999"},
        {"sessionId": their["session"]},
        {"status": "pending", "sessionId": their["session"]},
        {
            "app_label": "hitl",
            "model_name": "outboxentry",
            "field_name": "request",
            "term": their["request"],
        },
        {"app_label": "hitl", "model_name": "approvalrequest", "field_name": "policy", "term": ""},
        {"app_label": "gateway", "model_name": "membership", "field_name": "user", "term": MARK},
        {"next": f"/admin/{their['tenant']}/"},
        {"tenant": their["tenant"], "action": their["action"]},
        {"outcome": "delivered", "tenant_id": their["tenant"]},
    ]


def forms(foreign: Foreign, *, is_list: bool) -> list[dict[str, Any]]:
    """Return what is posted: all that a list's actions or any form of this site sends, with
    theirs."""
    their, keys = foreign.texts, foreign.keys
    request = str(keys["hitl.approvalrequest"])
    shared: dict[str, Any] = {
        "tenant": their["tenant"],
        "tenant_id": their["tenant"],
        "digest": their["digest"],
        "item": [f"{request}:{their['digest']}"],
        "typed": "1",
        "confirmed": "1",
        "reason": "because",
        "preset": their["preset"],
        "format": "jsonl",
        "pattern": their["pattern"],
        "min_approvals": "1",
        "on_timeout": "expire",
        "text": "taken over",
        "position": "1",
        "role": "admin",
        "post": "yes",
        "select_across": "1",
    }
    selected = [
        str(keys[label])
        for label in ("hitl.approvalrequest", "hitl.policy", "hitl.rejectionreason")
    ]
    actions = ("approve_selected", "reject_selected", "retire_selected", "delete_selected")
    if is_list:
        return [{**shared, "action": name, "_selected_action": selected} for name in actions]
    return [
        {**shared, "approve": "1", "decision": "approve"},
        {**shared, "reject": "1", "decision": "reject", "_retire": "1"},
    ]
