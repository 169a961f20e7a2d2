"""A scripted issuer: keys of every algorithm, tokens with any header and claims, key sets, discovery; in memory or on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from smart_gateway.tokens.transport import FetchError, Received

ISSUER = "https://idp.example.org/realms/smart"
AUDIENCE = "https://fhir.example.org/fhir"
NOW = 1_750_000_000.0  # seconds; the clock of tests

_ALGORITHMS = get_default_algorithms()
_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1(), "ES256K": ec.SECP256K1()}
_WRITERS: dict[str, Any] = {"R": RSAAlgorithm, "P": RSAAlgorithm, "E": ECAlgorithm}


@dataclass(frozen=True)
class SigningKey:
    """A private key, the algorithm that it signs with and the id that it is published under (None: without one)."""

    alg: str
    kid: str | None
    private: Any = field(repr=False)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public JWK; ``members`` are set over it, None takes one away."""
        writer = OKPAlgorithm if self.alg == "EdDSA" else _WRITERS[self.alg[0]]
        public = writer.to_jwk(self.private.public_key(), as_dict=True)
        written = {**public, "key_ops": None, "kid": self.kid, "alg": self.alg, "use": "sig", **members}
        return {name: value for name, value in written.items() if value is not None}

    def sign(self, data: bytes) -> bytes:
        """The JWS signature of ``data``."""
        return _ALGORITHMS[self.alg].sign(data, self.private)


@cache
def make_key(alg: str, kid: str | None = "key-1", bits: int = 2048) -> SigningKey:
    """A key for ``alg``; the same one for the same arguments."""
    if alg == "EdDSA":
        return SigningKey(alg, kid, ed25519.Ed25519PrivateKey.generate())
    if alg.startswith("ES"):
        return SigningKey(alg, kid, ec.generate_private_key(_CURVES[alg]))
    return SigningKey(alg, kid, rsa.generate_private_key(65537, bits))


def encode(part: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def compact(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, key: SigningKey | None) -> str:
    """A token of just this header and payload (bytes as they are), signed by ``key``; without a key the signature is empty."""
    parts = [encode(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, claims)]
    signed = ".".join(parts)
    return f"{signed}.{encode(key.sign(signed.encode())) if key else ''}"


def access_claims(issuer: str = ISSUER, now: float = NOW, **changes: Any) -> dict[str, Any]:
    """The claims of a good access token for patient 123; ``changes`` are set over them, ``...`` takes a claim away."""
    claims = {
        "iss": issuer,
        "sub": "subject-1",
        "aud": AUDIENCE,
        "exp": int(now) + 300,
        "iat": int(now),
        "jti": "token-1",
        "client_id": "growth-chart",
        "scope": "patient/Observation.rs openid",
        "patient": "123",
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not ...}


@dataclass(frozen=True)
class Posted:
    """What was posted to an issuer; ``form`` holds its parameters, none of which may be there twice."""

    url: str
    content: bytes
    headers: Mapping[str, str]

    @property
    def form(self) -> dict[str, str]:
        pairs = parse_qsl(self.content.decode(), keep_blank_values=True, strict_parsing=True)
        assert self.headers["content-type"] == "application/x-www-form-urlencoded"
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)


def json_answer(body: Any, status: int = 200) -> Received:
    """An answer to a POST."""
    return Received(status, "application/json", json.dumps(body).encode())


