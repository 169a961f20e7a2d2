"""Field rules end to end: what is hidden shows nowhere and tells nothing, what may not be written is not."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from smart_gateway.errors import RequestError
from smart_gateway.fhir.fields import parse_field
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.whom import Whom
from smart_gateway.scopes.permissions import Permission
from tests.support.asgi import FHIR, Asked, Front, Reply, ScriptedUpstream, code_of
from tests.support.deciding import decide, denied, permitted, policy, sent

READS, UPDATE, CREATE = Permission.READ | Permission.SEARCH, Permission.UPDATE, Permission.CREATE
SECRET = "1970-01-01-hidden"
SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
DOCTOR = {"fhir_user": "Practitioner/1", "patient": None}
EVERYTHING = "user/*.cruds"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
SENT = {"Content-Type": FHIR}


def hide(*paths: str, type: str = "Patient", **more: Any) -> FieldRule:
    return FieldRule(type, READS, hide=tuple(map(parse_field, paths)), **more)


def only(*paths: str, type: str = "Patient", permissions: Permission = UPDATE) -> FieldRule:
    return FieldRule(type, permissions, only=tuple(map(parse_field, paths)))


def keep(*paths: str, type: str = "*") -> FieldRule:
    return FieldRule(type, UPDATE, keep=tuple(map(parse_field, paths)))


HIDING = policy(fields=(hide("birthDate", "name.family", "deceased[x]"),))


def patient(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "p",
        "meta": {"versionId": "3", "lastUpdated": "2026-01-01T00:00:00Z"},
        "text": {"status": "generated", "div": f"<div>{SECRET}</div>"},
        "birthDate": SECRET,
        "_birthDate": {"extension": [{"url": "x", "valueString": SECRET}]},
        "name": [{"family": SECRET, "given": ["Given"]}],
        "gender": "female",
        **more,
    }


def front(upstream: ScriptedUpstream, scope: str = EVERYTHING, by: Any = HIDING) -> Front:
    return Front(upstream, scope, policy=by, claims=DOCTOR)


async def test_a_read_is_without_what_is_hidden_and_says_so() -> None:
    answer = await front(ScriptedUpstream(patient())).get("/Patient/p")
    assert answer.status_code == 200
    assert SECRET not in answer.text
    assert answer.json() == {
        "resourceType": "Patient",
        "id": "p",
        "meta": {"versionId": "3", "lastUpdated": "2026-01-01T00:00:00Z", "tag": [SUBSETTED]},
        "name": [{"given": ["Given"]}],
        "gender": "female",
    }


async def test_all_else_is_the_bytes_that_came() -> None:
    raw = b'{ "resourceType":"Patient","id":"p", "birthDate":"1970",\n "x" : 1.00, "y":"\\u00e9", "meta":{"tag":[ {"code":"a"} ]} }'
    upstream = ScriptedUpstream()
    upstream.replies["GET /Patient/p"] = Reply(200, raw)
    answer = await front(upstream).get("/Patient/p")
    tag = json.dumps(SUBSETTED, separators=(",", ":")).encode()
    assert answer.content == raw.replace(b' "birthDate":"1970",', b"").replace(b'{"code":"a"} ]', b'{"code":"a"} ,' + tag + b"]")


async def test_the_tag_does_not_tell_whether_the_element_was_there() -> None:
    bare = {"resourceType": "Patient", "id": "p", "gender": "female"}
    answer = await front(ScriptedUpstream(bare)).get("/Patient/p")
    assert answer.json() == {**bare, "meta": {"tag": [SUBSETTED]}}


async def test_other_types_are_left_alone() -> None:
    raw = b'{"resourceType":"Observation", "id":"o", "status":"final"}'
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/o"] = Reply(200, raw)
    assert (await front(upstream).get("/Observation/o")).content == raw


def bundle(kind: str, *resources: Any) -> dict[str, Any]:
    entries = [{"fullUrl": "x", "resource": r, "request": {"method": "PUT", "url": "x"}, "response": {"status": "200"}} for r in resources]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


CONTAINING = {"resourceType": "Observation", "id": "o", "meta": {"versionId": "1"}, "status": "final", "contained": [patient(id="c")]}
CARRYING = {"resourceType": "Bundle", "id": "b", "meta": {"versionId": "1"}, "type": "collection", "entry": [{"resource": patient()}]}
NESTED = {"resourceType": "Parameters", "parameter": [{"name": "a", "part": [{"name": "b", "resource": patient()}]}]}


@pytest.mark.parametrize(
    ("target", "reply"),
    [
        ("/Patient", bundle("searchset", patient(), patient(id="q"))),
        ("/Observation?_include=Observation:subject", bundle("searchset", patient(), CONTAINING)),
        ("/Observation/o", CONTAINING),
        ("/Bundle/b", CARRYING),
        ("/Bundle", bundle("searchset", CARRYING)),
        ("/Patient/p/_history", bundle("history", patient())),
        ("/Patient/_history", bundle("history", patient())),
        ("/_history", bundle("history", patient())),
        ("/Patient/p/_history/3", patient()),
        ("/Patient/p/$everything", bundle("searchset", patient(), CONTAINING)),
    ],
)
async def test_nothing_hidden_is_in_any_answer(target: str, reply: Any) -> None:
    upstream = ScriptedUpstream(patient())
    upstream.replies[f"GET {target.partition('?')[0]}"] = Reply(200, reply)
    answer = await front(upstream).get(target)
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    assert "resourceType" in answer.text
    open_to_all = await front(upstream, by=policy()).get(target)
    assert SECRET in open_to_all.text


async def test_nor_in_the_answers_of_a_batch_and_of_a_write() -> None:
    upstream = ScriptedUpstream(patient())
    upstream.replies["POST /"] = upstream.replies["POST "] = Reply(
        200, {"resourceType": "Bundle", "type": "batch-response", "entry": [{"resource": patient(), "response": {"status": "200 OK"}}]}
    )
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/p"}}]}
    answer = await front(upstream).request("POST", "", json=batch, headers=SENT)
    assert answer.status_code == 200
    assert "Given" in answer.text
    assert SECRET not in answer.text
    upstream.replies["POST /Patient"] = Reply(201, patient(), {"Location": "http://127.0.0.1:8090/fhir/Patient/p/_history/1"})
    made = await front(upstream).request("POST", "/Patient", json=patient(), headers=SENT)
    assert made.status_code == 201
    assert "Given" in made.text
    assert SECRET not in made.text


async def test_labels_say_where_something_is_hidden() -> None:
    by = policy(fields=(hide("birthDate", labelled=("http://acme.example|VIP",)),))
    vip = {"security": [{"system": "http://acme.example", "code": "VIP"}]}
    upstream = ScriptedUpstream(patient(), patient(id="vip", meta=vip), patient(id="odd", meta={"security": [{"display": "?"}]}))
    assert (await front(upstream, by=by).get("/Patient/p")).json() == patient()
    for id in ("vip", "odd"):
        assert "birthDate" not in (await front(upstream, by=by).get(f"/Patient/{id}")).json()
    assert denied(decide("GET", "/Patient?birthdate=1970", EVERYTHING, under=by, **DOCTOR)).causes[0].code == "hidden-elements"


@pytest.mark.parametrize(
    "query",
    [
        "birthdate=1970-01-01",
        "birthdate:missing=false",
        "_sort=birthdate",
        "_sort=gender,-birthdate",
        "family=x",
        "name=x",
        "name:exact=x",
        "phonetic=x",
        "death-date=2020",
        "deceased=true",
        "_text=x",
        "_content=x",
        "_include=*",
        "_include=Patient:*",
    ],
)
def test_nothing_is_searched_sorted_or_included_by_what_is_hidden(query: str) -> None:
    refusal = denied(decide("GET", f"/Patient?{query}", EVERYTHING, under=HIDING, **DOCTOR))
    assert refusal.status == 403
    assert "hidden-elements" in [cause.code for cause in refusal.causes]
    assert not refusal.missing
    permitted(decide("GET", f"/Patient?{query}", EVERYTHING, **DOCTOR))


@pytest.mark.parametrize(
    "query", ["gender=female", "given=x", "_id=p", "_lastUpdated=gt2020", "_sort=-_lastUpdated,gender", "identifier=s|x", "_security=s|x"]
)
def test_everything_else_can_be_searched_by(query: str) -> None:
    assert sent(decide("GET", f"/Patient?{query}", EVERYTHING, under=HIDING, **DOCTOR)).startswith("GET /Patient?")


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/Patient?general-practitioner=Practitioner/1", hide("generalPractitioner")),
        ("/Patient?_include=Patient:general-practitioner", hide("generalPractitioner")),
        ("/Practitioner?_revinclude=Patient:general-practitioner", hide("generalPractitioner")),
        ("/Observation?_include=Observation:subject&_include:iterate=Patient:general-practitioner", hide("generalPractitioner")),
        ("/Patient?general-practitioner.name=x", hide("generalPractitioner")),
        ("/Practitioner?_has:Patient:general-practitioner:gender=female", hide("generalPractitioner")),
        ("/Observation?subject:Patient.birthdate=1970", hide("birthDate")),
        ("/Observation?patient.gender=female", hide("birthDate")),
        ("/Patient/1/Observation", hide("subject", type="Observation")),
        ("/Observation?code-value-quantity=x$1", hide("value[x]", type="Observation")),
        ("/Observation?combo-code-value-quantity=x$1", hide("component.value[x]", type="Observation")),
        ("/Observation?value-quantity=1", hide("value[x]", type="Observation")),
        ("/Observation?_security=s|x", hide("meta.security", type="*")),
        ("/Patient?identifier=s|x", hide("identifier.where(system='t')")),
    ],
)
def test_by_way_of_others_neither(target: str, rule: FieldRule) -> None:
    refusal = denied(decide("GET", target, EVERYTHING, under=policy(fields=(rule,)), **DOCTOR))
    assert {cause.code for cause in refusal.causes} & {"hidden-elements", "chain-not-allowed"}


def test_criteria_of_writes_neither() -> None:
    for method, target in (("DELETE", "/Patient?birthdate=1970-01-01"), ("PUT", "/Patient?birthdate=1970-01-01")):
        assert denied(decide(method, target, EVERYTHING, under=HIDING, headers=SENT, **DOCTOR)).causes[0].code == "hidden-elements"
    exists = {**SENT, "If-None-Exist": "birthdate=1970-01-01"}
    assert denied(decide("POST", "/Patient", EVERYTHING, under=HIDING, headers=exists, **DOCTOR)).causes[0].code == "hidden-elements"


def test_rules_are_for_whom_they_say() -> None:
    by = policy(fields=(hide("birthDate", whom=Whom(clients=frozenset({"app"}))),))
    assert denied(decide("GET", "/Patient?birthdate=1970", EVERYTHING, under=by, client_id="app", **DOCTOR))
    assert permitted(decide("GET", "/Patient?birthdate=1970", EVERYTHING, under=by, client_id="other", **DOCTOR))


async def put(changed: dict[str, Any], by: Any, scope: str = EVERYTHING, stored: dict[str, Any] | None = None) -> int:
    upstream = ScriptedUpstream(stored or patient())
    upstream.replies["PUT /Patient/p"] = lambda asked: Reply(200, json.loads(asked.body))
    answer = await front(upstream, scope, by).request("PUT", "/Patient/p", json=changed, headers=SENT)
    assert SECRET not in answer.text or by is not HIDING
    assert ("PUT /Patient/p" in [asked.line for asked in upstream.asked]) is (answer.status_code == 200)
    assert answer.status_code == 200 or code_of(answer) in {"element-not-writable", "hidden-elements"}
    return answer.status_code


async def patched(operations: list[dict[str, Any]], by: Any, scope: str = EVERYTHING, stored: dict[str, Any] | None = None) -> int:
    upstream = ScriptedUpstream(stored or patient())
    upstream.replies["PATCH /Patient/p"] = Reply(200, patient())
    answer = await front(upstream, scope, by).request("PATCH", "/Patient/p", json=operations, headers=JSON_PATCH)
    assert ("PATCH /Patient/p" in [asked.line for asked in upstream.asked]) is (answer.status_code == 200)
    return answer.status_code


async def test_what_is_hidden_is_neither_replaced_nor_guessed() -> None:
    assert await put(patient(), HIDING) == 403  # not even by what is stored
    assert await put(patient(birthDate="1980-01-01"), HIDING) == 403
    assert await put({"resourceType": "Patient", "id": "p"}, HIDING) == 403


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "replace", "path": "/gender", "value": "male"}, 200),
        ({"op": "add", "path": "/name/0/period", "value": {}}, 403),
        ({"op": "add", "path": "/name/0/given/-", "value": "Second"}, 403),  # which one is meant is not seen
        ({"op": "test", "path": "/name/1/given/0", "value": "x"}, 403),
        ({"op": "test", "path": "/gender", "value": "female"}, 200),
        ({"op": "test", "path": "/birthDate", "value": SECRET}, 403),
        ({"op": "test", "path": "/birthDate", "value": "1999"}, 403),
        ({"op": "test", "path": "/_birthDate/extension/0/url", "value": "x"}, 403),
        ({"op": "replace", "path": "/birthDate", "value": "1999"}, 403),
        ({"op": "remove", "path": "/deceasedBoolean"}, 403),
        ({"op": "copy", "from": "/birthDate", "path": "/language"}, 403),
        ({"op": "move", "from": "/name/0/family", "path": "/language"}, 403),
        ({"op": "test", "path": "/name/0", "value": {}}, 403),
        ({"op": "test", "path": "/name", "value": []}, 403),
        ({"op": "test", "path": "", "value": {}}, 403),
        ({"op": "copy", "from": "/text/div", "path": "/language"}, 403),
        ({"op": "remove", "path": "/name/7/family"}, 403),  # whether it is there is not told
    ],
)
async def test_a_patch_does_not_touch_what_is_hidden(operation: dict[str, Any], status: int) -> None:
    assert await patched([operation], HIDING) == status


def changed(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in {**deepcopy(patient()), **more}.items() if value is not ...}


IDENTIFIERS = [{"system": "urn:own", "value": "1"}, {"system": "urn:other", "value": "2"}]


@pytest.mark.parametrize(
    ("rule", "new", "status"),
    [
        (only("telecom"), changed(telecom=[{"value": "1"}]), 200),
        (only("telecom"), changed(), 200),
        (only("telecom"), changed(meta=...), 200),  # the server's to say
        (only("telecom"), changed(meta={"versionId": "1", "lastUpdated": "2020-01-01T00:00:00Z", "source": "#x"}), 200),
        (only("telecom"), changed(telecom=[{"value": "1"}], gender="male"), 403),
        (only("telecom"), changed(gender=...), 403),
        (only("telecom"), changed(_gender={"extension": []}), 403),
        (only("telecom"), changed(active=True), 403),
        (only("telecom"), changed(meta={"security": [{"code": "x"}]}), 403),
        (only("telecom"), changed(text=...), 403),
        (only("telecom"), changed(contained=[{"resourceType": "Patient"}]), 403),
        (only("telecom"), changed(name=[{"family": SECRET, "given": ["Given"]}, {"text": "x"}]), 403),
        (only("name.given"), changed(name=[{"family": SECRET, "given": ["Other"]}]), 200),
        (only("name.given"), changed(name=[{"family": "Other", "given": ["Given"]}]), 403),
        (only(), changed(), 200),
        (only(), changed(telecom=[{"value": "1"}]), 403),
        (keep("gender"), changed(telecom=[{"value": "1"}], birthDate="1999"), 200),
        (keep("gender"), changed(gender="male"), 403),
        (keep("gender"), changed(gender=...), 403),
        (keep("meta.security"), changed(meta={"security": [{"code": "x"}]}), 403),
        (keep("meta.security"), changed(meta={"profile": ["x"]}), 200),
    ],
)
async def test_an_update_changes_what_it_may(rule: FieldRule, new: dict[str, Any], status: int) -> None:
    assert await put(new, policy(fields=(rule,))) == status


@pytest.mark.parametrize(
    ("identifiers", "status"),
    [
        ([{"system": "urn:own", "value": "9"}, IDENTIFIERS[1]], 200),
        ([IDENTIFIERS[1]], 200),
        ([*IDENTIFIERS, {"system": "urn:own", "value": "3"}], 200),
        ([IDENTIFIERS[0]], 403),
        ([IDENTIFIERS[0], {"system": "urn:other", "value": "9"}], 403),
        ([IDENTIFIERS[0], {"system": "urn:own", "value": "2"}], 403),
        ([*IDENTIFIERS, {"system": "urn:third", "value": "3"}], 403),
        ([*IDENTIFIERS, {"value": "3"}], 403),
        ([{"system": "urn:other", "value": "1"}, IDENTIFIERS[1]], 403),
        (..., 403),
    ],
)
async def test_only_identifiers_of_one_system(identifiers: Any, status: int) -> None:
    by = policy(fields=(only("identifier.where(system='urn:own')"),))
    stored = patient(identifier=IDENTIFIERS)
    assert await put(changed(identifier=identifiers), by, stored=stored) == status
    operation = (
        {"op": "remove", "path": "/identifier"} if identifiers is ... else {"op": "replace", "path": "/identifier", "value": identifiers}
    )
    assert await patched([operation], by, stored=stored) == status


async def test_who_may_not_read_cannot_guess_by_writing() -> None:
    by, scope = policy(fields=(only("telecom"),)), "user/Patient.u"
    assert await put(changed(telecom=[{"value": "1"}]), by, scope) == 403
    assert await put(changed(), by, scope) == 403
    add = {"op": "add", "path": "/telecom", "value": [{"value": "1"}]}
    assert await patched([add], by, scope) == 200
    for value in (SECRET, "1999-01-01"):
        assert await patched([{"op": "replace", "path": "/birthDate", "value": value}], by, scope) == 403
    assert await patched([add, {"op": "remove", "path": "/gender"}], by, scope) == 403


async def test_a_create_holds_what_it_may() -> None:
    by = policy(fields=(only("gender", "name", permissions=CREATE),))
    for resource, status in (
        ({"resourceType": "Patient", "gender": "male", "name": [{"text": "x"}]}, 201),
        ({"resourceType": "Patient", "id": "x", "meta": {"versionId": "1"}, "gender": "male"}, 201),
        ({"resourceType": "Patient", "gender": "male", "birthDate": "1999"}, 403),
        ({"resourceType": "Patient", "meta": {"tag": [{"code": "x"}]}}, 403),
    ):
        upstream = ScriptedUpstream()
        upstream.replies["POST /Patient"] = lambda asked: Reply(201, json.loads(asked.body))
        answer = await front(upstream, by=by).request("POST", "/Patient", json=resource, headers=SENT)
        assert answer.status_code == status, answer.text


async def test_entries_of_a_transaction_go_by_the_same_rule() -> None:
    upstream = ScriptedUpstream(patient())

    def answered(asked: Asked) -> Reply:
        return Reply(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": [{"response": {"status": "200 OK"}}]})

    upstream.replies["POST /"] = upstream.replies["POST "] = answered
    for new, status in ((changed(telecom=[{"value": "1"}]), 200), (changed(gender="male"), 403)):
        entry = {"fullUrl": "http://x/Patient/p", "resource": new, "request": {"method": "PUT", "url": "Patient/p"}}
        asked = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        answer = await front(upstream, by=policy(fields=(only("telecom"),))).request("POST", "", json=asked, headers=SENT)
        assert answer.status_code == status, answer.text


def test_an_export_is_refused_where_something_is_hidden() -> None:
    headers = {"prefer": "respond-async", "accept": FHIR}
    permitted(decide("GET", "/$export", "system/*.rs", headers=headers))
    denied(decide("GET", "/$export", "system/*.rs", headers=headers, under=HIDING))


@pytest.mark.parametrize("stored", [CONTAINING, CARRYING], ids=["contained", "carried"])
@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/{}/birthDate", "value": SECRET},
        {"op": "test", "path": "/{}/birthDate", "value": "1999"},
        {"op": "copy", "from": "/{}/birthDate", "path": "/language"},
        {"op": "move", "from": "/{}/birthDate", "path": "/language"},
        {"op": "replace", "path": "/{}/resourceType", "value": "Group"},
        {"op": "test", "path": "", "value": {}},
    ],
)
async def test_a_patch_does_not_touch_what_is_hidden_of_a_resource_inside(stored: dict[str, Any], operation: dict[str, Any]) -> None:
    inside = "contained/0" if stored is CONTAINING else "entry/0/resource"
    asked = {name: value.replace("{}", inside) if isinstance(value, str) else value for name, value in operation.items()}
    upstream = ScriptedUpstream(stored)
    path = f"/{stored['resourceType']}/{stored['id']}"
    answer = await front(upstream).request("PATCH", path, json=[asked], headers=JSON_PATCH)
    assert answer.status_code == 403
    assert code_of(answer) in ("element-not-writable", *(["insufficient-scope"] if stored is CARRYING else []))
    assert {one.method for one in upstream.asked} == {"GET"}


@pytest.mark.parametrize("fields", [(), (only("status", type="Observation"),)])
async def test_nor_is_it_replaced_or_guessed_there(fields: tuple[FieldRule, ...]) -> None:
    upstream = ScriptedUpstream(CONTAINING)
    by = policy(fields=(hide("birthDate"), *fields))
    answer = await front(upstream, by=by).request("PUT", "/Observation/o", json=CONTAINING, headers=SENT)
    assert (answer.status_code, code_of(answer)) == (403, "hidden-elements")
    assert [asked.line for asked in upstream.asked] == ["GET /Observation/o"]


async def test_what_holds_nothing_hidden_is_written_as_ever() -> None:
    stored = {**CONTAINING, "contained": [{"resourceType": "Device", "id": "d"}]}
    upstream = ScriptedUpstream(stored)
    upstream.replies["PUT /Observation/o"] = upstream.replies["PATCH /Observation/o"] = Reply(200, stored)
    assert (await front(upstream).request("PUT", "/Observation/o", json=stored, headers=SENT)).status_code == 200
    patch = [{"op": "replace", "path": "/contained/0/id", "value": "d"}]
    assert (await front(upstream).request("PATCH", "/Observation/o", json=patch, headers=JSON_PATCH)).status_code == 200


VIP = {"versionId": "3", "security": [{"system": "http://acme.example", "code": "VIP"}]}


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "remove", "path": "/meta/security/0"}, 403),
        ({"op": "remove", "path": "/meta"}, 403),
        ({"op": "replace", "path": "/meta/security/0/code", "value": "x"}, 403),
        ({"op": "replace", "path": "/meta/security", "value": []}, 403),
        ({"op": "add", "path": "/meta/security/-", "value": {"system": "urn:x", "code": "y"}}, 200),
        ({"op": "replace", "path": "/gender", "value": "male"}, 200),
    ],
)
async def test_nobody_takes_the_label_by_which_something_is_hidden(operation: dict[str, Any], status: int) -> None:
    by = policy(fields=(hide("birthDate", labelled=("http://acme.example|VIP",)),))
    assert await patched([operation], by, stored=patient(meta=VIP)) == status


def test_labels_that_decide_what_is_hidden_are_not_cut_off_upstream() -> None:
    by = policy(fields=(hide("birthDate", labelled=("http://acme.example|VIP",)),))
    assert "_elements" not in sent(decide("GET", "/Patient?_elements=birthDate", EVERYTHING, under=by, **DOCTOR))
    include = "/Observation?_include=Observation:subject&_elements=status"
    assert "_elements" not in sent(decide("GET", include, EVERYTHING, under=by, **DOCTOR))
    assert "_elements" in sent(decide("GET", "/Device?_elements=status", EVERYTHING, under=by, **DOCTOR))
    assert "_elements" in sent(decide("GET", "/Patient?_elements=gender", EVERYTHING, under=HIDING, **DOCTOR))
    denied(decide("GET", "/Patient?_summary=true", EVERYTHING, under=by, **DOCTOR))  # leaves contained resources out, and their labels
    permitted(decide("GET", "/Patient?_summary=data", EVERYTHING, under=by, **DOCTOR))


def test_no_narrative_is_asked_for_without_what_it_may_tell_of() -> None:
    for target in ("/Observation?_elements=text", "/Observation?_elements=status,Observation.text.div"):
        assert "_elements" not in sent(decide("GET", target, EVERYTHING, under=HIDING, **DOCTOR))
    denied(decide("GET", "/Observation?_summary=text", EVERYTHING, under=HIDING, **DOCTOR))  # it may contain a Patient
    permitted(decide("GET", "/Observation?_summary=text", EVERYTHING, **DOCTOR))
    with pytest.raises(RequestError):
        decide("GET", "/Observation/_history?_summary=text", EVERYTHING, under=HIDING, **DOCTOR)


async def test_hidden_data_of_a_binary_are_not_served_as_its_content() -> None:
    stored = {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "aGlkZGVu"}
    by = policy(fields=(hide("data", type="Binary"),))
    assert (await front(ScriptedUpstream(stored), by=HIDING).get("/Binary/b", headers={"Accept": "text/plain"})).content == b"hidden"
    assert (await front(ScriptedUpstream(stored), by=by).get("/Binary/b", headers={"Accept": "text/plain"})).content == b""


@pytest.mark.parametrize("other", [{"system": None}, {"system": 5}, {"system": ["urn:third"]}, {"system": {}}, [{"system": "urn:own"}]])
async def test_only_items_that_certainly_are_the_ones_meant_may_be_written(other: Any) -> None:
    by = policy(fields=(only("identifier.where(system='urn:own')"),))
    new = [*IDENTIFIERS, {**other, "value": "3"} if isinstance(other, dict) else other]
    assert await put(changed(identifier=new), by, stored=patient(identifier=IDENTIFIERS)) == 403
