"""The gateway's own token and exchanged ones: what is asked, what is believed of the answer, how long it serves, and what failing means."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from smart_gateway.errors import DependencyUnavailable, TokenError
from smart_gateway.principal import Actor, Principal
from smart_gateway.tokens.client_authentication import ClientAuthentication, ClientMethod
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.own_token import OwnToken
from smart_gateway.tokens.refreshing import Freshness
from smart_gateway.tokens.token_endpoint import TokenEndpoint
from smart_gateway.tokens.token_exchange import ExchangedTokens, ExchangeTerms
from smart_gateway.tokens.transport import FetchError, Received
from tests.support.issuer import ISSUER, NOW, MemoryTransport, Posted, ScriptedIssuer, json_answer

URL = f"{ISSUER}/token"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
WHO = Principal(ISSUER, subject="s", expires_at=NOW + 300)
GATEWAY = ClientAuthentication(ClientMethod.BASIC, "gateway", "secret")


class Tokens:
    """A token endpoint that counts what it gives; ``change`` is set over its answers, ``status`` other than 200 refuses."""

    def __init__(self, **change: Any) -> None:
        self.transport = MemoryTransport(ScriptedIssuer())
        self.transport.endpoints[URL] = self.answer
        self.change = change
        self.status = 200
        self.given = 0

    def answer(self, posted: Posted) -> Received:
        if self.status != 200:
            return json_answer({"error": "invalid_request", **self.change}, self.status)
        self.given += 1
        usual = {"access_token": f"given-{self.given}", "token_type": "Bearer", "expires_in": 100, "issued_token_type": ACCESS_TOKEN}
        made = {**usual, **self.change}
        return json_answer({name: value for name, value in made.items() if value is not ...})

    def endpoint(self, **choices: Any) -> TokenEndpoint:
        return TokenEndpoint(self.transport, GATEWAY, **({"url": URL} | choices))

    def own(self) -> OwnToken:
        return OwnToken(self.endpoint(), {"scope": "system/*.rs"})

    def exchanged(self, **terms: Any) -> ExchangedTokens:
        return ExchangedTokens(self.endpoint(), ExchangeTerms(**({"issuers": frozenset({ISSUER})} | terms)))


async def test_it_asks_as_rfc_6749_says() -> None:
    tokens = Tokens()
    assert await tokens.own().get(NOW) == "given-1"
    (posted,) = tokens.transport.posted
    assert (posted.url, posted.form) == (URL, {"grant_type": "client_credentials", "scope": "system/*.rs"})
    assert posted.headers["authorization"].startswith("Basic ")


async def test_the_endpoint_is_found_by_discovery() -> None:
    tokens = Tokens()
    discovery = Discovery(IssuerConfig(ISSUER, ("-",)), tokens.transport, Freshness())
    assert await OwnToken(tokens.endpoint(url=None, discovery=discovery), {}).get(NOW) == "given-1"


@pytest.mark.parametrize("found", [None, 5, "http://idp.example.org/token", "https://user@idp.example.org/token", "file:///etc/passwd"])
async def test_an_endpoint_that_may_not_be_asked_is_not(found: object) -> None:
    tokens = Tokens()
    tokens.transport.answers[f"{ISSUER}/.well-known/openid-configuration"] = {"issuer": ISSUER, "token_endpoint": found}
    discovery = Discovery(IssuerConfig(ISSUER, ("-",)), tokens.transport, Freshness())
    with pytest.raises(FetchError):
        await tokens.endpoint(url=None, discovery=discovery).ask({}, NOW)
    assert tokens.transport.posted == []


@pytest.mark.parametrize(
    "change",
    [
        {"access_token": ...},
        {"access_token": ""},
        {"access_token": "two words"},
        {"access_token": "a\r\nX-Evil: 1"},
        {"access_token": ["a"]},
        {"token_type": ...},
        {"token_type": "DPoP"},
        {"token_type": "N_A"},
    ],
    ids=str,
)
async def test_an_answer_without_a_bearer_token_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(DependencyUnavailable):
        await Tokens(**change).own().get(NOW)


@pytest.mark.parametrize(
    ("said", "lifetime"),
    [(100, 100), ("100", 100), (0, 0), (..., 60), (-1, 60), (True, 60), ("soon", 60), (None, 60), ([], 60), (10**12, 86_400)],
)
async def test_how_long_it_counts(said: object, lifetime: float) -> None:
    assert (await Tokens(expires_in=said).endpoint().ask({}, NOW)).lifetime == lifetime


async def test_one_token_serves_many_and_is_renewed_before_it_expires() -> None:
    tokens = Tokens()
    own = tokens.own()
    assert await asyncio.gather(*(own.get(NOW) for _ in range(5))) == ["given-1"] * 5
    assert await own.get(NOW + 74) == "given-1"
    assert tokens.given == 1
    assert await own.get(NOW + 80) == "given-1"  # nobody waits for the renewal
    await asyncio.sleep(0.01)
    assert await own.get(NOW + 81) == "given-2"
    assert tokens.given == 2


async def test_an_old_token_serves_through_an_outage_but_not_past_its_end() -> None:
    tokens = Tokens()
    own = tokens.own()
    await own.get(NOW)
    tokens.transport.down = True
    assert await own.get(NOW + 94) == "given-1"
    await asyncio.sleep(0.01)
    with pytest.raises(DependencyUnavailable) as refused:
        await own.get(NOW + 96)
    assert refused.value.retry_after is not None
    tokens.transport.down = False
    assert await own.get(NOW + 200) == "given-2"
    with pytest.raises(DependencyUnavailable):
        await _set_back(tokens, own)


async def _set_back(tokens: Tokens, own: OwnToken) -> None:
    """A clock that is set back lengthens no token's life."""
    tokens.transport.down = True
    await own.get(NOW)


