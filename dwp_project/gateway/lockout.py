"""Locks sign-ins after too many failures: django-axes, with limits and rows of our own.

A user name is locked for one address, and an address for every name at a higher count. A lock ends
by itself, or with axes' commands. Failures of names that no account has count like any other. A
success removes the failures of its name and address alone.
"""

from __future__ import annotations

import ipaddress
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from axes.conf import settings
from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.core.management.base import CommandError
from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.http import HttpRequest
from django.utils import timezone

from dwp_project.gateway import addresses, signals

# Chosen: a whole office behind one address mistypes less often in a quarter of an hour. What
# somebody mistypes before they sign in does not count.
ADDRESS_LIMIT = 50
# Stands for an address that is not known, as behind a Unix socket. It is many people's, so that it
# is never locked for every name.
_UNKNOWN = "::"
# A network of IPv6 that one customer has, and can take any address of.
_IPV6_PREFIX = 64
_MAX_NAME_LENGTH = 255
# The row of an address that recorders lock, so that they count one after the other: told from the
# rows of names by its user agent.
_ADDRESS_ROW = {"username": "*", "user_agent": "every name"}
# The attribute of a request whose sign-in is locked: for how many seconds still.
_SECONDS = "_dwp_locked_seconds"


@dataclass(frozen=True, slots=True)
class _Failures:
    """The failures of one name at one address, and when the last was."""

    username: str
    count: int
    last_at: datetime


def seconds_locked(request: HttpRequest) -> int | None:
    """Return for how many seconds the sign-in that `request` tried is locked; None if it is not."""
    return getattr(request, _SECONDS, None)


def count_failure(request: HttpRequest, username: str) -> None:
    """Count a sign-in that failed although the password was right, as a wrong one is counted."""
    AxesProxyHandler.user_login_failed(LockoutHandler, {"username": username}, request)


def forget_failures(request: HttpRequest, user: Any) -> None:
    """Forget the failures of a name and address after a success."""
    AxesProxyHandler.user_logged_in(LockoutHandler, request, user)


def remove_expired() -> int:
    """Remove failures that count no more; return how many rows."""
    expired = AccessAttempt.objects.filter(attempt_time__lte=timezone.now() - _lock_time())
    # In two transactions: one that waits for the row of an address must have no name's row locked.
    names = expired.filter(user_agent="").delete()[0]
    return int(names + expired.delete()[0])


class LockoutHandler(AxesDatabaseHandler):
    """Answers axes' questions: one row for each name and address, whoever has the name."""

    def is_locked(self, request: Any, credentials: dict[str, Any] | None = None) -> bool:
        """Say whether this name may not try at this address now."""
        now = request.axes_attempt_time
        username, address = _folded(credentials), network_of(request.axes_ip_address)
        locked_until = _locked_until(_failures(username, address, now), username)
        if locked_until is None:
            return False
        setattr(request, _SECONDS, math.ceil((locked_until - now).total_seconds()))
        return True

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        """Count the failure, unless the attempt was refused unseen: a lock is not prolonged."""
        if request is None or seconds_locked(request) is not None:
            return
        now = request.axes_attempt_time
        username, address = _folded(credentials), network_of(request.axes_ip_address)
        with transaction.atomic():
            _add_failure(username, address, now)
            failures = _failures(username, address, now)
            own = sum(row.count for row in failures if row.username == username)
            # Equal, not more: each failure adds one, and the lock begins but once.
            for count, limit, by in (
                (own, settings.AXES_FAILURE_LIMIT, "name and address"),
                (sum(row.count for row in failures), ADDRESS_LIMIT, "address"),
            ):
                if count == limit:
                    signals.sign_in_locked.send(
                        LockoutHandler,
                        request=request,
                        username=str(credentials.get("username") or ""),
                        address=address,
                        by=by,
                        failures=count,
                    )

    def user_logged_in(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Forget the failures of this name at this address."""
        username = _folded({"username": user.get_username()})
        _rows(network_of(request.axes_ip_address)).filter(username=username).delete()

    def user_logged_out(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Do nothing: the audit records sign-outs."""

    def reset_attempts(
        self,
        *,
        ip_address: str | None = None,
        username: str | None = None,
        ip_or_username: bool = False,
    ) -> int:
        """Unlock names and addresses, as axes' commands ask; return how many rows are removed.

        Raises `CommandError` for a text that is no address: it would unlock the unknown one.
        """
        if ip_address is not None and addresses.parse(ip_address) is None:
            raise CommandError(f"{ip_address!r} is no address. Nothing is unlocked for it.")
        by_address = {} if ip_address is None else {"ip_address": network_of(ip_address)}
        by_name = {} if username is None else {"username": _folded({"username": username})}
        rows = AccessAttempt.objects.filter(user_agent="")
        if ip_or_username and by_address and by_name:
            rows = rows.filter(**by_address) | rows.filter(**by_name)
        else:
            rows = rows.filter(**by_address, **by_name)
        with transaction.atomic():
            count = int(rows.delete()[0])
            if count:
                signals.sign_in_unlocked.send(
                    LockoutHandler,
                    username=username or "",
                    address=by_address.get("ip_address", ""),
                )
        return count


def network_of(address: str | None) -> str:
    """Return what is locked for an address: itself, of IPv6 the first of its network."""
    parsed = addresses.parse(address or "")
    if parsed is None:
        return _UNKNOWN
    if parsed.version == 4:
        return str(parsed)
    network = ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False)
    return str(network.network_address)


