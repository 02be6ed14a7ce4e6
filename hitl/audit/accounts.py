"""Records sign-ins and changes of tenants, memberships and accounts.

A change of a tenant or a membership commits with its record or not at all. So does a change of an
account wherever a transaction is open, as on the desk and in the commands; an account that is saved
outside one is committed already, and is recorded right after. A sign-in that cannot be recorded
is refused, with an error that is logged. A refusal or a sign-out stands even if it cannot be
recorded, and an error is logged: neither lets anybody in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.auth import signals as auth_signals
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.db.models import signals as model_signals
from django.dispatch import Signal
from django.http import HttpRequest
from django.urls import reverse
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.gateway import lockout, signals
from dwp_project.gateway.current_request import current_request
from dwp_project.gateway.models import Membership, Tenant, role_in, tenants_of
from dwp_project.gateway.views import PAGES
from hitl.actors import Actor, client_details, operator_actor, system_actor
from hitl.audit import record
from hitl.errors import ChainBlocked
from hitl.states import ActorKind, AuditEvent, Channel

logger = get_logger(__name__)

# The length of Django's column `username`: no account has a longer name.
_MAX_NAME_LENGTH = 150
# The length of every tenant column.
_MAX_TENANT_LENGTH = 255
_FLAGS = {"is_active": "isActive", "is_staff": "isStaff", "is_superuser": "isSuperuser"}


def connect() -> None:
    """Connect every receiver of this module; called once, when the apps are ready."""
    receivers: tuple[tuple[Signal, Callable[..., None], type[User] | type[Tenant] | None], ...] = (
        (signals.logged_in, _record_login, None),
        (signals.login_refused, _record_refused_login, None),
        (signals.sign_in_refused, _record_refused_sign_in, None),
        (signals.sign_in_locked, _record_lock, None),
        (signals.sign_in_unlocked, _record_unlock, None),
        (signals.membership_added, _record_added_membership, None),
        (signals.membership_changed, _record_changed_membership, None),
        (signals.membership_removed, _record_removed_membership, None),
        (auth_signals.user_logged_in, _record_sign_in, None),
        (auth_signals.user_logged_out, _record_sign_out, None),
        (auth_signals.user_login_failed, _record_failed_sign_in, None),
        (model_signals.pre_save, _read_account_before_save, User),
        (model_signals.post_save, _record_saved_account, User),
        (model_signals.pre_delete, _record_removed_account, User),
        (model_signals.post_save, _record_saved_tenant, Tenant),
        (model_signals.post_delete, _record_removed_tenant, Tenant),
    )
    for signal, receiver, sender in receivers:
        signal.connect(receiver, sender, dispatch_uid=f"hitl.{receiver.__name__}")


# --- sign-ins ---------------------------------------------------------------------------


def _record_login(
    request: HttpRequest, username: str, tenant_id: str, role: str, **kwargs: Any
) -> None:
    actor = _person(request, username, tenant_id, Channel.REST, role)
    _write([actor], AuditEvent.SIGNED_IN)


def _record_refused_login(
    request: HttpRequest, username: str, tenant_id: str, is_member: bool, **kwargs: Any
) -> None:
    # Always one record, so that the time a refusal takes does not reveal who is a member. The
    # tenant is used only if the person belongs to it: anybody may send any name there.
    actor = _person(request, username, tenant_id if is_member else "", Channel.REST)
    details = {"tenant": _printable(tenant_id, _MAX_TENANT_LENGTH)}
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
    # A failed login over REST is recorded by `_record_refused_login`, which knows its tenant.
    # One that was locked is recorded once, when the lock begins.
    if _is_page(request):
        assert request is not None
        if lockout.seconds_locked(request) is None:
            # Who changes their password is signed in, and has to prove again who they are.
            is_change = request.path_info == reverse("admin:password_change")
            details = {"why": "wrong old password"} if is_change else None
            _record_no_sign_in(request, str(credentials.get("username") or ""), details)


def _record_refused_sign_in(request: HttpRequest, username: str, **kwargs: Any) -> None:
    _record_no_sign_in(request, username, {"why": "not staff"})


def _record_no_sign_in(
    request: HttpRequest, username: str, details: dict[str, Any] | None = None
) -> None:
    people = _person_in_each_tenant(request, username)
    _write_if_possible(people, AuditEvent.SIGN_IN_FAILED, details)


def _record_lock(
    request: HttpRequest, username: str, address: str, by: str, failures: int, **kwargs: Any
) -> None:
    # The deployment's chain: an address is nobody's, and whose the name is must not take longer.
    channel = Channel.ADMIN if _is_page(request) else Channel.REST
    details = {"locked": by, "address": address, "failures": failures}
    _write_if_possible(
        [_person(request, username, "", channel)], AuditEvent.SIGN_IN_LOCKED, details
    )


def _record_unlock(username: str, address: str, **kwargs: Any) -> None:
    details = {"user": _printable(username, _MAX_NAME_LENGTH), "address": address}
    _write([_current_actor("")], AuditEvent.SIGN_IN_UNLOCKED, details)


# --- tenants, memberships and accounts --------------------------------------------------


# In the deployment's chain: a tenant that is being made has no people who could read its own.
def _record_saved_tenant(instance: Tenant, created: bool, raw: bool, **kwargs: Any) -> None:
    if raw:
        return  # `loaddata` restores rows
    event = AuditEvent.TENANT_ADDED if created else AuditEvent.TENANT_CHANGED
    _write([_current_actor("")], event, {"tenant": instance.tenant_id, "name": instance.name})


def _record_removed_tenant(instance: Tenant, **kwargs: Any) -> None:
    details = {"tenant": instance.tenant_id, "name": instance.name}
    _write([_current_actor("")], AuditEvent.TENANT_REMOVED, details)


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
        # It belongs to another user or tenant now: one membership ended, another began.
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
        return  # `loaddata` restores rows, it does not change accounts
    if update_fields is not None and not {"username", "password", *_FLAGS} & set(update_fields):
        return  # no column that is audited, as the time of the last sign-in
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
            # A sign-in saves the column alone when it hashes the same password more strongly.
            is_change = getattr(instance, "_password", None) is not None or columns != {"password"}
            changes["password"] = "changed" if is_change else "hashed anew"
    if changes:
        _write_account_change(instance, {"user": instance.get_username(), **changes})


def _write_account_change(account: User, details: dict[str, Any]) -> None:
    try:
        _write(_current_actor_in_tenants_of(account), AuditEvent.USER_CHANGED, details)
    except (DatabaseError, ChainBlocked) as exc:
        if not transaction.get_connection().in_atomic_block:
            # The account is committed already, so that the missing record has to be noticed.
            logger.error("audit_write_failed", event_missed=AuditEvent.USER_CHANGED, exc_info=exc)
        raise


def _record_removed_account(instance: User, **kwargs: Any) -> None:
    # Before its memberships are deleted: they say which chains the record belongs to.
    details = {"user": instance.get_username(), "removed": True}
    _write(_current_actor_in_tenants_of(instance), AuditEvent.USER_CHANGED, details)


# --- actors, and the chains they are recorded in ----------------------------------------


def _write(
    people: Iterable[Actor], event: AuditEvent, details: dict[str, Any] | None = None
) -> None:
    """Write one record for each actor, in the order of their tenants: two writers that lock
    several chains lock them in the same order, and cannot deadlock."""
    now = clocks.now()
    with transaction.atomic():
        for actor in sorted(people, key=lambda actor: actor.tenant_id):
            record.write(event, actor, now, details=details)


def _write_if_possible(
    people: Iterable[Actor], event: AuditEvent, details: dict[str, Any] | None = None
) -> None:
    try:
        _write(people, event, details)
    except (DatabaseError, ChainBlocked) as exc:
        logger.error("audit_write_failed", event_missed=str(event), exc_info=exc)


def _is_page(request: HttpRequest | None) -> bool:
    return request is not None and request.path_info.startswith(PAGES)


def _person_in_each_tenant(request: HttpRequest, username: str) -> list[Actor]:
    """Return the person as actor in each of their tenants; without any, in the deployment."""
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
    """Return who is signed in to the page that is answered now, or the system, as actor in a
    tenant."""
    request = current_request()
    user = getattr(request, "user", None)
    if request is None or not getattr(user, "is_authenticated", False) or not _is_page(request):
        return system_actor(tenant_id)
    username = user.get_username()  # type: ignore[union-attr]
    role = role_in(username, tenant_id) or ""
    return _person(request, username, tenant_id, Channel.ADMIN, role)


def _current_actor_in_tenants_of(account: User) -> list[Actor]:
    # Not `tenants_of`, which leaves out accounts that are switched off.
    memberships = Membership.objects.filter(user_id=account.pk)
    tenants = memberships.values_list("tenant_id", flat=True)
    return [_current_actor(tenant) for tenant in list(tenants) or [""]]


def _printable(text: str, max_length: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:max_length])
