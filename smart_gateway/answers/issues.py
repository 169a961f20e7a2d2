"""What is left of an upstream's OperationOutcome: severity and code, with our own text."""

from __future__ import annotations

import re
from typing import Any

from smart_gateway.fhir.members import Members, value_of

SEVERITIES = frozenset({"fatal", "error", "warning", "information", "success"})
# Spec: https://hl7.org/fhir/R5/valueset-issue-type.html, which holds that of R4 and R4B.
ISSUE_TYPES = frozenset(
    "invalid structure required value invariant security login unknown expired forbidden suppressed processing not-supported duplicate "
    "multiple-matches not-found deleted too-long code-invalid extension too-costly business-rule conflict limited-filter transient "
    "lock-error no-store exception timeout incomplete throttled informational success".split()
)
_COMMENT = re.compile(r"/\*[^*]*\*/")  # HAPI says in it which resource is meant, by id
_ELEMENT = re.compile(r"[A-Za-z]{1,64}(?:\.[A-Za-z]{1,64}(?:\([A-Za-z]{1,64}\))?(?:\[[0-9]{1,4}\])?){0,32}")
_TEXT = "The FHIR server made a remark on this search; its words are withheld."


def judged_outcome(members: Members, text: str = _TEXT, *, places: bool = False) -> dict[str, Any] | None:
    """An OperationOutcome of the issues whose severity and code are FHIR's, each with ``text`` for words; None without any.

    ``places``: their expressions stay too, where they name nothing but elements. Raises JsonError. Spec: semantics 7.
    """
    issues = value_of(members["issue"]) if "issue" in members else None
    kept = [_judged(issue, text, places=places) for issue in issues if _is_known(issue)] if isinstance(issues, list) else []
    return {"resourceType": "OperationOutcome", "issue": kept} if kept else None


def _is_known(issue: Any) -> bool:
    if not isinstance(issue, dict):
        return False
    severity, code = issue.get("severity"), issue.get("code")
    return isinstance(severity, str) and isinstance(code, str) and severity in SEVERITIES and code in ISSUE_TYPES


def _judged(issue: dict[str, Any], text: str, *, places: bool) -> dict[str, Any]:
    made = {"severity": issue["severity"], "code": issue["code"], "details": {"text": text}}
    named = issue.get("expression") if places else None
    plain = [_COMMENT.sub("", place) for place in named if isinstance(place, str)] if isinstance(named, list) else []
    kept = [place for place in plain if _ELEMENT.fullmatch(place)]
    return {**made, "expression": kept} if kept else made
