"""docs/decision-table.md is what the code decides, and says what semantics 3, 5 and 6 say of the types that are special."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from smart_gateway.policy.authorize import _PLANNERS
from smart_gateway.policy.operations.table import SHIPPED
from smart_gateway.policy.requirements import REQUIRED

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "decision-table.md").read_text(encoding="utf-8")
GROUPS = PAGE.split("\n### ")[1:]


def group(named: str) -> str:
    """The table of the types decided like ``named``, by how its line for R4 names it."""
    (found,) = [text for text in GROUPS if named in text.partition("\nR4: ")[2].partition("\n\n")[0].replace("\n", " ").split(", ")]
    return found


def test_the_page_is_that_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("decision_table", ROOT / "tools" / "decision_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.render() == PAGE, "run tools/decision_table.py"


def test_every_interaction_and_operation_has_its_row() -> None:
    rows = {line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| ")}
    assert {str(interaction) for interaction in REQUIRED.keys() & _PLANNERS.keys()} - rows == {"page"}  # a page is of what it goes on
    assert {f"`{rule.name}`" for rule in SHIPPED} <= rows


@pytest.mark.parametrize(
    ("type", "patient"),
    [
        ("Patient", "in the record | in the record"),
        ("Observation (subject performer)", "in the record | in the record"),
        ("Device (patient)", "in the record | in the record"),
        ("Group (member)", "in the record | in the record"),
        ("List (subject source)", "in the record | in the record"),
        ("RelatedPerson (patient)", "in the record | in the record"),
        ("Binary", "in the record | never"),
        ("Practitioner", "whole type | never"),
        ("Subscription", "whole type, by name only, where the policy lists it | never"),
        ("ConceptMap", "whole type, by name only, where the policy lists it | never"),
        ("Bundle", "whole type, where the policy lists it | never"),
    ],
)
def test_what_patient_scopes_open(type: str, patient: str) -> None:
    assert f"| `patient/` | {patient} |" in group(type)


def test_server_types_are_written_by_name_and_policy_only() -> None:
    written = "whole type | whole type, by name only, where the policy lists it"
    assert f"| `user/` practitioner | {written} |" in group("Subscription")
    assert f"| `system/` | {written} |" in group("Subscription")
