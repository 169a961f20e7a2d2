"""Histories built anew from the versions that are inside (semantics 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from smart_gateway.answers.histories import ConfinedHistory, confine_history
from smart_gateway.answers.judging import Known, Pending
from smart_gateway.answers.links import LinkSealer
from smart_gateway.answers.masking import masked
from smart_gateway.answers.sealing import Sealer
from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.fields import parse_field
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import CheckHistory
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.scopes.permissions import Permission
from tests.support.asgi import NOW, PUBLIC, UPSTREAM, observation
from tests.support.deciding import BASES, DEFAULT, policy, principal

OWN = "patient/Observation.rs"


def access(scope: str = OWN, under: Policy = DEFAULT, **claims: Any) -> Access:
    return Access(principal(scope, **claims), under)


def version(number: str, patient: str = "123", id: str = "o1", **members: Any) -> dict[str, Any]:
    """An entry as HAPI makes it."""
    meta = {"versionId": number, "lastUpdated": f"2024-01-0{number}T00:00:00Z"}
    return {
        "fullUrl": f"{UPSTREAM}/Observation/{id}",
        "resource": observation(id, patient, meta=meta),
        "request": {"method": "POST" if number == "1" else "PUT", "url": f"Observation/{id}/_history/{number}"},
        "response": {"status": "201 Created" if number == "1" else "200 OK", "etag": f'W/"{number}"'},
        **members,
    }


def deletion(number: str = "9", id: str = "o1", type: str = "Observation") -> dict[str, Any]:
    return {
        "fullUrl": f"{UPSTREAM}/{type}/{id}",
        "request": {"method": "DELETE", "url": f"{type}/{id}/_history/{number}"},
        "response": {"status": "204", "etag": f'W/"{number}"', "lastModified": "2024-02-01T00:00:00Z"},
    }


def history(*entries: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    meta = {"lastUpdated": "2025-01-01T00:00:00Z"}
    return {"resourceType": "Bundle", "id": "b", "meta": meta, "type": "history", "total": len(entries), "entry": list(entries), **members}


def instance_rule(who: Access, id: str = "o1", type: str = "Observation") -> CheckHistory:
    return CheckHistory(type, id, who.boundary(type, Permission.READ))


def type_rule(who: Access, type: str = "Observation") -> CheckHistory:
    return CheckHistory(type, None, who.boundary(type, Permission.SEARCH))


SYSTEM = CheckHistory(None, None, None)


def confine(bundle: Mapping[str, Any] | bytes, rule: CheckHistory, who: Access, known: Known | None = None) -> ConfinedHistory | Pending:
    place = tuple(part for part in (rule.type, rule.id, "_history") if part is not None)
    links = LinkSealer(BASES, who.principal, Sealer([b"k" * 32], 900.0), "self", place, NOW, bytes)
    raw = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return confine_history(raw, rule, who, known or {}, links)


def left(bundle: Mapping[str, Any] | bytes, rule: CheckHistory, who: Access, known: Known | None = None) -> Any:
    """The Bundle that leaves."""
    made = confine(bundle, rule, who, known)
    assert isinstance(made, ConfinedHistory)
    found = json.loads(made.body)
    assert made.is_empty == ("entry" not in found)
    return found


def test_versions_that_moved_show_only_while_they_were_inside() -> None:
    who = access()
    found = left(history(deletion("4"), version("3"), version("2", "999"), version("1")), instance_rule(who), who)
    assert found == {
        "resourceType": "Bundle",
        "type": "history",
        "link": [{"relation": "self", "url": "self"}],
        "entry": [
            {
                "fullUrl": f"{PUBLIC}/Observation/o1",
                "resource": version("3")["resource"],
                "request": {"method": "PUT", "url": "Observation/o1"},
                "response": {"status": "200 OK", "etag": 'W/"3"', "lastModified": "2024-01-03T00:00:00Z"},
            },
            {
                "fullUrl": f"{PUBLIC}/Observation/o1",
                "resource": version("1")["resource"],
                "request": {"method": "POST", "url": "Observation/o1"},
                "response": {"status": "201 Created", "etag": 'W/"1"', "lastModified": "2024-01-01T00:00:00Z"},
            },
        ],
    }


def test_nothing_is_left_of_somebody_elses() -> None:
    who = access()
    made = confine(history(deletion(), version("1", "999")), instance_rule(who), who)
    assert isinstance(made, ConfinedHistory)
    assert (made.is_empty, made.removed) == (True, 2)


@pytest.mark.parametrize("bound", ["bounded", "everything"])
@pytest.mark.parametrize("stranger", [version("1", id="o2"), version("1", id="o1", resource={"resourceType": "Condition", "id": "o1"})])
def test_what_was_not_asked_for_goes(bound: str, stranger: dict[str, Any]) -> None:
    who = access(OWN if bound == "bounded" else "system/Observation.rs")
    found = left(history(version("2"), stranger), instance_rule(who), who)
    assert [entry["response"]["etag"] for entry in found["entry"]] == ['W/"2"']
    assert "total" not in found


def test_another_type_in_a_types_history_goes() -> None:
    who = access("system/Observation.rs system/Condition.rs")
    condition = {"resource": {"resourceType": "Condition", "id": "c"}, "request": {"method": "PUT", "url": "Condition/c"}, "response": {}}
    found = left(history(version("1"), condition, deletion(type="Condition")), type_rule(who), who)
    assert [entry["fullUrl"] for entry in found["entry"]] == [f"{PUBLIC}/Observation/o1"]


def test_over_all_types_each_is_judged_by_its_own() -> None:
    who = access("patient/Observation.s patient/Condition.r patient/Organization.s user/Practitioner.s", fhir_user="Practitioner/p")
    kinds = {
        "Observation": {"subject": {"reference": "Patient/123"}},
        "Condition": {"subject": {"reference": "Patient/123"}},  # needs s, and has r
        "Organization": {},
        "Practitioner": {},
        "Patient": {"id": "123"},
    }
    entries = [
        {"resource": {"resourceType": type, "id": "x", **members}, "request": {"method": "PUT", "url": f"{type}/x"}, "response": {}}
        for type, members in kinds.items()
    ]
    found = left(history(*entries, *(deletion(type=type) for type in kinds)), SYSTEM, who)
    shown = [(entry["request"]["method"], entry["request"]["url"]) for entry in found["entry"]]
    assert shown == [("PUT", "Observation/x"), ("PUT", "Organization/x"), ("PUT", "Practitioner/x"), ("DELETE", "Practitioner/o1")]


def test_where_the_whole_type_is_open_deletions_and_total_stay() -> None:
    who = access("system/Observation.rs")
    found = left(history(deletion("4"), version("3", "999")), instance_rule(who), who)
    assert found["total"] == 2
    assert found["entry"][0] == {
        "fullUrl": f"{PUBLIC}/Observation/o1",
        "request": {"method": "DELETE", "url": "Observation/o1"},
        "response": {"status": "204 No Content", "etag": 'W/"4"', "lastModified": "2024-02-01T00:00:00Z"},
    }


@pytest.mark.parametrize(
    "entry",
    [
        {"fullUrl": f"{UPSTREAM}/Observation/o1"},
        {"request": {"method": "DELETE"}},
        {"request": {"method": "DELETE", "url": "http://elsewhere.example/Observation/o1"}},
        {"request": {"method": "DELETE", "url": "Observation?code=secret"}},
        {"request": {"method": "DELETE", "url": "Observation/o2"}},
        {"request": {"method": "PUT", "url": "Observation/o1"}},
        {"request": "DELETE"},
        {"request": {"method": ["DELETE"], "url": "Observation/o1"}},
        {"resource": {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "secret"}]}},
        {"resource": {"resourceType": "Observation"}},
        {"resource": {"resourceType": "Nonsense", "id": "o1"}},
        {"resource": observation("o2"), "request": {"method": "DELETE", "url": "Observation/o1"}},
    ],
)
def test_entries_that_say_nothing_sure_go(entry: dict[str, Any]) -> None:
    who = access("system/Observation.rs")
    found = left(history(entry), instance_rule(who), who)
    assert "entry" not in found
    assert "total" not in found


def test_a_deletion_that_carries_a_resource_is_a_deletion() -> None:
    """Else the last version would show where deletions do not."""
    inside = version("2", request={"method": "DELETE", "url": "Observation/o1"})
    who = access()
    assert "entry" not in left(history(inside), instance_rule(who), who)
    who = access("system/Observation.rs")
    (entry,) = left(history(inside), instance_rule(who), who)["entry"]
    assert "resource" not in entry


def test_what_an_entry_says_of_its_version_is_checked() -> None:
    who = access()
    told = version(
        "2",
        fullUrl=f"{UPSTREAM}/Observation/secret",
        request={"method": {"secret": 1}, "url": "Observation/secret", "ifNoneExist": "secret", "extension": [{"url": "secret"}]},
        response={
            "status": "299 secret",
            "etag": 'W/"7"',
            "lastModified": "secret",
            "location": "http://secret",
            "outcome": {"x": "secret"},
        },
        search={"mode": "secret"},
        link=[{"relation": "secret", "url": "secret"}],
    )
    (entry,) = left(history(told), instance_rule(who), who)["entry"]
    assert entry == {
        "fullUrl": f"{PUBLIC}/Observation/o1",
        "resource": told["resource"],
        "request": {"method": "PUT", "url": "Observation/o1"},
        "response": {"status": "200 OK", "etag": 'W/"2"', "lastModified": "2024-01-02T00:00:00Z"},
    }


def test_a_version_without_its_number_has_the_etag_of_its_entry() -> None:
    who = access()
    bare = version("1", resource=observation(meta={}), response={"status": 200, "etag": '"a.1"', "lastModified": "2024-01-01T00:00:00Z"})
    (entry,) = left(history(bare), instance_rule(who), who)["entry"]
    assert entry["response"] == {"status": "200 OK", "etag": 'W/"a.1"', "lastModified": "2024-01-01T00:00:00Z"}
    odd = version("1", resource=observation(meta={"versionId": 7, "lastUpdated": "soon"}), response="odd")
    (entry,) = left(history(odd), instance_rule(who), who)["entry"]
    assert entry["response"] == {"status": "200 OK"}


@pytest.mark.parametrize("scope", [OWN, "system/Observation.rs"])
def test_versions_leave_as_the_bytes_that_came(scope: str) -> None:
    resource = (
        b'{"resourceType":"Observation", "id":"o1","valueQuantity":{"value":72.50},"subject":{"reference":"%s/Patient/123"}}'
        % UPSTREAM.encode()
    )
    raw = b'{"type":"history","resourceType":"Bundle","entry":[{"resource":%s,"request":{}, "response":{}}]}' % resource
    who = access(scope)
    made = confine(raw, instance_rule(who), who)
    assert isinstance(made, ConfinedHistory)
    assert resource.replace(UPSTREAM.encode(), PUBLIC.encode()) in made.body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"<Bundle/>",
        json.dumps(observation()).encode(),
        json.dumps({**history(version("1")), "type": "searchset"}).encode(),
        json.dumps({**history(version("1")), "type": None}).encode(),
        b'{"resourceType":"Bundle","type":"history","type":"history","entry":[]}',
        b'{"resourceType":"Bundle","type":"history","entry":[{"request":{"method":"PUT","method":"DELETE"}}]}',
        b'{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"Observation","id":"o1","id":"o2"}}]}',
        b'{"resourceType":"Bundle","type":"history","entry":{}}',
    ],
)
def test_what_is_no_history_is_not_passed_on(raw: bytes) -> None:
    who = access()
    with pytest.raises(UpstreamError):
        confine(raw, instance_rule(who), who)


def provenance(*targets: str) -> dict[str, Any]:
    resource = {"resourceType": "Provenance", "id": "p", "target": [{"reference": target} for target in targets]}
    return {"resource": resource, "request": {"method": "PUT", "url": "Provenance/p"}, "response": {"status": "200"}}


def test_a_version_in_the_same_history_does_not_vouch_for_its_resource() -> None:
    """The Observation was the patient's once: whose it is now must be asked."""
    who = access("patient/Observation.rs patient/Provenance.rs")
    bundle = history(provenance("Observation/o1/_history/1"), version("1"))
    waiting = confine(bundle, SYSTEM, who)
    assert waiting == Pending((Reference("Observation", "o1"),))
    for readable in (True, False):
        found = left(bundle, SYSTEM, who, {Reference("Observation", "o1"): b"{}" if readable else None})
        assert [entry["request"]["url"] for entry in found["entry"]] == ["Provenance/p"] * readable + ["Observation/o1"]


