"""A decision as data for people and tools: the JSON object of ``explain`` (docs/command-line.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smart_gateway.errors import RequestError, SmartGatewayError
from smart_gateway.fhir.query import encode_query
from smart_gateway.policy.access import Access
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.plan import CheckBatch, CheckUnion, Decision, Deny, EntryDecision, UpstreamRequest
from smart_gateway.policy.scrutiny import decides, looked_at
from smart_gateway.request.model import FhirRequest


def explain_decision(request: FhirRequest, decision: Decision, access: Access) -> dict[str, Any]:
    """One object: the decision, why, what would be sent upstream and what would be checked; of a batch the same for its ``entries``."""
    shown = _head(request)
    looked = looked_at(request, decision.grounds, access)
    shown["grounds"] = [_ground(ground, decides(ground, decision, looked)) for ground in looked]
    if isinstance(decision, Deny):
        first, places = decision.causes[0], _places(cause.expression for cause in decision.causes)
        scopes = [missing.scope for missing in decision.missing]
        shown |= {"decision": "deny", "status": decision.status, "code": first.code, "reasons": [cause.text for cause in decision.causes]}
        shown |= {"expressions": places, "upstream": [], "checks": [], "required_scopes": scopes, "hint": decision.hint}
        return shown | (_entries(decision.entries, access) if decision.entries else {})
    plan = decision.plan
    criteria = plan.criteria.search if plan.criteria is not None else None
    branches = [branch.upstream for branch in plan.answer.branches] if isinstance(plan.answer, CheckUnion) else []
    upstream = [_upstream(request) for request in (criteria, plan.upstream, *branches) if request is not None]
    shown |= {"decision": "permit", "status": None, "code": None, "reasons": []}
    shown |= {"upstream": upstream, "checks": list(plan.checks), "required_scopes": [], "hint": False}
    return shown | (_entries(plan.answer.entries, access) if isinstance(plan.answer, CheckBatch) else {})


def explain_error(request: FhirRequest | None, error: SmartGatewayError, access: Access | None = None) -> dict[str, Any]:
    """The same object for a request that is refused because it is broken, or for who asks; ``request`` None: before it could be read,
    ``access`` None: before anybody looked at what who asks may do."""
    shown = _head(request)
    looked = looked_at(request, (), access) if request is not None and access is not None else ()
    code, expression = getattr(error, "reason", error.code), getattr(error, "expression", None)
    shown |= {"grounds": [_ground(ground, decides(ground, None, looked)) for ground in looked]}
    shown |= {"decision": "deny", "status": error.status, "code": code, "reasons": [error.text]}
    return shown | {"expressions": _places([expression]), "upstream": [], "checks": [], "required_scopes": [], "hint": False}


def _entries(entries: Iterable[EntryDecision], access: Access) -> dict[str, Any]:
    return {"entries": [_entry(held.entry.request, held.decision, access) for held in entries]}


def _entry(request: FhirRequest | RequestError, decision: Decision | RequestError, access: Access) -> dict[str, Any]:
    known = request if isinstance(request, FhirRequest) else None
    if isinstance(decision, RequestError) or known is None:
        assert isinstance(decision, RequestError)  # what cannot be parsed is decided so
        return explain_error(known, decision, access)
    return explain_decision(known, decision, access)


def _head(request: FhirRequest | None) -> dict[str, Any]:
    """The keys in the order of docs/command-line.md."""
    interaction = str(request.interaction) if request is not None else None
    type, id = (request.type, request.id) if request is not None else (None, None)
    named = {"interaction": interaction, "type": type, "id": id}
    return {"decision": "deny", "status": None, "code": None, "reasons": [], "expressions": []} | named


def _places(expressions: Iterable[str | None]) -> list[str]:
    """Where the causes lie, each once: parameters and headers as ``http.name``, elements, entries of a Bundle."""
    return list(dict.fromkeys(place for place in expressions if place is not None))


def _ground(ground: Ground, decided: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"source": ground.source, "rule": ground.rule, "result": ground.result, "text": ground.text}
    shown["decided"] = decided
    return shown if ground.place is None else {**shown, "place": ground.place}


def _upstream(request: UpstreamRequest) -> dict[str, str]:
    shown = {"method": request.method, "target": request.target}
    shown |= {"body": request.content.decode()} if request.content is not None else {}
    return shown | ({"form": encode_query(request.form)} if request.form is not None else {})
