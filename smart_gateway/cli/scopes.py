"""``smart-gateway scopes``: how each scope string is read, by the functions that read tokens."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smart_gateway.cli.configuration import add_tenant
from smart_gateway.errors import SettingsError, SmartGatewayError
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.value_sets import NO_VALUE_SETS, ValueSets
from smart_gateway.fhir.vocabulary import Vocabulary, load_vocabulary
from smart_gateway.scopes.reading import read_scope
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.scopes.scope import MalformedScope, PlainScope, ResourceScope, Scope, ScopeKind
from smart_gateway.scopes.validity import objection

_DONE, _USAGE = 0, 2
_PLAIN_REASONS = {
    ScopeKind.CONTEXT: "asks for launch context, not for resources",
    ScopeKind.IDENTITY: "asks who the user is, not for resources",
    ScopeKind.REFRESH: "asks for refresh tokens, not for resources",
    ScopeKind.EXTENSION: "is no FHIR scope; operations and policies may ask for it by name",
}


@dataclass(frozen=True, slots=True)
class _Reading:
    """What scopes are read under: the upstream's release and the issuer's spelling."""

    vocabulary: Vocabulary
    replacement: Replacement | None = None
    v1_write: str = "cud"
    value_sets: ValueSets = NO_VALUE_SETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("scopes", nargs="+", metavar="SCOPE", help="one scope string each")
    parser.add_argument("--config", type=Path, help="settings: their FHIR release counts, and with --issuer its scope_format")
    parser.add_argument("--issuer", help="an issuer of the settings, whose replaced characters are restored first")
    add_tenant(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints how each scope is read: 0 also where one grants nothing, 1 for settings that are refused, 2 for bad options."""
    for option in ("issuer", "tenant"):
        if getattr(arguments, option) is not None and arguments.config is None:
            print(f"--{option} needs --config: it names one of the settings' {option}s", file=sys.stderr)
            return _USAGE
    try:
        reading = _reading(arguments)
    except SettingsError:
        raise  # with its findings, which the command line prints
    except SmartGatewayError as error:
        print(error, file=sys.stderr)
        return _USAGE
    shown = [describe(text, reading) for text in arguments.scopes]
    print(json.dumps(shown, indent=2) if arguments.format == "json" else "\n".join(map(_line, shown)))
    return _DONE


def describe(text: str, reading: _Reading) -> dict[str, Any]:
    """The object of docs/command-line.md for one scope string."""
    scope = read_scope(text, replacement=reading.replacement, v1_write=reading.v1_write)
    reason = _reason(scope, reading)
    resource = scope if isinstance(scope, ResourceScope) else None
    return {
        "scope": text,
        "kind": str(_kind(scope)),
        "valid": reason is None,
        "context": resource and str(resource.context),
        "type": resource and resource.type,
        "permissions": resource and resource.permissions.letters,
        "params": [list(param) for param in resource.params] if resource else [],
        "syntax": resource and str(resource.syntax),
        "reason": reason,
    }


def _kind(scope: Scope) -> ScopeKind:
    match scope:
        case ResourceScope():
            return ScopeKind.RESOURCE
        case PlainScope():
            return scope.kind
        case MalformedScope():
            return ScopeKind.MALFORMED


def _reason(scope: Scope, reading: _Reading) -> str | None:
    match scope:
        case ResourceScope():
            return objection(scope, reading.vocabulary, reading.value_sets)
        case PlainScope():
            return f"The scope {_PLAIN_REASONS[scope.kind]}."
        case MalformedScope():
            return scope.reason


def _reading(arguments: argparse.Namespace) -> _Reading:
    if arguments.config is None:
        return _Reading(load_vocabulary(Release.R4))
    from smart_gateway.settings.loading import load_settings  # heavy: only with --config
    from smart_gateway.settings.sections.value_sets import foreseen

    settings = load_settings(arguments.config).of(arguments.tenant)
    vocabulary = load_vocabulary(Release(settings.upstream.fhir_version))
    value_sets, _ = foreseen(settings)
    if arguments.issuer is None:
        return _Reading(vocabulary, value_sets=value_sets)
    for issuer in settings.issuers:
        if issuer.issuer == arguments.issuer:
            spelling = issuer.scope_format
            return _Reading(vocabulary, spelling.replacement() if spelling is not None else None, issuer.v1_write, value_sets)
    raise SmartGatewayError(f"The settings know no issuer {arguments.issuer}.")


def _line(shown: Mapping[str, Any]) -> str:
    """One scope for people, on three lines."""
    head = f"{shown['scope']}\n  {shown['kind']}"
    if shown["kind"] == ScopeKind.RESOURCE:
        params = "".join(f", {name} = {value}" for name, value in shown["params"])
        head += f" ({shown['syntax']}): {shown['context']}, {shown['type']}, permissions {shown['permissions']}{params}"
    return f"{head}\n  " + ("grants access to resources" if shown["valid"] else f"grants no resources: {shown['reason']}")