def test_at_most_fifty_are_asked_for() -> None:
    who = access("patient/Observation.rs patient/Provenance.rs")
    bundle = history(provenance(*(f"Observation/x{i}" for i in range(40))), provenance(*(f"Observation/y{i}" for i in range(40))))
    waiting = confine(bundle, type_rule(who, "Provenance"), who)
    assert isinstance(waiting, Pending)
    assert len(waiting.references) == 40
    found = left(bundle, type_rule(who, "Provenance"), who, dict.fromkeys(waiting.references, b"{}"))
    assert len(found["entry"]) == 1


def test_a_carried_resource_is_judged_in_every_version() -> None:
    who = access("system/Bundle.rs system/Observation.rs")
    inner = {"resourceType": "Bundle", "id": "b1", "type": "collection", "entry": [{"resource": observation()}]}
    secret = {**inner, "entry": [{"resource": {"resourceType": "Condition", "id": "c"}}]}
    entries = [{"resource": r, "request": {"method": "PUT", "url": "Bundle/b1"}, "response": {}} for r in (inner, secret)]
    found = left(history(*entries), instance_rule(who, "b1", "Bundle"), who)
    assert [entry["resource"] for entry in found["entry"]] == [inner]
    assert "total" not in left(history(entries[0]), instance_rule(who, "b1", "Bundle"), who)