@dataclass
class ScriptedIssuer:
    """An issuer under a test's control. ``published`` stands in for the JWKs of ``keys``."""

    issuer: str = ISSUER
    keys: list[SigningKey] = field(default_factory=lambda: [make_key("RS256")])
    published: list[Any] | None = None
    endpoints: dict[str, Callable[[Posted], Received]] = field(default_factory=dict)  # what answers POSTs where it is served
    posted: list[Posted] = field(default_factory=list)

    @property
    def jwks_uri(self) -> str:
        return f"{self.issuer}/keys"

    @property
    def discovery_uri(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    def jwks(self) -> dict[str, Any]:
        """The key set that it publishes now."""
        return {"keys": self.published if self.published is not None else [key.jwk() for key in self.keys]}

    def discovery(self) -> dict[str, Any]:
        """Its discovery document."""
        return {
            "issuer": self.issuer,
            "jwks_uri": self.jwks_uri,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
        }

    def answer(self, path: str) -> Any | None:
        """The document at ``path`` of the issuer's host; None where there is none."""
        known = {urlsplit(self.discovery_uri).path: self.discovery, urlsplit(self.jwks_uri).path: self.jwks}
        return known[path]() if path in known else None

    def token(
        self,
        key: SigningKey | None = None,
        header: Mapping[str, Any] | None = None,
        now: float = NOW,
        audience: str = AUDIENCE,
        **claims: Any,
    ) -> str:
        """A signed access token; ``header`` and ``claims`` are set over the usual ones, ``...`` takes one away."""
        key = key or self.keys[0]
        parameters = {"alg": key.alg, "kid": key.kid or ..., "typ": "at+jwt", **(header or {})}
        kept = {name: value for name, value in parameters.items() if value is not ...}
        return compact(kept, access_claims(self.issuer, now, **{"aud": audience, **claims}), key)


class MemoryTransport:
    """A ``Transport`` that asks scripted issuers directly, counts, and fails, waits or answers otherwise when told to."""

    def __init__(self, *issuers: ScriptedIssuer) -> None:
        self.issuers = issuers
        self.asked: list[str] = []
        self.failing: set[str] = set()  # URLs that cannot be had
        self.answers: dict[str, Any] = {}  # documents by URL, before the issuers'
        self.posted: list[Posted] = []
        self.endpoints: dict[str, Callable[[Posted], Received]] = {}  # what answers POSTs, by URL; it may raise
        self.gate: asyncio.Event | None = None  # where set, every fetch waits for it
        self.closed = False

    @property
    def down(self) -> bool:
        """Whether nothing can be had."""
        return "*" in self.failing

    @down.setter
    def down(self, value: bool) -> None:
        self.failing = {"*"} if value else set()

    def count(self, url: str) -> int:
        """How often ``url`` was asked for."""
        return self.asked.count(url)

    async def get_json(self, url: str) -> Any:
        await self._reach(url)
        if url in self.answers:
            return self.answers[url]
        for issuer in self.issuers:
            if url.startswith(issuer.issuer) and (document := issuer.answer(urlsplit(url).path)) is not None:
                return json.loads(json.dumps(document))
        raise FetchError("answered 404", answered=404)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Received:
        posted = Posted(url, content, headers)
        self.posted.append(posted)
        await self._reach(url)
        return self.endpoints[url](posted) if url in self.endpoints else json_answer({}, 404)

    async def _reach(self, url: str) -> None:
        self.asked.append(url)
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if self.failing & {"*", url}:
            raise FetchError("answered 500", answered=500)

    async def aclose(self) -> None:
        self.closed = True


@contextmanager
def serve(issuer: ScriptedIssuer) -> Iterator[ScriptedIssuer]:
    """Serves ``issuer`` on a free loopback port, in a thread; its URL becomes that of the server. Tokens are made after that."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = issuer.answer(self.path)
            body = json.dumps(document).encode()
            self.send_response(200 if document is not None else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            posted = Posted(self.path, content, {name.lower(): value for name, value in self.headers.items()})
            issuer.posted.append(posted)
            known = {urlsplit(issuer.issuer).path + path: endpoint for path, endpoint in issuer.endpoints.items()}
            answer = known[self.path](posted) if self.path in known else json_answer({}, 404)
            self.send_response(answer.status)
            self.send_header("content-type", answer.media)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.issuer = f"http://127.0.0.1:{server.server_port}/realms/smart"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
