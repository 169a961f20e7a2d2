"""Field rules in front of real HAPI: what is hidden shows in no answer, and writes change what they may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.app import refused
from tests.integration.ward import HIDDEN, OWN, Client, Ward, label

HIDING = {"fields": [{"type": "Patient", "permissions": "rs", "hide": ["name.family", "birthDate"]}]}
VIP = {"fields": [{"type": "Patient", "permissions": "rs", "hide": ["name"], "labelled": [f"{OWN}|VIP"]}]}
TELECOM = {"fields": [{"type": "Patient", "permissions": "u", "only": ["telecom"]}]}
IDENTIFIER = {"fields": [{"type": "Patient", "permissions": "u", "only": ["identifier.where(system='urn:own')"]}]}
KEEP = {"fields": [{"type": "*", "permissions": "u", "keep": ["meta.security"]}]}
SUBSETTED = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
NARRATIVE = f'<div xmlns="http://www.w3.org/1999/xhtml">{HIDDEN}</div>'


def patient(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "field-p",
        "text": {"status": "generated", "div": NARRATIVE},
        "identifier": [{"system": "urn:own", "value": "1"}, {"system": "urn:other", "value": "2"}],
        "name": [{"family": HIDDEN, "given": ["Fiona"]}],
        "gender": "female",
        "birthDate": "1970-01-01",
        **more,
    }


@pytest.fixture(scope="module", autouse=True)
def records(ward: Ward) -> Iterator[None]:
    observation = {
        "resourceType": "Observation",
        "id": "field-o",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/field-p"},
        "contained": [{"resourceType": "Patient", "id": "inner", "name": [{"family": HIDDEN}]}],
        "performer": [{"reference": "#inner"}],
    }
    vip = {**patient(id="field-vip"), "meta": {"security": [label("VIP", OWN)]}}
    ward.put(patient(), vip, observation)
    yield
    ward.delete("Observation/field-o", "Patient/field-p", "Patient/field-vip")


@pytest.fixture
def hiding(ward: Ward) -> Client:
    return ward.client(HIDING)


def test_no_answer_holds_what_is_hidden(hiding: Client) -> None:
    for target in (
        "/Patient/field-p",
        "/Patient/field-p/_history",
        "/Patient/field-p/_history/1",
        "/Patient/_history",
        "/Patient?given=fiona",
        "/Patient?_elements=name,birthDate",
        "/Patient?_summary=true",
        "/Patient?_summary=text",
        "/Observation/field-o",
        "/Observation?_id=field-o&_include=Observation:subject",
        "/Patient/field-p/$everything",
        "/Patient?_id=field-p&_revinclude=Observation:subject",
    ):
        answer = hiding.get(target)  # fails where the hidden word shows
        assert answer.status_code in {200, 403}, answer.text
        assert "1970-01-01" not in answer.text
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/field-p"}}]}
    assert "Fiona" in hiding("POST", "", batch).text


def test_what_is_left_says_that_it_is_a_part(hiding: Client) -> None:
    found = hiding.get("/Patient/field-p").json()
    assert found["meta"]["tag"][0]["code"] == "SUBSETTED"
    assert found["name"] == [{"given": ["Fiona"]}]
    assert found["gender"] == "female"
    assert "text" not in found


def test_nothing_is_found_by_what_is_hidden(hiding: Client) -> None:
    for query in ("birthdate=1970-01-01", "family=x", "name=x", "_sort=birthdate", "_content=x", "_include=*"):
        refused(hiding.get(f"/Patient?{query}"), 403, "hidden-elements")
    refused(hiding.get("/Observation?subject:Patient.birthdate=1970-01-01"), 403, "chain-not-allowed")
    refused(hiding.get("/Observation?patient.family=x"), 403, "chain-not-allowed")
    assert hiding.found("/Patient?gender=female&given=Fiona") == {"Patient/field-p", "Patient/field-vip"}
    assert hiding.found("/Observation?subject=Patient/field-p") == {"Observation/field-o"}


def test_labels_say_of_whom(ward: Ward) -> None:
    assert ward.client(VIP, seeing=True).get("/Patient/field-p").json()["name"][0]["family"] == HIDDEN
    assert "name" not in ward.client(VIP).get("/Patient/field-vip").json()


def test_what_is_hidden_is_not_lost_by_a_write(ward: Ward, hiding: Client) -> None:
    seen = hiding.get("/Patient/field-p").json()
    refused(hiding("PUT", "/Patient/field-p", seen), 403, "hidden-elements")
    json_patch = {"content_type": "application/json-patch+json"}
    refused(hiding("PATCH", "/Patient/field-p", [{"op": "test", "path": "/birthDate", "value": "1970-01-01"}], **json_patch), 403)
    assert hiding("PATCH", "/Patient/field-p", [{"op": "replace", "path": "/gender", "value": "other"}], **json_patch).status_code == 200
    stored = ward.stored("Patient/field-p")
    assert (stored["birthDate"], stored["gender"], stored["name"][0]["family"]) == ("1970-01-01", "other", HIDDEN)
    ward.put(patient())


@pytest.mark.parametrize(
    ("policy", "allowed", "denied"),
    [
        (TELECOM, {"telecom": [{"value": "1"}]}, {"gender": "male"}),
        (IDENTIFIER, {"identifier": [{"system": "urn:other", "value": "2"}]}, {"identifier": [{"system": "urn:own", "value": "1"}]}),
        (KEEP, {"gender": "male"}, {"meta": {"security": [label("U")]}}),
    ],
)
def test_an_update_changes_what_it_may(ward: Ward, policy: Any, allowed: dict[str, Any], denied: dict[str, Any]) -> None:
    client = ward.client(policy, seeing=True)
    try:
        read = client.get("/Patient/field-p").json()
        refused(client("PUT", "/Patient/field-p", {**read, **denied}), 403, "element-not-writable")
        refused(client("PUT", "/Patient/field-p", {**read, **allowed, **denied, "active": True}), 403)
        patch = [{"op": "add", "path": f"/{name}", "value": value} for name, value in denied.items() if name != "meta"]
        if patch:
            refused(client("PATCH", "/Patient/field-p", patch, content_type="application/json-patch+json"), 403, "element-not-writable")
        assert client("PUT", "/Patient/field-p", {**read, **allowed}).status_code == 200
    finally:
        ward.put(patient())


def test_an_old_version_hides_what_the_label_of_today_hides(ward: Ward) -> None:
    ward.put(patient(id="field-aging"))
    try:
        seeing, client = ward.client(VIP, seeing=True), ward.client(VIP)
        assert seeing.get("/Patient/field-aging/_history/1").json()["name"][0]["family"] == HIDDEN
        ward.put({**patient(id="field-aging"), "meta": {"security": [label("VIP", OWN)]}})
        for target in ("/Patient/field-aging/_history/1", "/Patient/field-aging/_history/2"):
            version = client.get(target).json()
            assert ("name" in version, "text" in version, version["gender"]) == (False, False, "female")
            assert version["meta"]["tag"] == [{"system": SUBSETTED, "code": "SUBSETTED"}]
        assert len(client.get("/Patient/field-aging/_history").json()["entry"]) == 2
        names = [f"{target}?_count=2" for target in ("/Patient/field-aging/_history", "/Patient/_history")]
        batch = [{"request": {"method": "GET", "url": url[1:]}} for url in (*names, "/Patient/field-aging/_history/1")]
        answer = client("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": batch})
        assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["200"] * 3, answer.text
        unlabelled = seeing.get("/Patient/field-p/_history/1").json()
        assert unlabelled["name"][0]["family"] == HIDDEN
        ward.delete("Patient/field-aging")  # whose labels nobody knows any more
        assert client.get("/Patient/field-aging/_history").status_code == 200
        assert "name" not in client.get("/Patient/field-aging/_history/1").json()
    finally:
        ward.delete("Patient/field-aging")


RELABELLING = {
    name: {"level": ["instance"], "types": ["Patient"], "method": ["POST"], "scopes": ["__relabel"], "parameters": {"meta": "any"}}
    for name in ("$meta-add", "$meta-delete")
}


def meta_of(code: str) -> dict[str, Any]:
    value = {"security": [label(code, OWN)]}
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": value}]}


@pytest.mark.parametrize(
    "limits",
    [VIP, {"labels": {"ceiling": "N", "unlabelled": "N", "forbidden": [f"{OWN}|VIP"]}}, KEEP, TELECOM],
)
def test_nobody_takes_away_by_an_operation_what_bounds_them(ward: Ward, limits: dict[str, Any]) -> None:
    client = ward.client({**limits, "operations": RELABELLING}, "user/*.cruds __relabel", seeing=True)
    for target in ("/Patient/field-vip", "/Patient/field-p"):
        for operation in ("$meta-delete", "$meta-add"):
            refused(client("POST", f"{target}/{operation}", meta_of("VIP")), 403, "element-not-writable")
    entry = {"request": {"method": "POST", "url": "Patient/field-vip/$meta-delete"}, "resource": meta_of("VIP")}
    answer = client("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    assert answer.status_code == 400 or answer.json()["entry"][0]["response"]["status"].startswith("403"), answer.text
    assert [one["code"] for one in ward.stored("Patient/field-vip")["meta"]["security"]] == ["VIP"]
    assert "security" not in ward.stored("Patient/field-p")["meta"]


def test_others_label_by_an_operation(ward: Ward) -> None:
    client = ward.client({**HIDING, "operations": RELABELLING}, "user/*.cruds __relabel")
    assert client("POST", "/Patient/field-p/$meta-add", meta_of("X")).status_code == 200
    assert [one["code"] for one in ward.stored("Patient/field-p")["meta"]["security"]] == ["X"]
    assert client("POST", "/Patient/field-p/$meta-delete", meta_of("X")).status_code == 200
    assert "security" not in ward.stored("Patient/field-p")["meta"]


@pytest.mark.parametrize("limits", [VIP, {"labels": {"ceiling": "N", "unlabelled": "N", "forbidden": [f"{OWN}|VIP"]}}])
def test_no_write_takes_a_label_away_by_which_something_is_hidden(ward: Ward, limits: dict[str, Any]) -> None:
    client = ward.client(limits)
    ward.put({**patient(id="field-vip"), "meta": {"security": [label("VIP", OWN)]}})
    bare = {"resourceType": "Patient", "id": "field-vip", "gender": "male"}
    json_patch = {"content_type": "application/json-patch+json"}
    patches = [
        [{"op": "remove", "path": "/meta/security"}],
        [{"op": "remove", "path": "/meta/security/0"}],
        [{"op": "remove", "path": "/meta"}],
        [{"op": "replace", "path": "/meta/security", "value": []}],
        [{"op": "replace", "path": "/meta/security/0/code", "value": "OTHER"}],
        [{"op": "move", "from": "/meta/security", "path": "/meta/tag"}],
        [{"op": "replace", "path": "", "value": bare}],
    ]
    transaction = {"resourceType": "Bundle", "type": "transaction"}
    tried = [client("PUT", "/Patient/field-vip", bare), client("PUT", "/Patient?_id=field-vip", bare)]
    tried += [client("PATCH", "/Patient/field-vip", patch, **json_patch) for patch in patches]
    tried += [client("PATCH", "/Patient?_id=field-vip", patch, **json_patch) for patch in patches]
    for url in ("Patient/field-vip", "Patient?_id=field-vip"):
        tried.append(client("POST", "", {**transaction, "entry": [{"request": {"method": "PUT", "url": url}, "resource": bare}]}))
    for answer in tried:
        assert answer.status_code in {400, 403, 404, 412}, answer.text
    stored = ward.stored("Patient/field-vip")
    assert [one["code"] for one in stored["meta"]["security"]] == ["VIP"]
    assert stored["name"][0]["family"] == HIDDEN
