"""What is pending in the tenants that open pages follow, read once for all pages of a process.

A tenant is read when the channel layer says that something has changed, when a request expires, and
at least every ten seconds, because the layer may drop messages. That takes three statements at
most, and one if nothing has changed, however many pages follow the tenant.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.gateway.errors import DatabaseAway
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from hitl.approvals import escalation
from hitl.desk import live
from hitl.models import ApprovalRequest, Policy, Vote
from hitl.states import Status

logger = get_logger(__name__)

# No page is older than this, whatever the channel layer drops. Chosen (ADR 0031).
MAX_AGE_SECONDS = 10.0
# Changes come in bursts: wait for the rest of one, and read no more often than this. Chosen.
DEBOUNCE_SECONDS = 0.15
BETWEEN_READS_SECONDS = 0.8
# Read this long after a request's last moment, so that it has expired. Chosen.
_AFTER_EXPIRY_SECONDS = 0.05
# While a request that is to escalate has not done so yet, and after a failure. Chosen.
_AGAIN_SECONDS = 1.0
# A tenant that is not read for so long is not up to date: a read may take two seconds. Chosen.
_STALE_SECONDS = MAX_AGE_SECONDS + 2.0
# Chosen: leaving the channel layer takes two seconds at most.
_CLOSE_SECONDS = 3.0
# How long a new page waits for the first reading of a tenant. Chosen.
_FIRST_SECONDS = 10.0
# Contexts may be large: so many rows are read whole at once, and the others in the next reading.
# Chosen: more than change at once by hand.
MAX_WHOLE_ROWS = 500
# People go from page to page: a tenant is kept so long after its last page has gone. Chosen.
KEPT_SECONDS = 30.0

# By what a reading sees that a pending request has changed: votes, escalation, end of the term.
State = tuple[int, datetime | None, datetime]


@dataclass(frozen=True, slots=True, eq=False)
class BoardEntry:
    """A request as it was read last, who has voted on it, and whether it can still be decided."""

    request: ApprovalRequest
    # The keys of the persons who have voted.
    voters: frozenset[str] = frozenset()
    is_pending: bool = True
    read_at: float = field(default_factory=time.monotonic)
    _texts: dict[Hashable, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def state(self) -> State:
        """Return what changes while the request is pending."""
        request = self.request
        return request.approvals, request.escalated_at, request.expires_at

    def without_context(self) -> BoardEntry:
        """Return an entry that does not keep the context in memory."""
        request = copy.copy(self.request)
        request.__dict__.pop("context_text", None)
        return BoardEntry(request, self.voters, self.is_pending)

    def text(self, kind: Hashable, make: Callable[[], str]) -> str:
        """Return what `make` returns, made once for all pages that show the same `kind` of it."""
        with self._lock:
            if kind not in self._texts:
                self._texts[kind] = make()
            return self._texts[kind]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reading found: the entries that are new, changed or gone, and whether there may be
    more of them."""

    entries: dict[int, BoardEntry]
    is_partial: bool = False


def read(tenant_id: str, known: Mapping[int, BoardEntry] | None, now: datetime) -> Reading:
    """Read what has changed in a tenant since `known`; three statements at most.

    With `known` None, everything is new, and the entries have no contexts.
    """
    pending = ApprovalRequest.objects.filter(tenant_id=tenant_id).undecided_at(now).order_by()
    if known is None:
        return Reading(_read_all(pending))
    states = {
        pk: tuple(state)
        for pk, *state in pending.values_list("pk", "approvals", "escalated_at", "expires_at")
    }
    gone = [pk for pk in known if pk not in states]
    changed = [pk for pk, state in states.items() if pk not in known or known[pk].state != state]
    wanted = [*gone, *changed][:MAX_WHOLE_ROWS]
    if not wanted:
        return Reading({})
    requests = _shared_policies(
        ApprovalRequest.objects.filter(pk__in=wanted).select_related("policy").order_by()
    )
    voted_on = [request.pk for request in requests if request.approvals]
    voters = _voters(Vote.objects.filter(request__in=voted_on)) if voted_on else {}
    entries = {}
    for request in requests:
        # It may have been decided since the first statement.
        is_pending = request.status == Status.PENDING and request.expires_at > now
        if not is_pending and (request.pk not in known or _is_to_escalate(request, now)):
            continue
        entries[request.pk] = BoardEntry(request, voters.get(request.pk, frozenset()), is_pending)
    for pk in known.keys() & set(wanted) - {request.pk for request in requests}:
        # It is not even in the database: a backup was restored.
        entries[pk] = BoardEntry(known[pk].request, is_pending=False)
    # What is about to escalate is read again after a pause.
    is_partial = bool(entries) and len(wanted) < len(gone) + len(changed)
    return Reading(entries, is_partial)


