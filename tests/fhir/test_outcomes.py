"""OperationOutcomes as JSON and XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.fhir.outcomes import CODE_SYSTEM, REQUIRED_SCOPE_URL, Issue, operation_outcome, to_xml

NS = "{http://hl7.org/fhir}"


def test_an_issue_in_full() -> None:
    issue = Issue("forbidden", "insufficient-scope", "No.", "http.code", ("patient/Observation.rs",))
    assert operation_outcome([issue], "request id r-1") == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "extension": [{"url": REQUIRED_SCOPE_URL, "valueString": "patient/Observation.rs"}],
                "severity": "error",
                "code": "forbidden",
                "details": {"coding": [{"system": CODE_SYSTEM, "code": "insufficient-scope"}], "text": "No."},
                "diagnostics": "request id r-1",
                "expression": ["http.code"],
            }
        ],
    }


def test_one_issue_per_cause_and_no_empty_members() -> None:
    outcome = operation_outcome([Issue("invalid", "a", "A."), Issue("invalid", "b", "B.")], "d", "http://other")
    assert [issue["details"]["coding"][0]["code"] for issue in outcome["issue"]] == ["a", "b"]
    assert all(set(issue) == {"severity", "code", "details", "diagnostics"} for issue in outcome["issue"])


@pytest.mark.parametrize("expression", ["http.code:in", "Bundle.entry[3].request.url", "Observation.id", "http._has:a:b:c"])
def test_plain_expressions_are_kept(expression: str) -> None:
    assert operation_outcome([Issue("invalid", "a", "A.", expression)], "d")["issue"][0]["expression"] == [expression]


@pytest.mark.parametrize("expression", ["http.<script>", "http.a b", "http." + "a" * 200, "http.é", "http.a\n", "", "http.a|b"])
def test_other_expressions_are_left_out(expression: str) -> None:
    assert "expression" not in operation_outcome([Issue("invalid", "a", "A.", expression)], "d")["issue"][0]


def test_the_same_in_xml() -> None:
    issue = Issue("forbidden", "c", 'a < b & "c"', "http.code", ("x/y.r", "x/z.s"))
    root = ET.fromstring(to_xml(operation_outcome([issue, issue], "d")))
    assert root.tag == f"{NS}OperationOutcome"
    found = root.findall(f"{NS}issue")
    assert len(found) == 2
    assert [child.tag.removeprefix(NS) for child in found[0]] == [
        "extension",
        "extension",
        "severity",
        "code",
        "details",
        "diagnostics",
        "expression",
    ]
    assert [e.get("url") for e in found[0].findall(f"{NS}extension")] == [REQUIRED_SCOPE_URL] * 2
    assert [e.get("value") for e in found[0].findall(f"{NS}extension/{NS}valueString")] == ["x/y.r", "x/z.s"]
    details = found[0].find(f"{NS}details")
    assert details is not None
    assert [child.tag.removeprefix(NS) for child in details] == ["coding", "text"]
    text = details.find(f"{NS}text")
    assert text is not None
    assert text.get("value") == 'a < b & "c"'


def test_what_is_no_outcome_is_no_xml() -> None:
    with pytest.raises(TypeError):
        to_xml({"issue": [{"severity": 1}]})


@given(st.text(st.characters(), max_size=40))
def test_any_text_gives_well_formed_xml(text: str) -> None:
    root = ET.fromstring(to_xml(operation_outcome([Issue("invalid", "c", text)], text)))
    assert root.find(f"{NS}issue/{NS}severity") is not None