def test_paging_links_are_sealed_and_an_empty_page_names_the_next() -> None:
    who = access()
    link = [{"relation": "self", "url": "x"}, {"relation": "next", "url": f"{UPSTREAM}/Observation/o1/_history?_count=1&_offset=1"}]
    found = left(history(version("1"), link=link), instance_rule(who), who)
    assert found["link"][1]["url"].startswith(f"{PUBLIC}/Observation?_page=")
    made = confine(history(version("1", "999"), link=link), instance_rule(who), who)
    assert isinstance(made, ConfinedHistory)
    assert made.onward is not None
    assert made.onward.target == "/Observation/o1/_history?_count=1&_offset=1"
    elsewhere = [{"relation": "next", "url": f"{UPSTREAM}/Observation/o2/_history?_offset=1"}]
    assert len(left(history(version("1"), link=elsewhere), instance_rule(who), who)["link"]) == 1


def test_without_a_boundary_nothing_is_left() -> None:
    who = access()
    rule = CheckHistory("Observation", "o1", Boundary())
    assert "entry" not in left(history(version("1"), deletion()), rule, who)


VIP = {"system": "http://acme.example/labels", "code": "VIP"}
BY_LABEL = FieldRule(
    "Observation", Permission.READ | Permission.SEARCH, hide=(parse_field("status"),), labelled=("http://acme.example/labels|VIP",)
)
O1 = Reference("Observation", "o1")