def _folded(credentials: dict[str, Any] | None) -> str:
    """Return the name as Django's sign-in form compares it; accounts differ by case."""
    username = str((credentials or {}).get("username") or "")
    return unicodedata.normalize("NFKC", username).strip()[:_MAX_NAME_LENGTH]


def _lock_time() -> Any:
    return settings.AXES_COOLOFF_TIME


def _rows(address: str) -> QuerySet[Any]:
    """Return the rows of names at an address."""
    rows: QuerySet[Any] = AccessAttempt.objects.filter(ip_address=address, user_agent="")
    return rows


def _failures(username: str, address: str, now: datetime) -> list[_Failures]:
    """Return what counts for this name at this address: at most some `ADDRESS_LIMIT` rows."""
    rows = _rows(address).filter(attempt_time__gt=now - _lock_time())
    if address == _UNKNOWN:
        rows = rows.filter(username=username)
    return [
        _Failures(*row)
        for row in rows.values_list("username", "failures_since_start", "attempt_time")
    ]


def _locked_until(failures: Sequence[_Failures], username: str) -> datetime | None:
    """Return when the name may try again at the address; None if it may now."""
    ends = [
        row.last_at
        for row in failures
        if row.username == username and row.count >= settings.AXES_FAILURE_LIMIT
    ]
    total = sum(row.count for row in failures)
    for row in sorted(failures, key=lambda row: row.last_at):
        if total < ADDRESS_LIMIT:
            break
        total -= row.count
        ends.append(row.last_at)
    return max(ends) + _lock_time() if ends else None


def _add_failure(username: str, address: str, now: datetime) -> None:
    """Add one to the failures of a name at an address; the same statements for every name.

    The caller opens the transaction. Until it ends, others who add at this address wait.
    """
    name_row = {"username": username, "user_agent": ""}
    empty = {"ip_address": address, "failures_since_start": 0}
    AccessAttempt.objects.bulk_create(
        [AccessAttempt(**row, **empty) for row in (_ADDRESS_ROW, name_row)], ignore_conflicts=True
    )
    AccessAttempt.objects.filter(ip_address=address, **_ADDRESS_ROW).update(attempt_time=now)
    # Failures that count no more are not added to.
    is_over = When(attempt_time__lte=now - _lock_time(), then=Value(1))
    _rows(address).filter(username=username).update(
        failures_since_start=Case(is_over, default=F("failures_since_start") + 1),
        attempt_time=now,
    )
