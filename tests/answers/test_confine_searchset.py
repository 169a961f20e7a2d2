from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_gateway.answers.confine import Confined, confine_searchset
from smart_gateway.answers.judging import MOST_REFERENCES, Known, Pending
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckSearchset
from smart_gateway.scopes.permissions import Permission
from tests.answers.conftest import PUBLIC, UPSTREAM, access, compact, links_for, observation, searchset


def check(found: Access, type: str = "Observation", exact: bool = True, **more: Any) -> CheckSearchset:
    return CheckSearchset(type, found.boundary(type, Permission.SEARCH), exact, **more)


def confine(raw: bytes | dict[str, Any], found: Access, rule: CheckSearchset | None = None, known: Any = None) -> Any:
    body = raw if isinstance(raw, bytes) else compact(raw)
    return confine_searchset(body, rule or check(found), found, known or {}, links_for(found))


def bundle_of(answer: Any) -> dict[str, Any]:
    assert isinstance(answer, Confined)
    bundle = json.loads(answer.body)
    assert isinstance(bundle, dict)
    return bundle


def ids(answer: Any) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle_of(answer).get("entry", [])]


def test_a_searchset_inside_is_rebuilt(lab: Access) -> None:
    bundle_id = str(uuid.uuid4())
    meta = {"lastUpdated": "2026-11-21T10:00:00.000+00:00", "tag": [{"code": "secret"}]}
    came = searchset(
        observation(), id=bundle_id, meta=meta, total=1, link=[{"relation": "self", "url": f"{UPSTREAM}/Observation?patient=123"}]
    )
    assert bundle_of(confine(came, lab)) == {
        "resourceType": "Bundle",
        "id": bundle_id,
        "meta": {"lastUpdated": meta["lastUpdated"]},
        "type": "searchset",
        "total": 1,
        "link": [{"relation": "self", "url": f"{PUBLIC}/Observation?code=x"}],
        "entry": [{"fullUrl": f"{PUBLIC}/Observation/o1", "resource": observation(), "search": {"mode": "match"}}],
    }


@pytest.mark.parametrize("indent", [None, 2])
def test_resources_stay_byte_for_byte(lab: Access, indent: int | None) -> None:
    raw = json.dumps(searchset(observation(note="N")), indent=indent).replace('"N"', '[ {"x":72.50, "y": 1E5} ]').encode()
    confined = confine(raw, lab)
    start, end = raw.index(b'"status"'), raw.index(b"1E5} ]")
    assert raw[start:end] in confined.body


def test_members_in_another_order_are_read(lab: Access) -> None:
    came = searchset(observation(), observation("o2", patient="9"), total=2)
    turned = dict(reversed(came.items()))
    assert ids(confine(turned, lab)) == ["o1"]


def test_what_is_outside_goes_and_the_total_with_it(lab: Access) -> None:
    answer = confine(searchset(observation(), observation("o2", patient="9"), observation("o3", category="vital-signs"), total=3), lab)
    assert ids(answer) == ["o1"]
    assert answer.removed == 2
    assert "total" not in bundle_of(answer)


def test_nothing_inside_is_a_searchset_without_entries(lab: Access) -> None:
    answer = bundle_of(confine(searchset(observation("o2", patient="9"), total=1), lab))
    assert "entry" not in answer
    assert "total" not in answer


@pytest.mark.parametrize(
    ("total", "exact", "told"),
    [(5, True, 5), (5, False, None), (-1, True, None), (1.5, True, None), ("5", True, None), (10**30, True, None)],
)
def test_total_is_told_only_where_it_is_exact(lab: Access, total: Any, exact: bool, told: int | None) -> None:
    assert bundle_of(confine(searchset(observation(), total=total), lab, check(lab, exact=exact))).get("total") == told


@pytest.mark.parametrize("mode", ["match", "include", "outcome", "nonsense", None, 7])
def test_mode_never_opens_what_the_type_closes(lab: Access, mode: Any) -> None:
    patient = {"resourceType": "Patient", "id": "9"}
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/123"}}
    assert ids(confine(searchset(patient, condition, observation("o2", patient="9"), mode=mode), lab)) == []