def by_label(*types: str) -> Access:
    rules = tuple(replace(BY_LABEL, type=type) for type in types or ("Observation",))
    return access("user/*.cruds", under=policy(fields=rules), fhir_user="Practitioner/p")


def labelled(entry: dict[str, Any]) -> dict[str, Any]:
    resource = entry["resource"]
    return {**entry, "resource": {**resource, "meta": {**resource.get("meta", {}), "security": [VIP]}}}


@pytest.mark.parametrize(
    ("today", "shown"),
    [
        ({"resourceType": "Observation", "id": "o1"}, [False, True]),
        ({"resourceType": "Observation", "id": "o1", "meta": {"security": [VIP]}}, [False, False]),
        ({"resourceType": "Observation", "id": "o1", "meta": {"security": "?"}}, [False, False]),  # cannot be read
        (None, [False, False]),  # deleted, or outside
    ],
)
def test_what_the_label_of_today_hides_no_version_shows(today: dict[str, Any] | None, shown: list[bool]) -> None:
    who, bundle = by_label(), history(labelled(version("2")), version("1"))
    assert confine(bundle, instance_rule(who), who) == Pending((O1,))
    found = [
        json.loads(masked(json.dumps(entry["resource"]).encode(), who))
        for entry in left(bundle, instance_rule(who), who, {O1: None if today is None else json.dumps(today).encode()})["entry"]
    ]
    assert ["status" in resource for resource in found] == shown
    for resource, is_shown in zip(found, shown, strict=True):
        tags = [tag["code"] for tag in resource.get("meta", {}).get("tag", [])]
        assert tags == ([] if is_shown else ["SUBSETTED"])


@pytest.mark.parametrize("today", [b'{"meta":{},"a":{"b":1,"b":2}}', b"[]", b"{"])
def test_what_cannot_be_read_today_hides_what_any_label_hides(today: bytes) -> None:
    who = by_label()
    (entry,) = left(history(version("1")), instance_rule(who), who, {O1: today})["entry"]
    assert "status" not in json.loads(masked(json.dumps(entry["resource"]).encode(), who))


def test_what_is_contained_goes_by_the_label_of_today_too() -> None:
    who = by_label("Patient")
    patient = {"resourceType": "Patient", "id": "in", "status": "secret"}
    one, other = version("1"), version("1", id="o2")
    one["resource"]["contained"] = [patient]
    bundle, rule = history(one, other), type_rule(who)
    assert confine(bundle, rule, who) == Pending((O1,))  # the other one holds nothing of which labels decide
    assert "secret" not in json.dumps(left(bundle, rule, who, {O1: json.dumps({"meta": {"security": [VIP]}}).encode()}))
    assert "secret" in json.dumps(left(bundle, rule, who, {O1: b'{"meta":{}}'}))


def test_more_than_can_be_asked_for_stays_hidden() -> None:
    who = by_label()
    bundle = history(*(version("1", id=f"o{number}") for number in range(60)))
    asked = confine(bundle, type_rule(who), who)
    assert isinstance(asked, Pending)
    assert len(asked.references) == 50
    found = left(bundle, type_rule(who), who, dict.fromkeys(asked.references, b"{}"))["entry"]
    assert ["status" in entry["resource"] for entry in found] == [True] * 50 + [False] * 10


def test_without_labels_nothing_is_asked_for() -> None:
    who = access("user/*.cruds", under=policy(fields=(replace(BY_LABEL, labelled=None),)), fhir_user="Practitioner/p")
    assert isinstance(confine(history(version("1")), instance_rule(who), who), ConfinedHistory)