def _read_all(pending: QuerySet[ApprovalRequest]) -> dict[int, BoardEntry]:
    requests = _shared_policies(pending.select_related("policy").defer("context_text"))
    voted_on = pending.filter(approvals__gt=0)
    voters = _voters(Vote.objects.filter(request__in=voted_on))
    return {
        request.pk: BoardEntry(request, voters.get(request.pk, frozenset())) for request in requests
    }


def _shared_policies(requests: QuerySet[ApprovalRequest]) -> list[ApprovalRequest]:
    """Return the requests, with one object for each policy and not for each request."""
    rows = list(requests)
    policies: dict[int, Policy] = {}
    for row in rows:
        if row.policy is not None:
            row.policy = policies.setdefault(row.policy.pk, row.policy)
    return rows


def _voters(votes: QuerySet[Vote]) -> dict[int, frozenset[str]]:
    voters: dict[int, set[str]] = defaultdict(set)
    for pk, person in votes.order_by().values_list("request_id", "person"):
        voters[pk].add(person)
    return {pk: frozenset(persons) for pk, persons in voters.items()}


def _is_to_escalate(request: ApprovalRequest, now: datetime) -> bool:
    """Say whether the clock is about to give the request to another role: it stays listed."""
    return request.status == Status.PENDING and escalation.is_due(request, now)