@pytest.mark.parametrize(("mode", "there"), [("match", False), (None, False), ("outcome", False), ("include", True)])
def test_what_may_only_be_read_is_no_match(mode: str | None, there: bool) -> None:
    found = access("patient/Observation.s?category=laboratory", "patient/Observation.r?category=vital-signs")
    assert ids(confine(searchset(observation(category="vital-signs"), mode=mode), found)) == (["o1"] if there else [])


def test_includes_are_judged_by_their_own_type(lab: Access) -> None:
    mine, other = {"resourceType": "Patient", "id": "123"}, {"resourceType": "Patient", "id": "9"}
    bundle = bundle_of(confine(searchset(observation(), mine, other), lab))
    assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["match", "include"]
    assert bundle["entry"][1]["fullUrl"] == f"{PUBLIC}/Patient/123"


@pytest.mark.parametrize("id", [None, "", ".", "..", "a/b", "..%2f", 5, "x" * 65, "é"])
def test_what_has_no_id_is_removed(lab: Access, id: Any) -> None:
    assert confine(searchset(observation(id=id)), lab).removed == 1
    assert confine(searchset({k: v for k, v in observation().items() if k != "id"}), lab).removed == 1


def test_unknown_types_are_removed(lab: Access) -> None:
    assert confine(searchset({"resourceType": "Nonsense", "id": "1"}, {"resourceType": "observation", "id": "1"}), lab).removed == 2


def test_entries_keep_only_what_was_checked(lab: Access) -> None:
    entry = {
        "link": [{"relation": "x", "url": "http://evil.example"}],
        "fullUrl": "urn:uuid:5b5f1b1c-1f5c-4b5b-8b5b-000000000000",
        "resource": observation(),
        "search": {"mode": "match", "score": 0.5, "extension": [{"url": "x"}]},
        "response": {"status": "200", "outcome": {"resourceType": "Patient", "id": "9"}},
    }
    bundle = bundle_of(confine({**searchset(), "entry": [entry], "signature": {"x": 1}}, lab))
    assert bundle["entry"] == [{"resource": observation(), "search": {"mode": "match", "score": 0.5}}]
    assert set(bundle) == {"resourceType", "type", "link", "entry"}


@pytest.mark.parametrize("search", [{"score": 2}, {"score": True}, {"score": "1"}, {}, [], {"mode": ["match"]}])
def test_strange_search_is_left_out(lab: Access, search: Any) -> None:
    bundle = {**searchset(), "entry": [{"resource": observation(), "search": search}]}
    assert "search" not in bundle_of(confine(bundle, lab))["entry"][0]


@pytest.mark.parametrize(("id", "meta"), [("../x", {"lastUpdated": "now"}), (7, "x"), ("a b", {"lastUpdated": 7})])
def test_strange_identity_is_left_out(lab: Access, id: Any, meta: Any) -> None:
    assert not {"id", "meta"} & bundle_of(confine(searchset(observation(), id=id, meta=meta), lab)).keys()


class TestOutcomes:
    def test_only_severity_and_code_are_left(self, lab: Access) -> None:
        issue = {"severity": "warning", "code": "processing", "diagnostics": "Patient/9 is X", "details": {"text": "Patient/9"}}
        bad = [{"severity": "warning", "code": "Patient/9"}, {"severity": 1, "code": "processing"}, "x"]
        outcome = {"resourceType": "OperationOutcome", "id": "secret", "text": {"div": "Patient/9"}, "issue": [issue, *bad]}
        for mode in ("outcome", "match", "include", None):
            answer = confine(searchset(observation(), outcome, mode=mode, total=1), lab)
            assert b"Patient/9" not in answer.body
            assert b"secret" not in answer.body
            entry = bundle_of(answer)["entry"][1]
            assert entry["search"] == {"mode": "outcome"}
            assert [(issue["severity"], issue["code"]) for issue in entry["resource"]["issue"]] == [("warning", "processing")]
            assert bundle_of(answer)["total"] == 1

    @pytest.mark.parametrize("issue", [None, [], "x", [{"severity": "warning"}]])
    def test_an_outcome_that_says_nothing_goes(self, lab: Access, issue: Any) -> None:
        outcome = {"resourceType": "OperationOutcome", **({"issue": issue} if issue is not None else {})}
        assert ids(confine(searchset(observation(), outcome), lab)) == ["o1"]


