"""Clients of certain Groups: what they may touch of them, and which exports they may start (semantics 8)."""

from __future__ import annotations

import pytest

from smart_gateway.policy.access import Access
from smart_gateway.policy.exports.jobs import ExportFile, ExportJob, FileKind
from smart_gateway.policy.exports.planning import plan_opened_file, plan_opened_job
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.plan import Deny, Permit
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, policy, principal, sent

ALL = "system/*.cruds"


def under(*groups: str) -> Policy:
    return policy(clients={"backend": ClientRule(system_role=True, groups=frozenset(groups))})


@pytest.mark.parametrize("scope", [ALL, "system/*.rs", "system/Group.rs system/Patient.rs system/Observation.rs"])
@pytest.mark.parametrize(
    ("target", "permitted"),
    [
        ("/Group/a/$export?_type=Patient,Observation", True),
        ("/Group/b/$export?_type=Patient", True),
        ("/Group/c/$export?_type=Patient", False),
        ("/Patient/$export?_type=Patient", False),
        ("/$export?_type=Patient", False),
        ("/Group/a/$export?_type=Group", False),
    ],
)
def test_exports_are_of_its_groups_only(target: str, scope: str, *, permitted: bool) -> None:
    assert isinstance(decide("GET", target, scope, under=under("a", "b"), client_id="backend"), Permit) is permitted


@pytest.mark.parametrize("scope", ["system/Patient.rs", "system/Patient.rs system/Group.r", "system/Patient.rs system/Group.rs?code=x"])
def test_a_group_needs_the_scopes_all_the_same(scope: str) -> None:
    refusal = denied(decide("GET", "/Group/a/$export?_type=Patient", scope, under=under("a"), client_id="backend"))
    assert refusal.status == 403


def test_only_its_groups_are_there() -> None:
    access = Access(principal(ALL, client_id="backend"), under("a", "b"))
    assert not any(access.unlimited(permission) for permission in Permission)
    assert sent(decide("GET", "/Group", ALL, under=under("a", "b"), client_id="backend")) == "GET /Group?_id=a,b"
    assert denied(decide("GET", "/Group/c", ALL, under=under("a"), client_id="backend")).status == 404
    assert sent(decide("GET", "/Observation", ALL, under=under("a"), client_id="backend")) == "GET /Observation"
    assert Access(principal(ALL, client_id="backend"), under()).boundary("Group", Permission.READ).is_nothing
    assert denied(decide("GET", "/Group/a/$export?_type=Patient", ALL, under=under(), client_id="backend")).status == 403


@pytest.mark.parametrize(
    ("level", "group", "left", "opens"),
    [
        ("Group", "a", ("a", "b"), True),
        ("Group", "a", ("b",), False),
        ("Group", "a", (), False),
        ("Group", None, ("a",), False),
        ("Patient", None, ("a",), False),
        (None, None, ("a",), False),
    ],
)
def test_a_job_of_a_group_that_is_lost_is_closed(level: str | None, group: str | None, left: tuple[str, ...], *, opens: bool) -> None:
    """The policy was another one when the job was started."""
    job = ExportJob(("$export-poll-status",), (("_jobId", "1"),), frozenset({"Patient"}), level, group)
    access = Access(principal(ALL, client_id="backend"), under(*left))
    plans = [plan_opened_job(job, method, access) for method in ("GET", "DELETE")]
    plans += [plan_opened_file(ExportFile(job, FileKind.OUTPUT, "Patient"), method, access) for method in ("GET", "HEAD")]
    assert [isinstance(plan, Deny) for plan in plans] == [not opens] * 4
