"""The accounts whose tokens keep streams open: asked for together, however many streams there are.

A stream stays open for hours, and its token follows its account (docs/reference/wire.md, 1): it is
cut once the account has ended.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.stdlib import get_logger

from dwp_project.gateway import accounts
from dwp_project.gateway.tokens import Claims
from dwp_project.offload import run_sync

logger = get_logger(__name__)

# How often the accounts are asked for. Chosen: a dismissal ends streams within a minute.
ACCOUNT_SECONDS = 30.0
# How many one statement asks for. Chosen: it takes some milliseconds.
_SLICE = 500


class FollowedAccounts:
    """The accounts that are followed in one event loop."""

    def __init__(self) -> None:
        self._lifetimes: dict[accounts.Followed, set[asyncio.Timeout]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def follow(self, claims: Claims, lifetime: asyncio.Timeout) -> Iterator[None]:
        """Let `lifetime`, a block that is entered, expire once the token's account has ended."""
        if claims.account is None:
            yield
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="followed-accounts")
        account = accounts.followed_by(claims)
        lifetimes = self._lifetimes[account]
        lifetimes.add(lifetime)
        try:
            yield
        finally:
            lifetimes.discard(lifetime)
            if not lifetimes and self._lifetimes.get(account) is lifetimes:
                del self._lifetimes[account]

    async def ask(self) -> None:
        """Ask for all accounts that are followed now, and end the streams of those that ended."""
        followed = list(self._lifetimes)
        for start in range(0, len(followed), _SLICE):
            ended = await run_sync(accounts.ended, followed[start : start + _SLICE])
            for account in ended:
                for lifetime in self._lifetimes.pop(account, ()):
                    if not lifetime.expired():
                        lifetime.reschedule(asyncio.get_running_loop().time())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ACCOUNT_SECONDS)
            if not self._lifetimes:
                return  # the next stream starts it again
            try:
                await self.ask()
            except Exception as exc:
                # A database that is away cuts no stream, and the next round asks again.
                logger.warning("accounts_not_read", error=str(exc).strip())


_followed: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, FollowedAccounts] = (
    weakref.WeakKeyDictionary()
)


def followed_accounts() -> FollowedAccounts:
    """Return the followed accounts of the running event loop; the first call makes them."""
    return _followed.setdefault(asyncio.get_running_loop(), FollowedAccounts())
