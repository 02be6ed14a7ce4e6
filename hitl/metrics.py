"""Counters of this process since it started, and what it saw last, for `/metrics`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

adopted_requests = Counter("hitl_requests_adopted", "Requests that agents wrote to Redis, adopted.")
malformed_requests = Counter(
    "hitl_requests_malformed", "Values under hitl:request:* in Redis that are no request, refused."
)
contradicted_requests = Counter(
    "hitl_requests_contradicted", "Values in Redis that contradict an adopted request, ignored."
)
ended_requests = Counter("hitl_requests_ended", "Requests that left pending.", ["status"])
signals = Counter("hitl_signals", "Attempts to send a signal, by what came of them.", ["outcome"])
unvouched_signals = Counter(
    "hitl_signals_not_vouched_for", "Entries of the outbox whose decision the audit does not have."
)
checkpoint_failures = Counter(
    "hitl_checkpoint_failures", "Checkpoints not made, or not written outside the database."
)
# Set by the process that made the comparison, so that an alarm takes the highest of all processes.
audit_differences = Gauge(
    "hitl_audit_differences", "Rows that differ from the audit, by the last comparison.", ["kind"]
)
audit_compared_at = Gauge(
    "hitl_audit_compared_timestamp_seconds", "When all tables were last compared with the audit."
)
