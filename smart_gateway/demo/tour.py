"""The tour: what to ask the gateway, by which token, and what it must answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]

_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_REQUIRED_SCOPE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-required-scope"


@dataclass(frozen=True, slots=True)
class Visitor:
    """An app of the demonstration and the token that it gets."""

    name: str
    title: str
    client: str
    scope: str
    claims: Mapping[str, str]


VISITORS = (
    Visitor(
        "PATIENT_APP",
        "a patient's app, launched for Amy: her vital signs and her outpatient visits only",
        "growth-chart",
        f"launch/patient patient/Patient.rs patient/Observation.rs?category={_CATEGORY}|vital-signs patient/Encounter.rs?class=AMB",
        {"patient": "amy", "sub": "amy", "fhirUser": "Patient/amy"},
    ),
    Visitor(
        "PRACTITIONER", "Dr. Lee, who may read and write", "ward-app", "user/*.cruds", {"sub": "lee", "fhirUser": "Practitioner/dr-lee"}
    ),
    Visitor("BACKEND", "a backend service that may read patients, and nothing else", "statistics", "system/Patient.rs", {}),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: ``headers`` with names in lower case; ``body`` is the JSON object, empty where there is none."""

    status: int
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class Step:
    """One request of the tour. ``expects`` must hold of the answer; ``says`` puts it into a few words;
    ``upstream``: show what it became."""

    title: str
    visitor: str | None
    target: str
    status: int
    expects: Callable[[Answer], bool]
    says: Callable[[Answer], str]
    upstream: bool = False


def entries(body: Body, mode: str | None = None) -> list[str]:
    """``Type/id`` of every entry (of ``mode``)."""
    found = [entry for entry in body.get("entry", []) if mode is None or entry["search"]["mode"] == mode]
    return [f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in found]


def required_scopes(body: Body) -> list[str]:
    """The scopes that an OperationOutcome names as missing."""
    return list(_required(body))


def _required(body: Body) -> Iterator[str]:
    for issue in body.get("issue", []):
        for extension in issue.get("extension", []):
            if extension.get("url") == _REQUIRED_SCOPE:
                yield next(value for name, value in extension.items() if name.startswith("value"))


def _names(answer: Answer) -> str:
    return ", ".join(entries(answer.body)) or "no entries"


STEPS = (
    Step(
        "The patient's app reads a vital sign of Amy's",
        "PATIENT_APP",
        "/Observation/amy-heart-rate",
        200,
        lambda answer: answer.body.get("valueQuantity", {}).get("value") == 72.5,
        lambda answer: f"{answer.body['code']['text']}: {answer.body['valueQuantity']['value']} {answer.body['valueQuantity']['unit']}",
    ),
    Step(
        "It searches all heart rates and says no patient: the search is narrowed to what the token allows",
        "PATIENT_APP",
        "/Observation?code=8867-4",
        200,
        lambda answer: entries(answer.body) == ["Observation/amy-heart-rate"],
        _names,
        upstream=True,
    ),
    Step(
        "It asks for the encounters along with them: the hospital stay comes back from the server and is removed, the visit stays",
        "PATIENT_APP",
        "/Observation?_include=Observation:encounter",
        200,
        lambda answer: (
            entries(answer.body, "match") == ["Observation/amy-heart-rate", "Observation/amy-weight"]
            and entries(answer.body, "include") == ["Encounter/amy-visit"]
        ),
        _names,
    ),
    Step(
        "It reads a laboratory result of Amy's: outside of its scopes, hence not there",
        "PATIENT_APP",
        "/Observation/amy-glucose",
        404,
        lambda answer: answer.body.get("resourceType") == "OperationOutcome",
        lambda _: "the same answer as for an id that nobody has",
    ),
    Step(
        "It asks for Ben's record",
        "PATIENT_APP",
        "/Patient/ben",
        404,
        lambda answer: "Okafor" not in json.dumps(answer.body),
        lambda _: "the same answer again",
    ),
    Step(
        "It searches conditions, for which it has no scope: the answer names the one that is missing",
        "PATIENT_APP",
        "/Condition?patient=amy",
        403,
        lambda answer: any(s.startswith("patient/Condition.") for s in required_scopes(answer.body)) and _is_insufficient(answer),
        lambda answer: f"required scope: {' '.join(required_scopes(answer.body))}",
    ),
    Step(
        "Dr. Lee reads the conditions of both patients",
        "PRACTITIONER",
        "/Condition",
        200,
        lambda answer: entries(answer.body) == ["Condition/amy-asthma", "Condition/ben-diabetes"],
        _names,
    ),
    Step(
        "The backend service lists the patients",
        "BACKEND",
        "/Patient",
        200,
        lambda answer: entries(answer.body) == ["Patient/amy", "Patient/ben"],
        _names,
    ),
    Step(
        "and may not look at their observations",
        "BACKEND",
        "/Observation",
        403,
        lambda answer: any(s.startswith("system/Observation.") for s in required_scopes(answer.body)) and _is_insufficient(answer),
        lambda answer: f"required scope: {' '.join(required_scopes(answer.body))}",
    ),
    Step(
        "Nobody gets anything without a token",
        None,
        "/Patient/amy",
        401,
        lambda answer: (
            answer.headers.get("www-authenticate", "").startswith("Bearer ") and "error=" not in answer.headers["www-authenticate"]
        ),
        lambda answer: f"WWW-Authenticate: {_challenge(answer)}",
    ),
    Step(
        "but everybody may know what this server does",
        None,
        "/.well-known/smart-configuration",
        200,
        lambda answer: "permission-v2" in answer.body.get("capabilities", ()),
        lambda answer: f"capabilities: {', '.join(answer.body['capabilities'])}",
    ),
)


def _is_insufficient(answer: Answer) -> bool:
    return 'error="insufficient_scope"' in _challenge(answer)


def _challenge(answer: Answer) -> str:
    return answer.headers.get("www-authenticate", "")


def passes(step: Step, answer: Answer) -> bool:
    """Whether ``answer`` is what the tour promises."""
    return answer.status == step.status and step.expects(answer)
