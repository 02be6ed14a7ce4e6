"""One chain is verified at a time in a process, for as long as somebody watches."""

from __future__ import annotations

import pytest

from hitl.audit import verify, verify_job
from hitl.models import AuditRecord
from tests import factories
from tests.integration.chains import chain_of
from tests.people import OUTSIDER

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_one_chain_is_verified_at_a_time_and_watched_by_many() -> None:
    chain_of(1)
    actor, other = factories.actor(), factories.actor(OUTSIDER)
    job, is_new = verify_job.begin(actor)
    try:
        assert is_new
        assert verify_job.begin(actor) == (job, False)
        with pytest.raises(verify_job.Busy):
            verify_job.begin(other)
    finally:
        verify_job.run(job)
    assert job.result is not None
    following, is_new = verify_job.begin(other)
    assert is_new
    verify_job.run(following)


def test_job_that_is_stopped_or_unwatched_ends_without_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "_BATCH_SIZE", 1)
    chain_of(3)
    for end in ("stop", "leave"):
        job, _is_new = verify_job.begin(factories.actor())
        if end == "stop":
            job.stop()
        else:
            monkeypatch.setattr(verify_job, "_UNWATCHED_SECONDS", -1.0)
        verify_job.run(job)
        assert (job.is_over, job.result) == (True, None)
    assert AuditRecord.objects.count() == 3
