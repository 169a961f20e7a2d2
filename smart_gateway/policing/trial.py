"""One case through the gateway: the same enforcement that serves, with a token that needs no issuer and a FHIR server in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from smart_gateway.answers.sealing import Sealer
from smart_gateway.errors import DependencyUnavailable
from smart_gateway.fhir.media import FHIR_JSON, FORM, JSON_PATCH
from smart_gateway.fhir.outcomes import REQUIRED_SCOPE_URL, SMART_REQUIRED_SCOPE_URL
from smart_gateway.fhir.releases import Release
from smart_gateway.gateway.credentials import Credentials
from smart_gateway.gateway.middleware import Gateway
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.policing.records import CaseServer, Scripted, searchset
from smart_gateway.principal import Principal
from smart_gateway.settings.cases import Case, TokenSettings
from smart_gateway.tokens.claims import read_principal
from smart_gateway.tokens.issuer import ClaimPaths, IssuerConfig
from smart_gateway.tokens.possession import Possessions
from smart_gateway.tokens.presented import Presented

Message = MutableMapping[str, Any]
NOW = 1_767_225_600.0  # 2026-01-01: the clock of every case stands still
_LIFETIME = 3600.0
_KEY = b"cases of a policy: not a secret!"
_EXTENSIONS = frozenset({REQUIRED_SCOPE_URL, SMART_REQUIRED_SCOPE_URL})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case, in the words of ``expect``; ``body`` is the answer's JSON, None where it is none."""

    decision: str
    status: int
    code: str | None
    required_scopes: tuple[str, ...]
    upstream: tuple[str, ...]
    entries: tuple[str, ...]
    removed: int
    statuses: tuple[int, ...]
    rules: tuple[str, ...]
    body: Any
    release: Release


@dataclass(frozen=True, slots=True)
class Stage:
    """What cases are run under: what serves, and the issuers whose tokens count."""

    snapshot: Snapshot
    issuers: tuple[IssuerConfig, ...]


class UnknownIssuer(ValueError):
    """A case names an issuer that the settings do not."""


async def run_case(case: Case, stage: Stage) -> Outcome:
    """What the gateway makes of ``case``. Raises UnknownIssuer; what goes wrong otherwise is an outcome."""
    log, bases = _Log(), stage.snapshot.policy.bases
    snapshot = _staged(case, stage, log)
    server = CaseServer(
        case.stored,
        _answer(case, bases.upstream),
        base=bases.upstream,
        path=snapshot.public_path,
        release=snapshot.policy.vocabulary.release,
        now=NOW,
    )
    sent = await _ask(Gateway(server, lambda: snapshot), _scope(case, snapshot), _bytes(case.settings.body))
    return _outcome(log.events[-1], sent, tuple(server.asked), snapshot.policy.vocabulary.release)


def make_principal(token: TokenSettings, issuers: tuple[IssuerConfig, ...], stage: Stage) -> Principal:
    """The principal that ``token`` speaks of: its claims as its issuer's are read, and over them what the case says by name."""
    named = [issuer for issuer in issuers if token.issuer in (None, issuer.issuer)]
    if not named:
        raise UnknownIssuer(f"the settings know no issuer {token.issuer}")
    issuer, bases = named[0], stage.snapshot.policy.bases
    claims = _claims(token, issuer)
    read = read_principal(claims, issuer, bases)
    plain = read_principal(claims, replace(issuer, claims=ClaimPaths(), replacement=None), bases)
    said: dict[str, Any] = {} if "scope" in token.claims else {"scopes": plain.scopes}
    said |= {"client_id": token.client} if token.client is not None else {}
    said |= {name: getattr(plain, name) for name in ("patient", "encounter", "fhir_user") if getattr(token, name) is not None}
    return replace(read, **said)


def _claims(token: TokenSettings, issuer: IssuerConfig) -> dict[str, Any]:
    """The token's payload, by the names that most issuers use."""
    said: dict[str, Any] = {"iss": issuer.issuer, "iat": NOW - token.age, "exp": NOW + _LIFETIME, "scope": token.scope}
    said |= {"auth_time": NOW - token.login_age} if token.login_age is not None else {}
    facts = {"sub": token.subject, "client_id": token.client, "patient": token.patient}
    facts |= {"encounter": token.encounter, "fhirUser": token.fhir_user}
    return {**said, **{name: value for name, value in facts.items() if value is not None}, **token.claims}


class _Log:
    """Keeps the record of the case."""

    def __init__(self) -> None:
        self.events: list[DecisionEvent] = []

    def record(self, event: DecisionEvent) -> bool:
        self.events.append(event)
        return True

    async def keep(self, event: DecisionEvent) -> bool:  # noqa: ARG002
        """Before the request is carried out: the case's record is that of its end."""
        return True


