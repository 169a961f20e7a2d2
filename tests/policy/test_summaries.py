"""``_summary`` beside a check: kept where all that the check needs stays for sure, else refused (semantics 4)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.boundary.matching import INSIDE
from smart_gateway.errors import RequestError
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.policy.access import Access
from smart_gateway.policy.parameters.summaries import hides_check, staying
from smart_gateway.policy.plan import Permit
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, policy, principal, sent

UNION = policy(compartment_search="union")
ALL = "patient/*.rs"


@pytest.mark.parametrize(
    ("query", "scope"),
    [
        ("/Observation?_summary=true", ALL),
        ("/Condition?_summary=true", "patient/Condition.rs"),
        ("/Condition?_summary=true", "patient/Condition.rs?code=http://snomed.info/sct|38341003"),
        ("/Encounter?_summary=true", ALL),
        ("/MedicationRequest?_summary=true", ALL),
        ("/MedicationRequest?_summary=true", "patient/MedicationRequest.rs?status=active"),
        ("/Observation?_summary=true", "patient/Observation.rs?value-quantity:missing=false patient/Observation.rs"),
        ("/Patient?_summary=true", ALL),
        ("/Patient?_summary=text", ALL),
        ("/Organization?_summary=text", ALL),
        ("/Observation?_summary=data", "patient/Observation.rs?category:not=laboratory"),
        ("/Observation?_summary=true&_include=Observation:encounter", ALL),
        ("/Patient?_summary=true&_revinclude=Observation:subject", ALL),
        ("/Observation?_summary=true&_revinclude=Provenance:target", "patient/Observation.rs"),  # not sent: nothing may be read by it
        ("/Observation/o1?_summary=true", ALL),
        ("/Observation/o1/_history?_summary=true", ALL),
        ("/Patient/123/_history?_summary=text", ALL),
    ],
)
def test_what_stays_can_be_judged(query: str, scope: str) -> None:
    kept = query.partition("_summary=")[2].partition("&")[0]
    assert f"_summary={kept}" in sent(decide("GET", query, scope))


@pytest.mark.parametrize(
    ("query", "scope"),
    [
        ("/Observation?_summary=true", "patient/Observation.rs?category=laboratory"),  # category is not marked
        ("/Observation?_summary=true", "patient/Observation.rs?combo-code=1"),  # nor all of component
        ("/Observation?_summary=true", "patient/Observation.rs?code:not=1"),  # what is absent proves nothing
        ("/Observation?_summary=true", "patient/Observation.rs?encounter:missing=true"),
        ("/Observation?_summary=true", "patient/Observation.rs?_tag=x"),  # SUBSETTED is a tag
        ("/Observation?_summary=data", "patient/Observation.rs?_tag:missing=false"),
        ("/Observation?_summary=text", ALL),  # subject is not mandatory
        ("/Condition?_summary=text", ALL),  # asserter is not
        ("/AuditEvent?_summary=true", ALL),
        ("/Provenance?_summary=true", ALL),
        ("/CareTeam?_summary=true", ALL),
        ("/Group?_summary=true", ALL),
        ("/Bundle?_summary=true", "system/Bundle.rs"),  # what it carries is cut too
        ("/Patient?_summary=true&_revinclude=CareTeam:patient", ALL),
        ("/Patient?_summary=true&_revinclude=Provenance:target", ALL),
        ("/Patient?_summary=true&_revinclude=Observation:subject", "patient/Patient.rs patient/Observation.r?category=laboratory"),
        ("/Observation?_summary=true&_include=*", ALL),
        ("/Observation?_summary=true&_include:iterate=Encounter:*", ALL),
    ],
)
def test_what_may_be_hidden_cannot(query: str, scope: str) -> None:
    refusal = denied(decide("GET", query, scope))
    assert refusal.status == 403
    assert {(cause.code, cause.expression) for cause in refusal.causes} == {("summary-hides-check", "http._summary")}


def test_the_refusal_names_the_types_that_would_come_along() -> None:
    refusal = denied(decide("GET", "/Patient?_summary=true&_revinclude=CareTeam:patient&_revinclude=Observation:subject", ALL))
    assert [cause.text.rpartition(": ")[2] for cause in refusal.causes] == ["CareTeam."]


@pytest.mark.parametrize(
    ("target", "scope"),
    [
        ("/CareTeam/c1?_summary=true", ALL),
        ("/Observation/o1?_summary=true", "patient/Observation.rs?category=laboratory"),
        ("/Observation/o1?_summary=true", "patient/Observation.rs?code:not=1"),
        ("/Observation/o1?_summary=data", "patient/Observation.rs?_tag=x"),
        ("/Patient/123?_summary=text", ALL),  # servers give the narrative alone, as HTML
        ("/Bundle/b1?_summary=true", "system/Bundle.r"),
        ("/Observation/o1/_history?_summary=text", ALL),
        ("/CareTeam/_history?_summary=true", ALL),
        ("/_history?_summary=true", ALL),  # of the types that it may search, some cannot be judged
    ],
)
def test_reads_and_histories_go_by_the_same_rule(target: str, scope: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide("GET", target, scope)
    assert (caught.value.status, caught.value.reason, caught.value.expression) == (400, "summary-refused", "http._summary")


@pytest.mark.parametrize("scope", ["patient/Observation.rs?_tag=x", "patient/Observation.rs?code=1&_tag:not=y"])
def test_elements_are_not_sent_where_tags_decide(scope: str) -> None:
    assert "_elements" not in sent(decide("GET", "/Observation?_elements=status", scope))


@pytest.mark.parametrize(
    "query", ["_summary=true", "_summary=true&_sort=date", "_summary=true&_sort=-_lastUpdated", "_summary=data&_sort=value-date"]
)
def test_a_union_is_put_together_by_what_stays(query: str) -> None:
    assert isinstance(decide("GET", f"/Observation?{query}", ALL, under=UNION), Permit)


def test_a_union_cannot_be_ordered_by_what_is_hidden() -> None:
    across = "/?_type=Observation,Encounter&_summary=true&_sort=date"  # Encounter.period is not marked
    refusal = denied(decide("GET", across, ALL))
    assert [(cause.code, cause.expression) for cause in refusal.causes] == [("summary-hides-check", "http._summary")]
    assert isinstance(decide("GET", across.replace("true", "data"), ALL), Permit)


def test_each_type_of_a_search_over_several_is_asked() -> None:
    assert isinstance(decide("GET", "/?_type=Observation,Condition&_summary=true", ALL), Permit)
    assert denied(decide("GET", "/?_type=Observation,CareTeam&_summary=true", ALL)).causes[0].code == "summary-hides-check"


def test_without_a_bound_every_summary_is_passed_on() -> None:
    for value in ("true", "text", "data"):
        assert sent(decide("GET", f"/CareTeam?_summary={value}", "system/*.rs")) == f"GET /CareTeam?_summary={value}"


PATIENTS = ("123", "456")
FILTERS = (
    "", "?code=1", "?code=2", "?code:not=1", "?category=a", "?category:not=a", "?encounter:missing=true", "?status=final",
    "?status:not=final", "?subject:missing=false", "?_tag:missing=false", "?_tag:not=t", "?date=ge2020", "?value-quantity=gt1",
    "?combo-code=1", "?code=1&category:missing=true", "?performer:missing=true",
)  # fmt: skip


def made(rng: random.Random) -> dict[str, Any]:
    """An Observation with any of the elements that the scopes above look at."""
    members: dict[str, Any] = {
        "subject": {"reference": f"Patient/{rng.choice(PATIENTS)}"},
        "performer": [{"reference": f"Patient/{rng.choice(PATIENTS)}"}],
        "code": {"coding": [{"code": rng.choice("12")}]},
        "category": [{"coding": [{"code": rng.choice("ab")}]}],
        "encounter": {"reference": "Encounter/e"},
        "status": rng.choice(("final", "amended")),
        "effectiveDateTime": rng.choice(("2019-01-01", "2021-01-01")),
        "valueQuantity": {"value": rng.choice((0, 2))},
        "component": [{"code": {"coding": [{"code": rng.choice("12")}]}}],
        "meta": {"versionId": "1", **rng.choice(({}, {"tag": [{"code": "t"}]}))},
    }
    return {"resourceType": "Observation", "id": "o", **{name: value for name, value in members.items() if rng.random() < 0.7}}


def cut(rng: random.Random, resource: Mapping[str, Any], value: str) -> dict[str, Any]:
    """A summary as a server may give it: the listed members, any of the others, tagged as a part."""
    stays = staying(value, "Observation", load_vocabulary(Release.R4))
    kept = {name: of for name, of in resource.items() if stays is None or name in stays or rng.random() < 0.3}
    meta = kept.get("meta", {})
    return {**kept, "meta": {**meta, "tag": [*meta.get("tag", ()), {"code": "SUBSETTED"}]}}


def test_a_summary_that_is_allowed_is_judged_as_the_whole_resource() -> None:
    rng = random.Random(5)
    judged = admitted = 0
    for _ in range(1500):
        scopes = " ".join(f"patient/Observation.rs{rng.choice(FILTERS)}" for _ in range(rng.randrange(1, 3)))
        access = Access(principal(scopes), policy())
        boundary = access.boundary("Observation", Permission.SEARCH)
        value = rng.choice(("true", "text", "data"))
        if hides_check(value, boundary, "Observation", access):
            continue
        for _ in range(10):
            whole = made(rng)
            verdict = access.matcher.admits(boundary, whole, "Observation")
            assert access.matcher.admits(boundary, cut(rng, whole, value), "Observation") is verdict, (scopes, value, whole)
            judged += 1
            admitted += verdict is INSIDE
    assert judged > 2000
    assert admitted > 300


def test_what_a_server_hides_beyond_the_definitions_admits_nothing() -> None:
    rng = random.Random(6)
    checked = 0
    for _ in range(600):
        scopes = " ".join(f"patient/Observation.rs{rng.choice(FILTERS)}" for _ in range(rng.randrange(1, 3)))
        access = Access(principal(scopes), policy())
        boundary = access.boundary("Observation", Permission.SEARCH)
        if hides_check("true", boundary, "Observation", access):
            continue
        for _ in range(10):
            whole = made(rng)
            part = {name: of for name, of in whole.items() if name in {"resourceType", "id"} or rng.random() < 0.5}
            if access.matcher.admits(boundary, part, "Observation") is INSIDE:
                assert access.matcher.admits(boundary, whole, "Observation") is INSIDE, (scopes, whole, part)
                checked += 1
    assert checked > 100


def test_the_page_names_the_types_that_summaries_do_not_serve() -> None:
    access = Access(principal(ALL), policy())
    covered = [type for type in sorted(access.policy.vocabulary.types) if access.policy.rules.covers("Patient", type)]
    refused = [t for t in covered if hides_check("true", access.boundary(t, Permission.SEARCH), t, access)]
    page = (Path(__file__).resolve().parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    said = page.partition("Under `patient/*.rs` in R4 `true` serves ")[2].partition("\n- ")[0]
    assert said.startswith(f"{len(covered) - len(refused)} of {len(covered)}\n")
    assert re.findall(r"[A-Z]\w+", said.partition("and not ")[2]) == refused
