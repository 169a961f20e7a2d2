"""Attacks on policies by whoever has a valid token: what is hidden is told by no answer, and asked for by no detour."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from smart_gateway.fhir.fields import parse_field
from smart_gateway.gateway.explaining import ask, explain_token
from smart_gateway.policy.model import Policy
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.scopes.permissions import Permission
from tests.support.asgi import FHIR, NOW, Front, Reply, ScriptedUpstream, code_of
from tests.support.deciding import decide, denied, permitted, policy

READS = Permission.READ | Permission.SEARCH
SECRET = "hidden-9K4z"
DOCTOR = {"fhir_user": "Practitioner/1", "patient": None}
PATIENT = {"patient": "p", "fhir_user": "Patient/p"}
EVERYTHING = "user/*.cruds"
VIP = {"meta": {"security": [{"system": "urn:x", "code": "VIP"}]}}
SENT = {"Content-Type": FHIR}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
Json = dict[str, Any]


def hide(*paths: str, type: str = "Patient", **more: Any) -> FieldRule:
    return FieldRule(type, READS, hide=tuple(map(parse_field, paths)), **more)


def hiding(*rules: FieldRule) -> Policy:
    return policy(fields=rules)


def resource(of: str, name: str, **members: Any) -> Json:
    return {"resourceType": of, "id": name, **members}


HIDDEN = resource("Patient", "p", birthDate=SECRET)
MARKED = resource("Observation", "i", status="final", valueString=SECRET)
MASKS = hiding(hide("birthDate"), hide("value[x]", type="Observation", labelled=("urn:x|VIP",)))


def front(upstream: ScriptedUpstream, by: Policy = MASKS, scope: str = EVERYTHING, **claims: Any) -> Front:
    return Front(upstream, scope, policy=by, claims=claims or DOCTOR)


@pytest.mark.parametrize(
    "stored",
    [
        resource("Observation", "x", contained={**HIDDEN}),
        resource("Observation", "x", contained=[[{**HIDDEN}]]),
        resource("Observation", "x", contained=[{"odd": {**HIDDEN}}]),
        resource("Observation", "x", contained=[resource("Group", "g", contained=[{**HIDDEN}])]),
        resource("Observation", "x", contained=[{"resourceType": "Patient"}], text={"div": SECRET}),
        resource("Condition", "x", contained=[MARKED], **VIP),
        resource("Condition", "x", contained=[resource("Group", "g", contained=[MARKED])], **VIP),
        resource("Bundle", "x", type="document", entry={"resource": HIDDEN}),
        resource("Bundle", "x", type="document", entry=[[{"resource": HIDDEN}]]),
        resource("Bundle", "x", type="document", entry=[{"resource": [HIDDEN]}]),
        resource("Bundle", "x", type="batch-response", entry=[{"response": {"status": "200", "outcome": HIDDEN}}]),
        resource("Bundle", "x", type="batch-response", entry=[{"response": {"outcome": resource("Basic", "o", contained=[HIDDEN])}}]),
        resource("Bundle", "x", type="collection", issues=resource("OperationOutcome", "o", contained=[HIDDEN])),
        resource("Bundle", "x", type="collection", entry=[{"resource": {**MARKED, **VIP}}]),
        resource("Parameters", "x", parameter=[{"name": "a", "valueString": HIDDEN}]),
        resource("Parameters", "x", parameter=[{"name": "a", "part": {"name": "b", "resource": HIDDEN}}]),
    ],
)
async def test_what_is_hidden_is_in_no_resource_wherever_it_stands(stored: Json) -> None:
    upstream = ScriptedUpstream(stored)
    answer = await front(upstream).get(f"/{stored['resourceType']}/x")
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    assert answer.json()["resourceType"] == stored["resourceType"]
    assert SECRET in (await front(upstream, policy()).get(f"/{stored['resourceType']}/x")).text


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"P\\u0061tient","id":"x","birthD\\u0061te":"hidden-9K4z"}',
        b'{"resourceType":"Patient","id":"x","birthDate":"1","birthDate":"hidden-9K4z"}',
        b'{"resourceType":"Patient","id":"x","birthDate":"hidden-9K4z","resourceType":"Group"}',
        b'{"resourceType":"Patient","id":"x","_birthDate":{"extension":[{"valueString":"hidden-9K4z"}]},"meta":[]}',
        b'{"resourceType":"Patient","id":"x","birthDate":"hidden-9K4z","a":' + b"[" * 300 + b"]" * 300 + b"}",
        b'\xef\xbb\xbf{"resourceType":"Patient","id":"x","birthDate":"hidden-9K4z"}',
    ],
)
async def test_however_it_is_spelled(body: bytes) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Patient/x"] = Reply(200, body)
    answer = await front(upstream).get("/Patient/x")
    assert answer.status_code in {200, 502}
    assert SECRET not in answer.text


async def test_what_holds_something_hidden_keeps_its_other_bytes() -> None:
    raw = b'{"resourceType":"Basic", "id":"x","n" : 1.00,"contained":[ {"birthDate":"1970", "resourceType":"Patient"} ],"z":"\\u00e9"}'
    upstream = ScriptedUpstream()
    upstream.replies["GET /Basic/x"] = Reply(200, raw)
    answer = (await front(upstream).get("/Basic/x")).content
    assert answer.startswith(raw[:-1].replace(b'"birthDate":"1970", ', b""))
    assert json.loads(answer)["meta"]["tag"][0]["code"] == "SUBSETTED"


_TERMS = (hide("compose", type="ValueSet"), hide("concept", type="CodeSystem"), hide("group", type="ConceptMap"))


@pytest.mark.parametrize(
    ("rule", "target"),
    [
        (hide("effective[x]", type="Observation"), "/Observation/$lastn?patient=p"),
        (hide("effectivePeriod.start", type="Observation"), "/Observation/$lastn?patient=p&max=1"),
        (hide("code", type="Observation"), "/Observation/$lastn?patient=p"),
        (hide("category", type="Observation"), "/Observation/$lastn?patient=p&category=x"),
        (hide("effective[x]", type="Observation"), "/Patient/p/$everything?start=2020-01-01"),
        (hide("onset[x]", type="Condition"), "/Patient/p/$everything?end=2020-01-01"),
        (hide("subject", type="Observation"), "/Patient/p/$everything"),
        (hide("encounter", type="*"), "/Encounter/e/$everything"),
        (hide("context.period", type="DocumentReference"), "/DocumentReference/$docref?patient=p&start=2020-01-01"),
        (hide("type", type="DocumentReference"), "/DocumentReference/$docref?patient=p&type=x"),
        (hide("birthDate"), "/Patient/p/$validate"),
        (hide("birthDate"), "/Observation/o/$validate?mode=update"),
        *((rule, "/ValueSet/$expand?url=u") for rule in _TERMS),
        *((rule, "/CodeSystem/$lookup?code=c&system=u") for rule in _TERMS),
        *((rule, "/ConceptMap/$translate?code=c&system=u") for rule in _TERMS),
        (hide("birthDate"), "/Observation?_content=x"),
        (hide("birthDate"), "/Observation?_text=x"),
    ],
)
def test_operations_and_texts_do_not_choose_by_what_is_hidden(rule: FieldRule, target: str) -> None:
    refusal = denied(decide("GET", target, EVERYTHING, under=hiding(rule), **DOCTOR))
    assert (refusal.status, {cause.code for cause in refusal.causes}) == (403, {"hidden-elements"})
    permitted(decide("GET", target, EVERYTHING, **DOCTOR))


@pytest.mark.parametrize(
    ("rule", "target", "claims"),
    [
        (hide("birthDate"), "/Patient/p/$everything", DOCTOR),
        (hide("birthDate"), "/Observation/$lastn?patient=p", DOCTOR),
        (hide("subject", type="Observation"), "/Patient/p/$everything", PATIENT),
        (hide("note", type="*"), "/Observation/$lastn?patient=p", DOCTOR),
        (hide("note", type="*"), "/ValueSet/$expand?url=u", DOCTOR),
    ],
)
def test_what_does_not_tell_is_open(rule: FieldRule, target: str, claims: Json) -> None:
    permitted(decide("GET", target, EVERYTHING, under=hiding(rule), **claims))


async def test_the_meta_that_is_hidden_is_in_no_answer_of_meta() -> None:
    stored = resource("Patient", "p", meta={"security": [{"system": "urn:x", "code": SECRET}], "profile": ["seen"]})
    answer = await front(ScriptedUpstream(stored), hiding(hide("meta.security"))).get("/Patient/p/$meta")
    assert "seen" in answer.text
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("stored", "operation"),
    [
        (resource("Condition", "x", contained=[MARKED], **VIP), {"op": "remove", "path": "/meta/security/0"}),
        (resource("Condition", "x", contained=[MARKED], text={"div": "a"}, **VIP), {"op": "test", "path": "/text/div", "value": "a"}),
        (resource("Basic", "x", contained=[HIDDEN], text={"div": "a"}), {"op": "test", "path": "/text/div", "value": "b"}),
    ],
)
async def test_no_patch_shows_what_is_hidden_of_what_is_contained(stored: Json, operation: Json) -> None:
    stored = {**stored, "meta": {"versionId": "1", **stored.get("meta", {})}}
    upstream = ScriptedUpstream(stored)
    answer = await front(upstream).request("PATCH", f"/{stored['resourceType']}/x", json=[operation], headers=JSON_PATCH)
    assert (answer.status_code, code_of(answer)) == (403, "element-not-writable")
    assert {asked.method for asked in upstream.asked} == {"GET"}


def test_labels_of_what_contains_are_not_cut_off() -> None:
    by = hiding(hide("value[x]", type="Observation", labelled=("urn:x|VIP",)))
    assert permitted(decide("GET", "/Condition?_elements=contained", EVERYTHING, under=by, **DOCTOR)).upstream.query == ()
    assert permitted(decide("GET", "/Condition?_elements=code", EVERYTHING, under=by, **DOCTOR)).upstream.query == (("_elements", "code"),)


def only(*paths: str, permissions: Permission) -> FieldRule:
    return FieldRule("Patient", permissions, only=tuple(map(parse_field, paths)))


_OWN = only("identifier.where(system='urn:own')", permissions=Permission.CREATE)


@pytest.mark.parametrize(
    ("rule", "scope", "method", "target", "body", "code"),
    [
        (_OWN, EVERYTHING, "POST", "/Patient", {"resourceType": "Patient", "gender": "male"}, "element-not-writable"),
        (_OWN, EVERYTHING, "POST", "/Patient", {"resourceType": "Patient", "identifier": [{"system": "urn:own"}]}, None),
        (hide("birthDate"), EVERYTHING, "PUT", "/Patient/p", {"resourceType": "Patient", "id": "p"}, "hidden-elements"),
        (hide("birthDate"), EVERYTHING, "PATCH", "/Patient/p", [{"op": "remove", "path": "/birthDate"}], "element-not-writable"),
        (hide("birthDate"), EVERYTHING, "PATCH", "/Patient/p", [{"op": "remove", "path": "/gender"}], None),
        (_OWN, "user/Patient.u", "PATCH", "/Patient/p", [{"op": "remove", "path": "/gender"}], None),
        (
            only("telecom", permissions=Permission.UPDATE),
            "user/Patient.u",
            "PATCH",
            "/Patient/p",
            [{"op": "remove", "path": "/gender"}],
            "element-not-writable",
        ),
    ],
)
@pytest.mark.parametrize("batched", [False, True])
async def test_what_field_rules_refuse_whatever_is_stored_is_explained(
    rule: FieldRule, scope: str, method: str, target: str, body: Any, code: str | None, *, batched: bool
) -> None:
    stored = resource("Patient", "p", meta={"versionId": "1"}, gender="female")
    upstream = ScriptedUpstream(stored)
    upstream.replies["POST /Patient"] = Reply(201, stored)
    upstream.replies["PATCH /Patient/p"] = Reply(200, stored)
    media = "application/json-patch+json" if method == "PATCH" else FHIR
    if batched:
        carried = {"resource": body} if isinstance(body, dict) else {"resource": _carried(body)}
        entry = {"request": {"method": method, "url": target[1:]}, **carried}
        method, target, media = "POST", "", FHIR
        body = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        upstream.replies["POST /"] = upstream.replies["POST "] = Reply(
            200, {"resourceType": "Bundle", "type": "transaction-response", "entry": [{"response": {"status": "200 OK"}}]}
        )
    sent = json.dumps(body).encode()
    asked = front(upstream, hiding(rule), scope)
    answer = await asked.request(method, target, content=sent, headers={"content-type": media})
    shown = await explain_token(ask(method, target or "/", [f"content-type: {media}"], sent), "t", asked.snapshot, NOW, None)
    assert (shown["decision"], shown["code"]) == (("permit", None) if code is None else ("deny", code)), shown
    assert (None if answer.status_code < 300 else code_of(answer)) == code, answer.text


def _carried(patch: Any) -> Json:
    return resource("Binary", "patch", contentType="application/json-patch+json", data=b64encode(json.dumps(patch).encode()).decode())


async def test_an_update_that_would_lose_what_is_hidden_asks_nobody_and_helps_nobody() -> None:
    upstream = ScriptedUpstream(resource("Patient", "p", meta={"versionId": "1"}))
    for id in ("p", "absent"):
        answer = await front(upstream).request("PUT", f"/Patient/{id}", json=resource("Patient", id), headers=SENT)
        assert (answer.status_code, code_of(answer)) == (403, "hidden-elements")
    assert not upstream.asked
    assert not denied(decide("PUT", "/Patient/p", "user/Patient.r", under=MASKS, **DOCTOR)).missing
    assert denied(decide("PATCH", "/Patient/p", "user/Patient.r", under=MASKS, headers=JSON_PATCH, **DOCTOR)).missing
    always = policy(fields=MASKS.fields, update_as_create="always")
    upstream.replies["PUT /Patient/absent"] = Reply(201, resource("Patient", "absent"))
    made = await front(upstream, always).request("PUT", "/Patient/absent", json=resource("Patient", "absent"), headers=SENT)
    assert made.status_code == 201
    again = await front(upstream, always).request("PUT", "/Patient/p", json=resource("Patient", "p"), headers=SENT)
    assert (again.status_code, code_of(again)) == (403, "hidden-elements")
