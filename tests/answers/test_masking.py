"""Elements that the policy hides go from an answer, and every other byte stays."""

from __future__ import annotations

import json

import pytest

from smart_gateway.answers.masking import masked, masked_version
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.fields import parse_field
from smart_gateway.policy.access import Access
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import policy, principal

SUBSETTED = '{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'
HIDDEN = "19700101-hidden"


def access(*hide: str, labelled: tuple[str, ...] | None = None) -> Access:
    rule = FieldRule("Patient", Permission.READ, tuple(parse_field(text) for text in hide), labelled=labelled)
    return Access(principal("user/*.rs", fhir_user="Practitioner/7"), policy(fields=(rule,)))


HIDING = access("birthDate")


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ('{"resourceType":"Patient","birthDate":"B"}', '{"resourceType":"Patient","meta":{"tag":[T]}}'),
        ('{"resourceType":"Patient","meta":{},"birthDate":"B"}', '{"resourceType":"Patient","meta":{"tag":[T]}}'),
        ('{"birthDate":"B","meta":{"tag":[]},"resourceType":"Patient"}', '{"meta":{"tag":[T]},"resourceType":"Patient"}'),
        ('{"resourceType":"Patient","meta":{"tag":[{"code":"x"}]}}', '{"resourceType":"Patient","meta":{"tag":[{"code":"x"},T]}}'),
        (
            '{"resourceType":"Patient","meta":{"tag":[{"code":"SUBSETTED"}]}}',
            '{"resourceType":"Patient","meta":{"tag":[{"code":"SUBSETTED"}]}}',
        ),
        (
            '{ "resourceType" : "Patient", "_birthDate":{"id":"B"}, "x": 1.50E+2, "y":"\\u00e9\\/", "birthDate" : "B" }',
            '{ "resourceType" : "Patient", "x": 1.50E+2, "y":"\\u00e9\\/","meta":{"tag":[T]} }',
        ),
        ('{"resourceType":"Observation","birthDate":"seen"}', '{"resourceType":"Observation","birthDate":"seen"}'),
        ('{"resourceType":"Patient","text":{"div":"B"}}', '{"resourceType":"Patient","meta":{"tag":[T]}}'),
    ],
)
def test_all_else_is_as_it_came(body: str, left: str) -> None:
    came, expected = body.replace('"B"', f'"{HIDDEN}"'), left.replace("T]", f"{SUBSETTED}]")
    assert masked(came.encode(), HIDING).decode() == expected


@pytest.mark.parametrize("depth", [0, 1, 40])
def test_a_resource_is_masked_wherever_it_stands(depth: int) -> None:
    resource = {"resourceType": "Patient", "id": "p", "birthDate": HIDDEN}
    for level in range(depth):
        inner = resource
        resource = (
            {"resourceType": "Bundle", "entry": [{"resource": inner}]} if level % 2 else {"resourceType": "Basic", "contained": [inner]}
        )
    left = masked(json.dumps(resource).encode(), HIDING).decode()
    assert HIDDEN not in left
    assert '"id": "p"' in left


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"resourceType":"Observation","value":"\xc3\xa9"}',
    ],
)
def test_what_has_nothing_hidden_stays(body: bytes) -> None:
    assert masked(body, HIDING) == body


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"not JSON",
        b'{"resourceType":"Patient","id":"a","id":"b"}',
        b'{"resourceType":"Patient","meta":[]}',
        b'{"resourceType":"Patient","meta":"x"}',
        b'{"resourceType":"Patient","meta":{"tag":"x"}}',
        b'{"resourceType":"Patient","meta":{"tag":{"code":"x"}}}',
        b'{"a":' * 300 + b"1" + b"}" * 300,
    ],
)
def test_what_cannot_be_masked_does_not_leave(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        masked(body, HIDING)


def test_nothing_is_looked_at_where_nothing_is_hidden() -> None:
    body = b"not JSON"
    plain = Access(principal("user/*.rs", fhir_user="Practitioner/7"), policy())
    assert masked(body, plain) is body


LABEL = {"system": "urn:s", "code": "x"}


@pytest.mark.parametrize(
    ("today", "shown"),
    [
        ({"resourceType": "Patient"}, True),
        ({"resourceType": "Patient", "meta": {"security": [LABEL]}}, False),
        ({"resourceType": "Patient", "meta": {"security": "x"}}, False),  # cannot be read
        (None, False),
    ],
)
def test_a_version_is_masked_by_the_labels_of_today_too(today: dict[str, object] | None, shown: bool) -> None:
    hiding = access("birthDate", labelled=("urn:s|x",))
    version = json.dumps({"resourceType": "Patient", "birthDate": HIDDEN}).encode()
    assert (HIDDEN.encode() in masked_version(version, today, hiding)) is shown
    labelled = json.dumps({"resourceType": "Patient", "meta": {"security": [LABEL]}, "birthDate": HIDDEN}).encode()
    assert HIDDEN.encode() not in masked_version(labelled, today, hiding)


def test_a_version_that_cannot_be_read_does_not_leave() -> None:
    with pytest.raises(UpstreamError):
        masked_version(b'{"resourceType":"Patient",', None, HIDING)
