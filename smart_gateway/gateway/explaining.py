"""One request explained by the functions that serve: behind ``smart-gateway explain``, the explain page and its JSON twin alike.

The upstream is never asked: what is stored, and what it answers, counts as to be checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from starlette.types import Message

from smart_gateway.answers.sealing import Sealer
from smart_gateway.errors import HookRefused, RequestError, SmartGatewayError, TokenError
from smart_gateway.fhir.media import FHIR_JSON, FORM, JSON_PATCH
from smart_gateway.fhir.references import Bases, is_id, parse_reference
from smart_gateway.gateway.callers.emergencies import called_emergency, in_emergency
from smart_gateway.gateway.edge.incoming import IncomingBody
from smart_gateway.gateway.preparing import opened
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import Arrival, refuse_arrival
from smart_gateway.policy.authorize import authorize, authorize_types, is_public
from smart_gateway.policy.batch import judge_bodies
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.explanation import explain_decision, explain_error
from smart_gateway.policy.exports.jobs import OpenExport
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.plan import BodyCheck, Decision, Deny, OpenPage, PatchCheck, Permit, Plan
from smart_gateway.policy.requirements import DISCOVERY
from smart_gateway.policy.writes.conditional import possible_plans
from smart_gateway.policy.writes.patching import foresee_patch
from smart_gateway.policy.writes.writing import foresee_body
from smart_gateway.principal import Principal
from smart_gateway.request.body import read_resource
from smart_gateway.request.completing import body_limits, complete, is_complete
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.parsing import RequestParser
from smart_gateway.request.patch import read_patch
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.tokens.bearer import read_token
from smart_gateway.tokens.possession import DPOP, MTLS

_USERS = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"})
_NO_TOKEN = Denial("token-missing", "The request needs a token.")
_SEALED = "to be checked: without the sealing keys of the gateway its links cannot be opened here"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
# Who asks has a place of its own; what frames a body is the connection's.
_NOT_TAKEN = frozenset({b"authorization", b"dpop"})
_TO_SHOW = {
    DPOP: "the request has the scheme DPoP and a proof by the key that the token is bound to",
    MTLS: "the client shows the certificate that the token is bound to",
}
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class UnusableQuestion(SmartGatewayError):
    """What is to be explained cannot be understood; the text says why, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request: ``target`` is relative to the FHIR base, ``headers`` are raw with their names in lower case, ``body`` None is one that is
    not known yet."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Invented:
    """A principal made up: ``scope`` space-separated, ids as FHIR has them, ``fhir_user`` as ``Type/id``, ``claims`` what else its token
    would say. Nothing said at all is nobody."""

    scope: str = ""
    patient: str | None = None
    fhir_user: str | None = None
    client: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a decision is made under, and who asks, at ``now`` (seconds since the epoch). ``sealer`` None: no link can be opened here.
    ``bound``: what their token is bound by, of ``dpop`` and ``mtls``; None where it is made up, and counts as bound enough."""

    policy: Policy
    limits: Limits
    principal: Principal
    now: float
    sealer: Sealer | None = None
    bound: frozenset[str] | None = None


def ask(method: str, target: str, lines: list[str], body: bytes | None) -> Question:
    """The question of header ``lines`` (``Name: value``). A body without its own Content-Type is a form for a search, an array a JSON
    Patch, else a resource. Raises UnusableQuestion."""
    pairs = [(name.strip().lower(), mark, value.strip()) for name, mark, value in (line.partition(":") for line in lines)]
    if not all(name and mark for name, mark, _ in pairs):
        raise UnusableQuestion("a header is NAME:VALUE")
    headers = [(_bytes(name), _bytes(value)) for name, _, value in pairs]
    if any(name in _NOT_TAKEN for name, _ in headers):
        raise UnusableQuestion("who asks is no header here: a token has its own place")
    if body is not None and not any(name == b"content-type" for name, _ in headers):
        form = method.upper() == "POST" and not body.lstrip().startswith((b"{", b"["))
        resource = JSON_PATCH if method.upper() == "PATCH" and body.lstrip().startswith(b"[") else FHIR_JSON
        headers.append((b"content-type", (FORM if form else resource).encode()))
    return Question(method.upper(), target, tuple(headers), body)


def invent(who: Invented, bases: Bases, now: float) -> Principal:
    """The principal as said. Raises UnusableQuestion."""
    if who == Invented():
        return Principal(issuer="", anonymous=True)
    if who.patient is not None and not is_id(who.patient):
        raise UnusableQuestion("the patient is a FHIR id")
    user = parse_reference(who.fhir_user, bases) if who.fhir_user is not None else None
    if who.fhir_user is not None and (user is None or user.type not in _USERS):
        raise UnusableQuestion("the fhirUser is Type/id, the type one of " + ", ".join(sorted(_USERS)))
    return Principal(
        "command line",
        client_id=who.client,
        scopes=read_scopes(who.scope, replacement=None, v1_write="cud"),
        patient=who.patient,
        fhir_user=user,
        issued_at=now,
        claims=MappingProxyType(dict(who.claims)),
    )


async def principal_of(token: str, snapshot: Snapshot, now: float) -> Principal:
    """The principal of a verified ``token``, which may have ``Bearer`` before it, as the hook leaves it.

    Raises TokenError, HookRefused, RequestError for one that does not count, DependencyUnavailable where nobody can tell.
    """
    token = token.strip()
    if not token.lower().startswith(("bearer ", "dpop ")):
        token = f"Bearer {token}"
    _, read = read_token([(b"authorization", _bytes(token))], snapshot.limits)
    assert read is not None  # there is a header
    return await snapshot.amendments.of(await snapshot.verifier.verify(read, now), now)


async def explain_token(question: Question, token: str, snapshot: Snapshot, now: float, sealer: Sealer | None) -> dict[str, Any]:
    """``explain`` for who comes with ``token``; a token that does not count is a refusal too. Raises DependencyUnavailable."""
    try:
        principal = await principal_of(token, snapshot, now)
        bound = snapshot.possessions.wanted(principal)
    except (TokenError, HookRefused, RequestError) as error:
        return explain_error(None, error)
    return await explain(question, Setting(snapshot.policy, snapshot.limits, principal, now, sealer, bound))


async def explain(question: Question, setting: Setting) -> dict[str, Any]:
    """The object of docs/command-line.md for one request."""
    request: FhirRequest | None = None
    access = Access(setting.principal, setting.policy)
    parser = RequestParser(setting.policy.vocabulary, "", setting.limits, setting.policy.bases.public)
    try:
        path, _, query = question.target.partition("?")
        request = parser.parse(question.method, _bytes(path or "/"), _bytes(query), list(question.headers))
        found = _refuse_early(request, access, setting) or _called(request, question, access, setting.now)
        denied, access = (found, access) if isinstance(found, Deny) else (authorize_types(request, found), found)
        if denied is None and not is_complete(request):
            read = await _read(question, body_limits(request, setting.limits)) if question.body is not None else b""
            request = complete(request, read, parser, setting.limits)
        decision = denied or authorize(request, access)
        if isinstance(decision, Permit):
            decision = _opened(decision, request, access, setting)
        decision = await _judge_body(decision, request, question, access, setting.limits)
    except (RequestError, TokenError) as error:
        return explain_error(request, error, access)
    return explain_decision(request, decision, access)


def _refuse_early(request: FhirRequest, access: Access, setting: Setting) -> Deny | None:
    """What is refused for who asks. Where who asks comes from and what they show counts as it should be: ``_opened`` tells."""
    if access.principal.anonymous and not is_public(request, access.policy):
        return Deny(401, (_NO_TOKEN,))
    return refuse_arrival(access, _arrival(access.client, setting))


def _called(request: FhirRequest, question: Question, access: Access, now: float) -> Access | Deny:
    """The access that counts: another one where the request calls an emergency. Raises RequestError, StepUpWanted."""
    if request.interaction in DISCOVERY:
        return access
    return in_emergency(called_emergency(question.headers, access.policy.break_glass), request, access, now)


def _arrival(rule: ClientRule | None, setting: Setting) -> Arrival:
    if rule is None:
        return Arrival(setting.now)
    address = str(rule.networks[0].network_address) if rule.networks else None
    return Arrival(setting.now, address, (rule.sender_constraint or frozenset()) if setting.bound is None else setting.bound)


def _arrival_checks(access: Access, bound: frozenset[str] | None) -> Iterator[str]:
    yield from (text for what, text in _TO_SHOW.items() if what in (bound or ()))
    rule = access.client
    if rule is None or access.principal.anonymous:
        return
    if rule.networks is not None:
        yield "the client comes from " + " or ".join(str(network) for network in rule.networks)
    if rule.sender_constraint is not None and bound is None:
        yield "the token is bound to its sender by " + " or ".join(sorted(rule.sender_constraint))
    if rule.requests_per_minute is not None:
        yield f"the client asks at most {rule.requests_per_minute} times a minute"
    if access.policy.emergency is not None:
        yield "the emergency is on record before anything is done"


def _opened(decision: Permit, request: FhirRequest, access: Access, setting: Setting) -> Decision:
    """``decision`` with what a sealed link holds, and what is to be checked of how the request comes. Raises PageRefused, PageExpired."""
    plan = decision.plan
    if isinstance(plan.answer, OpenPage | OpenExport):
        if setting.sealer is None:
            plan = replace(plan, checks=(*plan.checks, _SEALED))
        else:
            found = opened(request, plan, access, setting.sealer, setting.now)
            if isinstance(found, Deny):
                return replace(found, grounds=found.grounds or decision.grounds)
            plan = replace(found, checks=found.checks or plan.checks)
    return replace(decision, plan=replace(plan, checks=(*_arrival_checks(access, setting.bound), *plan.checks)))


async def _judge_body(decision: Decision, request: FhirRequest, question: Question, access: Access, limits: Limits) -> Decision:
    """A body that was given is judged as the gateway would judge it; one that was not counts as to be checked."""
    if request.batch is not None:
        return judge_bodies(decision, request.batch, access, limits)
    if question.body is None or not isinstance(decision, Permit):
        return decision
    plans = possible_plans(request, decision.plan, access)
    if not any(_takes_body(plan) for plan in plans):
        return decision
    body = await _read(question, limits)
    refusals = [_refused(body, plan, request, access, limits) for plan in plans]
    sure = refusals[0] if refusals and all(refusals) else None
    return replace(sure, grounds=sure.grounds or decision.grounds) if sure is not None else decision


def _takes_body(plan: Plan) -> bool:
    """Whether the gateway reads the body, be it to judge it or to pass it on."""
    upstream = plan.upstream
    return plan.body is not None or (
        upstream is not None and upstream.method in _WITH_BODY and upstream.form is None and upstream.content is None
    )


def _refused(body: bytes, plan: Plan, request: FhirRequest, access: Access, limits: Limits) -> Deny | None:
    """The refusal of ``body`` by ``plan``. Raises RequestError for what is none that the plan could take."""
    match plan.body:
        case None:
            return None
        case PatchCheck() as check:
            patch = read_patch(body, request.content_type, limits)
            return foresee_patch(patch, check, request, access, fetched=plan.stored is not None)
        case BodyCheck() as check:
            return foresee_body(read_resource(body, check, request.content_type, limits), check, plan.stored, access)


async def _read(question: Question, limits: Limits) -> bytes:
    """The body as the gateway reads it: within its limits, and out of its Content-Encoding. Raises RequestError."""
    headers = [(name, value) for name, value in question.headers if name not in _FRAMING]
    messages: Iterator[Message] = iter([{"type": "http.request", "body": question.body or b"", "more_body": False}])

    async def receive() -> Message:
        message = next(messages, None)
        if message is None:
            await asyncio.get_running_loop().create_future()
        assert message is not None
        return message

    return await IncomingBody({"headers": headers}, receive, limits, lambda: None).read()


def _bytes(text: str) -> bytes:
    """What was typed as bytes, for the parser to judge: also what is no Unicode text."""
    return text.encode("utf-8", "surrogatepass")
