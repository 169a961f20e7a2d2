"""The pure parts alone, in one process: a decision, and the check of an answer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.material import PATIENT, searchset
from smart_gateway.answers.confine import confine_searchset
from smart_gateway.answers.links import link_sealer
from smart_gateway.answers.sealing import Sealer
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize, authorize_types
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.plan import CheckSearchset, Permit
from smart_gateway.principal import Principal
from smart_gateway.request.limits import Limits
from smart_gateway.request.parsing import RequestParser
from smart_gateway.scopes.reading import read_scopes

_BASES = Bases("http://127.0.0.1/fhir", "http://127.0.0.1/fhir")
_HEADERS = [(b"host", b"127.0.0.1"), (b"accept", b"application/fhir+json"), (b"authorization", b"Bearer x")]
_FIVE = b"code=8867-4&date=ge2026-01-01&status=final&category=laboratory&_count=20"


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds for one call, and the target."""

    name: str
    micros: float
    target: float | None = None


def costs() -> list[Cost]:
    """Decisions with a cached token (its Access kept), and answer checks."""
    small, large = _check(1), _check(27)
    size = (len(json.dumps(searchset(27))) - len(json.dumps(searchset(1)))) / 1000
    return [
        Cost("decision: read", _decision("patient/Observation.rs", b"/fhir/Observation/o1", b""), 15),
        Cost("decision: search, five parameters", _decision("patient/Observation.rs", b"/fhir/Observation", _FIVE), 30),
        Cost("decision: the same, 200 scopes", _decision(_many_scopes(200), b"/fhir/Observation", _FIVE)),
        Cost("decision: the same, 1,000 clients", _decision("patient/Observation.rs", b"/fhir/Observation", _FIVE, clients=1000)),
        Cost("answer check: searchset of 2 kB", small),
        Cost("answer check: searchset of 50 kB", large),
        Cost("answer check: for each further kB", (large - small) / size, 1.5),
    ]


def _policy(clients: int = 0) -> Policy:
    rules = {f"client-{i}": ClientRule() for i in range(clients)} | {"bench": ClientRule()}
    return Policy(load_vocabulary(Release.R4), _BASES, clients=rules if clients else None)


def _access(scope: str, clients: int = 0) -> Access:
    scopes = read_scopes(scope, replacement=None, v1_write="cud")
    return Access(Principal("i", client_id="bench", scopes=scopes, patient=PATIENT), _policy(clients))


def _many_scopes(count: int) -> str:
    return " ".join([f"patient/Observation.rs?code={i}" for i in range(count - 1)] + ["patient/Observation.rs"])


def _decision(scope: str, path: bytes, query: bytes, clients: int = 0) -> float:
    access = _access(scope, clients)
    parser = RequestParser(access.policy.vocabulary, "/fhir", Limits())

    def decide() -> None:
        request = parser.parse("GET", path, query, _HEADERS)
        if authorize_types(request, access) is not None or not isinstance(authorize(request, access), Permit):
            raise SystemExit("the decision that is measured is a refusal")

    return _time(decide)


def _check(count: int) -> float:
    access = _access("patient/Observation.rs")
    raw = json.dumps(searchset(count), separators=(",", ":")).encode()
    request = RequestParser(access.policy.vocabulary, "/fhir", Limits()).parse("GET", b"/fhir/Observation", b"", _HEADERS)
    decision = authorize(request, access)
    assert isinstance(decision, Permit)
    rule = decision.plan.answer
    assert isinstance(rule, CheckSearchset)
    links = link_sealer(request, ("Observation",), access, Sealer([os.urandom(32)], 900), time.time(), os.urandom)
    return _time(lambda: confine_searchset(raw, rule, access, {}, links))


def _time(call: Callable[[], object], rounds: int = 7) -> float:
    """The median of several rounds of about 50 ms each, in microseconds of CPU."""
    call()
    calls = 200
    readings = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            call()
        spent = time.process_time() - start
        readings.append(spent / calls * 1e6)
        calls = max(20, int(calls * 0.05 / spent))
    return median(readings)
