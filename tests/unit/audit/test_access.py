"""Who may read and sign which chain, and the name they act in."""

from __future__ import annotations

from django.test import RequestFactory

from dwp_project.gateway.operators import Operator
from hitl.audit import access
from hitl.states import ActorKind, Channel

MEMBER = Operator("desk", False, {"tenant2": "viewer", "tenant1": "admin"})
ROOT = Operator("root", True, {"tenant1": "approver"})


def test_member_reads_the_chains_of_their_tenants_in_whatever_role() -> None:
    assert access.readable_chains(MEMBER) == ["tenant1", "tenant2"]


def test_member_signs_the_chains_of_tenants_they_administer() -> None:
    assert access.signable_chains(MEMBER) == ["tenant1"]


def test_superuser_reads_and_signs_the_deployments_chain_and_no_other_tenants() -> None:
    assert access.readable_chains(ROOT) == ["tenant1", ""]
    assert access.signable_chains(ROOT) == [""]


def test_reader_acts_in_the_role_they_have_in_the_chains_tenant() -> None:
    request = RequestFactory().get("/admin/", REMOTE_ADDR="10.1.2.3")

    actor = access.reader_actor(MEMBER, "tenant2", request)

    assert (actor.id, actor.tenant_id, actor.role) == ("desk", "tenant2", "viewer")
    assert (actor.kind, actor.channel) == (ActorKind.OPERATOR, Channel.ADMIN)
    assert actor.address == "10.1.2.3"
    assert access.reader_actor(ROOT, "", request).role == ""
