"""Counters of this process since it started, and what it saw last, for `/metrics`."""

from __future__ import annotations

import math
from datetime import datetime

from prometheus_client import Counter, Gauge

from dwp_project import clocks

adopted_requests = Counter("hitl_requests_adopted", "Requests that agents wrote to Redis, adopted.")
malformed_requests = Counter(
    "hitl_requests_malformed", "Values under hitl:request:* in Redis that are no request, refused."
)
contradicted_requests = Counter(
    "hitl_requests_contradicted", "Values in Redis that contradict an adopted request, ignored."
)
ended_requests = Counter("hitl_requests_ended", "Requests that left pending.", ["status"])
signals = Counter("hitl_signals", "Attempts to send a signal, by what came of them.", ["outcome"])
blocked_records = Counter(
    "hitl_audit_records_blocked", "Audit records refused because their number was taken."
)
unvouched_signals = Counter(
    "hitl_signals_not_vouched_for", "Entries of the outbox whose decision the audit does not have."
)
checkpoint_failures = Counter(
    "hitl_checkpoint_failures", "Checkpoints not made, or not written outside the database."
)

clock_skew = Gauge(
    "dwp_clock_skew_seconds",
    "By how much this host's clock is ahead of the database's or of Redis's; NaN until this "
    "process has read it.",
    ["of"],
)

# When the oldest record was written that no checkpoint outside vouches for; None without one.
_unvouched: dict[str, datetime | None] = {}


def set_unvouched(tenant_id: str, oldest_at: datetime | None) -> None:
    """Note when the oldest record of a chain was written that no trusted checkpoint vouches for."""
    _unvouched[tenant_id] = oldest_at


def _unvouched_seconds() -> float:
    if not _unvouched:
        return math.nan
    now = clocks.estimate().timestamp()
    ages = [now - each.timestamp() for each in list(_unvouched.values()) if each]
    return max(0.0, *ages) if ages else 0.0


unvouched_seconds = Gauge(
    "hitl_audit_unvouched_seconds",
    "Age of the oldest audit record that no trusted checkpoint outside the database vouches for; "
    "NaN until this process has looked.",
)
unvouched_seconds.set_function(_unvouched_seconds)

# Set by the process that made the comparison, so that an alarm takes the highest of all processes.
audit_differences = Gauge(
    "hitl_audit_differences", "Rows that differ from the audit, by the last comparison.", ["kind"]
)
audit_compared_at = Gauge(
    "hitl_audit_compared_timestamp_seconds", "When all tables were last compared with the audit."
)