class _Tokens:
    """Every token is the case's."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def verify(self, token: str, now: float) -> Principal:  # noqa: ARG002
        return self._principal


class _NoDiscovery:
    """No issuer is asked."""

    async def document(self, issuer: str) -> Mapping[str, Any]:
        raise DependencyUnavailable(f"No issuer is asked in a case: {issuer}.")


class _Shown(Possessions):
    """What the case says has been shown."""

    def __init__(self, shown: frozenset[str]) -> None:
        super().__init__()
        self._shown = shown

    async def check(self, principal: Principal, presented: Presented, now: float) -> frozenset[str]:  # noqa: ARG002
        return self._shown


def _staged(case: Case, stage: Stage, log: _Log) -> Snapshot:
    """The settings' own snapshot, but nothing in it reaches beyond this process, and its clock stands."""
    token = case.principal
    principal = make_principal(token, stage.issuers, stage) if token is not None else Principal("", anonymous=True)
    return replace(
        stage.snapshot,
        verifier=_Tokens(principal),
        possessions=_Shown(frozenset(token.shown if token is not None else ())),
        discovery=_NoDiscovery(),
        sealer=Sealer([_KEY], _LIFETIME),
        log=log,
        credentials=Credentials(),
        clock=lambda: NOW,
        entropy=lambda size: b"\x01" * size,
    )


def _answer(case: Case, base: str) -> Scripted | None:
    match case.answer:
        case None:
            return None
        case tuple() as resources:
            path = case.settings.request.partition(" ")[2].partition("?")[0].removesuffix("/_search")
            return Scripted(200, searchset(resources, base, path.rpartition("/")[2] or None))
        case answer:
            return Scripted(answer.status, answer.body, answer.headers)


def _scope(case: Case, snapshot: Snapshot) -> dict[str, Any]:
    method, _, target = case.settings.request.partition(" ")
    path, _, query = target.strip().partition("?")
    public = urlsplit(snapshot.policy.bases.public)
    full = snapshot.public_path + ("" if path == "/" else path)
    headers = {"host": public.netloc, **{name.lower(): value for name, value in case.settings.headers.items()}}
    if case.principal is not None:
        headers["authorization"] = "Bearer case"
    if case.settings.body is not None:
        headers.setdefault("content-type", _media(method, case.settings.body))
        headers.setdefault("content-length", str(len(_bytes(case.settings.body))))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": public.scheme,
        "path": full,
        "raw_path": full.encode("utf-8"),
        "query_string": query.encode("utf-8"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("utf-8")) for name, value in headers.items()],
        "client": (case.settings.address, 50_000),
        "server": (public.hostname, public.port or 443),
    }


def _media(method: str, body: Any) -> str:
    """A text is a form, a list a JSON Patch where one is sent, all else FHIR."""
    if isinstance(body, str):
        return FORM
    return JSON_PATCH if method == "PATCH" and isinstance(body, list) else FHIR_JSON


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode("utf-8") if isinstance(body, str) else json.dumps(body).encode("utf-8")


async def _ask(app: Gateway, scope: dict[str, Any], body: bytes) -> list[Message]:
    sent: list[Message] = []
    incoming = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        message = next(incoming, None)
        if message is None:
            await asyncio.Event().wait()  # the client stays until it is answered
        assert message is not None
        return message

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def _outcome(event: DecisionEvent, sent: list[Message], asked: tuple[str, ...], release: Release) -> Outcome:
    content = b"".join(message.get("body", b"") for message in sent[1:])
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    return Outcome(
        decision=event.outcome,
        status=event.status,
        code=event.code,
        required_scopes=tuple(_required(body)),
        upstream=asked,
        entries=tuple(sorted(_named(body))),
        removed=event.removed,
        statuses=tuple(_statuses(body)),
        rules=event.rules,
        body=body,
        release=release,
    )


def _required(body: Any) -> Iterator[str]:
    """The scopes that an OperationOutcome names, wherever its extension stands."""
    match body:
        case {"url": url, "valueString": str(scope)} if url in _EXTENSIONS:
            yield scope
        case dict():
            for value in body.values():
                yield from _required(value)
        case list():
            for value in body:
                yield from _required(value)


def _named(body: Any) -> Iterator[str]:
    """Every resource that stands for itself in an answer."""
    match body:
        case {"resourceType": "Bundle"}:
            for entry in body.get("entry", ()):
                yield from _named(entry.get("resource"))
        case {"resourceType": str(type), "id": str(id)}:
            yield f"{type}/{id}"


def _statuses(body: Any) -> Iterator[int]:
    if isinstance(body, dict) and str(body.get("type", "")).endswith("-response"):
        for entry in body.get("entry", ()):
            yield int(str(entry.get("response", {}).get("status", "0"))[:3])
