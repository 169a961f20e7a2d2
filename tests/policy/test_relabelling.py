"""Operations of the policy that change security labels: not for whom labels bound."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.fhir.fields import parse_field
from smart_gateway.policy.model import OpenedOperation, OperationAnswer
from smart_gateway.policy.plan import Permit
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.labelling import LabelRule, Raise
from smart_gateway.policy.rules.whom import Whom
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, policy

READS = Permission.READ | Permission.SEARCH
VIP = "http://acme.example/labels|VIP"
OTHERS = Whom(clients=frozenset({"other"}))


def hiding(type: str = "Patient", *, labelled: tuple[str, ...] | None = (VIP,), whom: Whom | None = None) -> FieldRule:
    return FieldRule(type, READS, hide=(parse_field("name"),), labelled=labelled, **({} if whom is None else {"whom": whom}))


def writing(*, only: str | None = None, keep: str | None = None, type: str = "Patient", permissions: str = "u") -> FieldRule:
    return FieldRule(
        type,
        Permission.of(permissions) or Permission.UPDATE,
        only=(parse_field(only),) if only is not None else None,
        keep=(parse_field(keep),) if keep is not None else (),
    )


def opening(name: str) -> tuple[OpenedOperation, ...]:
    levels, methods = frozenset({"instance", "type", "system"}), frozenset({"GET"})
    plain, answer = frozenset({"__relabel"}), OperationAnswer.FILTER
    return (OpenedOperation(name, levels, methods, plain=plain, parameters={"meta": False}, answer=answer),)


@pytest.mark.parametrize("operation", ["$meta-add", "$meta-delete"])
@pytest.mark.parametrize("target", ["/Patient/p/{}", "/Patient/{}", "/{}"])
@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({"labels": (LabelRule(LabelLimit("N", "N")),)}, "labels"),
        ({"labels": (LabelRule(LabelLimit(forbidden=(VIP,)), permissions=READS, path=("labels", 0)),)}, "labels[0]"),
        ({"labels": (LabelRule(LabelLimit(required=(VIP,)), permissions=Permission.DELETE),)}, "labels"),
        ({"labels": (LabelRule(LabelLimit("N"), types=frozenset({"Observation"})),)}, "labels"),
        ({"labels": (LabelRule(LabelLimit("N"), raised_by=(Raise("__relabel", "R"),)),)}, "labels"),
        ({"fields": (hiding(),)}, "fields"),
        ({"fields": (hiding("Observation"),)}, "fields"),
        ({"fields": (writing(keep="meta.security"),)}, "fields"),
        ({"fields": (writing(keep="meta", type="*"),)}, "fields"),
        ({"fields": (writing(only="name"),)}, "fields"),
    ],
)
def test_whom_labels_bound_changes_none(operation: str, target: str, rules: dict[str, object], rule: str) -> None:
    under = policy(operations=opening(operation), **rules)
    refusal = denied(decide("GET", target.format(operation), "user/*.cruds __relabel", under=under, fhir_user="Practitioner/d"))
    [cause] = refusal.causes
    assert (refusal.status, cause.code) == (403, "element-not-writable")
    assert operation in cause.text
    assert not refusal.missing
    assert rule in {ground.rule for ground in refusal.grounds if ground.result == "denies"}


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"labels": (LabelRule(LabelLimit("N", "N"), whom=OTHERS), LabelRule(LabelLimit()))},
        {"labels": (LabelRule(LabelLimit("N", "N"), raised_by=(Raise("__relabel", "V"),)),)},
        {"fields": (hiding(whom=OTHERS),)},
        {"fields": (hiding(labelled=None),)},
        {"fields": (writing(keep="name"),)},
        {"fields": (writing(only="meta"),)},
        {"fields": (writing(keep="meta.tag"),)},
        {"fields": (writing(keep="meta.security", type="Observation"), writing(keep="meta.security", permissions="c"))},
    ],
)
def test_others_may(rules: dict[str, object]) -> None:
    under = policy(operations=opening("$meta-delete"), **rules)
    target = "/Patient/p/$meta-delete"
    assert isinstance(decide("GET", target, "user/*.cruds __relabel", under=under, fhir_user="Practitioner/d"), Permit)


def test_other_operations_are_no_matter_of_labels() -> None:
    under = policy(operations=opening("$my-op"), labels=(LabelRule(LabelLimit("N", "N")),))
    assert isinstance(decide("GET", "/Patient/p/$my-op", "user/*.cruds __relabel", under=under, fhir_user="Practitioner/d"), Permit)
