"""What the tests of the boundary share: the R4 vocabulary, the bases, a matcher."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.matching import Matcher
from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import Vocabulary, load_vocabulary


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return load_vocabulary(Release.R4)


@pytest.fixture(scope="session")
def bases() -> Bases:
    return Bases("https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir")


@pytest.fixture(scope="session")
def rules(vocabulary: Vocabulary) -> CompartmentRules:
    return CompartmentRules(vocabulary, {"Device": ("patient",)})


@pytest.fixture(scope="session")
def matcher(vocabulary: Vocabulary, rules: CompartmentRules, bases: Bases) -> Matcher:
    return Matcher(vocabulary, rules, bases)
