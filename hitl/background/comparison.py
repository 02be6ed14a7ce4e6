"""Compares the tables with the audit once a day, and writes the baseline of what an older version
left without a record."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from structlog.stdlib import get_logger

from dwp_project.offload import run_background
from dwp_project.outages import DATABASE_AWAY
from hitl import metrics
from hitl.audit import baseline, compare
from hitl.audit.difference import ComparedKind
from hitl.background import chores
from hitl.background.chores import Chore

logger = get_logger(__name__)

# How often to look whether it is due. Chosen: it comes daily.
_LOOK_SECONDS = 30.0
# Whoever takes the turn does the work afterwards, in steps: the clock must not wait for it.
_TURN = Chore("compare-audit", timedelta(days=1), lambda: 0)
# Chosen: a log line that names more is not read.
_MAX_LOGGED = 10


async def run() -> None:
    """Compare what there is once a day, until cancelled; one of all processes does it.

    Goes on when a database that was away is back. A comparison that is cut short is done anew a
    day later.
    """
    while True:
        try:
            if await run_background(chores.do, _TURN):
                await _take_steps()
        except Exception as exc:
            logger.warning("comparison_waits", error=str(exc).strip())
        await asyncio.sleep(_LOOK_SECONDS)


async def _take_steps() -> None:
    remaining = steps()
    while True:
        began_at = time.monotonic()
        if await run_background(next, remaining, "over") == "over":
            return
        # Half of the time is left to everybody else.
        await asyncio.sleep(time.monotonic() - began_at)


def steps() -> Iterator[None]:
    """Compare all tenants, a step at a time; after the last, log and count what differs."""
    differing = Counter[ComparedKind]()
    # The deployment's own chain last: its baseline says that every tenant has one.
    for tenant_id in sorted(compare.tenants(), key=lambda tenant_id: (not tenant_id, tenant_id)):
        result = compare.ComparedTenant(tenant_id)
        try:
            for piece in baseline.pieces(tenant_id):
                piece()
                yield
            for compared in compare.compare(tenant_id):
                result.add(compared)
                yield
        except (*DATABASE_AWAY, GeneratorExit):
            raise
        except Exception as exc:
            # Whatever is wrong with one chain, the other tenants are compared.
            logger.error("audit_not_compared", tenant=tenant_id, error=str(exc).strip())
        differing.update(result.differing)
        if result.differing:
            logger.error(
                "audit_differs",
                tenant=tenant_id,
                count=sum(result.differing.values()),
                differences=[str(each) for each in result.differences[:_MAX_LOGGED]],
            )
    for kind in ComparedKind:
        metrics.audit_differences.labels(kind.value).set(differing[kind])
    metrics.audit_compared_at.set_to_current_time()
