"""``smart-gateway explain``: one decision, and why, by the same functions that the running gateway calls."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smart_gateway.errors import DependencyUnavailable, HookRefused, RequestError, SettingsError, SmartGatewayError, TokenError
from smart_gateway.fhir.media import FHIR_JSON, FORM, JSON_PATCH
from smart_gateway.fhir.references import Bases, is_id, parse_reference
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize, authorize_types, is_public
from smart_gateway.policy.batch import judge_bodies
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.conditional import possible_plans
from smart_gateway.policy.explanation import explain_decision, explain_error
from smart_gateway.policy.model import Policy, default_additions
from smart_gateway.policy.patching import foresee_patch
from smart_gateway.policy.plan import BodyCheck, Decision, Deny, PatchCheck, Permit, Plan
from smart_gateway.policy.writing import foresee_body
from smart_gateway.principal import Principal
from smart_gateway.request.body import read_resource
from smart_gateway.request.completing import complete, is_complete
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.parsing import RequestParser
from smart_gateway.request.patch import read_patch
from smart_gateway.scopes.reading import read_scopes

_BASES = Bases("http://localhost/fhir", "http://localhost/fhir")
_USERS = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"})
_NO_TOKEN = Denial("token-missing", "The request needs a token.")
_PERMITTED, _FAILED, _USAGE, _DENIED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a decision is made under: the policy, how requests are read, and who asks."""

    policy: Policy
    limits: Limits
    principal: Principal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("method", metavar="METHOD", help="GET, HEAD, POST, PUT, PATCH or DELETE")
    parser.add_argument("target", metavar="TARGET", help="relative to the FHIR base, such as '/Observation?code=8867-4'")
    parser.add_argument("--config", type=Path, help="settings; without it an R4 upstream with no client or user rules")
    parser.add_argument("--token", help="a token, verified by its issuer's keys or by asking it (needs --config)")
    parser.add_argument("--scope", default="", help="space-separated scopes of an invented principal")
    parser.add_argument("--patient", help="the launch patient's id")
    parser.add_argument("--fhir-user", help="Type/id")
    parser.add_argument("--client", help="the client_id")
    parser.add_argument("--body", type=Path, help="the request's body: a resource, a batch, or the form of a POST _search")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="a further request header; may be repeated")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints one decision: 0 permitted, 3 denied, 1 where the settings or the token's issuer fail, 2 for bad options."""
    try:
        setting = asyncio.run(_setting(arguments))
        body = arguments.body.read_bytes() if arguments.body is not None else None
        headers = _headers(arguments.header, arguments.method, body)
    except (TokenError, HookRefused) as error:
        code = error.reason if isinstance(error, TokenError) else error.code
        shown = {"decision": "deny", "status": error.status, "code": code, "reasons": [error.text]}
        _print(shown, arguments.format)
        return _DENIED
    except SettingsError:
        raise  # with its findings, which the command line prints
    except (SmartGatewayError, OSError) as error:
        print(error, file=sys.stderr)
        return _USAGE if isinstance(error, _UsageError | OSError) else _FAILED
    shown = explain(arguments.method.upper(), arguments.target, headers, body, setting)
    _print(shown, arguments.format)
    return _PERMITTED if shown["decision"] == "permit" else _DENIED


def explain(method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes | None, setting: _Setting) -> dict[str, Any]:
    """The object of docs/command-line.md for one request. The upstream is not asked: stored resources count as to be checked."""
    request: FhirRequest | None = None
    try:
        path, _, query = target.partition("?")
        parser = RequestParser(setting.policy.vocabulary, "", setting.limits, setting.policy.bases.public)
        request = parser.parse(method, _bytes(path or "/"), _bytes(query), headers)
        access = Access(setting.principal, setting.policy)
        decision, request = _decide(request, body, access, parser, setting.limits)
        return explain_decision(request, _judge_body(decision, request, body, access, setting.limits))
    except RequestError as error:
        return explain_error(request, error)


def _decide(
    request: FhirRequest, body: bytes | None, access: Access, parser: RequestParser, limits: Limits
) -> tuple[Decision, FhirRequest]:
    if access.principal.anonymous and not is_public(request, access.policy):
        return Deny(401, (_NO_TOKEN,)), request
    denied = authorize_types(request, access)
    if denied is not None:
        return denied, request
    if not is_complete(request):
        request = complete(request, body or b"", parser, limits)
    return authorize(request, access), request


def _judge_body(decision: Decision, request: FhirRequest, body: bytes | None, access: Access, limits: Limits) -> Decision:
    """A body that was given is judged as the gateway would judge it; one that was not counts as to be checked."""
    if request.batch is not None:
        return judge_bodies(decision, request.batch, access, limits)
    if body is None or not isinstance(decision, Permit):
        return decision
    refusals = [_refused(body, plan, request, access, limits) for plan in possible_plans(request, decision.plan, access)]
    sure = refusals[0] if refusals and all(refusals) else None
    return replace(sure, grounds=sure.grounds or decision.grounds) if sure is not None else decision


