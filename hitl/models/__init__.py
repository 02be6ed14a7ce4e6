"""The tables: requests and votes, policies, signals to send, audit records."""

from hitl.models.audit import AuditChain, AuditCheckpoint, AuditRecord
from hitl.models.background import Chore, KeptAnswer
from hitl.models.delivery import OutboxEntry, OutboxQuerySet, RelayLease
from hitl.models.inbox_views import InboxView
from hitl.models.policies import Policy, PolicyQuerySet, RejectionReason
from hitl.models.requests import (
    ID_PATTERN,
    ApprovalRequest,
    ApprovalRequestQuerySet,
    SessionOwner,
    Vote,
    is_id,
)

__all__ = [
    "ID_PATTERN",
    "ApprovalRequest",
    "ApprovalRequestQuerySet",
    "AuditChain",
    "AuditCheckpoint",
    "AuditRecord",
    "Chore",
    "InboxView",
    "KeptAnswer",
    "OutboxEntry",
    "OutboxQuerySet",
    "Policy",
    "PolicyQuerySet",
    "RejectionReason",
    "RelayLease",
    "SessionOwner",
    "Vote",
    "is_id",
]