class Follower:
    """A page that follows some tenants: `wake` is set when there are changes to take."""

    def __init__(self, tenants: list[TenantBoard], wake: asyncio.Event) -> None:
        self.wake = wake
        self._tenants = tenants
        self._changed: dict[int, BoardEntry] = {}

    @property
    def is_current(self) -> bool:
        """Say whether what this page knows is what the database says."""
        return all(tenant.is_current for tenant in self._tenants)

    def entries(self) -> dict[int, BoardEntry]:
        """Return what is pending in the tenants, and forget the changes up to now."""
        self._changed.clear()
        return {pk: one for tenant in self._tenants for pk, one in tenant.entries.items()}

    def entry(self, pk: int) -> BoardEntry | None:
        """Return the entry of a request that is pending; None if it is not."""
        entries = (tenant.entries.get(pk) for tenant in self._tenants)
        return next(filter(None, entries), None)

    def take_changed(self) -> dict[int, BoardEntry]:
        """Return what is new, changed or gone since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def tell(self, changed: Mapping[int, BoardEntry]) -> None:
        """Add changes, and wake the page."""
        self._changed.update(changed)
        self.wake.set()


class TenantBoard:
    """What is pending in one tenant, kept up to date by a task as long as pages follow it."""

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        # Without contexts.
        self.entries: dict[int, BoardEntry] = {}
        self.followers: set[Follower] = set()
        self.is_read = asyncio.Event()
        self.forgetting: asyncio.TimerHandle | None = None
        self._has_failed = False
        self._read_at = 0.0
        self._task = asyncio.create_task(self._keep(), name="desk-board")

    @property
    def is_current(self) -> bool:
        """Say whether the last reading succeeded, and not long ago."""
        return not self._has_failed and time.monotonic() - self._read_at < _STALE_SECONDS

    async def close(self) -> None:
        """Stop reading."""
        self._task.cancel()
        await asyncio.wait([self._task], timeout=_CLOSE_SECONDS)

    async def _keep(self) -> None:
        async with live.listen([self.tenant_id]) as changed:
            while True:
                try:
                    is_partial = await self._read()
                except DATABASE_AWAY as exc:
                    logger.warning("database_away", error=str(exc).strip())
                    self._has_failed = True
                except Exception:
                    # Its pages say that they are not up to date, and the next read may succeed.
                    logger.exception("board_not_read")
                    self._has_failed = True
                else:
                    self._has_failed = False
                    if is_partial:
                        continue
                await self._pause(changed)

    async def _read(self) -> bool:
        known = self.entries if self.is_read.is_set() else None
        asked_at = time.monotonic()
        reading = await run_sync(read, self.tenant_id, known, clocks.estimate())
        self._read_at = asked_at
        self.is_read.set()
        if reading.entries:
            for pk, entry in reading.entries.items():
                if entry.is_pending:
                    self.entries[pk] = entry.without_context()
                else:
                    self.entries.pop(pk, None)
            for follower in self.followers:
                follower.tell(reading.entries)
        return reading.is_partial

    async def _pause(self, changed: asyncio.Event) -> None:
        """Sleep until something may have changed."""
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_to_read()):
                await changed.wait()
                await asyncio.sleep(DEBOUNCE_SECONDS)
        if changed.is_set():
            # However busy the tenant is, it costs the database little.
            await asyncio.sleep(max(0.0, BETWEEN_READS_SECONDS - (time.monotonic() - began)))
        changed.clear()

    def _seconds_to_read(self) -> float:
        if self._has_failed:
            return _AGAIN_SECONDS
        now = clocks.estimate()
        expiries = [entry.request.expires_at for entry in self.entries.values()]
        seconds = MAX_AGE_SECONDS
        if coming := [at for at in expiries if at > now]:
            expiry = (min(coming) - now).total_seconds() + _AFTER_EXPIRY_SECONDS
            seconds = min(seconds, expiry)
        if len(coming) < len(expiries):
            seconds = min(seconds, _AGAIN_SECONDS)
        return seconds


class Board:
    """The tenants that pages of one event loop follow."""

    def __init__(self) -> None:
        self._tenants: dict[str, TenantBoard] = {}

    @asynccontextmanager
    async def follow(
        self, tenants: Collection[str], wake: asyncio.Event
    ) -> AsyncIterator[Follower]:
        """Yield a follower of `tenants`, each of which has been read; raise `DatabaseAway` if one
        cannot be."""
        followed = [self._tenant(tenant_id) for tenant_id in tenants]
        follower = Follower(followed, wake)
        for tenant in followed:
            tenant.followers.add(follower)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_SECONDS):
                    for tenant in followed:
                        await tenant.is_read.wait()
            if not all(tenant.is_read.is_set() for tenant in followed):
                raise DatabaseAway
            follower.take_changed()  # the first reading: the page has yet to look
            yield follower
        finally:
            for tenant in followed:
                tenant.followers.discard(follower)
                if not tenant.followers:
                    tenant.forgetting = asyncio.get_running_loop().call_later(
                        KEPT_SECONDS, self._forget, tenant
                    )

    async def close(self) -> None:
        """Stop reading; pages that are open hear of nothing new."""
        tenants, self._tenants = self._tenants, {}
        for tenant in tenants.values():
            if tenant.forgetting is not None:
                tenant.forgetting.cancel()
            await tenant.close()

    def _tenant(self, tenant_id: str) -> TenantBoard:
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            tenant = self._tenants[tenant_id] = TenantBoard(tenant_id)
        if tenant.forgetting is not None:
            tenant.forgetting.cancel()
            tenant.forgetting = None
        return tenant

    def _forget(self, tenant: TenantBoard) -> None:
        if not tenant.followers and self._tenants.get(tenant.tenant_id) is tenant:
            del self._tenants[tenant.tenant_id]
            closing = asyncio.ensure_future(tenant.close())
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)


# Keeps the tasks from being collected while they run.
_closing: set[asyncio.Future[None]] = set()
_boards: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Board] = weakref.WeakKeyDictionary()


def board() -> Board:
    """Return the running event loop's board; the first call makes it."""
    return _boards.setdefault(asyncio.get_running_loop(), Board())
