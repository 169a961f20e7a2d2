"""``smart-gateway suggest``: the least that would have allowed what decision logs say was allowed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from smart_gateway.cli.configuration import add_tenant
from smart_gateway.errors import SmartGatewayError
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.suggesting import Asked, Observed, ReadScope, Suggestion
from smart_gateway.scopes.reading import read_scope
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.scopes.scope import ResourceScope

_DONE, _FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="a decision log, one JSON line each; - is standard input")
    parser.add_argument("--config", type=Path, help="settings that the log was written under: how issuers spell scopes, what clients have")
    add_tenant(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints a policy for the clients of the logs: 0, or 1 where a log cannot be read or holds no decision."""
    read, policy = _configured(arguments.config, arguments.tenant)
    clients = (policy.clients if policy is not None else None) or {}
    observed, lines, broken = Observed(read), 0, 0
    for line in _lines(arguments.logs):
        record = _record(line)
        lines, broken = lines + 1, broken + (record is None)
        if record is None or arguments.tenant not in (None, record.get("instance")):
            continue
        if record.get("stage") != "begun":  # what has begun is told again at its end
            observed.add(record)
    if broken:
        print(f"{broken} of {lines} lines are no records of decisions", file=sys.stderr)
    if lines == broken:
        print("the logs hold no decision", file=sys.stderr)
        return _FAILED
    found, refused = list(observed.suggestions(policy)), observed.refused()
    if arguments.format == "json":
        print(json.dumps({"clients": [_client(one, clients) for one in found], "refused": [*map(_refusal, refused)]}, indent=2))
    else:
        print("\n".join([*_policy(found, clients), *_refusals(refused)]))
    return _DONE


def _configured(config: Path | None, tenant: str | None) -> tuple[ReadScope, Policy | None]:
    """How rules of the log are read, and the policy that it was written under."""
    if config is None:
        return _reader({}), None
    from smart_gateway.settings.building.policy import build_policy  # heavy: only with --config
    from smart_gateway.settings.policy_files import examine_policy

    settings = examine_policy(config, tenant).settings
    assert settings is not None
    formats = {issuer.issuer: issuer.scope_format for issuer in settings.issuers}
    replacements = {name: spelling.replacement() for name, spelling in formats.items() if spelling is not None}
    return _reader(replacements), build_policy(settings)


def _reader(replacements: Mapping[str, Replacement]) -> ReadScope:
    def read(text: str, issuer: str | None) -> ResourceScope | None:
        scope = read_scope(text, replacement=replacements.get(issuer or ""), v1_write="cud")
        return scope if isinstance(scope, ResourceScope) else None

    return read


def _lines(logs: Iterable[Path]) -> Iterator[str]:
    """Every line that holds anything. Raises SmartGatewayError for a file that cannot be read."""
    for path in logs:
        try:
            with path.open(encoding="utf-8", errors="replace") if str(path) != "-" else nullcontext(sys.stdin) as stream:
                yield from (line for line in stream if line.strip())
        except OSError as error:
            raise SmartGatewayError(f"{path} cannot be read: {error.strerror}") from None


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "outcome" in record and "request_id" in record else None


def _unused(one: Suggestion, clients: Mapping[str, ClientRule]) -> list[str]:
    """Scopes that the client is registered for or limited to, and of which nothing was used."""
    rule = clients.get(one.client or "")
    held = (*(rule.registered_scopes or ()), *(rule.limit or ())) if rule is not None else ()
    read = (read_scope(text, replacement=None, v1_write="cud") for text in one.scopes)
    used = [scope for scope in read if isinstance(scope, ResourceScope)]
    return [scope.text for scope in dict.fromkeys(held) if not any(_meets(scope, other) for other in used)]


def _meets(one: ResourceScope, other: ResourceScope) -> bool:
    types = one.type == other.type or "*" in (one.type, other.type)
    return one.context is other.context and types and bool(one.permissions & other.permissions)


def _client(one: Suggestion, clients: Mapping[str, ClientRule]) -> dict[str, Any]:
    counted = {"client": one.client, "requests": one.requests, "users": dict(one.users)}
    told = {"role": "system" if one.system else None, "limit": [*one.scopes, *one.plain], "kept_whole": [*one.kept, *one.plain]}
    return {**counted, **told, "unused": _unused(one, clients), "unexplained": one.unexplained}


def _refusal(refused: tuple[Asked, int]) -> dict[str, Any]:
    asked, count = refused
    named = {"client": asked.client or None, "interaction": asked.interaction or None, "type": asked.type or None}
    return {**named, "code": asked.code, "count": count}


def _policy(found: Iterable[Suggestion], clients: Mapping[str, ClientRule]) -> Iterator[str]:
    """The suggestion as it can stand in the settings; all that comes from tokens is quoted."""
    yield "policy:"
    yield "  clients:"
    for one in found:
        comment = f"{one.requests} requests, users {', '.join(f'{_shown(kind)} {count}' for kind, count in one.users)}"
        if one.client is None:
            yield f"    # tokens that name no client: {comment}; they used {_shown(' '.join(one.scopes)) or 'nothing'}"
            continue
        yield f"    {json.dumps(one.client)}: # {comment}"
        if one.system:
            yield "      role: system"
        yield "      limit:" + ("" if one.scopes or one.plain else " []")
        for scope in one.scopes:
            yield f"        - {json.dumps(scope)}" + (" # as it was: the log does not say what came along" if scope in one.kept else "")
        yield from (f"        - {json.dumps(text)} # as it was: the log does not say what plain scopes did" for text in one.plain)
        yield from (f"      # not used: {json.dumps(scope)}" for scope in _unused(one, clients))
        if one.unexplained:
            yield f"      # {one.unexplained} requests were permitted by no scope that the log names"


def _refusals(refused: Iterable[tuple[Asked, int]]) -> Iterator[str]:
    lines = [
        f"#   {count} times {json.dumps(asked.client)}: {_shown(asked.interaction or 'request')} {_shown(asked.type)}: {_shown(asked.code)}"
        for asked, count in refused
    ]
    if lines:
        yield "# A dry run let these through, which would be refused:"
        yield from lines


def _shown(text: str) -> str:
    """What a log says, so that no comment ends before its line does."""
    return text if text.isprintable() else ascii(text)
