"""Where keys come from: discovery, jwks_uri, a file; rotation, storms and outages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from smart_gateway.errors import DependencyUnavailable, SmartGatewayError, TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.tokens.discovery import discovery_urls
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.refreshing import Freshness
from smart_gateway.tokens.transport import HttpTransport
from smart_gateway.tokens.verifier import Verifier
from tests.support.issuer import AUDIENCE, ISSUER, NOW, MemoryTransport, ScriptedIssuer, make_key, serve

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")
FRESHNESS = Freshness(ttl=300, stale=3600, pause=10, backoff=1, backoff_most=60)
OLD, NEW = make_key("ES256", "old"), make_key("ES256", "new")


class Stand:
    """A verifier before one scripted issuer; the token cache is off unless asked for, so that every look needs a key."""

    def __init__(self, *, cache_ttl: float = 0.0, clock: float = NOW, **config: Any) -> None:
        self.issuer = ScriptedIssuer(keys=[OLD])
        self.transport = MemoryTransport(self.issuer)
        settings = IssuerConfig(ISSUER, (AUDIENCE,), **config)
        self.verifier = Verifier([settings], BASES, self.transport, freshness=FRESHNESS, cache_ttl=cache_ttl, clock=lambda: clock)

    async def outcome(self, now: float, **token: Any) -> str:
        """``ok``, or the reason of the refusal."""
        try:
            await self.verifier.verify(self.issuer.token(now=now, **token), now)
        except TokenError as refused:
            return refused.reason
        except DependencyUnavailable as refused:
            return refused.code
        return "ok"

    @property
    def key_fetches(self) -> int:
        return self.transport.count(self.issuer.jwks_uri)


@pytest.mark.parametrize(
    ("issuer", "openid", "oauth"),
    [
        (
            ISSUER,
            ISSUER + "/.well-known/openid-configuration",
            "https://idp.example.org/.well-known/oauth-authorization-server/realms/smart",
        ),
        (
            "https://a.example",
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ),
        (
            "https://a.example/",
            "https://a.example/.well-known/openid-configuration",
            "https://a.example/.well-known/oauth-authorization-server",
        ),
    ],
)
def test_discovery_urls(issuer: str, openid: str, oauth: str) -> None:
    assert discovery_urls(issuer) == (openid, oauth)


async def test_keys_by_discovery() -> None:
    stand = Stand()
    assert await stand.outcome(NOW) == "ok"
    assert stand.transport.asked == [stand.issuer.discovery_uri, stand.issuer.jwks_uri]


async def test_rfc_8414_stands_in_where_openid_discovery_is_absent() -> None:
    stand = Stand()
    openid, oauth = discovery_urls(ISSUER)
    stand.transport.answers[oauth] = stand.issuer.discovery()
    stand.transport.issuers = ()
    stand.transport.answers[stand.issuer.jwks_uri] = stand.issuer.jwks()
    assert await stand.outcome(NOW) == "ok"
    assert stand.transport.asked == [openid, oauth, stand.issuer.jwks_uri]


async def test_rfc_8414_is_not_asked_when_openid_discovery_fails_otherwise() -> None:
    stand = Stand()
    stand.transport.failing = {stand.issuer.discovery_uri}
    stand.transport.answers[discovery_urls(ISSUER)[1]] = stand.issuer.discovery()
    assert await stand.outcome(NOW) == "dependency-unavailable"
    assert stand.transport.asked == [stand.issuer.discovery_uri]


@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER.upper(), "https://evil.example", None, 5, [ISSUER], ...])
async def test_a_discovery_document_of_another_issuer_is_refused(issuer: Any) -> None:
    stand = Stand()
    document = {**stand.issuer.discovery(), "issuer": issuer}
    stand.transport.answers[stand.issuer.discovery_uri] = {name: value for name, value in document.items() if value is not ...}
    assert await stand.outcome(NOW) == "dependency-unavailable"
    assert stand.key_fetches == 0


@pytest.mark.parametrize("document", [None, [], "x", 5])
async def test_a_discovery_document_that_is_no_object(document: Any) -> None:
    stand = Stand()
    stand.transport.answers[stand.issuer.discovery_uri] = document
    assert await stand.outcome(NOW) == "dependency-unavailable"


@pytest.mark.parametrize(
    "uri", [None, 5, "", "/keys", "http://idp.example.org/keys", "file:///etc/keys.json", "https://u:p@idp.example.org/keys"]
)
async def test_a_jwks_uri_that_may_not_be_fetched(uri: Any) -> None:
    stand = Stand()
    stand.transport.answers[stand.issuer.discovery_uri] = {**stand.issuer.discovery(), "jwks_uri": uri}
    assert await stand.outcome(NOW) == "dependency-unavailable"
    assert stand.transport.asked == [stand.issuer.discovery_uri]


async def test_plain_http_needs_a_setting() -> None:
    for allowed, expected in ((False, "dependency-unavailable"), (True, "ok")):
        issuer = ScriptedIssuer(issuer="http://idp.internal", keys=[OLD])
        transport = MemoryTransport(issuer)
        verifier = Verifier([IssuerConfig(issuer.issuer, (AUDIENCE,), allow_http=allowed)], BASES, transport)
        outcome = "ok"
        try:
            await verifier.verify(issuer.token(), NOW)
        except SmartGatewayError as refused:
            outcome = refused.code
        assert (outcome, bool(transport.asked)) == (expected, allowed)


async def test_a_configured_jwks_uri_needs_no_discovery() -> None:
    stand = Stand(jwks_uri="https://keys.example.org/set")
    stand.transport.answers["https://keys.example.org/set"] = stand.issuer.jwks()
    assert await stand.outcome(NOW) == "ok"
    assert stand.transport.asked == ["https://keys.example.org/set"]


async def test_a_configured_jwks_uri_over_plain_http_is_not_fetched() -> None:
    stand = Stand(jwks_uri="http://keys.example.org/set")
    assert await stand.outcome(NOW) == "dependency-unavailable"
    assert stand.transport.asked == []


async def test_a_key_file_is_read_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [OLD.jwk()]}))
    stand = Stand(jwks_file=file)
    assert await stand.outcome(NOW) == "ok"
    file.write_text(json.dumps({"keys": [NEW.jwk()]}))
    assert await stand.outcome(NOW + 1, key=NEW) == "ok"
    assert await stand.outcome(NOW + 1, key=OLD) == "unknown-key"
    assert stand.transport.asked == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"keys": 1}', b" " * (1 << 20) + b"{}", None])
async def test_a_broken_key_file_is_503(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
    assert await Stand(jwks_file=file).outcome(NOW) == "dependency-unavailable"


async def test_rotation_without_restart() -> None:
    stand = Stand()
    assert await stand.outcome(NOW) == "ok"
    stand.issuer.keys = [NEW, OLD]
    assert [await stand.outcome(NOW + 1, key=key) for key in (NEW, OLD)] == ["ok", "ok"]
    stand.issuer.keys = [NEW]
    assert await stand.outcome(NOW + 302, key=OLD) == "unknown-key"
    assert await stand.outcome(NOW + 302, key=NEW) == "ok"


async def test_a_removed_key_serves_cached_tokens_no_longer_than_the_cache() -> None:
    stand = Stand(cache_ttl=60.0)
    token = stand.issuer.token(exp=NOW + 3600)
    await stand.outcome(NOW)
    await stand.verifier.verify(token, NOW + 290)
    stand.issuer.keys = [NEW]
    await stand.verifier.verify(token, NOW + 349)
    with pytest.raises(TokenError) as refused:
        await stand.verifier.verify(token, NOW + 350)
    assert refused.value.reason == "unknown-key"


async def test_a_storm_of_unknown_kids_gives_one_refetch() -> None:
    stand = Stand()
    await stand.outcome(NOW)
    storm = [stand.outcome(NOW + 1, header={"kid": f"k{number}"}) for number in range(200)]
    assert set(await asyncio.gather(*storm)) == {"unknown-key"}
    assert stand.key_fetches == 2
    for number in range(100):
        assert await stand.outcome(NOW + 1 + number / 12, header={"kid": f"again{number}"}) == "unknown-key"
    assert stand.key_fetches == 2
    assert await stand.outcome(NOW + 11, header={"kid": "later"}) == "unknown-key"
    assert stand.key_fetches == 3
    assert stand.transport.count(stand.issuer.discovery_uri) == 1


async def test_a_cold_storm_gives_at_most_two_fetches() -> None:
    stand = Stand()
    await asyncio.gather(*(stand.outcome(NOW, header={"kid": f"k{number}"}) for number in range(200)))
    assert stand.key_fetches == 2


async def test_honest_tokens_pass_during_a_storm() -> None:
    stand = Stand()
    mixed = [stand.outcome(NOW, **({"header": {"kid": f"k{number}"}} if number % 2 else {})) for number in range(100)]
    assert (await asyncio.gather(*mixed))[::2] == ["ok"] * 50


async def test_an_outage_is_served_from_the_stale_set_for_a_bounded_time() -> None:
    stand = Stand()
    await stand.outcome(NOW)
    stand.transport.down = True
    assert [await stand.outcome(NOW + later) for later in (299, 301, 1000, 3899)] == ["ok"] * 4
    assert await stand.outcome(NOW + 3900) == "dependency-unavailable"
    stand.transport.down = False
    assert await stand.outcome(NOW + 4000) == "ok"


async def test_an_unknown_kid_in_an_outage_is_503_not_401() -> None:
    stand = Stand()
    await stand.outcome(NOW)
    stand.transport.down = True
    assert await stand.outcome(NOW + 1, key=NEW) == "dependency-unavailable"
    assert await stand.outcome(NOW + 1, key=OLD) == "ok"
    fetches = stand.key_fetches
    storm = [stand.outcome(NOW + 1.5, header={"kid": f"k{number}"}) for number in range(200)]
    assert set(await asyncio.gather(*storm)) == {"dependency-unavailable"}
    assert stand.key_fetches == fetches


async def test_nothing_cached_and_no_issuer_is_503_without_a_fetch_per_request() -> None:
    stand = Stand()
    stand.transport.down = True
    assert {await stand.outcome(NOW + number / 1000) for number in range(200)} == {"dependency-unavailable"}
    assert len(stand.transport.asked) == 1
    stand.transport.down = False
    assert await stand.outcome(NOW + 1) == "ok"


async def test_keys_that_moved_are_found_by_a_new_discovery() -> None:
    stand = Stand()
    await stand.outcome(NOW)
    moved = "https://keys.example.org/moved"
    stand.transport.failing = {stand.issuer.jwks_uri}
    stand.transport.answers = {stand.issuer.discovery_uri: {**stand.issuer.discovery(), "jwks_uri": moved}, moved: {"keys": [NEW.jwk()]}}
    assert await stand.outcome(NOW + 1, key=NEW) == "dependency-unavailable"
    assert await stand.outcome(NOW + 3, key=NEW) == "ok"


async def test_an_issuer_without_usable_keys_is_503() -> None:
    stand = Stand()
    stand.issuer.published = [OLD.jwk(use="enc")]
    assert await stand.outcome(NOW) == "dependency-unavailable"
    assert not await stand.verifier.ready()


async def test_one_issuers_outage_does_not_touch_another() -> None:
    well, ill = ScriptedIssuer(keys=[OLD]), ScriptedIssuer(issuer="https://ill.example", keys=[NEW])
    transport = MemoryTransport(well)
    verifier = Verifier([IssuerConfig(issuer.issuer, (AUDIENCE,)) for issuer in (well, ill)], BASES, transport, clock=lambda: NOW)
    with pytest.raises(DependencyUnavailable):
        await verifier.verify(ill.token(), NOW)
    await verifier.verify(well.token(), NOW)
    assert not await verifier.ready()


async def test_a_cancelled_request_does_not_spoil_the_fetch_of_others() -> None:
    stand = Stand()
    stand.transport.gate = asyncio.Event()
    leaving, staying = (asyncio.create_task(stand.outcome(NOW)) for _ in range(2))
    await asyncio.sleep(0)
    assert stand.transport.asked == []  # both wait for the fetch that has been started
    leaving.cancel()
    stand.transport.gate.set()
    assert await staying == "ok"
    assert stand.key_fetches == 1


async def test_ready_and_document() -> None:
    stand = Stand()
    assert await stand.verifier.ready()
    assert dict(await stand.verifier.document(ISSUER)) == stand.issuer.discovery()
    assert len(stand.transport.asked) == 2
    await stand.verifier.aclose()
    assert stand.transport.closed


async def test_not_ready_without_the_issuer() -> None:
    stand = Stand()
    stand.transport.down = True
    assert not await stand.verifier.ready()
    with pytest.raises(DependencyUnavailable):
        await stand.verifier.document(ISSUER)
    await stand.verifier.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, json={}),
        httpx.Response(200, html="<html>"),
        httpx.Response(200, content=b"{", headers={"content-type": "application/json"}),
        httpx.Response(200, content=b'{"keys":[' + b"{}," * 400_000 + b"{}]}", headers={"content-type": "application/json"}),
        httpx.Response(302, headers={"location": "https://idp.example.org/elsewhere"}),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
    ],
    ids=["500", "html", "broken", "huge", "redirect", "timeout", "refused"],
)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
@respx.mock
async def test_issuer_failures_over_http_are_503(path: str, answer: httpx.Response | Exception) -> None:
    issuer = ScriptedIssuer(keys=[OLD])
    respx.get(issuer.discovery_uri).respond(json=issuer.discovery())
    respx.get(issuer.jwks_uri).respond(json=issuer.jwks())
    respx.get(ISSUER + path).mock(side_effect=answer) if isinstance(answer, Exception) else respx.get(ISSUER + path).mock(
        return_value=answer
    )
    respx.get("https://idp.example.org/elsewhere").respond(json=issuer.jwks())
    verifier = Verifier([IssuerConfig(ISSUER, (AUDIENCE,))], BASES, HttpTransport())
    with pytest.raises(DependencyUnavailable):
        await verifier.verify(issuer.token(), NOW)
    await verifier.aclose()


async def test_a_real_issuer_on_loopback() -> None:
    with serve(ScriptedIssuer(keys=[OLD])) as issuer:
        verifier = Verifier([IssuerConfig(issuer.issuer, (AUDIENCE,))], BASES, HttpTransport())
        assert (await verifier.verify(issuer.token(), NOW)).patient == "123"
        issuer.keys = [NEW]
        assert (await verifier.verify(issuer.token(), NOW)).subject == "subject-1"
        await verifier.aclose()
