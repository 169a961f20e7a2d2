"""Attacks on policies in front of real HAPI: two records that differ in what is hidden alone get the same answers, and so do a record that
is hidden and one that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.ward import HIDDEN, OWN, Client, Ward, label

HIDING = {
    "fields": [
        {"type": "Patient", "permissions": "rs", "hide": ["birthDate", "name.family", "identifier.where(system='urn:own')"]},
        {"type": "Observation", "permissions": "rs", "hide": ["value[x]", "effective[x]"]},
        {"type": "Condition", "permissions": "rs", "hide": ["code"], "labelled": [f"{OWN}|VIP"]},
    ]
}
LABELS = {"labels": {"ceiling": "N", "unlabelled": "N"}}
LISTED = {"users": [{"when": {"fhir_user": "Practitioner"}, "boundary": {"patients": {"from_claim": "team"}}}]}
PATCH = {"content_type": "application/json-patch+json"}
WORD = "undisclosed"
Json = dict[str, Any]


def pair(number: int, date: str, word: str) -> Iterator[Json]:
    """A record; two of them differ in what is hidden."""
    subject = {"reference": f"Patient/twin-{number}"}
    inner = {"resourceType": "Patient", "id": "inner", "birthDate": date, "name": [{"family": word}]}
    text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{word}</div>'}
    yield {
        "resourceType": "Patient",
        "id": f"twin-{number}",
        "gender": "female",
        "birthDate": date,
        "name": [{"family": word, "given": ["Gina"]}],
        "identifier": [{"system": "urn:own", "value": word}, {"system": "urn:other", "value": "same"}],
        "text": text,
    }
    yield {
        "resourceType": "Observation",
        "id": f"twin-o-{number}",
        "status": "final",
        "code": {"text": "x"},
        "subject": subject,
        "performer": [{"reference": "#inner"}],
        "contained": [inner],
        "text": text,
        "effectiveDateTime": date,
        "valueString": word,
    }
    coded = {"coding": [{"system": "urn:c", "code": word}]}
    vip = {"security": [label("VIP", OWN)]}
    yield {"resourceType": "Condition", "id": f"twin-c-{number}", "subject": subject, "code": coded, "meta": vip}


@pytest.fixture(scope="module", autouse=True)
def records(ward: Ward) -> Iterator[None]:
    restricted = {"meta": {"security": [label("R")]}}
    own = {"resourceType": "Patient", "id": "seen-p", "gender": "female"}
    hidden = {"resourceType": "Patient", "id": "there-p", "name": [{"family": HIDDEN}], **restricted}
    about = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    seen = {**about, "id": "seen-o", "subject": {"reference": "Patient/seen-p"}}
    unseen = {**about, "id": "there-o", "code": {"text": HIDDEN}, "subject": {"reference": "Patient/there-p"}, **restricted}
    made = [*pair(1, "1970-01-01", f"{WORD}-1"), *pair(2, "1980-02-02", f"{WORD}-2"), own, hidden, seen, unseen]
    ward.put(*made)
    yield
    ward.delete(*(f"{one['resourceType']}/{one['id']}" for one in reversed(made)))


def told(client: Client, names: dict[str, str], method: str, target: str, body: Any, headers: dict[str, str]) -> tuple[Any, ...]:
    """The answer to a request with ``names`` in it, without them and without what every answer has of its own."""
    asked = {name: _named(value, names) for name, value in headers.items()}
    answer = client(method, _named(target, names), None if body is None else json.loads(_named(json.dumps(body), names)), **asked)
    text = answer.text
    for mark, name in names.items():
        text = text.replace(name, mark)
    for own in (r"request id [0-9a-f]+", r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", r'"source":"[^"]*"', r'"id":"[0-9a-f-]{36}"'):
        text = re.sub(own, "", text)
    kept = {
        name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id", "content-length", "last-modified"}
    }
    for mark, name in names.items():
        kept = {key: value.replace(name, mark) for key, value in kept.items()}
    return answer.status_code, text, kept


def _named(text: str, names: dict[str, str]) -> str:
    for mark, name in names.items():
        text = text.replace(mark, name)
    return text


def batch(kind: str, method: str, url: str, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": [{"request": {"method": method, "url": url}, **more}]}


CRITERIA = ("birthdate=1970-01-01", f"family={WORD}-1", f"identifier=urn:own|{WORD}-1", "_id=TWIN-P&birthdate:missing=true")
MALE = {"resourceType": "Patient", "gender": "male"}
TWINS: list[tuple[str, str, Any, dict[str, str]]] = [
    *(("GET", f"/Patient?_id=TWIN-P&{criteria}", None, {}) for criteria in CRITERIA),
    *(("PUT", f"/Patient?{criteria}", MALE, {}) for criteria in CRITERIA),
    *(("POST", "/Patient", MALE, {"If_None_Exist": criteria}) for criteria in CRITERIA),
    *(("POST", "", batch("batch", "GET", f"Patient?{criteria}"), {}) for criteria in CRITERIA),
    *(
        ("GET", target, None, {})
        for target in (
            "/Patient/TWIN-P",
            "/Patient/TWIN-P/_history",
            "/Patient/TWIN-P/$everything",
            "/Patient/TWIN-P/$everything?start=1969-01-01&end=1971-01-01",
            "/Patient/TWIN-P/$validate",
            "/Patient/TWIN-P/$meta",
            "/Patient?_id=TWIN-P&_elements=birthDate",
            "/Patient?_id=TWIN-P&_summary=text",
            "/Observation/TWIN-O",
            "/Observation/$lastn?subject=Patient/TWIN-P",
            "/Observation?_id=TWIN-O&date=1970-01-01",
            f"/Observation?_id=TWIN-O&value-string={WORD}-1&_summary=count",
            f"/Observation?_id=TWIN-O&_content={WORD}-1",
            "/Observation?_id=TWIN-O&performer.birthdate=1970-01-01",
            f"/Observation?_id=TWIN-O&subject:identifier=urn:own|{WORD}-1",
            "/Observation?_id=TWIN-O&_elements=contained",
            "/Condition/TWIN-C",
            f"/Condition?_id=TWIN-C&code=urn:c|{WORD}-1",
            "/Condition?_id=TWIN-C&_elements=code",
        )
    ),
    *(
        ("PATCH", "/Patient/TWIN-P", [operation, {"op": "test", "path": "/gender", "value": "never"}], PATCH)
        for path in ("/birthDate", "/name/0/family", "/name", "/identifier/0/value", "/text/div", "")
        for operation in ({"op": "test", "path": path, "value": "1970-01-01"}, {"op": "copy", "from": path, "path": "/language"})
    ),
    *(
        ("PATCH", "/Observation/TWIN-O", [{"op": "test", "path": path, "value": "1970-01-01"}], PATCH)
        for path in ("/contained/0/birthDate", "/text/div", "/effectiveDateTime")
    ),
    (
        "PATCH",
        "/Condition/TWIN-C",
        [{"op": "remove", "path": "/meta/security/0"}, {"op": "test", "path": "/language", "value": "-"}],
        PATCH,
    ),
    ("PUT", "/Patient/TWIN-P", {"resourceType": "Patient", "id": "TWIN-P", "birthDate": "1970-01-01"}, {}),
]


def test_what_is_hidden_makes_no_difference_to_any_answer(ward: Ward) -> None:
    client = ward.client(HIDING, seeing=True)  # its own words may come back, so what shows is looked at here
    one, two = ({"TWIN-P": f"twin-{n}", "TWIN-O": f"twin-o-{n}", "TWIN-C": f"twin-c-{n}"} for n in (1, 2))
    statuses = set()
    for method, target, body, headers in TWINS:
        found, other = (told(client, names, method, target, body, headers) for names in (one, two))
        assert found == other, (method, target, body)
        assert WORD in f"{target}{body}{headers}" or WORD not in str(found), (method, target, body)
        statuses.add(found[0])
    assert statuses >= {200, 403, 422}


SOMEBODY: list[tuple[str, str, Any, dict[str, str]]] = [
    *(
        ("GET", target, None, {})
        for target in (
            "/Patient/SOME-P",
            "/Patient/SOME-P/_history",
            "/Patient/SOME-P/_history/1",
            "/Patient/SOME-P/$everything",
            "/Patient/SOME-P/$validate",
            "/Patient?_id=SOME-P",
            "/Patient?_id=SOME-P,seen-p",
            "/Patient?_id:not=SOME-P",
            "/Observation?_id:not=SOME-O",
            "/Observation?_id:not=SOME-O&_summary=count",
            "/Observation?subject=Patient/SOME-P",
            "/Observation?has-member=Observation/SOME-O",
            "/Patient/SOME-P/Observation",
            "/Observation/$lastn?patient=SOME-P",
        )
    ),
    *(
        (method, "/Patient/SOME-P", body, headers)
        for headers in ({}, {"If_Match": 'W/"1"'}, {"If_Match": 'W/"9"'})
        for method, body in (("DELETE", None), ("PUT", {"resourceType": "Patient", "id": "SOME-P"}))
    ),
    ("PATCH", "/Patient/SOME-P", [{"op": "remove", "path": "/nothing"}], PATCH),
    ("PUT", "/Patient?_id=SOME-P", MALE, {}),
    ("DELETE", "/Patient?_id=SOME-P", None, {}),
    ("GET", "/Patient/SOME-P", None, {"If_None_Match": 'W/"1"'}),
    *(("POST", "", batch("batch", method, url), {}) for method, url in (("GET", "Patient/SOME-P"), ("DELETE", "Observation/SOME-O"))),
]


@pytest.mark.parametrize(
    ("policy", "scope", "claims"),
    [
        (LABELS, "user/*.cruds", {}),
        (LISTED, "user/*.cruds", {"team": ["seen-p"]}),
        ({}, "patient/*.cruds", {"patient": "seen-p", "fhirUser": "Patient/seen-p"}),
    ],
    ids=["labels", "list", "patient"],
)
def test_what_may_not_be_seen_looks_absent(ward: Ward, policy: Json, scope: str, claims: Json) -> None:
    client = ward.client(policy, scope, **claims)
    assert client.get("/Patient/seen-p").status_code == 200
    for method, target, body, headers in SOMEBODY:
        found, other = (
            told(client, {"SOME-P": f"{which}-p", "SOME-O": f"{which}-o"}, method, target, body, headers) for which in ("there", "never")
        )
        assert found == other, (method, target, body)
    assert ward.stored("Patient/there-p")["name"][0]["family"] == HIDDEN
