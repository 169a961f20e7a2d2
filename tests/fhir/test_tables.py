"""The generated tables: counts that were taken independently of the generator, and no drift between sources, tool and data."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from smart_gateway.fhir.elements import top_members
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import ParameterKind, load_vocabulary

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "smart_gateway" / "fhir" / "data"
RELEASES = ("r4", "r4b", "r5")

COMPARTMENTS = {  # compartment -> types, entries without {def}
    "r4": {"Patient": (66, 100), "Encounter": 25, "Practitioner": 59, "RelatedPerson": 32, "Device": 32},
    "r4b": {"Patient": (66, 100), "Encounter": 25, "Practitioner": 59, "RelatedPerson": 32, "Device": 32},
    "r5": {"Patient": (73, 105), "Encounter": 26, "Practitioner": 57, "RelatedPerson": 30, "Device": 30},
}
ENTRIES = {"r4": 299, "r4b": 299, "r5": 291}  # over all five, {def} left out

# HL7's own branches that are only paths give 1699, 1733 and 1964 pairs. What the lines by hand add to them, and take away again:
COVERED = {"r4": 1699, "r4b": 1733, "r5": 1964}
ADDED = {
    "r4": {("InsurancePlan", "name")},
    "r4b": {("InsurancePlan", "name")},
    "r5": {("Appointment", "requested-period"), ("CareTeam", "name")},
}
GIVEN_UP = {
    "r4": set(),
    "r4b": set(),
    "r5": {
        ("Device", "code-value-concept"),  # a component that is no element
        ("Observation", "value-canonical"),  # no such element
        ("Observation", "component-value-canonical"),
        ("Resource", "_in"),  # the path is Resource.id, the meaning is not
    },
}

LEAVES = {
    "number": "decimal integer unsignedInt Range",
    "date": "dateTime Period instant date Timing string Age Range",
    "string": "string markdown HumanName Address Identifier",
    "token": "CodeableConcept code Identifier Coding string ContactPoint boolean id uri canonical Quantity CodeableReference date "
    "Attachment",
    "reference": "Reference canonical uri CodeableReference Attachment BackboneElement",
    "composite": "BackboneElement UsageContext Observation Ratio",
    "quantity": "Quantity Range SampledData Money Age Duration",
    "uri": "uri url canonical",
    "special": "BackboneElement Narrative",
}
# HL7 swapped the parts of the one, and let the other range over types that no token is: such parts never match.
MISMATCHED = {("DocumentReference", "relationship"), ("Group", "characteristic-value")}


def table(name: str) -> dict:
    return json.loads((DATA / f"{name}.json").read_bytes())


def pairs(name: str) -> dict[tuple[str, str], dict]:
    return {(type, code): row for type, rows in table(name)["parameters"].items() for code, row in rows.items()}


@pytest.mark.parametrize(("name", "types", "count"), [("r4", 146, 1706), ("r4b", 141, 1745), ("r5", 158, 1988)])
def test_counts_of_types_and_parameters(name, types, count):
    assert len(table(name)["types"]) == types
    assert len(pairs(name)) == count


@pytest.mark.parametrize("name", RELEASES)
def test_every_covered_pair_has_paths(name):
    evaluable = {pair for pair, row in pairs(name).items() if "paths" in row}
    assert len(evaluable) == COVERED[name] + len(ADDED[name]) - len(GIVEN_UP[name])
    assert ADDED[name] <= evaluable
    assert not GIVEN_UP[name] & evaluable


@pytest.mark.parametrize("name", RELEASES)
def test_only_these_have_no_paths_for_another_reason_than_none_being_defined(name):
    without = {f"{type}.{code}" for (type, code), row in pairs(name).items() if "paths" not in row} - {
        f"{type}.{code}" for type, code in GIVEN_UP[name]
    }
    controls = {"DomainResource._text"} | {f"Resource._{c}" for c in "text content query filter has list type".split()}
    both = {"Bundle.composition", "Bundle.message", "Patient.deceased"}
    r5 = (
        "Appointment.date CareTeam.date EvidenceVariable.topic ImagingStudy.reason Location.contains Medication.form "
        "MedicationKnowledge.packaging-cost MedicationKnowledge.packaging-cost-concept Person.deceased Practitioner.deceased "
        "QuestionnaireResponse.item-subject"
    )
    assert without - controls == (both | set(r5.split()) if name == "r5" else both)


@pytest.mark.parametrize("name", RELEASES)
def test_compartments(name):
    found = table(name)["compartments"]
    assert set(found) == set(COMPARTMENTS[name])
    for compartment, expected in COMPARTMENTS[name].items():
        rows = found[compartment]
        codes = [code for entry in rows.values() for code in entry if code != "{def}"]
        assert expected in ((len(rows), len(codes)), len(rows)), compartment
    assert sum(code != "{def}" for rows in found.values() for codes in rows.values() for code in codes) == ENTRIES[name]


@pytest.mark.parametrize("name", RELEASES)
def test_every_inclusion_parameter_is_a_reference_that_can_be_evaluated_and_may_name_the_owner(name):
    vocabulary = load_vocabulary(Release(name.upper()))
    for compartment in vocabulary.compartments:
        for type in vocabulary.types - {compartment}:
            for code in vocabulary.inclusion(compartment, type):
                parameter = vocabulary.parameter(type, code)
                assert parameter is not None, (compartment, type, code)
                assert parameter.evaluable, (compartment, type, code)
                assert parameter.kind is ParameterKind.REFERENCE
                assert compartment in parameter.targets, (compartment, type, code)
                assert all(step.where is None for path in parameter.paths for step in path.steps)


@pytest.mark.parametrize("name", RELEASES)
def test_leaf_types_are_those_that_the_matchers_know(name):
    for (type, code), row in pairs(name).items():
        if (type, code) in MISMATCHED:
            continue
        parts = [row, *row.get("components", ())]
        for part in parts:
            leaves = {path.rpartition(":")[2].partition("@")[0] for path in part.get("paths", ())}
            allowed = set(LEAVES[part["kind"]].split())
            assert leaves <= allowed, (type, code, leaves)


@pytest.mark.parametrize("name", RELEASES)
def test_targets_are_types_of_the_release(name):
    types = {*table(name)["types"], "*"}
    for pair, row in pairs(name).items():
        assert set(row.get("targets", ())) <= types, pair


@pytest.mark.parametrize(("name", "count", "changing"), [("r4", 46, 8), ("r4b", 46, 8), ("r5", 59, 15)])
def test_operations(name, count, changing):
    operations = table(name)["operations"]
    assert len(operations) == count
    assert sum(row["affects_state"] for row in operations) == changing


# Read off HL7's pages: marked with a sigma and whole below it, or not; of those that parameters look at.
SUMMARY = {
    "Observation": (
        "code subject performer encounter status effectiveDateTime valueQuantity",
        "category component device method specimen",
    ),
    "Condition": ("code subject encounter clinicalStatus identifier", "category severity stage"),
    "Encounter": ("subject status class type participant", "location period serviceProvider"),
    "MedicationRequest": ("subject status intent authoredOn requester", "category encounter dispenseRequest"),
    "Patient": ("name identifier birthDate link active", "generalPractitioner communication"),
    "CareTeam": ("subject", "participant"),
    "Consent": ("status", "provision"),  # marked itself, what is below it not
    "AuditEvent": ("", "agent entity"),
}
MANDATORY = {
    "Observation": ("status code", "subject category"),
    "Condition": ("subject", "code"),
    "MedicationRequest": ("status intent subject", "requester"),
    "Patient": ("", "name"),
}


@pytest.mark.parametrize("name", RELEASES)
@pytest.mark.parametrize(("summary", "expected"), [("true", SUMMARY), ("text", MANDATORY)])
def test_what_stays_in_a_summary_is_what_hl7_marks(name, summary, expected):
    vocabulary = load_vocabulary(Release(name.upper()))
    for type, (staying, hidden) in expected.items():
        found = vocabulary.summary_members(summary, type)
        assert set(staying.split()) <= found, (type, found)
        moved = {"period"} if name == "r5" else set()  # Encounter.actualPeriod there
        assert found.isdisjoint(set(hidden.split()) - moved), (type, found)
    assert vocabulary.summary_members("data", "Observation") == vocabulary.summary_members(summary, "Nonsense") == frozenset()


@pytest.mark.parametrize("name", RELEASES)
def test_only_what_parameters_look_at_is_listed_for_summaries(name):
    vocabulary = load_vocabulary(Release(name.upper()))
    for summary, rows in table(name)["summaries"].items():
        assert summary in {"true", "text"}
        for type, members in rows.items():
            read = {member for parameter in vocabulary.parameters(type).values() for member in top_members(parameter)}
            assert set(members) <= read - {"id", "meta"}, (type, summary)
            assert members == sorted(set(members))
            assert not {"contained", "text", "extension"} & set(members), (type, summary)


def test_r4_operations_change_state_as_r4b_says():
    changing = Counter(row["code"] for row in table("r4")["operations"] if row["affects_state"])
    assert changing == Counter("apply submit submit closure process-message meta-add meta-delete snapshot".split())


def test_data_and_tool_are_those_that_were_recorded():
    record = json.loads((DATA / "SOURCES.json").read_bytes())
    for name in RELEASES:
        for file, key in ((f"{name}.json", "table_sha256"), (f"{name}.elements.json", "elements_sha256")):
            digest = hashlib.sha256((DATA / file).read_bytes()).hexdigest()
            assert digest == record["releases"][name][key], f"{file}: run tools/generate_tables.py"
    tools = [ROOT / "tools" / "generate_tables.py", *(ROOT / "tools" / "tables").glob("*.py")]
    assert record["tool_sha256"] == {path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in tools}, (
        "the generator changed: run tools/generate_tables.py"
    )


@pytest.mark.parametrize("release", Release)
def test_the_page_lists_exactly_what_cannot_be_evaluated(release):
    page = (ROOT / "docs" / "search-parameters.md").read_text(encoding="utf-8")
    section = page.partition(f"### {release.value} ({release.version})")[2].partition("###")[0]
    listed = re.findall(r"^\| `(\w+)\.([\w-]+)` \|", section, re.MULTILINE)
    rows = pairs(release.value.lower())
    assert listed == sorted(pair for pair, row in rows.items() if "paths" not in row or row["kind"] == "special")
    vocabulary = load_vocabulary(release)
    for type, code in listed:
        for concrete in vocabulary.types if type in {"Resource", "DomainResource"} else {type}:
            parameter = vocabulary.parameter(concrete, code)
            assert parameter is None or not parameter.evaluable


@pytest.mark.integration
def test_the_generator_reproduces_the_committed_files(tmp_path):
    if shutil.which("mvn") is None:
        pytest.skip("needs Maven")
    command = [sys.executable, str(ROOT / "tools" / "generate_tables.py"), "--check", "--jars", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
