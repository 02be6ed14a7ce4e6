"""A chain is walked to its head, and its length, its head and its checkpoints are reported."""

from __future__ import annotations

import pytest

from hitl.audit import checkpoints, verify
from hitl.audit import record as audit_record
from tests.integration.chains import chain_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_verify_of_an_untouched_chain_returns_its_length_and_head() -> None:
    *_, last = chain_of(5)

    holds = verify.verify("tenant1")

    assert isinstance(holds, verify.IntactChain)
    assert (holds.records, holds.head, holds.vouched) == (5, last.hash, 0)
    assert len(holds.notes) == 1  # no checkpoint vouches for it


def test_verify_of_an_empty_chain_holds() -> None:
    holds = verify.verify("nobody")

    assert isinstance(holds, verify.IntactChain)
    assert (holds.records, holds.head) == (0, audit_record.GENESIS)


def test_verify_reads_in_batches_and_reports_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_BATCH_SIZE", 2)
    chain_of(5)
    progress: list[tuple[int, int]] = []

    holds = verify.verify("tenant1", progress=lambda done, of: progress.append((done, of)))

    assert isinstance(holds, verify.IntactChain)
    assert progress == [(2, 5), (4, 5), (5, 5)]


def test_verify_returns_the_last_record_a_checkpoint_vouches_for() -> None:
    chain_of(3)
    checkpoints.sign_head("tenant1")
    chain_of(2)

    holds = verify.verify("tenant1")

    assert isinstance(holds, verify.IntactChain)
    assert (holds.records, holds.vouched, holds.notes) == (5, 3, ())