async def test_a_server_that_is_down_is_left_alone() -> None:
    tokens = Tokens()
    tokens.transport.down = True
    own = tokens.own()
    for _ in range(3):
        with pytest.raises(DependencyUnavailable):
            await own.get(NOW)
    assert len(tokens.transport.posted) == 1


async def test_it_exchanges_as_rfc_8693_says() -> None:
    tokens = Tokens()
    assert await tokens.exchanged(more={"audience": "fhir"}).get(WHO, "subject-token", NOW) == "given-1"
    assert tokens.transport.posted[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "subject-token",
        "subject_token_type": ACCESS_TOKEN,
        "audience": "fhir",
    }


async def test_a_delegation_shows_who_acts() -> None:
    tokens, own = Tokens(), Tokens(access_token="gateways-own")
    assert await tokens.exchanged(actor=own.own()).get(WHO, "t", NOW) == "given-1"
    form = tokens.transport.posted[0].form
    assert (form["actor_token"], form["actor_token_type"]) == ("gateways-own", ACCESS_TOKEN)
    own.transport.down = True
    with pytest.raises(DependencyUnavailable):
        await tokens.exchanged(actor=Tokens(access_token=...).own()).get(WHO, "t", NOW)


async def test_each_token_is_exchanged_once_and_for_itself() -> None:
    tokens = Tokens()
    exchanged = tokens.exchanged()
    assert await asyncio.gather(*(exchanged.get(WHO, "one", NOW) for _ in range(5))) == ["given-1"] * 5
    assert await exchanged.get(WHO, "two", NOW) == "given-2"
    assert await exchanged.get(WHO, "one", NOW + 90) == "given-1"
    assert await exchanged.get(WHO, "one", NOW + 96) == "given-3"


async def test_an_exchanged_token_ends_with_what_it_was_exchanged_for() -> None:
    tokens = Tokens(expires_in=3600)
    exchanged = tokens.exchanged()
    await exchanged.get(Principal(ISSUER, expires_at=NOW + 10), "one", NOW)
    assert await exchanged.get(Principal(ISSUER, expires_at=NOW + 10), "one", NOW + 9) == "given-1"
    assert await exchanged.get(Principal(ISSUER, expires_at=NOW + 10), "one", NOW + 10) == "given-2"
    assert await exchanged.get(WHO, "one", NOW - 100) == "given-3"


