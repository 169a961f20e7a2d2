"""Paths of elements against what each release defines."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smart_gateway.fhir.fields import parse_field
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.structures import UnknownElement, load_structures
from smart_gateway.fhir.vocabulary import load_vocabulary

HOME = "extension.where(url='http://x.example/home')"


def look_up(type: str, path: str, release: Release = Release.R4) -> UnknownElement | None:
    types = load_vocabulary(release).types if type == "*" else {type}
    return load_structures(release).unknown(parse_field(path), types)


@pytest.mark.parametrize(
    ("type", "path"),
    [
        ("Patient", "birthDate"),
        ("Patient", "contact.name.given"),
        ("Patient", "deceased[x]"),
        ("Patient", "deceasedBoolean"),
        ("Patient", "identifier.assigner.identifier.value"),  # a data type within itself
        ("Questionnaire", "item.item.item.enableWhen.answer[x]"),  # the elements of another place (contentReference)
        ("Bundle", "entry.link.relation"),
        ("Observation", "valueQuantity.value"),
        ("Observation", "value[x].coding.code"),  # of one type of the choice at least
        ("Observation", "component.value[x]"),
        ("Patient", "id"),
        ("Patient", "implicitRules"),
        ("Patient", "meta.security.display"),
        ("Patient", "text.div"),
        ("Patient", f"{HOME}.valueAddress.city"),
        ("Patient", f"{HOME}.{HOME}.valueCode"),
        ("Patient", "birthDate.extension.value[x]"),  # a primitive has extensions
        ("Patient", "name.given.id"),
        ("Patient", "contact.modifierExtension"),
        ("Patient", "contained.name"),  # of any type
        ("Bundle", "entry.resource.birthDate"),
        ("Parameters", "parameter.part.part.resource.contained.code"),
        ("Patient", "identifier.where(system='urn:own').value"),
        ("Basic", "extension.value[x]"),
        ("*", "meta.security"),
        ("*", "birthDate"),  # of some type
        ("*", "name.family"),
    ],
)
@pytest.mark.parametrize("release", Release)
def test_what_every_release_has(release: Release, type: str, path: str) -> None:
    assert look_up(type, path, release) is None


@pytest.mark.parametrize(
    ("type", "path", "says", "name", "meant"),
    [
        ("Patient", "nmae", "Patient has no element nmae", "name", "name"),
        ("Patient", "contact.nmae.given", "Patient.contact has no element nmae", "name", "contact.name.given"),
        ("Patient", "contact.name.givn", "Patient.contact.name has no element givn", "given", "contact.name.given"),
        ("Patient", "deceased", "Patient has no element deceased", "deceased", "deceased[x]"),
        ("Patient", "name[x]", "Patient has no element name[x]", "name[x]", "name"),
        ("Patient", "deceasedString", "Patient has no element deceasedString", "deceasedBoolean", "deceasedBoolean"),
        ("Patient", "family", "Patient has no element family", "family", "name.family"),
        ("Observation", "value.code", "Observation has no element value", "value", "value[x].code"),
        ("Observation", "value[x].cod", "Observation.value has no element cod", "code", "value[x].code"),
        ("Questionnaire", "item.item.txt", "Questionnaire.item.item has no element txt", "text", "item.item.text"),
        ("Patient", "birthDate.value", "Patient.birthDate has no element value", "extension", "birthDate.extension"),
        ("Patient", "contained.nmae", "Patient.contained has no element nmae", "name", "contained.name"),
        ("Binary", "text", "Binary has no element text", "data", "data"),  # no DomainResource
        ("Patient", "identifier.where(sytem='a').value", "no element sytem that", "system", "identifier.where(system='a').value"),
        (
            "Patient",
            "identifier.where(type='a')",
            "Patient.identifier has no element type that is a text",
            "use",
            "identifier.where(use='a')",
        ),
        ("Patient", "telecom.where(rank='1')", "Patient.telecom has no element rank that is a text", "use", "telecom.where(use='1')"),
        ("Patient", "name.given.where(use='a')", "Patient.name.given has no element use that is a text", "id", "name.given.where(id='a')"),
        ("*", "nmae.family", "no type has an element nmae", "name", "name.family"),
        ("*", "meta.securty", "meta has no element securty", "security", "meta.security"),
    ],
)
@pytest.mark.parametrize("release", Release)
def test_what_no_release_has(release: Release, type: str, path: str, says: str, name: str, meant: str) -> None:
    unknown = look_up(type, path, release)
    assert unknown is not None
    assert says in unknown.text
    assert str(release) in unknown.text
    assert unknown.valid[name] == meant


@pytest.mark.parametrize(
    ("type", "path", "releases"),
    [
        ("Encounter", "class.code", {Release.R4, Release.R4B}),
        ("Encounter", "class.coding", {Release.R5}),
        ("Encounter", "actualPeriod", {Release.R5}),
        ("ActivityDefinition", "subjectCanonical", {Release.R4B, Release.R5}),
        ("Patient", "extension.valueInteger64", {Release.R5}),
        ("Observation", "component.referenceRange.high.value", set(Release)),
    ],
)
def test_what_some_releases_have(type: str, path: str, releases: set[Release]) -> None:
    assert {release for release in Release if look_up(type, path, release) is None} == releases


@pytest.mark.parametrize("release", Release)
def test_every_search_parameter_looks_at_elements_that_are_known(release: Release) -> None:
    """Two tables that were made from the definitions in different ways agree."""
    vocabulary, looked_at = load_vocabulary(release), 0
    for type in vocabulary.types:
        for parameter in vocabulary.parameters(type).values():
            for path in parameter.paths:
                if path.steps:
                    steps = ".".join(step.name for step in path.steps)
                    assert look_up(type, steps, release) is None, (type, parameter.code, steps)
                    looked_at += 1
    assert looked_at > 2000


def test_the_table_is_read_by_nobody_who_needs_none() -> None:
    """Starting costs nothing where no rule names an element."""
    code = """
import sys
from smart_gateway.fhir import structures
from smart_gateway.settings.loading import load_settings
load_settings("config/gateway.yaml", environment={"SEALING_KEY": "0" * 43})
assert structures.load_structures.cache_info().misses == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
