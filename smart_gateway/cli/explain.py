"""``smart-gateway explain``: one decision, and why, by the same function as the explain page of the management listener."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smart_gateway.cli.configuration import add_tenant
from smart_gateway.errors import DependencyUnavailable, SettingsError, SmartGatewayError
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.gateway.explaining import Invented, Question, Setting, UnusableQuestion, ask, explain, explain_token, invent
from smart_gateway.policy.model import Policy, default_additions
from smart_gateway.request.limits import Limits

_BASES = Bases("http://localhost/fhir", "http://localhost/fhir")
_PERMITTED, _FAILED, _USAGE, _DENIED = 0, 1, 2, 3


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
    parser.add_argument("--claims", help="what else its token says: a JSON object")
    parser.add_argument("--body", type=Path, help="the request's body: a resource, a batch, or the form of a POST _search")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="a further request header; may be repeated")
    add_tenant(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints one decision: 0 permitted, 3 denied, 1 where the settings or the token's issuer fail, 2 for bad options."""
    try:
        body = _read(arguments.body) if arguments.body is not None else None
        question = ask(arguments.method, arguments.target, arguments.header, body)
        shown = asyncio.run(_explained(question, arguments))
    except SettingsError:
        raise  # with its findings, which the command line prints
    except SmartGatewayError as error:
        print(error, file=sys.stderr)
        return _USAGE if isinstance(error, UnusableQuestion) else _FAILED
    _print(shown, arguments.format)
    return _PERMITTED if shown["decision"] == "permit" else _DENIED


def _read(path: Path) -> bytes:
    """Raises UnusableQuestion for a file that cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableQuestion(f"--body: {path} cannot be read: {error.strerror}") from None


async def _explained(question: Question, arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.config is not None:
        return await _configured(question, arguments)
    if arguments.tenant is not None:
        raise UnusableQuestion("--tenant needs --config: it names one of the settings' tenants")
    if arguments.token is not None:
        raise UnusableQuestion("--token needs --config: it names the issuers whose keys verify it")
    now, policy = time.time(), Policy(load_vocabulary(Release.R4), _BASES, compartment_additions=default_additions(Release.R4))
    return await explain(question, Setting(policy, Limits(), invent(_invented(arguments), _BASES, now), now))


async def _configured(question: Question, arguments: argparse.Namespace) -> dict[str, Any]:
    from smart_gateway.settings.building.snapshot import build  # heavy: only with --config
    from smart_gateway.settings.loading import load_settings

    settings, now = load_settings(arguments.config).of(arguments.tenant), time.time()
    built = build(settings, recording=False)
    snapshot = built.snapshot
    sealer = snapshot.sealer if settings.server.sealing.keys is not None else None  # a key that was made up opens nothing
    try:
        if arguments.token is not None:
            return await explain_token(question, arguments.token, snapshot, now, sealer)
        principal = invent(_invented(arguments), snapshot.policy.bases, now)
        return await explain(question, Setting(snapshot.policy, snapshot.limits, principal, now, sealer))
    except DependencyUnavailable as error:
        raise SmartGatewayError(f"the token cannot be verified: {error}") from error
    finally:
        await built.aclose()


def _invented(arguments: argparse.Namespace) -> Invented:
    """Raises UnusableQuestion."""
    try:
        claims = parse_json((arguments.claims or "{}").encode(errors="surrogateescape"))
    except JsonError:
        claims = None
    if not isinstance(claims, dict):
        raise UnusableQuestion("--claims is a JSON object, no name twice")
    return Invented(arguments.scope, arguments.patient, arguments.fhir_user, arguments.client, claims)


def _print(shown: Mapping[str, Any], format: str) -> None:
    if format == "json":
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    print("\n".join(_lines(shown)))


def _lines(shown: Mapping[str, Any]) -> list[str]:
    verdict = "permit" if shown["decision"] == "permit" else f"deny {shown['status']} {shown['code']}"
    lines = [f"{verdict}: {shown['interaction'] or 'request'} {shown['type'] or ''}".rstrip()]
    lines += [f"  because: {reason}" for reason in shown["reasons"]]
    lines += [f"  {_ground(ground)}" for ground in shown["grounds"]]
    lines += [f"  upstream: {sent['method']} {sent['target']} {sent.get('form', '')}".rstrip() for sent in shown["upstream"]]
    lines += [f"  check: {check}" for check in shown["checks"]]
    lines += [f"  may help: {scope}" for scope in shown["required_scopes"]]
    for number, entry in enumerate(shown.get("entries", ())):
        first, *rest = _lines(entry)
        lines += [f"  entry {number}: {first}", *(f"  {line}" for line in rest)]
    return lines


def _ground(ground: Mapping[str, Any]) -> str:
    """``+`` before what decided."""
    place = f" ({ground['place']})" if "place" in ground else ""
    return f"{'+' if ground['decided'] else '-'} {ground['source']} {ground['rule']}: {ground['result']}: {ground['text']}{place}"
