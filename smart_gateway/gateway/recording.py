"""From what is known of a request at its end to its one record in the decision log. Spec: semantics 12."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from msgspec.structs import replace

from smart_gateway.errors import DependencyUnavailable, HookRefused, RequestError, SmartGatewayError, TokenError
from smart_gateway.gateway.callers.emergencies import CalledEmergency
from smart_gateway.gateway.exchange import Exchange, Findings
from smart_gateway.observe.events import BreakGlassUse, DecisionEvent, EntryCount
from smart_gateway.policy.plan import CheckBatch, Deny, EntryDecision, Permit, Plan
from smart_gateway.policy.requirements import DISCOVERY
from smart_gateway.principal import Principal
from smart_gateway.request.model import BatchEntry, FhirRequest

CLIENT_GONE = 499  # the status in the log of a request whose client left before an answer (nginx's number)
_GRANTING = frozenset({"grants", "lifts"})
_MOST_SECONDS = 2.0**40  # of a time that can be written as a date
Outcome = Literal["permit", "deny", "error"]
_OUTSIDE = frozenset({"not-found", "outside-boundary", "foreign-patient"})
_NOBODY = Principal("", anonymous=True)


def record(exchange: Exchange, started: float) -> None:
    """Writes the record of ``exchange``, which began at ``started`` (seconds since the epoch)."""
    findings = exchange.findings
    exchange.snapshot.log.record(_event(exchange, started, _outcome(findings), findings.status or CLIENT_GONE, _code(findings)))


async def require_record(exchange: Exchange, request: FhirRequest) -> None:
    """Has it recorded what is about to be done, where that is required: always in an emergency. Raises DependencyUnavailable where it
    cannot be: then it is not done. Spec: semantics 9 and 12."""
    snapshot, findings = exchange.snapshot, exchange.findings
    if request.interaction in DISCOVERY or not (snapshot.audit_required or findings.emergency is not None):
        return
    findings.kept = await snapshot.log.keep(replace(_event(exchange, snapshot.clock(), "permit", 0, None), stage="begun"))
    if not findings.kept:
        raise DependencyUnavailable("What would be done cannot be recorded, so it is not done.")


def _event(exchange: Exchange, started: float, outcome: Outcome, status: int, code: str | None) -> DecisionEvent:
    snapshot, findings = exchange.snapshot, exchange.findings
    request, who = findings.request, findings.principal or _NOBODY
    now = snapshot.clock()
    return DecisionEvent(
        time=started,
        request_id=exchange.id.own,
        method=exchange.scope["method"],
        outcome=outcome,
        status=status,
        duration=(now - started) * 1000.0,
        code=code,
        rules=_rules(findings),
        upstream_status=findings.upstream_status,
        removed=findings.removed,
        entries=_entries(findings),
        dry_run=snapshot.dry_run,
        instance=snapshot.instance,
        interaction=request.interaction if request is not None else None,
        type=request.type if request is not None else None,
        id=request.id if request is not None else None,
        types=_types(request),
        issuer=who.issuer or None,
        subject=who.subject,
        client_id=who.client_id,
        fhir_user=str(who.fhir_user) if who.fhir_user is not None else None,
        patient=who.record,
        tenant=who.tenant,
        actor=who.actors[0].name if who.actors else None,
        prior_actors=tuple([actor.name or "unknown" for actor in who.actors[1:]]),
        address=exchange.presented.address if exchange.presented is not None else None,
        break_glass=_break_glass(findings.emergency, who),
        kept=findings.kept,
    )


def _break_glass(called: CalledEmergency | None, who: Principal) -> BreakGlassUse | None:
    """Spec: semantics 9, "always a heavier audit record"."""
    if called is None:
        return None
    auth_time, acr = who.claims.get("auth_time"), who.claims.get("acr")
    return BreakGlassUse(
        granted=called.granted,
        scope=called.rule.scope,
        purpose=called.call.purpose,
        reason=called.call.reason,
        lifts=tuple(sorted(called.rule.lifts)),
        token_id=who.token_id,
        auth_time=auth_time if isinstance(auth_time, int | float) and 0 <= auth_time < _MOST_SECONDS else None,
        acr=acr if isinstance(acr, str) else None,
    )


def _outcome(findings: Findings) -> Outcome:
    """A refusal by judgement is a deny, be it for the request's form, its token or its permissions; else something failed."""
    match findings.error or findings.decision:
        case RequestError() | TokenError() | HookRefused() | Deny():
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
    """The rules that decided: those that grant, for a permit, and where the record is outside what they grant; those that limit or deny,
    for a refusal by permission."""
    match findings.decision:
        case Permit(grounds=grounds):
            return tuple([ground.rule for ground in grounds if ground.result in _GRANTING])
        case Deny(grounds=grounds, causes=causes) if causes[0].code in _OUTSIDE:
            return tuple([ground.rule for ground in grounds if ground.result in _GRANTING])
        case Deny(grounds=grounds):
            return tuple([ground.rule for ground in grounds if ground.result not in _GRANTING])
        case None:
            return ()


def _types(request: FhirRequest | None) -> tuple[str, ...]:
    """Every type that the path names, or the paths of a batch's entries, once."""
    if request is None:
        return ()
    if request.batch is not None:
        named = [type for entry in request.batch.entries if isinstance(entry.request, FhirRequest) for type in _types(entry.request)]
        return tuple(dict.fromkeys(named))
    if request.compartment is None:
        return (request.type,) if request.type is not None else ()
    return (request.type, request.compartment.type) if request.type not in (None, request.compartment.type) else (request.compartment.type,)


def _entries(findings: Findings) -> tuple[EntryCount, ...]:
    """What became of the entries of a batch: what they got, or where nothing was carried out what was decided of them."""
    decided = _decided(findings.decision)
    if not decided:
        return ()
    statuses: tuple[int | None, ...] = findings.entries or tuple([_status(entry.decision) for entry in decided])
    counts = Counter([(*_asked(entry.entry), status) for entry, status in zip(decided, statuses, strict=True)])
    return tuple([EntryCount(interaction=i, type=type, status=status, count=count) for (i, type, status), count in counts.items()])


def _decided(decision: Permit | Deny | None) -> tuple[EntryDecision, ...]:
    match decision:
        case Permit(plan=Plan(answer=CheckBatch(entries=entries))) | Deny(entries=entries):
            return entries
        case _:
            return ()


def _asked(entry: BatchEntry) -> tuple[str | None, str | None]:
    request = entry.request
    return (request.interaction, request.type) if isinstance(request, FhirRequest) else (None, None)


def _status(decision: Permit | Deny | RequestError) -> int | None:
    return None if isinstance(decision, Permit) else decision.status