def _refused(body: bytes, plan: Plan, request: FhirRequest, access: Access, limits: Limits) -> Deny | None:
    """The refusal of ``body`` by ``plan``. Raises RequestError for what is none that the plan could take."""
    match plan.body:
        case None:
            return None
        case PatchCheck() as check:
            patch = read_patch(body, request.content_type, limits)
            return foresee_patch(patch, check, request, access, fetched=plan.stored is not None)
        case BodyCheck() as check:
            return foresee_body(read_resource(body, check, request.content_type, limits), check, access)


class _UsageError(SmartGatewayError):
    """An option cannot be used."""


async def _setting(arguments: argparse.Namespace) -> _Setting:
    if arguments.config is None:
        if arguments.token is not None:
            raise _UsageError("--token needs --config: it names the issuers whose keys verify it")
        policy = Policy(load_vocabulary(Release.R4), _BASES, compartment_additions=default_additions(Release.R4))
        return _Setting(policy, Limits(), _invented(arguments, policy.bases))
    return await _configured(arguments)


async def _configured(arguments: argparse.Namespace) -> _Setting:
    from smart_gateway.settings.building import build  # heavy: only with --config
    from smart_gateway.settings.loading import load_settings

    built = build(load_settings(arguments.config), recording=False)
    snapshot = built.snapshot
    try:
        if arguments.token is None:
            principal = _invented(arguments, snapshot.policy.bases)
        else:
            now = time.time()
            principal = await snapshot.amendments.of(await snapshot.verifier.verify(arguments.token, now), now)
    except DependencyUnavailable as error:
        raise SmartGatewayError(f"the token cannot be verified: {error}") from error
    finally:
        await built.aclose()
    return _Setting(snapshot.policy, snapshot.limits, principal)


def _invented(arguments: argparse.Namespace, bases: Bases) -> Principal:
    """A principal as the options say; without any of them, nobody."""
    if not (arguments.scope or arguments.patient or arguments.fhir_user or arguments.client):
        return Principal(issuer="", anonymous=True)
    if arguments.patient is not None and not is_id(arguments.patient):
        raise _UsageError("--patient is a FHIR id")
    user = parse_reference(arguments.fhir_user, bases) if arguments.fhir_user is not None else None
    if arguments.fhir_user is not None and (user is None or user.type not in _USERS):
        raise _UsageError("--fhir-user is Type/id, the type one of " + ", ".join(sorted(_USERS)))
    scopes = read_scopes(arguments.scope, replacement=None, v1_write="cud")
    return Principal("command line", client_id=arguments.client, scopes=scopes, patient=arguments.patient, fhir_user=user)


def _headers(given: list[str], method: str, body: bytes | None) -> list[tuple[bytes, bytes]]:
    """``--header`` lines; a body without its own Content-Type is a form for a search, an array a JSON Patch, else a resource."""
    pairs = [line.partition(":") for line in given]
    headers = [(_bytes(name.strip().lower()), _bytes(value.strip())) for name, _, value in pairs]
    if body is not None and not any(name == b"content-type" for name, _ in headers):
        form = method.upper() == "POST" and not body.lstrip().startswith((b"{", b"["))
        resource = JSON_PATCH if method.upper() == "PATCH" and body.lstrip().startswith(b"[") else FHIR_JSON
        headers.append((b"content-type", (FORM if form else resource).encode()))
    return headers


def _bytes(text: str) -> bytes:
    """What stands on the command line as bytes, for the parser to judge: also what is no Unicode text."""
    return text.encode("utf-8", "surrogatepass")


def _print(shown: Mapping[str, Any], format: str) -> None:
    if format == "json":
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    verdict = "permit" if shown["decision"] == "permit" else f"deny {shown['status']} {shown['code']}"
    lines = [f"{verdict}: {shown.get('interaction') or 'request'} {shown.get('type') or ''}".rstrip()]
    lines += [f"  because: {reason}" for reason in shown.get("reasons", ())]
    lines += [f"  {ground['source']} {ground['rule']}: {ground['result']}: {ground['text']}" for ground in shown.get("grounds", ())]
    lines += [f"  upstream: {sent['method']} {sent['target']} {sent.get('form', '')}".rstrip() for sent in shown.get("upstream", ())]
    lines += [f"  check: {check}" for check in shown.get("checks", ())]
    lines += [f"  may help: {scope}" for scope in shown.get("required_scopes", ())]
    print("\n".join(lines))
