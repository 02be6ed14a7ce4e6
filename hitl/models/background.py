"""Rows of the background: turns of chores, and answers to requests that may be repeated."""

from __future__ import annotations

from django.db import models


class Chore(models.Model):
    """When a chore is due next; one process takes each turn."""

    name = models.CharField(max_length=64, unique=True)
    due_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class KeptAnswer(models.Model):
    """The answer to a request that carried an Idempotency-Key; `status` is 0 until it is there."""

    tenant_id = models.CharField(max_length=255)
    user_id = models.CharField(max_length=255)
    endpoint = models.CharField(max_length=32)
    key = models.CharField(max_length=255)
    payload_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(default="")
    # By the deployment's key over all of the above; empty in those of the version before.
    signature = models.TextField(default="", db_default="")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant_id", "user_id", "endpoint", "key"], name="kept_answer_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.key}"
