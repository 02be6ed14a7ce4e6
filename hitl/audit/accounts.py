"""Writes down what happens to people: sign-ins, memberships, accounts.

A change of a membership commits with its record or not at all. So does a change of an account
wherever a transaction is open, as on the desk and in the commands; an account that is saved
outside one is committed already, and is recorded right after. A sign-in that cannot be recorded
is refused, with an error that is logged. A refusal or a sign-out stands even if it cannot be
recorded: that is logged, and nobody is let in or kept in by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import signals as auth_signals
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.db.models import signals as model_signals
from django.http import HttpRequest
from django.utils import timezone
from structlog.stdlib import get_logger

from dwp_project.gateway import signals
from dwp_project.gateway.current_request import current_request
from dwp_project.gateway.models import Membership, role_in, tenants_of
from dwp_project.gateway.views import PAGES
from hitl.actors import Actor, client_details, operator_actor, system_actor
from hitl.audit import record
from hitl.states import ActorKind, AuditEvent, Channel

logger = get_logger(__name__)

_MAX_NAME_LENGTH = 150
_FLAGS = {"is_active": "isActive", "is_staff": "isStaff", "is_superuser": "isSuperuser"}


def connect() -> None:
    """Begin to hear. Called once, when the apps are ready."""
    for signal, receiver in (
        (signals.logged_in, _record_login),
        (signals.login_refused, _record_refused_login),
        (signals.sign_in_refused, _record_refused_sign_in),
        (signals.membership_added, _record_added_membership),
        (signals.membership_changed, _record_changed_membership),
        (signals.membership_removed, _record_removed_membership),
        (auth_signals.user_logged_in, _record_sign_in),
        (auth_signals.user_logged_out, _record_sign_out),
        (auth_signals.user_login_failed, _record_failed_sign_in),
    ):
        signal.connect(receiver, dispatch_uid=f"hitl.{receiver.__name__}")
    model_signals.pre_save.connect(_read_account_before_save, User, dispatch_uid="hitl.account")
    model_signals.post_save.connect(_record_saved_account, User, dispatch_uid="hitl.account")
    model_signals.pre_delete.connect(_record_removed_account, User, dispatch_uid="hitl.account")


# --- sign-ins ---------------------------------------------------------------------------


def _record_login(
    request: HttpRequest, username: str, tenant_id: str, role: str, **kwargs: Any
) -> None:
    actor = _person(request, username, tenant_id, Channel.REST, role)
    _write([actor], AuditEvent.SIGNED_IN)


def _record_refused_login(
    request: HttpRequest, username: str, tenant_id: str, is_member: bool, **kwargs: Any
) -> None:
    # One record in any case: how long a refusal takes must not tell who is a member. A tenant
    # that nobody of that name belongs to is not believed: anybody may write any name there.
    actor = _person(request, username, tenant_id if is_member else "", Channel.REST)
    details = {"tenant": _printable(tenant_id, 255)}
    _write_if_possible([actor], AuditEvent.SIGN_IN_FAILED, details)


def _record_sign_in(request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if _is_page(request):
        assert request is not None
        _write(_person_in_each_tenant(request, user.get_username()), AuditEvent.SIGNED_IN)


def _record_sign_out(request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if _is_page(request) and user is not None:
        assert request is not None
        people = _person_in_each_tenant(request, user.get_username())
        _write_if_possible(people, AuditEvent.SIGNED_OUT)


def _record_failed_sign_in(
    credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    # Over REST the same check of a password is told by `login_refused`, with its tenant.
    if _is_page(request):
        assert request is not None
        _record_no_sign_in(request, str(credentials.get("username") or ""))


def _record_refused_sign_in(request: HttpRequest, username: str, **kwargs: Any) -> None:
    _record_no_sign_in(request, username, {"why": "not staff"})


def _record_no_sign_in(
    request: HttpRequest, username: str, details: dict[str, Any] | None = None
) -> None:
    people = _person_in_each_tenant(request, username)
    _write_if_possible(people, AuditEvent.SIGN_IN_FAILED, details)


# --- memberships and accounts -----------------------------------------------------------


def _record_added_membership(membership: dict[str, str], **kwargs: Any) -> None:
    details = {"user": membership["username"], "memberRole": membership["role"]}
    _write([_current_actor(membership["tenant_id"])], AuditEvent.MEMBERSHIP_ADDED, details)


def _record_removed_membership(membership: dict[str, str], **kwargs: Any) -> None:
    details = {"user": membership["username"], "memberRole": membership["role"]}
    _write([_current_actor(membership["tenant_id"])], AuditEvent.MEMBERSHIP_REMOVED, details)


def _record_changed_membership(
    membership: dict[str, str], before: dict[str, str], **kwargs: Any
) -> None:
    if any(membership[name] != before[name] for name in ("username", "tenant_id")):
        # Somebody else's, or of another tenant: what was is gone, and something else is there.
        _record_removed_membership(before)
        _record_added_membership(membership)
        return
    details = {
        "user": membership["username"],
        "memberRole": membership["role"],
        "memberRoleBefore": before["role"],
    }
    _write([_current_actor(membership["tenant_id"])], AuditEvent.MEMBERSHIP_CHANGED, details)


def _read_account_before_save(
    instance: User, raw: bool, update_fields: Iterable[str] | None = None, **kwargs: Any
) -> None:
    if raw:
        return  # a fixture, whose records are in it if anywhere
    if update_fields is not None and not {"username", "password", *_FLAGS} & set(update_fields):
        return  # the time of the last sign-in, a name
    if not instance.pk:
        return
    account = User.objects.filter(pk=instance.pk)
    if transaction.get_connection().in_atomic_block:
        account = account.select_for_update()
    names = ("username", "password", *_FLAGS)
    instance._before = account.values(*names).first()  # type: ignore[attr-defined]


def _record_saved_account(
    instance: User,
    created: bool,
    raw: bool,
    update_fields: Iterable[str] | None = None,
    **kwargs: Any,
) -> None:
    if raw:
        return
    before = instance.__dict__.pop("_before", None) or {}
    columns = set(update_fields) if update_fields is not None else {"username", "password", *_FLAGS}
    changes: dict[str, Any] = {
        name: getattr(instance, column)
        for column, name in _FLAGS.items()
        if column in columns and getattr(instance, column) != before.get(column)
    }
    if created:
        changes["created"] = True
    else:
        if "username" in columns and before.get("username") != instance.get_username():
            changes["userBefore"] = before.get("username")
        if "password" in columns and before.get("password") != instance.password:
            # Django saves the same password anew when it hashes it more strongly, at a sign-in.
            is_change = getattr(instance, "_password", None) is not None or columns != {"password"}
            changes["password"] = "changed" if is_change else "hashed anew"
    if changes:
        _write_account_change(instance, {"user": instance.get_username(), **changes})


def _write_account_change(account: User, details: dict[str, Any]) -> None:
    try:
        _write(_current_actor_in_tenants_of(account), AuditEvent.USER_CHANGED, details)
    except DatabaseError as exc:
        if not transaction.get_connection().in_atomic_block:
            # Committed already: whoever saved it hears of it, and so does the log.
            logger.error("audit_write_failed", event_missed=AuditEvent.USER_CHANGED, exc_info=exc)
        raise


def _record_removed_account(instance: User, **kwargs: Any) -> None:
    # Before its memberships go: they say where it is written down.
    details = {"user": instance.get_username(), "removed": True}
    _write(_current_actor_in_tenants_of(instance), AuditEvent.USER_CHANGED, details)


# --- who, and where it is written -------------------------------------------------------


def _write(
    people: Iterable[Actor], event: AuditEvent, details: dict[str, Any] | None = None
) -> None:
    """Write one record for each actor, in their tenants' order: so no two writers wait for
    each other in a circle."""
    now = timezone.now()
    with transaction.atomic():
        for actor in sorted(people, key=lambda actor: actor.tenant_id):
            record.write(event, actor, now, details=details)


def _write_if_possible(
    people: Iterable[Actor], event: AuditEvent, details: dict[str, Any] | None = None
) -> None:
    try:
        _write(people, event, details)
    except DatabaseError as exc:
        logger.error("audit_write_failed", event_missed=str(event), exc_info=exc)


def _is_page(request: HttpRequest | None) -> bool:
    return request is not None and request.path_info.startswith(PAGES)


def _person_in_each_tenant(request: HttpRequest, username: str) -> list[Actor]:
    """Return the person as actor in each of their tenants, or in the deployment's own chain."""
    name = _printable(username, _MAX_NAME_LENGTH)
    tenants = tenants_of(name) if name == username else []
    return [_person(request, username, tenant, Channel.ADMIN) for tenant in tenants or [""]]


def _person(
    request: HttpRequest, username: str, tenant_id: str, channel: Channel, role: str = ""
) -> Actor:
    name = _printable(username, _MAX_NAME_LENGTH)
    if channel is Channel.ADMIN:
        return operator_actor(name, tenant_id, role, request)
    return Actor(name, tenant_id, ActorKind.USER, channel, role, **client_details(request))


def _current_actor(tenant_id: str) -> Actor:
    """Return who is signed in where this happens, or the system, as actor in a tenant."""
    request = current_request()
    user = getattr(request, "user", None)
    if request is None or not getattr(user, "is_authenticated", False) or not _is_page(request):
        return system_actor(tenant_id)
    username = user.get_username()  # type: ignore[union-attr]
    role = role_in(username, tenant_id) or ""
    return _person(request, username, tenant_id, Channel.ADMIN, role)


def _current_actor_in_tenants_of(account: User) -> list[Actor]:
    # Not `tenants_of`: an account that is switched off still belongs to them.
    memberships = Membership.objects.filter(user_id=account.pk)
    tenants = memberships.values_list("tenant_id", flat=True)
    return [_current_actor(tenant) for tenant in list(tenants) or [""]]


def _printable(text: str, max_length: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:max_length])