class TestLinks:
    def test_paging_links_are_sealed_and_others_dropped(self, lab: Access) -> None:
        found = [
            {"relation": "self", "url": f"{UPSTREAM}/Observation?patient=123"},
            {"relation": "next", "url": f"{UPSTREAM}?_getpages=abc&_getpagesoffset=10"},
            {"relation": "next", "url": f"{UPSTREAM}?_getpages=second"},
            {"relation": "prev", "url": f"{UPSTREAM}/Observation?page=1"},
            {"relation": "first", "url": "http://evil.example/fhir?_getpages=abc"},
            {"relation": "last", "url": f"{UPSTREAM}/Patient?page=9"},
            {"relation": "alternate", "url": f"{UPSTREAM}/Observation"},
            {"relation": "next"},
        ]
        links = bundle_of(confine(searchset(observation(), link=found), lab))["link"]
        assert [link["relation"] for link in links] == ["self", "next", "previous"]
        assert all(link["url"].startswith(f"{PUBLIC}/Observation?_page=") for link in links[1:])
        assert "_getpages" not in json.dumps(links)


class TestElements:
    def test_added_elements_go_from_matches_only(self) -> None:
        found = access("patient/Observation.rs", "patient/Encounter.r")
        encounter = {"resourceType": "Encounter", "id": "e", "subject": {"reference": "Patient/123"}}
        raw = compact(searchset(observation(_subject={"id": "x"}, valueQuantity={"value": 0}), encounter)).replace(
            b'"value":0', b'"value":72.50'
        )
        answer = confine(raw, found, check(found, drop_elements=("subject",)))
        first, second = (entry["resource"] for entry in bundle_of(answer)["entry"])
        assert not {"subject", "_subject"} & first.keys()
        assert "subject" in second
        assert b"72.50" in answer.body


class TestCounts:
    def test_an_exact_count_is_told_without_entries(self, lab: Access) -> None:
        answer = bundle_of(confine(searchset(total=7), lab, check(lab, count_only=True)))
        assert (answer["total"], "entry" in answer) == (7, False)

    def test_entries_of_a_disobedient_upstream_do_not_leave(self, lab: Access) -> None:
        inside = bundle_of(confine(searchset(observation(), total=1), lab, check(lab, count_only=True)))
        assert (inside["total"], "entry" in inside) == (1, False)
        outside = bundle_of(confine(searchset(observation(patient="9"), total=1), lab, check(lab, count_only=True)))
        assert not {"total", "entry"} & outside.keys()

    def test_an_inexact_count_is_refused(self, lab: Access) -> None:
        with pytest.raises(UpstreamError):
            confine(searchset(total=7), lab, check(lab, exact=False, count_only=True))


class TestDependence:
    found = access("patient/Provenance.rs", "patient/Observation.rs")

    @staticmethod
    def provenance(id: str, *targets: str) -> dict[str, Any]:
        return {"resourceType": "Provenance", "id": id, "target": [{"reference": target} for target in targets]}

    def confine(self, *resources: dict[str, Any], known: Known | None = None) -> Any:
        return confine(searchset(*resources), self.found, check(self.found, "Provenance"), known)

    def test_the_same_answer_settles_what_it_holds(self) -> None:
        assert ids(self.confine(self.provenance("p", "Observation/o1"), observation())) == ["p", "o1"]

    def test_what_is_removed_settles_nothing(self) -> None:
        assert self.confine(self.provenance("p", "Observation/o1"), observation(patient="9")) == Pending((Reference("Observation", "o1"),))

    def test_the_rest_is_asked_for_once(self) -> None:
        answer = self.confine(self.provenance("p", "Observation/a", "Observation/b"), self.provenance("q", "Observation/b"))
        assert answer == Pending((Reference("Observation", "a"), Reference("Observation", "b")))
        known = {Reference("Observation", "a"): None, Reference("Observation", "b"): b"{}"}
        answer = self.confine(self.provenance("p", "Observation/a", "Observation/b"), self.provenance("q", "Observation/b"), known=known)
        assert ids(answer) == ["q"]

    def test_no_more_than_the_limit_is_fetched(self) -> None:
        resources = [self.provenance(f"p{i}", f"Observation/o{i}") for i in range(MOST_REFERENCES + 10)]
        answer = self.confine(*resources)
        assert isinstance(answer, Pending)
        assert len(answer.references) == MOST_REFERENCES
        settled = self.confine(*resources, known=dict.fromkeys(answer.references, b"{}"))
        assert len(ids(settled)) == MOST_REFERENCES
        assert settled.removed == 10


