"""OperationOutcomes of our own making, as JSON and XML. Spec: FHIR R4 operationoutcome.html."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

# The code system of the stable machine codes in details.coding.
CODE_SYSTEM = "https://smart-gateway.dev/codes"
# The core extension, and the one of SMART App Launch that a setting may choose instead (semantics 10).
REQUIRED_SCOPE_URL = "http://hl7.org/fhir/StructureDefinition/operationoutcome-required-scope"
SMART_REQUIRED_SCOPE_URL = "http://hl7.org/fhir/smart-app-launch/StructureDefinition/required-scope"

_SAFE_EXPRESSION = re.compile(r"[A-Za-z0-9\-_:.\[\]]{1,128}")
_NO_XML = dict.fromkeys((*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF))


@dataclass(frozen=True, slots=True)
class Issue:
    """One cause. ``type`` is of FHIR's value set issue-type, ``code`` ours; ``expression`` is left out where it is not plain.

    ``required_scopes`` are the scopes that would help, one extension each.
    """

    type: str
    code: str
    text: str
    expression: str | None = None
    required_scopes: tuple[str, ...] = ()


def operation_outcome(issues: Iterable[Issue], diagnostics: str, scope_url: str = REQUIRED_SCOPE_URL) -> dict[str, Any]:
    """An OperationOutcome as a JSON object; every issue carries ``diagnostics``, ``scope_url`` names the extension for scopes."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue, diagnostics, scope_url) for issue in issues]}


def _issue(issue: Issue, diagnostics: str, scope_url: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if issue.required_scopes:
        members["extension"] = [{"url": scope_url, "valueString": scope} for scope in issue.required_scopes]
    members["severity"] = "error"
    members["code"] = issue.type
    members["details"] = {"coding": [{"system": CODE_SYSTEM, "code": issue.code}], "text": issue.text}
    members["diagnostics"] = diagnostics
    if issue.expression is not None and _SAFE_EXPRESSION.fullmatch(issue.expression) is not None:
        members["expression"] = [issue.expression]
    return members


def to_xml(outcome: Mapping[str, Any]) -> bytes:
    """``outcome``, as ``operation_outcome`` makes it, in FHIR's XML. Spec: FHIR R4 xml.html."""
    issues = "".join(_element("issue", issue) for issue in outcome["issue"])
    text = f'<?xml version="1.0" encoding="UTF-8"?><OperationOutcome xmlns="http://hl7.org/fhir">{issues}</OperationOutcome>'
    return text.encode("utf-8", "replace")


def _element(name: str, value: object) -> str:
    """The members of our outcomes stand in the order of FHIR's schema; an extension's ``url`` is its one attribute."""
    match value:
        case Mapping():
            url = f' url="{_attribute(value["url"])}"' if name == "extension" else ""
            inner = "".join(_element(member, held) for member, held in value.items() if not (url and member == "url"))
            return f"<{name}{url}>{inner}</{name}>"
        case str():
            return f'<{name} value="{_attribute(value)}"/>'
        case Sequence():
            return "".join(_element(name, item) for item in value)
        case _:
            raise TypeError(f"no member of an OperationOutcome is a {type(value).__name__}")


def _attribute(text: str) -> str:
    return escape(text.translate(_NO_XML))
