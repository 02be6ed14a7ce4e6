"""Counters of this process since it started, for `/metrics`."""

from __future__ import annotations

from prometheus_client import Counter

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
checkpoint_failures = Counter(
    "hitl_checkpoint_failures", "Checkpoints not made, or not written outside the database."
)