GOOD = compact(searchset(observation(), total=1))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"<Bundle/>",
        GOOD[:-1],
        GOOD + b" {}",
        compact(observation()),
        compact({**searchset(observation()), "type": "batch-response"}),
        compact({**searchset(observation()), "resourceType": "Parameters"}),
        compact({"resourceType": "Bundle"}),
        compact({"resourceType": "OperationOutcome", "issue": []}),
        compact({**searchset(), "entry": {}}),
        compact({**searchset(), "entry": [{}]}),
        compact({**searchset(), "entry": [{"resource": None}]}),
        compact({**searchset(), "entry": [{"resource": []}]}),
        compact({**searchset(), "entry": [{"resource": {}}]}),
        compact({**searchset(), "link": [{"relation": 1, "url": 2}]}),
        GOOD.replace(b'"final"', b'"\xfe"'),
        GOOD.replace(b'"final"', b"[" * 100_000 + b"]" * 100_000),
        # doubled keys
        GOOD[:-1] + b',"entry":[]}',
        GOOD[:-1] + b',"\\u0065ntry":[]}',
        GOOD[:-1] + b', "type": "searchset"}',
        GOOD.replace(b'"resource":', b'"resource":{"resourceType":"Patient","id":"9"},"resource":'),
        GOOD.replace(b'"mode":"match"', b'"mode":"include","mode":"match"'),
        GOOD.replace(b'"subject":', b'"subject":{"reference":"Patient/9"},"subject":'),
        GOOD.replace(b'"reference":', b'"reference":"Patient/9","reference":'),
        GOOD.replace(b'"reference":', b'"\\u0072eference":"Patient/9","reference":'),
    ],
)
def test_what_cannot_be_read_is_an_upstream_error(lab: Access, raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        confine(raw, lab)


def test_escapes_hide_nothing(lab: Access) -> None:
    """A type or id that is spelled by escapes names nothing; a member spelled so is the member."""
    assert confine(GOOD.replace(b'"Observation","id"', b'"Observat\\u0069on","id"'), lab).removed == 1
    assert confine(GOOD.replace(b'"subject"', b'"\\u0073ubject"').replace(b"Patient/123", b"Patient/9"), lab).removed == 1
    assert confine(GOOD.replace(b'"subject"', b'"\\u0073ubject"'), lab).removed == 0


def test_stored_bundles_are_walked() -> None:
    found = access("user/Bundle.rs", "patient/Observation.rs")
    rule = CheckSearchset("Bundle", access("system/*.rs").boundary("Bundle", Permission.SEARCH), True)
    stored = [
        {"resourceType": "Bundle", "id": f"b{patient}", "type": "document", "entry": [{"resource": observation(patient=patient)}]}
        for patient in ("123", "9")
    ]
    assert ids(confine(searchset(*stored), found, rule)) == ["b123"]


MIXED = compact(
    searchset(
        observation(note=[{"text": "mine"}]),
        observation("o2", patient="9", note=[{"text": "SECRET"}]),
        {"resourceType": "Patient", "id": "9", "name": [{"family": "SECRET"}]},
        {"resourceType": "Patient", "id": "123"},
        observation("o3", category="vital-signs", note=[{"text": "SECRET"}]),
        total=5,
    )
)
PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"\\",
    b" ",
    b"\xff",
    b"\\u0000",
    b"null",
    b'"id":"123",',
    b'"resource":{}',
    b'"entry":[],',
]


@given(st.integers(0, len(MIXED)), st.integers(0, 3), st.sampled_from([b"", *PIECES]))
@settings(max_examples=600, deadline=None)
def test_no_damage_to_the_answer_opens_it(place: int, cut: int, piece: bytes) -> None:
    found = access("patient/Observation.rs?category=laboratory", "patient/Patient.r")
    try:
        answer = confine(MIXED[:place] + piece + MIXED[place + cut :], found)
    except UpstreamError:
        return
    assert isinstance(answer, Confined)
    assert b"SECRET" not in answer.body
