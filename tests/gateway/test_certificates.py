"""Whose word counts for a client's certificate: that of trusted terminators, of nobody else, and never a proxy's own."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import pytest

from smart_gateway.gateway.middleware import Gateway
from smart_gateway.gateway.snapshot import CertificateHeader
from smart_gateway.tokens.terminators import Terminator
from tests.support.asgi import Conversation, FakeVerifier, Front, ScriptedUpstream, observation
from tests.support.certificates import authority
from tests.support.deciding import principal
from tests.support.proofs import hashed

CA = authority()
ROBOT, PROXY = CA.issue("robot"), CA.issue("proxy")
NGINX = CertificateHeader(b"ssl-client-cert", Terminator.NGINX)
ROBOTS = quote(ROBOT.pem.decode(), safe="")
INSIDE, OUTSIDE = ("10.1.0.4", 1234), ("192.0.2.7", 1234)


def front(header: CertificateHeader | None = NGINX, **choices: Any) -> Front:
    token = replace(principal("patient/Observation.r"), confirmation={"x5t#S256": hashed(ROBOT.der)})
    known = {"bound": token, "free": principal("patient/Observation.r")}
    choices = {"trusted_proxies": (ip_network("10.1.0.0/16"),), "certificate_header": header, **choices}
    return Front(ScriptedUpstream(observation()), verifier=FakeVerifier(known), **choices)


async def ask(
    gateway: Front, *headers: tuple[str, str], client: Any = INSIDE, token: str | None = "bound", shown: bytes | None = None
) -> tuple[int, str | None]:
    """Status and code of a read with these headers, from that address, over a connection on which ``shown`` was shown."""
    chain = [] if shown is None else [ssl.DER_cert_to_PEM_cert(shown)]
    talk = Conversation(gateway.gateway, "GET", "/fhir/Observation/o1", client=client, extensions={"tls": {"client_cert_chain": chain}})
    given = [*headers, *([("authorization", f"Bearer {token}")] if token is not None else [])]
    talk.scope["headers"] = [(name.encode(), value.encode("latin-1")) for name, value in given]
    await talk.run()
    if talk.status == 200:
        return 200, None
    return talk.status, json.loads(talk.body)["issue"][0]["details"]["coding"][0]["code"]


async def test_a_trusted_terminator_is_believed() -> None:
    assert await ask(front(), ("ssl-client-cert", ROBOTS)) == (200, None)
    assert await ask(front(), ("ssl-client-cert", quote(PROXY.pem.decode(), safe=""))) == (401, "certificate-mismatch")


@pytest.mark.parametrize("none", [(), (("ssl-client-cert", ""),)])
async def test_a_client_without_a_certificate_behind_a_terminator(none: tuple[tuple[str, str], ...]) -> None:
    assert await ask(front(), *none) == (401, "certificate-missing")
    assert await ask(front(), *none, token="free") == (200, None)


@pytest.mark.parametrize("client", [OUTSIDE, ("10.2.0.4", 1), ("::ffff:10.1.0.4", 1), ("::1", 1), None, ("", 1), ("proxy.example", 1)])
@pytest.mark.parametrize("token", ["bound", "free"])
@pytest.mark.parametrize("value", [ROBOTS, "", "x"])
async def test_the_header_from_anybody_else_is_refused(client: Any, token: str, value: str) -> None:
    assert await ask(front(), ("ssl-client-cert", value), client=client, token=token) == (400, "foreign-header")


async def test_the_header_from_anybody_else_is_refused_beside_a_real_certificate() -> None:
    assert await ask(front(), ("ssl-client-cert", ROBOTS), client=OUTSIDE, shown=ROBOT.der) == (400, "foreign-header")
    assert await ask(front(), client=OUTSIDE, shown=ROBOT.der) == (200, None)


async def test_forwarded_addresses_make_nobody_a_proxy() -> None:
    for told in ("10.1.0.4", "10.1.0.4, 10.1.0.5", "192.0.2.1, 10.1.0.4"):
        assert await ask(front(), ("x-forwarded-for", told), ("ssl-client-cert", ROBOTS), client=OUTSIDE) == (400, "foreign-header")


async def test_nobody_is_a_proxy_unless_the_settings_say_so() -> None:
    assert await ask(front(trusted_proxies=()), ("ssl-client-cert", ROBOTS)) == (400, "foreign-header")


async def test_a_header_that_the_settings_do_not_name_says_nothing() -> None:
    for name in ("ssl-client-cert", "x-forwarded-client-cert", "x-ssl-client-cert", "ssl_client_cert", "client-cert"):
        assert await ask(front(None), (name, ROBOTS)) == (401, "certificate-missing")
    for name in ("ssl_client_cert", "ssl.client.cert", "x-ssl-client-cert"):
        assert await ask(front(), (name, ROBOTS)) == (401, "certificate-missing")


async def test_the_header_twice() -> None:
    assert await ask(front(), ("ssl-client-cert", ROBOTS), ("ssl-client-cert", ROBOTS)) == (400, "duplicate-header")
    assert await ask(front(), ("ssl-client-cert", ""), ("ssl-client-cert", ROBOTS)) == (400, "duplicate-header")


@pytest.mark.parametrize("value", ["x", ROBOTS[:-90], f"{ROBOTS},{ROBOTS}", "%", "(null)"])
async def test_a_header_that_the_terminator_does_not_write(value: str) -> None:
    assert await ask(front(), ("ssl-client-cert", value)) == (400, "malformed-header")
    assert await ask(front(), ("ssl-client-cert", value), token="free") == (400, "malformed-header")


async def test_another_terminators_format() -> None:
    traefik = front(CertificateHeader(b"ssl-client-cert", Terminator.TRAEFIK))
    assert await ask(traefik, ("ssl-client-cert", ROBOTS)) == (
        400,
        "malformed-header",
    )
    envoy = front(CertificateHeader(b"x-forwarded-client-cert", Terminator.ENVOY))
    assert await ask(envoy, ("x-forwarded-client-cert", f'By=x;Cert="{ROBOTS}"')) == (200, None)
    assert await ask(envoy, ("x-forwarded-client-cert", f'Cert="{ROBOTS}",By=x')) == (400, "malformed-header")


async def test_a_proxys_own_certificate_is_not_its_clients() -> None:
    """The connection of a trusted proxy carries requests of everybody."""
    robot_as_proxy = front()
    assert await ask(robot_as_proxy, shown=ROBOT.der) == (401, "certificate-missing")
    assert await ask(front(None), shown=ROBOT.der) == (401, "certificate-missing")
    assert await ask(front(), ("ssl-client-cert", ROBOTS), shown=PROXY.der) == (200, None)
    assert await ask(front(trusted_proxies=()), shown=ROBOT.der) == (200, None)


async def test_the_header_never_reaches_the_upstream() -> None:
    upstream = ScriptedUpstream(observation())
    gateway = front()
    gateway.gateway = Gateway(upstream, lambda: gateway.snapshot)
    assert await ask(gateway, ("ssl-client-cert", ROBOTS)) == (200, None)
    assert upstream.asked
    assert all(asked.header("ssl-client-cert") is None and "tls" not in asked.scope["extensions"] for asked in upstream.asked)
