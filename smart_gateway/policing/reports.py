"""What came of the cases, as JUnit XML for build servers and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from smart_gateway.policing.coverage import Coverage
from smart_gateway.policing.trial import Outcome
from smart_gateway.settings.cases import Case
from smart_gateway.settings.policy_files import Rule

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Result:
    """One case that was run. ``objections`` are why it failed, empty where it passed; ``seconds`` is how long it took."""

    file: Path
    case: Case
    objections: tuple[str, ...]
    outcome: Outcome | None
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.objections


@dataclass(frozen=True, slots=True)
class Covered:
    """The coverage of one policy, by the name of its settings' file."""

    config: str
    coverage: Coverage


def as_junit(results: Iterable[Result], covered: Iterable[Covered]) -> bytes:
    """One suite a file, one test case a case; the coverage of each policy as properties."""
    root = Element("testsuites", name="smart-gateway test")
    suites: dict[Path, list[Result]] = {}
    for result in results:
        suites.setdefault(result.file, []).append(result)
    for file, held in suites.items():
        _suite(root, file, held)
    properties = Element("properties")
    for one in covered:
        SubElement(properties, "property", name=f"coverage {_text(one.config)}", value=f"{one.coverage.percent:.1f}")
    if len(properties):
        root[0].insert(0, properties)
    indent(root)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(root: Element, file: Path, results: list[Result]) -> None:
    failures = sum(not result.passed for result in results)
    counts = {"tests": str(len(results)), "failures": str(failures), "errors": "0", "skipped": "0"}
    suite = SubElement(root, "testsuite", {"name": _text(str(file)), **counts, "time": f"{sum(r.seconds for r in results):.3f}"})
    for result in results:
        named = {"classname": _text(file.stem), "name": _text(result.case.name), "file": _text(str(file))}
        named |= {"line": str(result.case.place.line or 1), "time": f"{result.seconds:.3f}"}
        test = SubElement(suite, "testcase", named)
        if not result.passed:
            failure = SubElement(test, "failure", message=_text(result.objections[0]), type="expectation")
            failure.text = _text("\n".join(result.objections))


def as_json(results: Iterable[Result], covered: Iterable[Covered]) -> dict[str, Any]:
    """One object: the cases in order, and the coverage of each policy."""
    shown = [_result(result) for result in results]
    policies = [
        {
            "config": one.config,
            "percent": round(one.coverage.percent, 1),
            "held": [_rule(rule) for rule in one.coverage.held],
            "not_held": [_rule(rule) for rule in one.coverage.loose],
        }
        for one in covered
    ]
    return {"passed": sum(r["passed"] for r in shown), "failed": sum(not r["passed"] for r in shown), "cases": shown, "coverage": policies}


def _result(result: Result) -> dict[str, Any]:
    outcome = asdict(result.outcome) if result.outcome is not None else None
    place = {"file": str(result.file), "line": result.case.place.line}
    return {**place, "name": result.case.name, "passed": result.passed, "objections": list(result.objections), "outcome": outcome}


def _rule(rule: Rule) -> dict[str, Any]:
    return {"rule": rule.name, "text": rule.text, "file": rule.place.source, "line": rule.place.line}


def _text(text: str) -> str:
    """``text`` without what XML 1.0 cannot hold."""
    return _NO_XML.sub("�", text)
