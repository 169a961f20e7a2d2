"""Filters by kind: which resources satisfy them, which do not, and that garbage satisfies nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.boundary.filters import satisfies
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.search_values import split_values, undecidable
from smart_gateway.fhir.vocabulary import Vocabulary, load_vocabulary

R4 = load_vocabulary(Release.R4)
BASES = Bases("https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir")
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"

Resource = dict[str, Any]


def observation(**members: Any) -> Resource:
    return {"resourceType": "Observation", "id": "o1", "status": "final", **members}


def patient(**members: Any) -> Resource:
    return {"resourceType": "Patient", "id": "p1", **members}


def concept(*codings: tuple[str | None, str | None], text: str | None = None) -> Resource:
    coded = [{k: v for k, v in (("system", s), ("code", c)) if v is not None} for s, c in codings]
    return ({"coding": coded} if coded else {}) | ({"text": text} if text else {})


def risk(**members: Any) -> Resource:
    return {"resourceType": "RiskAssessment", "prediction": [members]}


def quantity(value: Any, unit: str = "mg", **members: Any) -> Resource:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit, **members}


def matches(resource: Resource, filter: str, vocabulary: Vocabulary = R4) -> bool:
    key, _, text = filter.partition("=")
    code, _, modifier = key.partition(":")
    parameter = vocabulary.parameter(resource["resourceType"], code)
    assert parameter is not None
    values = split_values(text)
    assert undecidable(parameter, modifier or None, values) is None
    return satisfies(resource, parameter, modifier or None, values, BASES)


LAB = observation(category=[concept((CATEGORY, "laboratory"))])
BARE = observation(category=[concept((None, "laboratory"))])
TEXT = observation(category=[concept(text="Laboratory")])
TWO = observation(category=[concept(("http://x", "a"), (CATEGORY, "laboratory")), concept(("http://x", "b"))])

TOKENS: list[tuple[Resource, str, bool]] = [
    (LAB, "category=laboratory", True),
    (LAB, f"category={CATEGORY}|laboratory", True),
    (LAB, f"category={CATEGORY}|", True),
    (LAB, "category=|laboratory", False),
    (LAB, "category=http://other|laboratory", False),
    (LAB, "category=Laboratory", False),
    (LAB, f"category={CATEGORY}|LABORATORY", False),
    (LAB, "category=vital-signs,laboratory", True),
    (LAB, f"category={CATEGORY}|vital-signs,http://x|laboratory", False),
    (LAB, "category=lab", False),
    (BARE, "category=|laboratory", True),
    (BARE, "category=laboratory", True),
    (BARE, f"category={CATEGORY}|laboratory", False),
    (BARE, f"category={CATEGORY}|", False),
    (TEXT, "category=laboratory", False),
    (TEXT, "category=Laboratory", False),
    (TWO, "category=laboratory", True),
    (TWO, "category=b", True),
    (TWO, "category=http://x|laboratory", False),  # system and code must be of the same coding
    (observation(), "category=laboratory", False),
    (observation(category=[]), "category=laboratory", False),
    (observation(category=[{"coding": 7}]), "category=laboratory", False),
    (observation(category=[{"coding": [{"code": "laboratory"}, "x"]}]), "category=laboratory", False),
    (observation(category=[{"coding": [{"code": "other"}, "x"]}]), "category:not=laboratory", False),
    (observation(category=[concept((CATEGORY, "a,b"))]), r"category=a\,b", True),
    (observation(category=[concept((CATEGORY, "a|b"))]), r"category=a\|b", True),
    (observation(category=[concept((CATEGORY, r"a\b"))]), r"category=a\\b", True),
    # status: a code has no system of its own
    (observation(), "status=final", True),
    (observation(), "status=preliminary,final", True),
    (observation(), "status=preliminary", False),
    (observation(status=7), "status=7", False),
    (observation(status=["final"]), "status=other", False),
    # _id, boolean, identifier, contact point, meta
    (observation(), "_id=o1", True),
    (observation(), "_id=O1", False),
    (observation(), "_id=Observation/o1", False),
    (patient(active=True), "active=true", True),
    (patient(active=False), "active=true", False),
    (patient(active="true"), "active=true", False),
    (patient(), "active=false", False),
    (patient(identifier=[{"system": "http://x", "value": "1"}]), "identifier=http://x|1", True),
    (patient(identifier=[{"system": "http://x", "value": "1"}]), "identifier=1", True),
    (patient(identifier=[{"system": "http://x"}]), "identifier=http://x|", False),
    (patient(identifier=[{"value": "1"}]), "identifier=|1", True),
    (patient(identifier=[{"system": "http://y", "value": "1"}]), "identifier=http://x|1", False),
    (patient(telecom=[{"system": "phone", "value": "555-123"}]), "telecom=555-123", True),
    (patient(telecom=[{"system": "phone", "value": "555-123"}]), "phone=555-123", True),
    (patient(telecom=[{"system": "email", "value": "555-123"}]), "phone=555-123", False),
    (observation(meta={"tag": [{"system": "http://x", "code": "y"}]}), "_tag=http://x|y", True),
    (observation(meta={"security": [{"code": "R"}]}), "_security=R", True),
    (observation(meta=[{"security": [{"code": "R"}]}]), "_security=N", False),
    # :not
    (LAB, "category:not=laboratory", False),
    (LAB, "category:not=vital-signs", True),
    (LAB, "category:not=vital-signs,laboratory", False),
    (LAB, "category:not=http://other|laboratory", True),
    (LAB, "category:not=LABORATORY", False),  # differs in case only: uncertain
    (TWO, "category:not=laboratory", False),  # one coding of several is enough
    (observation(), "category:not=laboratory", True),  # FHIR: absent is not in the set
    (TEXT, "category:not=laboratory", True),
    (observation(), "status:not=final", False),
    (observation(status="amended"), "status:not=final", True),
    (observation(), "_security:not=R", True),
    (observation(meta={"security": [{"system": "http://x", "code": "R"}]}), "_security:not=http://x|R", False),
    (observation(meta={"security": [{"code": "R"}]}), "_security:not=http://x|R", True),
    # :not and what cannot be judged
    (observation(category="laboratory"), "category:not=laboratory", False),
    (observation(category={"coding": "laboratory"}), "category:not=laboratory", False),
    (observation(category=[{"coding": [None]}]), "category:not=laboratory", False),
    (observation(category=[[concept((CATEGORY, "laboratory"))]]), "category:not=laboratory", False),
    (observation(category=None), "category:not=laboratory", False),
    (observation(category=[None]), "category:not=laboratory", False),
    (observation(category=[{"coding": [{"code": 7}]}]), "category:not=laboratory", False),
    (observation(category=[{"coding": [{"system": 7, "code": "x"}]}]), "category:not=laboratory", False),
    (observation(meta=[{"security": [{"code": "R"}]}]), "_security:not=R", False),
    (observation(meta="R"), "_security:not=R", False),
    (observation(status=None), "status:not=final", False),
    (patient(telecom=[{"system": "phone", "value": "555123"}]), "telecom:not=555-123", True),
    (patient(telecom=[{"system": "email", "value": "1"}]), "phone:not=1", True),
    (patient(telecom=["1"]), "phone:not=1", False),
    (patient(telecom=[{"system": ["phone"], "value": "1"}]), "phone:not=1", False),
    (patient(telecom=[{"system": "phone", "value": ["1"]}]), "phone:not=2", False),
    (patient(active="true"), "active:not=false", False),
    (patient(identifier=["1"]), "identifier:not=2", False),
    (observation(status="FINAL"), "status:not=final", False),
    (observation(category=[{"coding": [{"system": "http://x"}]}]), "category:not=http://x|", True),
    (patient(gender="male"), "gender:missing=true,false", True),
    (patient(active=True), "active:missing=false", True),
    (risk(probabilityDecimal=1), "probability:missing=false", True),
    (risk(probabilityDecimal="1"), "probability:missing=false", False),
    (patient(telecom=[{"system": "phone", "value": "555-123"}]), "telecom:not=999", False),  # punctuation may be ignored
    # :text, :of-type, :missing
    (TEXT, "category:text=lab", True),
    (TEXT, "category:text=ratory", False),
    (observation(code={"coding": [{"display": "Héart rate"}]}), "code:text=heart", True),
    (patient(identifier=[{"type": {"text": "Medical record"}}]), "identifier:text=medical", True),
    (patient(identifier=[{"type": concept(("http://v2", "MR")), "value": "446053"}]), "identifier:of-type=http://v2|MR|446053", True),
    (patient(identifier=[{"type": concept(("http://v2", "MR")), "value": "1"}]), "identifier:of-type=http://v2|MR|446053", False),
    (patient(identifier=[{"type": concept(("http://v3", "MR")), "value": "446053"}]), "identifier:of-type=http://v2|MR|446053", False),
    (patient(identifier=[{"type": concept(("http://v2", "MR")), "value": ["446053"]}]), "identifier:of-type=http://v2|MR|446053", False),
    (patient(identifier=[7]), "identifier:of-type=http://v2|MR|446053", False),
    (patient(identifier=[{"type": "MR", "value": "446053"}]), "identifier:of-type=http://v2|MR|446053", False),
    (patient(), "gender:missing=true", True),
    (patient(gender="male"), "gender:missing=true", False),
    (patient(gender="male"), "gender:missing=false", True),
    (patient(), "gender:missing=false", False),
    (patient(gender=None), "gender:missing=true", False),
    (patient(gender=7), "gender:missing=false", False),
    (patient(name="x"), "name:missing=false", False),
    (patient(name=[{"family": "x"}]), "name:missing=false", True),
    (patient(name=[{"extension": []}]), "name:missing=false", False),
    (observation(subject={"display": "x"}), "subject:missing=true", False),
    (observation(subject={"display": "x"}), "subject:missing=false", False),
    (observation(subject={"reference": "Patient/1"}), "subject:missing=false", True),
]

SUBJECT = observation(subject={"reference": "Patient/123"})
REFERENCES: list[tuple[Resource, str, bool]] = [
    (SUBJECT, "subject=Patient/123", True),
    (SUBJECT, "subject:Patient=123", True),
    (SUBJECT, "subject:Patient=Patient/123", True),
    (SUBJECT, "patient=123", True),
    (SUBJECT, "patient=Patient/123", True),
    (SUBJECT, "subject=Group/123", False),
    (SUBJECT, "subject:Group=123", False),
    (SUBJECT, "patient=1234", False),
    (SUBJECT, "subject=Patient/1,Patient/123", True),
    (SUBJECT, "subject=https://fhir.example.org/fhir/Patient/123", True),
    (SUBJECT, "subject=http://127.0.0.1:8090/fhir/Patient/123", True),
    (SUBJECT, "subject=https://other.example/fhir/Patient/123", False),
    (observation(subject={"reference": "Group/123"}), "patient=123", False),
    (observation(subject={"reference": "https://fhir.example.org/fhir/Patient/123"}), "patient=123", True),
    (observation(subject={"reference": "http://127.0.0.1:8090/fhir/Patient/123"}), "subject=Patient/123", True),
    (observation(subject={"reference": "https://other.example/fhir/Patient/123"}), "subject=Patient/123", False),
    (observation(subject={"reference": "https://other.example/fhir/Patient/123"}), "subject=https://other.example/fhir/Patient/123", True),
    (observation(subject={"reference": "Patient/123/_history/2"}), "subject=Patient/123", True),
    (observation(subject={"reference": "patient/123"}), "subject=Patient/123", False),
    (observation(subject={"reference": "#123"}), "patient=123", False),
    (observation(subject={"reference": "urn:uuid:123"}), "patient=123", False),
    (observation(subject={"reference": "Patient?identifier=123"}), "patient=123", False),
    (observation(subject={"identifier": {"value": "123"}}), "patient=123", False),
    (observation(subject={"display": "Patient/123"}), "patient=123", False),
    (observation(subject={"reference": ["Patient/123"]}), "patient=123", False),
    (observation(subject="Patient/123"), "patient=123", False),
    (observation(subject={"reference": "Patient/123", "type": "Patient"}), "patient=123", True),
    (observation(subject={"reference": "Patient/123", "type": "Group"}), "patient=123", False),
    (observation(encounter={"reference": "Encounter/1"}), "encounter=1", True),
    (observation(encounter={"reference": "EpisodeOfCare/1"}), "encounter=1", False),
    (observation(subject=[{"reference": "Patient/123"}]), "patient=9", False),
    (observation(focus=[{"reference": "Patient/123"}]), "patient=123", False),
    (observation(subject={"identifier": {"system": "http://x", "value": "1"}}), "subject:identifier=http://x|1", True),
    (observation(subject={"identifier": {"system": "http://x", "value": "1"}}), "subject:identifier=1", True),
    (observation(subject={"identifier": {"system": "http://y", "value": "1"}}), "subject:identifier=http://x|1", False),
    (SUBJECT, "subject:identifier=123", False),
    ({"resourceType": "QuestionnaireResponse", "questionnaire": "http://x/q|1.0"}, "questionnaire=http://x/q|1.0", True),
    ({"resourceType": "QuestionnaireResponse", "questionnaire": "http://x/q|1.0"}, "questionnaire=http://x/q", True),
    ({"resourceType": "QuestionnaireResponse", "questionnaire": "http://x/q|1.0"}, r"questionnaire=http://x/q\|1.0", True),
    ({"resourceType": "QuestionnaireResponse", "questionnaire": "http://x/q|1.0"}, "questionnaire=http://x/q|2.0", False),
    ({"resourceType": "QuestionnaireResponse", "questionnaire": "http://x/q"}, "questionnaire=http://x/q|1.0", False),
    ({"resourceType": "QuestionnaireResponse", "questionnaire": "http://x/q2"}, "questionnaire=http://x/q", False),
    ({"resourceType": "QuestionnaireResponse", "questionnaire": 7}, "questionnaire=http://x/q", False),
]

NAME = patient(name=[{"family": "Müller-Lüdenscheid", "given": ["Ann Marie", "Zoë"]}], address=[{"line": ["Main St 1"], "city": "Graz"}])
STRINGS: list[tuple[Resource, str, bool]] = [
    (NAME, "name=muller", True),
    (NAME, "name=MÜLLER", True),
    (NAME, "name=Lüdenscheid", False),
    (NAME, "name=zoe", True),
    (NAME, "name=ann  marie", True),
    (NAME, "name=marie", False),
    (NAME, "name:contains=marie", True),
    (NAME, "name:contains=LUDEN", True),
    (NAME, "name:contains=x", False),
    (NAME, "name:exact=Zoë", True),
    (NAME, "name:exact=Zoe", False),
    (NAME, "name:exact=Zo", False),
    (NAME, "family=mull", True),
    (NAME, "given=mull", False),
    (NAME, "address=main", True),
    (NAME, "address-city=graz", True),
    (NAME, "address-city=gra,wien", True),
    (NAME, "address=wien", False),
    (patient(), "name=a", False),
    (patient(name="abc"), "name=a", False),
    (patient(name=[{"family": ["abc"]}]), "name=z", False),
    (patient(name=[{"family": 7, "given": "abc"}]), "name=7", False),
    (patient(name=[{"text": "Straße"}]), "name=STRASSE", True),
]


def dated(value: str) -> Resource:
    return observation(effectiveDateTime=value)


def during(**ends: str) -> Resource:
    return observation(effectivePeriod=ends)


DATES: list[tuple[Resource, str, bool]] = [
    (dated("2020-03-04"), "date=2020", True),
    (dated("2020-03-04"), "date=2020-03", True),
    (dated("2020-03-04"), "date=2020-03-04", True),
    (dated("2020-03-04"), "date=2020-03-05", False),
    (dated("2020"), "date=2020-03", False),  # the range of the value must hold the range of the element
    (dated("2020-03"), "date=2020", True),
    (dated("2020-03-04T10:00:00Z"), "date=2020-03-04", True),
    (dated("2020-03-04T23:30:00-05:00"), "date=2020-03-04", True),  # the calendar as written
    (dated("2020-03-04T23:30:00-05:00"), "date=2020-03-05", False),
    (dated("2020-03-04T10:00:00+01:00"), "date=2020-03-04T09:00:00Z", True),
    (dated("2020-03-04T10:00:00.500+01:00"), "date=2020-03-04T09:00:00Z", True),
    (dated("2020-03-04T10:00:00Z"), "date=2020-03-04T10:00:00.000Z", False),
    (dated("2020-03-04T10:00:00Z"), "date=2020-03-04T10:00Z", True),
    (dated("2020-03-04"), "date=ne2020-03-04", False),
    (dated("2020-03-05"), "date=ne2020-03-04", True),
    (dated("2020-03-04"), "date=gt2020-03-03", True),
    (dated("2020-03-04"), "date=gt2020-03-04", False),
    (dated("2020-03-04"), "date=ge2020-03-04", True),
    (dated("2020-03-04"), "date=ge2020", True),
    (dated("2019"), "date=ge2020", False),
    (dated("2020-03-04"), "date=lt2020-03-05", True),
    (dated("2020-03-04"), "date=lt2020-03-04", False),
    (dated("2020-03-04"), "date=le2020-03-04", True),
    (dated("2021"), "date=le2020", False),
    (dated("2020-03-04"), "date=sa2020-03-03", True),
    (dated("2020-03-04"), "date=sa2020-03-04", False),
    (dated("2020-03-04"), "date=eb2020-03-05", True),
    (dated("2020-03-04"), "date=eb2020-03-04", False),
    (dated("2020-03-04"), "date=eb2020-03-01,sa2020-03-01", True),
    # a value on the time line and an element that is a date alone: only where every zone agrees
    (dated("2020-03-04"), "date=gt2020-03-01T00:00:00Z", True),
    (dated("2020-03-04"), "date=sa2020-03-03T23:00:00Z", False),
    (dated("2020-03-04"), "date=sa2020-03-03T09:00:00Z", True),
    (dated("2020-03-04"), "date=lt2020-03-10T00:00:00Z", True),
    (dated("2020-03-04"), "date=2020-03-04T10:00:00Z", False),
    # periods
    (during(start="2020-01-01", end="2020-02-01"), "date=2020", True),
    (during(start="2020-01-01", end="2020-02-01"), "date=2020-01", False),
    (during(start="2020-01-01"), "date=2020", False),
    (during(start="2020-01-01"), "date=gt2050", True),
    (during(end="2020-01-01"), "date=lt1950", True),
    (during(start="2020-01-01"), "date=ge2021", True),
    (during(start="2020-01-01"), "date=le2021", True),
    (during(start="2020-01-01"), "date=sa2019", True),
    (during(start="2020-01-01"), "date=eb2021", False),
    (during(start="2019-06-01", end="2020-06-01"), "date=ge2020", False),  # overlaps the year's beginning only
    (during(start="2020-02-01", end="2020-01-01"), "date=2020", False),
    (during(), "date=ne2020", False),
    (during(start="x", end="2020-01-01"), "date=ne2030", False),
    # what is no date matches nothing, not even ne
    (dated("2020-13-01"), "date=ne2030", False),
    (dated("2020-03-04T10:00:00"), "date=ne2030", False),
    (dated("2020-02-30"), "date=ne2030", False),
    (observation(effectiveDateTime=2020), "date=ne2030", False),
    (observation(effectiveDateTime=["2020"]), "date=2021", False),
    (observation(effectivePeriod="2020"), "date=ne2030", False),
    (observation(effectiveTiming={"event": ["2020-01-05", "2020-01-01"]}), "date=2020-01", True),
    (observation(effectiveTiming={"event": ["2020-01-05", "2020-02-01"]}), "date=2020-01", False),
    (observation(effectiveTiming={"repeat": {"boundsPeriod": {"start": "2020-01-01", "end": "2020-01-09"}}}), "date=2020-01", True),
    (observation(effectiveTiming={"repeat": {"frequency": 2}}), "date=ne2020", False),
    (observation(effectiveTiming={"event": ["2020-01-05", "x"]}), "date=ne2030", False),
    (observation(effectiveTiming={"event": "2020-01-05"}), "date=ne2030", False),
    (observation(effectiveTiming="2020-01-05"), "date=ne2030", False),
    (observation(effectiveInstant="2020-03-04T10:00:00Z"), "date=2020-03", True),
    (patient(birthDate="1970-01-01"), "birthdate=1970-01-01", True),
    (patient(birthDate="1970"), "birthdate=le1970-06", True),
    (observation(meta={"lastUpdated": "2021-01-01T00:00:00.123456789Z"}), "_lastUpdated=gt2020", True),
    (dated("9999-12-31"), "date=9999", True),
    (dated("0001-01-01"), "date=lt0002", True),
]


def measured(value: Any) -> Resource:
    return observation(valueQuantity=value)


def begun(low: Any, high: Any) -> Resource:
    return {"resourceType": "Condition", "onsetRange": {"low": low, "high": high}}


NUMBERS: list[tuple[Resource, str, bool]] = [
    (risk(probabilityDecimal=0.8), "probability=0.8", True),
    (risk(probabilityDecimal=0.84), "probability=0.8", True),
    (risk(probabilityDecimal=0.85), "probability=0.8", False),
    (risk(probabilityDecimal=0.75), "probability=0.8", True),
    (risk(probabilityDecimal=0.84), "probability=0.80", False),
    (risk(probabilityDecimal=0.8), "probability=gt0.8", False),
    (risk(probabilityDecimal=0.81), "probability=gt0.8", True),
    (risk(probabilityDecimal=0.8), "probability=ge0.8", True),
    (risk(probabilityDecimal=0.8), "probability=lt0.8", False),
    (risk(probabilityDecimal=0.8), "probability=le0.8", True),
    (risk(probabilityDecimal=0.8), "probability=sa0.8", False),
    (risk(probabilityDecimal=0.9), "probability=sa0.8", True),
    (risk(probabilityDecimal=0.7), "probability=eb0.8", True),
    (risk(probabilityDecimal=0.7), "probability=ne0.8", True),
    (risk(probabilityDecimal=0.8), "probability=ne0.8", False),
    (risk(probabilityDecimal=100), "probability=1e2", True),
    (risk(probabilityDecimal=110), "probability=1e2", False),
    (risk(probabilityDecimal=-1), "probability=-1", True),
    (risk(probabilityDecimal="0.8"), "probability=0.8", False),
    (risk(probabilityDecimal=True), "probability=1", False),
    (risk(probabilityDecimal=float("inf")), "probability=gt0", False),
    (risk(probabilityDecimal=float("nan")), "probability=ne0", False),
    (risk(probabilityDecimal=10**400), "probability=gt5", True),
    (risk(probabilityRange={"low": {"value": 1}, "high": {"value": 5}}), "probability=gt4", True),
    (risk(probabilityRange={"low": {"value": 1}, "high": {"value": 5}}), "probability=gt5", False),
    (risk(probabilityRange={"low": {"value": 1}}), "probability=gt1000", True),
    (risk(probabilityRange={}), "probability=ne1", False),
    (risk(probabilityRange={"low": {"value": 5}, "high": {"value": 1}}), "probability=ne9", False),
    (measured(quantity(5.4)), "value-quantity=5.4", True),
    (measured(quantity(5.4)), f"value-quantity=5.4|{UCUM}|mg", True),
    (measured(quantity(5.4)), "value-quantity=5.4||mg", True),
    (measured({"value": 5.4, "unit": "mg"}), "value-quantity=5.4||mg", True),
    (measured({"value": 5.4, "unit": "mg"}), f"value-quantity=5.4|{UCUM}|mg", False),
    (measured(quantity(5.4)), f"value-quantity=5.4|{UCUM}|g", False),
    (measured(quantity(5.4)), "value-quantity=5.4|http://other|mg", False),
    (measured(quantity(5.4)), "value-quantity=gt5||mg", True),
    (measured(quantity(5.4)), "value-quantity=gt5||g", False),
    (measured(quantity(5.4)), "value-quantity=ne5.4||g", False),  # another unit is another thing
    (measured(quantity(5.4, comparator="<")), "value-quantity=lt6", False),
    (measured({"unit": "mg"}), "value-quantity=ne5", False),
    (measured("5.4"), "value-quantity=5.4", False),
    (measured([quantity(5.4)]), "value-quantity=6.4", False),
    (observation(valueSampledData={"origin": {"value": 5.4}}), "value-quantity=5.4", False),
    (begun(quantity(5, code="a"), quantity(9, code="a")), "onset-age=gt8||a", True),
    (begun(quantity(5, code="a"), quantity(9, code="a")), "onset-age=gt8||mo", False),
    (begun(quantity(5, code="a"), quantity(9, code="mo")), "onset-age=gt1||a", False),
    (begun(quantity(5, code="a"), quantity(9, code="mo")), "onset-age=gt1", True),
    ({"resourceType": "Invoice", "totalNet": {"value": 10, "currency": "EUR"}}, "totalnet=10||EUR", True),
    ({"resourceType": "Invoice", "totalNet": {"value": 10, "currency": "EUR"}}, "totalnet=10|urn:iso:std:iso:4217|EUR", True),
    ({"resourceType": "Invoice", "totalNet": {"value": 10, "currency": "EUR"}}, "totalnet=10||USD", False),
]

URIS: list[tuple[Resource, str, bool]] = [
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir/a"}, "url=http://x.org/fhir/a", True),
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir/a"}, "url=http://x.org/fhir", False),
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir/a"}, "url=http://X.org/fhir/a", False),
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir/a"}, "url:below=http://x.org/fhir", True),
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir/a"}, "url:below=http://x.org/fhir/", True),
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir2/a"}, "url:below=http://x.org/fhir", False),
    ({"resourceType": "ValueSet", "url": "http://x.org.evil/fhir"}, "url:below=http://x.org", False),
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir"}, "url:above=http://x.org/fhir/a", True),
    ({"resourceType": "ValueSet", "url": "http://x.org/fhir/b"}, "url:above=http://x.org/fhir/a", False),
    ({"resourceType": "ValueSet", "url": "http:/"}, "url:above=http://x.org/fhir/a", False),
    ({"resourceType": "ValueSet", "url": ""}, "url:above=http://x.org/fhir/a", False),
    ({"resourceType": "ValueSet", "url": 7}, "url=7", False),
    ({"resourceType": "ValueSet", "url": "urn:oid:1.2"}, "url=urn:oid:1.2", True),
]


def component(code: str, value: Any) -> Resource:
    return {"code": concept((LOINC, code)), "valueQuantity": quantity(value, "mm[Hg]")}


PRESSURE = observation(code=concept((LOINC, "85354-9")), component=[component("8480-6", 120), component("8462-4", 80)])
COMPOSITES: list[tuple[Resource, str, bool]] = [
    (PRESSURE, f"component-code-value-quantity={LOINC}|8480-6$gt100", True),
    (PRESSURE, "component-code-value-quantity=8462-4$gt100", False),  # not across components
    (PRESSURE, "component-code-value-quantity=8462-4$gt100,8480-6$gt100", True),
    (PRESSURE, "code-value-quantity=85354-9$gt100", False),
    (PRESSURE, "combo-code-value-quantity=8480-6$120", True),
    (
        observation(code=concept((LOINC, "8867-4")), valueQuantity=quantity(60, "/min")),
        f"code-value-quantity={LOINC}|8867-4$60||/min",
        True,
    ),
    (observation(code=concept((LOINC, "8867-4")), valueQuantity=quantity(60, "/min")), "code-value-quantity=8867-4$gt60", False),
    (observation(component="x"), "component-code-value-quantity=8462-4$gt100", False),
    (observation(component=["x", None, 7]), "component-code-value-quantity=8462-4$gt100", False),
]


@pytest.mark.parametrize(
    ("resource", "filter", "expected"),
    [*TOKENS, *REFERENCES, *STRINGS, *DATES, *NUMBERS, *URIS, *COMPOSITES],
)
def test_filter(resource: Resource, filter: str, expected: bool) -> None:
    assert matches(resource, filter) is expected


R4B = load_vocabulary(Release.R4B)
USE = {"concept": concept(("http://x", "a"), text="Pain"), "reference": {"reference": "Condition/1"}}


def used(value: Any) -> Resource:
    return {"resourceType": "ClinicalUseDefinition", "id": "c", "indication": {"diseaseSymptomProcedure": value}}


@pytest.mark.parametrize(
    ("resource", "filter", "expected"),
    [
        (used(USE), "indication=http://x|a", True),
        (used(USE), "indication=b", False),
        (used(USE), "indication:not=b", True),
        (used({"reference": {"reference": "Condition/1"}}), "indication:not=b", True),
        (used("x"), "indication:not=b", False),
        (used(USE), "indication:text=pain", True),
        (used(USE), "indication-reference=Condition/1", True),
        (used(USE), "indication-reference=Condition/2", False),
        (used({"concept": {}}), "indication-reference=Condition/1", False),
        (used({"reference": {"identifier": {"value": "7"}}}), "indication-reference:identifier=7", True),
        (used(USE), "indication-reference:identifier=7", False),
        (used(7), "indication-reference=Condition/1", False),
        (used(USE), "indication:missing=false", True),
    ],
)
def test_codeable_references(resource: Resource, filter: str, expected: bool) -> None:
    assert matches(resource, filter, R4B) is expected


PARAMETERS = [
    (type, parameter)
    for type in ("Observation", "Patient", "ValueSet", "RiskAssessment", "Provenance", "MolecularSequence", "MedicationRequest")
    for parameter in R4.parameters(type).values()
    if parameter.evaluable
]
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["2020-01-01", "Patient/1", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("coding code system value reference identifier start end event repeat low high given family text".split()),
            inner,
        )
    ),
    max_leaves=6,
)
VALUES = ["x", "a|b", "2020", "ne5", "Patient/1", "http://x/y", "x$5", "true", "|x", "a|b|c", "lt9||mg"]


@given(st.sampled_from(PARAMETERS), st.data())
def test_garbage_neither_breaks_a_filter_nor_satisfies_both_it_and_its_negation(found: Any, data: st.DataObject) -> None:
    type, parameter = found
    modifier = data.draw(st.sampled_from([None, "not", "missing", "text", "of-type", "identifier", "exact", "contains", "above", "below"]))
    value = data.draw(st.sampled_from(VALUES))
    members = {path.steps[0].name for path in parameter.paths if path.steps}
    resource = {"resourceType": type, **data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(members, GARBAGE)))}
    held = satisfies(resource, parameter, modifier, (value,), BASES)
    assert isinstance(held, bool)
    if undecidable(parameter, modifier, (value,)) is not None:
        assert not held
    if held and modifier == "not":
        assert not satisfies(resource, parameter, None, (value,), BASES)


@pytest.mark.parametrize("type", ["Observation", "Patient"])
def test_what_is_undecidable_is_never_satisfied(type: str) -> None:
    for parameter in R4.parameters(type).values():
        for modifier in ("in", "not-in", "bogus", "", "Organization.name"):
            assert undecidable(parameter, modifier, ("x",)) is not None
            assert not satisfies({"resourceType": type, "id": "1"}, parameter, modifier, ("x",), BASES)
