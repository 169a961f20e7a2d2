"""From claims to the principal."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.fhir.references import Bases, Reference
from smart_gateway.principal import Actor, Principal
from smart_gateway.scopes.claim_paths import find_claim, is_path
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.tokens.claims import read_principal
from smart_gateway.tokens.issuer import ClaimPaths, IssuerConfig
from tests.support.issuer import AUDIENCE, ISSUER, access_claims

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")


def principal(
    *, paths: ClaimPaths | None = None, replacement: Replacement | None = None, bases: tuple[str, ...] = (), **claims: Any
) -> Principal:
    config = IssuerConfig(ISSUER, (AUDIENCE,), claims=paths or ClaimPaths(), replacement=replacement, fhir_user_bases=bases)
    return read_principal(access_claims(**claims), config, BASES)


def scopes_of(who: Principal) -> list[str]:
    return [scope.text for scope in who.scopes.resources]


def test_the_usual_claims() -> None:
    who = principal(fhirUser="Practitioner/7", encounter="e1", fhirContext=[{"reference": "ImagingStudy/1"}], act={"sub": "proxy"})
    assert (who.issuer, who.subject, who.client_id, who.token_id) == (ISSUER, "subject-1", "growth-chart", "token-1")
    assert (who.patient, who.encounter, who.fhir_user) == ("123", "e1", Reference("Practitioner", "7"))
    assert (who.expires_at, who.issued_at) == (1_750_000_300.0, 1_750_000_000.0)
    assert scopes_of(who) == ["patient/Observation.rs"]
    assert who.scopes.has("openid")
    assert [dict(item) for item in who.fhir_context] == [{"reference": "ImagingStudy/1"}]
    assert who.actors == (Actor("proxy"),)
    assert dict(who.confirmation) == {}
    assert not who.anonymous


def test_no_claims_make_a_principal_without_anything() -> None:
    who = read_principal({}, IssuerConfig(ISSUER, (AUDIENCE,)), BASES)
    assert who == Principal(issuer=ISSUER)


@pytest.mark.parametrize(
    ("value", "patient"),
    [
        ("123", "123"),
        ("a-B.9", "a-B.9"),
        ("Patient/123", "123"),
        (f"{AUDIENCE}/Patient/123", "123"),
        ("http://127.0.0.1:8090/fhir/Patient/123", "123"),
        ("", None),
        (".", None),
        ("..", None),
        ("Patient/..", None),
        ("Patient/123/_history/1", None),
        ("Patient/123/", None),
        ("Patient/123?x=1", None),
        ("patient/123", None),
        ("Group/123", None),
        ("123,456", None),
        ("123 ", None),
        ("123\n", None),
        ("１２３", None),
        ("1" * 65, None),
        ("https://other.example/fhir/Patient/123", None),
        (f"{AUDIENCE}evil/Patient/123", None),
        (f"{AUDIENCE}/x/Patient/123", None),
        ("urn:uuid:123", None),
        ("#123", None),
        (123, None),
        (True, None),
        (None, None),
        (["123"], None),
        ({"reference": "Patient/123"}, None),
    ],
)
def test_patient_is_one_id_or_nothing(value: Any, patient: str | None) -> None:
    assert principal(patient=value).patient == patient


@pytest.mark.parametrize(
    ("value", "user"),
    [
        ("Patient/1", Reference("Patient", "1")),
        ("Practitioner/1", Reference("Practitioner", "1")),
        ("PractitionerRole/1", Reference("PractitionerRole", "1")),
        ("RelatedPerson/1", Reference("RelatedPerson", "1")),
        ("Person/1", Reference("Person", "1")),
        (f"{AUDIENCE}/Practitioner/1", Reference("Practitioner", "1")),
        ("http://127.0.0.1:8090/fhir/Practitioner/1", Reference("Practitioner", "1")),
        ("https://listed.example/fhir/Practitioner/1", Reference("Practitioner", "1")),
        ("https://unlisted.example/fhir/Practitioner/1", None),
        ("https://listed.example/fhir/more/Practitioner/1", None),
        ("https://listed.example/fhirPractitioner/1", None),
        ("https://listed.example/fhir//Practitioner/1", None),
        ("Practitioner/1/_history/2", None),
        ("Practitioner/1/x", None),
        ("Practitioner/", None),
        ("Practitioner", None),
        ("/Practitioner/1", None),
        ("practitioner/1", None),
        ("Organization/1", None),
        ("Device/1", None),
        ("Practitioner/..", None),
        ("Рractitioner/1", None),
        (["Practitioner/1"], None),
        ({}, None),
        (None, None),
        (1, None),
    ],
)
def test_fhir_user_is_one_reference_or_none(value: Any, user: Reference | None) -> None:
    who = principal(fhirUser=value, bases=("https://listed.example/fhir",))
    assert who.fhir_user == user
    assert who.user_kind == (user.type if user else "none")


@pytest.mark.parametrize(("value", "encounter"), [("e1", "e1"), ("Encounter/e1", "e1"), ("Patient/e1", None), (["e1"], None)])
def test_encounter(value: Any, encounter: str | None) -> None:
    assert principal(encounter=value).encounter == encounter


@pytest.mark.parametrize("value", [None, "x", {}, [1], [{"reference": "A/1"}, "x"], [[]]])
def test_malformed_fhir_context_is_empty(value: Any) -> None:
    assert principal(fhirContext=value).fhir_context == ()


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"scope": "patient/Observation.rs user/Patient.r"}, ["patient/Observation.rs", "user/Patient.r"]),
        ({"scope": ["patient/Observation.rs", "user/Patient.r"]}, ["patient/Observation.rs", "user/Patient.r"]),
        ({"scope": ..., "scp": "patient/Observation.rs"}, ["patient/Observation.rs"]),
        ({"scope": ..., "scp": ["patient/Observation.rs"]}, ["patient/Observation.rs"]),
        ({"scope": "patient/Patient.r", "scp": "user/*.cruds"}, ["patient/Patient.r"]),
        ({"scope": "", "scp": "user/*.cruds"}, []),
        ({"scope": None, "scp": "user/*.cruds"}, []),
        ({"scope": [], "scp": "user/*.cruds"}, []),
        ({"scope": {"a": 1}}, []),
        ({"scope": ["patient/Patient.r", 1]}, []),
        ({"scope": ...}, []),
    ],
)
def test_scope_is_string_or_array_and_the_first_present_path_counts(claims: dict[str, Any], expected: list[str]) -> None:
    assert scopes_of(principal(**claims)) == expected


def test_replaced_characters_and_v1_write_are_the_issuers() -> None:
    replaced = principal(scope="api://app/patient-Observation.rs", replacement=Replacement(slash="-", strip_prefix="api://app/"))
    assert [scope.type for scope in replaced.scopes.resources] == ["Observation"]
    config = IssuerConfig(ISSUER, (AUDIENCE,), v1_write="cu")
    written = read_principal(access_claims(scope="user/Patient.write"), config, BASES)
    assert [scope.permissions.letters for scope in written.scopes.resources] == ["cu"]


@pytest.mark.parametrize(
    ("claims", "client"),
    [
        ({"client_id": "a", "azp": "b"}, "a"),
        ({"client_id": ..., "azp": "b", "appid": "c"}, "b"),
        ({"client_id": ..., "appid": "c"}, "c"),
        ({"client_id": None, "azp": "b"}, None),
        ({"client_id": "", "azp": "b"}, None),
        ({"client_id": ["a"], "azp": "b"}, None),
        ({"client_id": ...}, None),
    ],
)
def test_the_first_client_claim_that_is_present_counts_whatever_its_value(claims: dict[str, Any], client: str | None) -> None:
    assert principal(**claims).client_id == client


def test_paths_literal_namespaced_and_nested() -> None:
    paths = ClaimPaths(patient=("https://example.org/claims/patient", "ext.patient"), tenant=("org.id",))
    assert principal(paths=paths, **{"https://example.org/claims/patient": "1", "ext": {"patient": "2"}}).patient == "1"
    assert principal(paths=paths, ext={"patient": "2"}).patient == "2"
    assert principal(paths=paths, **{"ext.patient": "3", "ext": {"patient": "2"}}).patient == "3"
    assert principal(paths=paths, ext=["patient"]).patient is None
    assert principal(paths=paths, org={"id": "north"}).tenant == "north"
    assert principal(paths=paths, org={"id": 5}).tenant is None


CLAIMS: dict[str, Any] = {
    "ext": {"patient": "1", "deep": {"er": [{"id": "2"}, {"id": "3"}]}},
    "https://example.org/claims": {"patient": "4", "a.b": "5"},
    "text": '{"patient": "6", "list": ["7"]}',
    "nested": {"text": '["8"]'},
    "doubled": '{"patient": "9", "patient": "10"}',
    "broken": '{"patient": ',
    "bottomless": "[" * 100 + "]" * 100,
    "fhirContext": [{"reference": "Patient/11"}, {"reference": "Encounter/12"}],
    "list": ["13"],
    "null": None,
    "word": "14",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ext.patient", "1"),
        ("ext.deep.er[0].id", "2"),
        ("ext.deep.er[1].id", "3"),
        ("ext.deep.er[2].id", None),
        ("ext.deep.er.id", None),
        ("ext[0]", None),
        ('["https://example.org/claims"].patient', "4"),
        ('["https://example.org/claims"]["a.b"]', "5"),
        ('["https://example.org/claims"].a.b', None),
        ('ext.["patient"]', "1"),
        ("text.patient", "6"),
        ("text.list[0]", "7"),
        ("nested.text[0]", "8"),
        ("doubled.patient", None),
        ("broken.patient", None),
        ("bottomless[0]", None),
        ("fhirContext[0].reference", "Patient/11"),
        ("list[0]", "13"),
        ("list[00]", "13"),
        ("list[-1]", None),
        ("list[1]", None),
        ("list.0", None),
        ("word[0]", None),
        ("word.length", None),
        ("null.patient", None),
        ("__class__", None),
        ("ext.__len__", None),
    ],
)
def test_paths_lead_down_objects_arrays_and_texts_that_hold_json(path: str, value: str | None) -> None:
    assert find_claim(CLAIMS, (path,)) == value


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[1", "a]", 'a["b]', "a[0]b", '["a"]b', "a[12345]"])
def test_what_is_no_path(path: str) -> None:
    assert not is_path(path)
    assert find_claim({"a": [{"b": 1}]}, (path,)) is None


@pytest.mark.parametrize("path", ["patient", "https://example.org/patient", "cognito:groups", "a.b[0].c", '["x.y"].z', "urn:a:b"])
def test_what_is_a_path(path: str) -> None:
    assert is_path(path)


def test_the_first_path_that_is_present_counts_also_where_its_value_is_of_no_use() -> None:
    paths = ClaimPaths(patient=("null", "ext.patient"))
    assert principal(paths=paths, null=None, ext={"patient": "1"}).patient is None
    paths = ClaimPaths(patient=("ext.missing", "ext.patient"))
    assert principal(paths=paths, ext={"patient": "1"}).patient == "1"


@pytest.mark.parametrize("value", ["[]", '["Patient/1", "Patient/2"]', '{"reference": "Patient/1"}', "Patient/1,Patient/2"])
def test_a_text_that_holds_more_than_an_id_is_no_patient(value: str) -> None:
    assert principal(patient=value).patient is None


def test_patient_in_fhir_context_and_in_an_array() -> None:
    assert principal(paths=ClaimPaths(patient=("fhirContext[0].reference",)), fhirContext=[{"reference": "Patient/1"}]).patient == "1"
    assert principal(paths=ClaimPaths(patient=("fhirContext[0].reference",)), fhirContext=[{"reference": "Group/1"}]).patient is None
    assert principal(paths=ClaimPaths(patient=("patient[0]",)), patient=["1"]).patient == "1"
    assert principal(paths=ClaimPaths(patient=("patient",)), patient=["1"]).patient is None


def test_fhir_context_as_a_text() -> None:
    assert [dict(item) for item in principal(fhirContext='[{"reference": "ImagingStudy/1"}]').fhir_context] == [
        {"reference": "ImagingStudy/1"}
    ]
    assert principal(fhirContext='[{"reference": "ImagingStudy/1", "reference": "Patient/2"}]').fhir_context == ()
    assert principal(fhirContext="ImagingStudy/1").fhir_context == ()


def test_a_claim_that_no_path_names_is_never_read() -> None:
    assert principal(paths=ClaimPaths(patient=())).patient is None
    assert find_claim({"patient": "1"}, ()) is None


def detail(**members: Any) -> dict[str, Any]:
    return {"type": "smart_on_fhir", "locations": [AUDIENCE], "scope": "patient/Condition.rs", "patient": "d1", **members}


def test_matching_details_replace_the_top_level_scope_and_context() -> None:
    who = principal(scope="user/*.cruds", encounter="e9", authorization_details=[detail(), {"type": "other"}])
    assert (scopes_of(who), who.patient, who.encounter) == (["patient/Condition.rs"], "d1", None)


def test_details_of_another_type_leave_the_top_level_alone() -> None:
    who = principal(authorization_details=[{"type": "payment"}])
    assert (scopes_of(who), who.patient) == (["patient/Observation.rs"], "123")


def test_matching_details_of_one_context_add_up() -> None:
    who = principal(
        authorization_details=[detail(), detail(scope=["user/Patient.r"]), detail(locations=["https://other/fhir"], scope="user/*.c")]
    )
    assert scopes_of(who) == ["patient/Condition.rs", "user/Patient.r"]


@pytest.mark.parametrize(
    "details",
    [
        [detail(locations=["https://other.example/fhir"])],
        [detail(locations=[AUDIENCE + "/"])],
        [detail(locations=[AUDIENCE[:-1]])],
        [detail(locations=[AUDIENCE.upper()])],
        [detail(locations=[])],
        [detail(locations=AUDIENCE)],
        [detail(locations=[AUDIENCE, 5])],
        [{"type": "smart_on_fhir", "scope": "user/*.cruds"}],
        [detail(), detail(patient="d2")],
        [detail(), detail(encounter="e1")],
        [detail(scope=None)],
        [detail(scope=5)],
        [detail(), detail(scope=[5])],
        [detail(), "x"],
        [detail(), {"no": "type"}],
        [detail(type=["smart_on_fhir"])],
        detail(),
        "smart_on_fhir",
        None,
    ],
)
def test_details_elsewhere_contradicting_or_malformed_grant_nothing(details: Any) -> None:
    who = principal(scope="user/*.cruds", authorization_details=details)
    assert (who.scopes.resources, who.patient) == ((), None)


def test_an_empty_list_of_details_has_none_of_ours() -> None:
    assert scopes_of(principal(authorization_details=[])) == ["patient/Observation.rs"]