async def test_no_other_type_of_token_is_taken() -> None:
    for type in (..., "urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:refresh_token", 5):
        with pytest.raises(DependencyUnavailable):
            await Tokens(issued_token_type=type).exchanged().get(WHO, "t", NOW)


@pytest.mark.parametrize("error", ["invalid_request", "invalid_grant", "access_denied"])
async def test_a_token_that_is_refused_is_401_and_not_asked_for_again_at_once(error: str) -> None:
    tokens = Tokens(error=error)
    tokens.status = 400
    exchanged = tokens.exchanged()
    for _ in range(3):
        with pytest.raises(TokenError) as refused:
            await exchanged.get(WHO, "t", NOW)
        assert refused.value.reason == "exchange-refused"
    assert len(tokens.transport.posted) == 1
    tokens.status = 200
    assert await exchanged.get(WHO, "t", NOW + 6) == "given-1"


@pytest.mark.parametrize("answer", [(401, "invalid_client"), (400, "invalid_target"), (400, "unauthorized_client"), (500, "x"), (302, "x")])
async def test_a_refusal_of_the_gateway_is_503(answer: tuple[int, str]) -> None:
    tokens = Tokens(error=answer[1])
    tokens.status = answer[0]
    exchanged = tokens.exchanged()
    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            await exchanged.get(WHO, "t", NOW)
    assert len(tokens.transport.posted) == 1


async def test_a_token_is_shown_to_no_server_but_those_of_its_issuers() -> None:
    tokens = Tokens()
    with pytest.raises(TokenError):
        await tokens.exchanged().get(Principal("https://other.example", expires_at=NOW + 9), "t", NOW)
    assert tokens.transport.posted == []


@pytest.mark.parametrize(
    ("may_act", "passes"),
    [
        (Actor("gateway"), True),
        (Actor(None, "gateway"), True),
        (Actor("gateway", "gateway"), True),
        (Actor("other"), False),
        (Actor("gateway", "other"), False),
        (Actor("gateway", issuer="https://other.example"), False),
        (Actor(), False),
    ],
    ids=str,
)
async def test_a_token_that_names_who_may_act_is_exchanged_by_nobody_else(may_act: Actor, *, passes: bool) -> None:
    tokens = Tokens()
    who = Principal(ISSUER, expires_at=NOW + 300, may_act=may_act)
    if passes:
        assert await tokens.exchanged().get(who, "t", NOW) == "given-1"
        return
    with pytest.raises(TokenError):
        await tokens.exchanged().get(who, "t", NOW)
    assert tokens.transport.posted == []


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = Tokens(error="invalid_client", error_description="secret-in-description")
    tokens.status = 401
    for failing in (tokens.own().get(NOW), tokens.exchanged().get(WHO, "subject-token", NOW)):
        with pytest.raises(DependencyUnavailable):
            await failing
    broken = Tokens()
    broken.transport.endpoints[URL] = _broken
    with pytest.raises(DependencyUnavailable):
        await broken.own().get(NOW)
    assert "invalid_client" in caplog.text
    for secret in ("secret", "subject-token"):
        assert secret not in caplog.text


def _broken(_posted: Posted) -> Received:
    raise RuntimeError("secret")


async def test_what_is_under_way_ends_with_the_gateway() -> None:
    tokens = Tokens()
    tokens.transport.gate = asyncio.Event()
    own, exchanged = tokens.own(), tokens.exchanged()
    waiting = [asyncio.create_task(own.get(NOW)), asyncio.create_task(exchanged.get(WHO, "t", NOW))]
    await asyncio.sleep(0.01)
    await own.aclose()
    await exchanged.aclose()
    assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == [DependencyUnavailable] * 2
    assert tokens.transport.closed
