"""The votes of several people, where a policy needs more than one (wire.md, 3.6).

A part of `hitl.services`: the update that counts a vote also refuses it once the request has
ended.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F

from hitl.actors import Actor, person_key
from hitl.audit import request_record
from hitl.models import ApprovalRequest, Vote


class AlreadyVoted(Exception):
    """This person has voted already; the transaction must be rolled back."""


class VotesDiffer(Exception):
    """Votes are counted that no record vouches for; the transaction must be rolled back."""


def has_voted(request: ApprovalRequest, actor: Actor) -> bool:
    """Say whether the actor has voted for the request: one person has one vote in it."""
    return request.approvals > 0 and request.votes.filter(person=person_key(actor.id)).exists()


def add(request: ApprovalRequest, actor: Actor, now: datetime) -> bool:
    """Add the actor's vote if the request still is pending as it was read; say whether it was.

    Needs a transaction: the row stays locked until that ends, so votes are counted one after
    the other. Raises `AlreadyVoted` for the second of two that the same person sends in the same
    moment, and `VotesDiffer` if somebody changed the votes since they were compared with the audit;
    the transaction must then be rolled back.
    """
    pending = ApprovalRequest.objects.undecided_at(now).filter(pk=request.pk)
    if not pending.filter(escalated_at=request.escalated_at).update(approvals=F("approvals") + 1):
        return False
    _, is_new = Vote.objects.get_or_create(
        request=request,
        person=person_key(actor.id),
        defaults={
            "user_id": actor.id,
            "role": actor.role,
            "channel": actor.channel,
            "voted_at": request.not_before_opening(now),
        },
    )
    if not is_new:
        raise AlreadyVoted
    request.refresh_from_db(fields=["approvals"])
    if not request_record.are_votes_recorded(request, without=person_key(actor.id)):
        raise VotesDiffer
    return True


def vote_details(request: ApprovalRequest) -> dict[str, Any]:
    """Return the votes so far as audit details."""
    voters = list(request.votes.values_list("user_id", flat=True))
    return {"approvals": len(voters), "votes": voters} if voters else {}
