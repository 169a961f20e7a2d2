"""From what is known of a request at its end to its one record in the decision log. Spec: semantics 12."""

from __future__ import annotations

from typing import Any, Literal

from smart_gateway.errors import RequestError, SmartGatewayError, TokenError
from smart_gateway.gateway.exchange import Exchange, Findings
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.policy.plan import Deny, Permit
from smart_gateway.principal import Principal
from smart_gateway.request.model import FhirRequest

CLIENT_GONE = 499  # the status in the log of a request whose client left before an answer (nginx's number)
_GRANTING = "grants"


def record(exchange: Exchange, started: float) -> None:
    """Writes the record of ``exchange``, which began at ``started`` (seconds since the epoch)."""
    snapshot, findings = exchange.snapshot, exchange.findings
    now = snapshot.clock()
    snapshot.log.record(
        DecisionEvent(
            time=started,
            request_id=exchange.id.own,
            method=exchange.scope["method"],
            outcome=_outcome(findings),
            status=findings.status or CLIENT_GONE,
            duration=(now - started) * 1000.0,
            code=_code(findings),
            rules=_rules(findings),
            upstream_status=findings.upstream_status,
            removed=findings.removed,
            dry_run=snapshot.dry_run,
            **_asked(findings.request),
            **_who(findings.principal),
        )
    )


def _outcome(findings: Findings) -> Literal["permit", "deny", "error"]:
    """A refusal by judgement is a deny, be it for the request's form, its token or its permissions; else something failed."""
    match findings.error or findings.decision:
        case RequestError() | TokenError() | Deny():
            return "deny"
        case Permit() if findings.status:
            return "permit"
        case None if 0 < findings.status < 400:  # a preflight, which nothing had to be decided of
            return "permit"
        case _:
            return "error"


def _code(findings: Findings) -> str | None:
    match findings.error or findings.decision:
        case RequestError(reason=reason) | TokenError(reason=reason):
            return reason
        case SmartGatewayError(code=code):
            return code
        case Deny(causes=causes):
            return causes[0].code
        case _:
            return None if findings.status else "client-gone"


def _rules(findings: Findings) -> tuple[str, ...]:
    """The rules that decided: those that grant, for a permit; those that limit or deny, for a refusal by permission."""
    match findings.decision:
        case Permit(grounds=grounds):
            return tuple(ground.rule for ground in grounds if ground.result == _GRANTING)
        case Deny(grounds=grounds):
            return tuple(ground.rule for ground in grounds if ground.result != _GRANTING)
        case None:
            return ()


def _asked(request: FhirRequest | None) -> dict[str, Any]:
    if request is None:
        return {}
    types = tuple(dict.fromkeys(t for t in (request.type, request.compartment.type if request.compartment else None) if t is not None))
    return {"interaction": request.interaction.value, "type": request.type, "id": request.id, "types": types}


def _who(principal: Principal | None) -> dict[str, Any]:
    if principal is None or principal.anonymous:
        return {}
    actor = principal.actor.get("sub")
    return {
        "issuer": principal.issuer,
        "subject": principal.subject,
        "client_id": principal.client_id,
        "fhir_user": str(principal.fhir_user) if principal.fhir_user is not None else None,
        "patient": principal.patient,
        "actor": actor if isinstance(actor, str) else None,
    }
