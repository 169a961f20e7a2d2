"""Each parameter and modifier of a bounded search: kept, intersected, dropped or refused, and docs/search.md says which."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.errors import RequestError
from smart_gateway.fhir.fields import parse_field
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import ParameterKind
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.model import Capabilities
from smart_gateway.policy.parameters.controls import CONTROLS
from smart_gateway.policy.parameters.modifiers import ADDED_BY_R5, MODIFIERS, REACHING
from smart_gateway.policy.plan import CheckSearchset, Decision, Deny, Permit
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.request.limits import Limits
from smart_gateway.request.parsing import RequestParser
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, permitted, policy, principal, sent, vocabulary

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
RECORD = "patient/*.rs"
TWO = "patient/Observation.rs?category=laboratory patient/Observation.rs?code=8867-4"


def under(release: Release, target: str, scope: str = RECORD) -> Decision:
    path, _, query = target.partition("?")
    request = RequestParser(vocabulary(release), "", Limits()).parse("GET", path.encode(), query.encode(), [])
    return authorize(request, Access(principal(scope), policy(release)))


def query(decision: Decision) -> str:
    return sent(decision).partition("?")[2].replace("%3A", ":").replace("%7C", "|")


def fault(target: str, scope: str = RECORD, release: Release = Release.R4) -> RequestError:
    with pytest.raises(RequestError) as caught:
        under(release, target, scope)
    assert caught.value.status == 400
    return caught.value


def rows(heading: str) -> list[list[str]]:
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("| `")]


def test_the_page_lists_every_parameter_that_steers() -> None:
    listed = {name for row in rows("Parameters that steer the search") for name in re.findall(r"`(_\w+)`", row[0])}
    assert set(CONTROLS) <= listed
    assert {"_include", "_revinclude", "_has", "_id"} <= listed


@pytest.mark.parametrize("release", list(Release))
def test_parameters_that_the_page_calls_refused_are(release: Release) -> None:
    refused = [row[0].strip("`") for row in rows("Parameters that steer the search") if row[1].startswith("refused")]
    assert set(refused) == {"_filter", "_query", "_list", "_in", "_type", "_graph"}
    for name in refused:
        cause = denied(under(release, f"/Observation?{name}=x")).causes[0]
        assert (cause.code, cause.expression) == ("parameter-not-allowed", f"http.{name}")


def test_the_page_lists_every_modifier_with_its_kinds() -> None:
    listed: dict[str, str] = {}
    for row in rows("Modifiers"):
        for name in re.findall(r"`([a-z-]+)`", row[0]):
            listed[name] = f"{listed.get(name, '')} {row[1]}"
    for table in (MODIFIERS, ADDED_BY_R5):
        for kind, names in table.items():
            for name in names - {"missing"}:
                assert kind.value in listed[name], (name, kind)
    assert listed["missing"].strip() == "every kind"


SAMPLES = {
    ParameterKind.STRING: ("Patient", "name", "x"),
    ParameterKind.TOKEN: ("Observation", "code", "http://loinc.org|1"),
    ParameterKind.REFERENCE: ("Observation", "encounter", "Encounter/1"),
    ParameterKind.URI: ("ValueSet", "url", "http://example.org/a"),
    ParameterKind.DATE: ("Observation", "date", "2020"),
    ParameterKind.NUMBER: ("RiskAssessment", "probability", "1"),
    ParameterKind.QUANTITY: ("Observation", "value-quantity", "1"),
    ParameterKind.COMPOSITE: ("Observation", "code-value-quantity", "1$2"),
}
EVERY = sorted(
    {name for table in (MODIFIERS, ADDED_BY_R5) for names in table.values() for name in names} | {"exact", "nickname", "mdm", "iterate"}
)


@pytest.mark.parametrize("release", list(Release))
@pytest.mark.parametrize("kind", list(SAMPLES))
@pytest.mark.parametrize("modifier", EVERY)
def test_each_modifier_goes_with_the_kinds_that_define_it(release: Release, kind: ParameterKind, modifier: str) -> None:
    type, code, value = SAMPLES[kind]
    value = {"missing": "true", "in": "http://example.org/vs", "not-in": "ValueSet/1"}.get(modifier, value)
    target = f"/{type}?{code}:{modifier}={value}"
    known = modifier in MODIFIERS[kind] or (release is Release.R5 and modifier in ADDED_BY_R5.get(kind, ()))
    if kind is ParameterKind.REFERENCE and modifier in REACHING:
        assert denied(under(release, target)).causes[0].expression == f"http.{code}:{modifier}"
    elif known:
        assert f"{code}:{modifier}={value}" in query(under(release, target))
    else:
        found = fault(target, release=release)
        assert (found.reason, found.expression) in {
            (reason, f"http.{code}:{modifier}") for reason in ("unknown-modifier", "malformed-parameter")
        }


@pytest.mark.parametrize(
    "value", ["Patient/1", "List/1", "https://fhir.example.org/fhir/Patient/1", "x", "", "http://a.example/vs,Group/1"]
)
def test_a_value_set_is_one(value: str) -> None:
    assert fault(f"/Observation?code:in={value}").expression == "http.code:in"


@pytest.mark.parametrize(
    "value", ["http://elsewhere.example/vs", "urn:oid:1.2.3", "ValueSet/1", "https://fhir.example.org/fhir/ValueSet/1"]
)
def test_a_value_set_is_named_wherever_it_is(value: str) -> None:
    assert query(decide("GET", f"/Observation?code:in={value}", RECORD)).startswith(f"code:in={value}&")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("_elements=subject.display", "_elements=subject.display,performer,subject"),
        ("_elements=Observation.code", "_elements=Observation.code,performer,subject"),
        ("_elements=subject,performer", "_elements=subject,performer"),
        ("_elements=code&_include=*", "_include=*"),
        ("_elements=code&_include=Observation:encounter", "_include=Observation:encounter&_elements=code,patient,performer,subject"),
        ("_contained=false&_containedType=container", ""),
        ("_count=0", "_count=0"),
        ("_count=007", "_count=7"),
        ("_include:recurse=Observation:encounter", "_include:recurse=Observation:encounter"),
        ("_include:iterate=Encounter:subject", "_include:iterate=Encounter:subject"),
        ("_include=Observation:*", "_include=Observation:*"),
        ("_include=Observation:subject:Patient", "_include=Observation:subject:Patient"),
        ("_revinclude=Provenance:*", "_revinclude=Provenance:*"),
        ("subject:identifier=sys|1", "subject:identifier=sys|1"),
        ("subject=http://127.0.0.1:8090/fhir/Patient/123", "subject=Patient/123"),
        ("subject=Patient/123/_history/1,Patient/9", "subject=Patient/123/_history/1"),
        ("subject=urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7", "subject=urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7"),
        ("subject=http://elsewhere.example/fhir/Patient/456", "subject=http://elsewhere.example/fhir/Patient/456"),
        ("instantiates-canonical=https://fhir.example.org/fhir/PlanDefinition/1", None),
    ],
)
def test_what_is_sent(target: str, said: str | None) -> None:
    if said is None:  # a canonical is a name, though it begins with our base
        assert query(decide("GET", f"/CarePlan?{target}", RECORD)).startswith(target)
        return
    own = "patient=Patient/123"
    assert query(decide("GET", f"/Observation?{target}", RECORD)) == (f"{said}&{own}" if said else own)


@pytest.mark.parametrize(
    ("elements", "dropped"),
    [
        ("code", ("performer", "subject")),
        ("subject.display", ("performer",)),
        ("Observation.subject", ("performer",)),
        ("performer,subject", ()),
    ],
)
def test_what_was_asked_for_stays(elements: str, dropped: tuple[str, ...]) -> None:
    rule = permitted(decide("GET", f"/Observation?_elements={elements}", RECORD)).answer
    assert isinstance(rule, CheckSearchset)
    assert rule.drop_elements == dropped


def test_a_choice_that_was_asked_for_stays() -> None:
    for name in ("effective", "effective[x]", "effectiveDateTime"):
        rule = permitted(decide("GET", f"/Observation?_elements={name}", "patient/Observation.rs?date=ge2020")).answer
        assert isinstance(rule, CheckSearchset)
        assert "effectiveDateTime" not in rule.drop_elements


@pytest.mark.parametrize("target", ["_count=0", "_summary=count", "_count=00"])
def test_a_count_that_could_count_others_is_refused(target: str) -> None:
    name = target.partition("=")[0]
    cause = denied(decide("GET", f"/Observation?{target}", TWO)).causes[0]
    assert (cause.code, cause.expression) == ("inexact-count", f"http.{name}")
    rule = permitted(decide("GET", f"/Observation?{target}", "patient/Observation.rs")).answer
    assert isinstance(rule, CheckSearchset)
    assert rule.count_only


@pytest.mark.parametrize(
    "name", ["_sort=_list", "_sort=_has", "_sort=_count", "_contained=maybe", "_containedType=x", "_elements=a..b", "_total:x=none"]
)
def test_broken_values_are_named(name: str) -> None:
    assert fault(f"/Observation?{name}").expression == f"http.{name.partition('=')[0]}"


@pytest.mark.parametrize(("name", "value"), [("_score", "true"), ("_maxresults", "10")])
def test_what_r5_adds_is_unknown_before(name: str, value: str) -> None:
    assert f"{name}={value}" in query(under(Release.R5, f"/Observation?{name}={value}"))
    for release in (Release.R4, Release.R4B):
        assert fault(f"/Observation?{name}={value}", release=release).reason == "unknown-parameter"
    assert fault(f"/Observation?{name}=x", release=Release.R5).reason == "malformed-parameter"


CLINICIAN = {"fhir_user": "Practitioner/p", "patient": None}


def test_a_chain_by_patient_leads_to_patients_alone() -> None:
    """R4 lets the parameter name groups as well, but it reads the subjects that are patients."""
    target = "/Observation?patient.gender=male"
    assert sent(decide("GET", target, "user/Observation.rs user/Patient.rs", **CLINICIAN)) == f"GET {target}"
    assert denied(decide("GET", "/Observation?subject.name=x", "user/Observation.rs user/Patient.rs", **CLINICIAN)).status == 403


def test_a_chain_steps_only_where_its_parameter_leads() -> None:
    with pytest.raises(RequestError):
        decide("GET", "/Observation?subject:Organization.name=x", "user/*.rs?_id=1 user/Observation.rs user/Organization.rs", **CLINICIAN)


def test_an_include_by_a_parameter_of_the_upstreams_own() -> None:
    own = policy(capabilities=Capabilities({"Observation": frozenset({"patient", "my-reference"})}))
    assert "_include=Observation:my-reference" in query(decide("GET", "/Observation?_include=Observation:my-reference", RECORD, under=own))


@pytest.mark.parametrize(
    "target",
    [
        "/Observation?" + "&".join(f"subject.focus.focus.focus.code={n}" for n in range(200)),
        "/Observation?subject=" + ",".join(f"Patient/{n}" for n in range(600)),
        "/Observation?code=" + "\\," * 2700,
        "/Observation?_elements=" + ",".join(["a.b.c.d"] * 1000),
        "/Observation?" + "&".join(["_include=Observation:subject"] * 280),
        "/Observation?" + "&".join(f"code:in=http://a/{'x' * 20}" for _ in range(190)),
        "/Observation?_sort=" + "-date," * 1300 + "date",
        "/Patient?_has:Observation:subject:" + "focus." * 1300 + "code=1",
    ],
)
def test_long_queries_are_judged_in_good_time(target: str) -> None:
    """8 KiB of the worst that a judge can be given: each is decided, or refused for its length, within some milliseconds."""
    try:
        decision: Decision | RequestError = decide("GET", target, RECORD)
    except RequestError as error:
        decision = error
    assert isinstance(decision, Permit | Deny) or decision.reason == "malformed-parameter"


LET_THROUGH = {"Observation": frozenset({"ward", "code:narrower", "_offset", "subject", "subject:in"}), "*": frozenset({"site"})}


def let_through(target: str, scope: str = RECORD, **rules: Any) -> Decision:
    return decide("GET", target, scope, under=policy(search_parameters=LET_THROUGH, **rules))


@pytest.mark.parametrize("key", ["ward", "code:narrower", "_offset", "site"])
def test_what_the_policy_names_is_sent_as_it_came(key: str) -> None:
    decision = let_through(f"/Observation?{key}=a,b|c")
    assert query(decision).replace("%2F", "/").replace("%2C", ",") == f"{key}=a,b|c&patient=Patient/123"
    assert any("policy.search.parameters." in check for check in permitted(decision).checks)


@pytest.mark.parametrize(
    "target", ["/Observation?ward:exact=a", "/Observation?ward.name=a", "/Condition?ward=a", "/Observation?code:wider=a"]
)
def test_nothing_else_is(target: str) -> None:
    with pytest.raises(RequestError) as caught:
        let_through(target)
    assert caught.value.status == 400


def test_what_fhir_defines_is_judged_by_that_whatever_the_policy_names() -> None:
    assert denied(let_through("/Observation?subject=Patient/456")).causes[0].code == "foreign-patient"
    assert denied(let_through("/Observation?subject:in=List/1")).causes[0].code == "parameter-not-allowed"


def test_matches_of_what_nobody_understands_are_not_counted() -> None:
    assert denied(let_through("/Observation?ward=a&_summary=count")).causes[0].code == "inexact-count"
    rules = [permitted(let_through(f"/Observation?{key}=a")).answer for key in ("ward", "code")]
    assert [rule.exact for rule in rules if isinstance(rule, CheckSearchset)] == [False, True]


def test_one_may_sort_by_what_the_policy_names_but_for_what_steers() -> None:
    assert "_sort=-ward" in query(let_through("/Observation?_sort=-ward"))
    with pytest.raises(RequestError):
        let_through("/Observation?_sort=_offset")


@pytest.mark.parametrize(("type", "path"), [("Observation", "note"), ("Patient", "birthDate")])  # a Patient may be contained
def test_where_elements_are_hidden_nothing_is_let_through(type: str, path: str) -> None:
    hidden = (FieldRule(type, Permission.READ | Permission.SEARCH, hide=(parse_field(path),)),)
    for asked in ("ward=a", "code:narrower=a", "_sort=code:narrower"):
        assert denied(let_through(f"/Observation?{asked}", fields=hidden)).causes[0].code == "hidden-elements"


def test_it_is_no_criterion_of_a_write() -> None:
    under = policy(search_parameters=LET_THROUGH)
    for criteria in ("ward=a", "code:narrower=a"):
        for scope in ("patient/*.cruds", "system/*.cruds"):
            with pytest.raises(RequestError, match="understood whole"):
                decide("DELETE", f"/Observation?{criteria}", scope, under=under)
