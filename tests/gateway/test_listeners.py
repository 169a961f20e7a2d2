"""Certificates and tokens that are missing or unknown, at listeners that reject, limit or ignore them (each with each)."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import pytest

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.callers.listeners import CLOSED, Choice, Choices, Listener, Listeners, listening
from smart_gateway.gateway.credentials import Credentials, ForwardedToken
from smart_gateway.policy.model import ClientRule, PublicInteraction
from smart_gateway.tokens.client_certificates import CertificateName, ClientCertificates
from tests.support.asgi import Conversation, FakeVerifier, Front, ScriptedUpstream, observation
from tests.support.certificates import Certified, authority
from tests.support.deciding import policy, principal, scopes

REJECT, LIMIT, IGNORE = Choice.REJECT, Choice.LIMIT, Choice.IGNORE
VALUE_SET = {"resourceType": "ValueSet", "id": "v", "meta": {"versionId": "1"}}
CLIENTS = {
    "lab": ClientRule(registered_scopes=scopes("system/Observation.rs", "system/Condition.c"), system_role=True),
    "pinned": ClientRule(pin=scopes("system/Observation.r"), system_role=True),
    "app": ClientRule(),
}
UNDER = policy(clients=CLIENTS, public=(PublicInteraction(Interaction.READ, "ValueSet"),))
TOKENS = {
    "t": principal("patient/*.rs", client_id="app"),
    "of-lab": principal("system/*.cruds", client_id="lab"),
    "nameless": principal("patient/*.rs"),
    "down": DependencyUnavailable("down"),
}


@cache
def certificate(name: str) -> Certified:
    return authority().issue(name)


def known() -> ClientCertificates:
    return ClientCertificates(
        {name: (CertificateName(hashlib.sha256(certificate(name).der).hexdigest()),) for name in ("lab", "pinned", "app")}
    )


async def ask(
    listener: Listener,
    target: str = "/fhir/Observation/o1",
    *,
    shown: str | None = None,
    token: str | None = None,
    method: str = "GET",
    at: str | None = None,
    **choices: Any,
) -> tuple[int, ScriptedUpstream]:
    upstream = ScriptedUpstream(observation(), observation("o2", "456"), VALUE_SET, {"resourceType": "Condition", "id": "c1"})
    front = Front(
        upstream,
        policy=UNDER,
        verifier=FakeVerifier(TOKENS),
        listeners=Listeners(listener),
        client_certificates=known(),
        **choices,
    )
    chain = [] if shown is None else [ssl.DER_cert_to_PEM_cert(certificate(shown).der)]
    headers: Mapping[str, str] = {} if token is None else {"Authorization": f"Bearer {token}"}
    app = listening(front.gateway, listener.name if at is None else at)
    conversation = Conversation(app, method, target, headers, extensions={"tls": {"client_cert_chain": chain}})
    await conversation.run()
    return conversation.status, upstream


def listener(certificate: Choices | None = None, token: Choices | None = None, limit: tuple[str, ...] | None = None) -> Listener:
    ignoring = Choices(IGNORE, IGNORE)
    return Listener("one", certificate or ignoring, token or ignoring, None if limit is None else scopes(*limit))


@pytest.mark.parametrize(("choice", "shown"), list(product(Choice, [None, "stranger"])))
@pytest.mark.parametrize("limit", [None, ("patient/Condition.rs", "patient/Observation.s")])
async def test_a_certificate_that_is_missing_or_unknown(choice: Choice, shown: str | None, limit: tuple[str, ...] | None) -> None:
    """The other choice would let everything in: each is looked at for its own case only."""
    other = IGNORE
    choices = Choices(choice, other) if shown is None else Choices(other, choice)
    status, _ = await ask(listener(choices, limit=limit), shown=shown, token="t")
    assert status == {REJECT: 401, LIMIT: 401 if limit is None else 403, IGNORE: 200}[choice]
    opened, _ = await ask(listener(choices, limit=limit), "/fhir/ValueSet/v", shown=shown)
    assert opened == {REJECT: 401, LIMIT: 200, IGNORE: 200}[choice]


@pytest.mark.parametrize(("choice", "token"), list(product(Choice, [None, "forged"])))
async def test_a_token_that_is_missing_or_unknown(choice: Choice, token: str | None) -> None:
    choices = Choices(choice, IGNORE) if token is None else Choices(IGNORE, choice)
    for limit, limited in ((None, 401), (("system/Observation.rs",), 200), (("system/Condition.rs",), 401)):
        status, _ = await ask(listener(token=choices, limit=limit), token=token)
        assert status == {REJECT: 401, LIMIT: limited, IGNORE: 401}[choice], limit
    opened, _ = await ask(listener(token=choices), "/fhir/ValueSet/v", token=token)
    assert opened == {REJECT: 401, LIMIT: 200, IGNORE: 200}[choice]


@pytest.mark.parametrize("token", [None, "forged"])
async def test_a_certificate_alone_names_its_client(token: str | None) -> None:
    at = listener(Choices(REJECT, REJECT))
    assert (await ask(at, shown="lab", token=token))[0] == 200
    assert (await ask(at, "/fhir/Observation/o2", shown="lab", token=token))[0] == 200
    assert (await ask(at, "/fhir/Condition/c1", shown="lab", token=token))[0] == 403
    assert (await ask(at, shown="pinned", token=token))[0] == 200
    assert (await ask(at, "/fhir/Observation", shown="pinned", token=token))[0] == 403
    assert (await ask(at, shown="app", token=token))[0] == 403
    for choice, expected in ((REJECT, 401), (LIMIT, 401)):
        assert (await ask(listener(token=Choices(choice, choice)), shown="lab", token=token))[0] == expected


async def test_certificate_and_token_must_be_of_one_client() -> None:
    at = listener(Choices(REJECT, REJECT))
    assert (await ask(at, shown="app", token="t"))[0] == 200
    assert (await ask(at, shown="lab", token="of-lab"))[0] == 200
    for shown, token in (("lab", "t"), ("app", "of-lab"), ("app", "nameless")):
        assert (await ask(at, shown=shown, token=token))[0] == 401
        assert (await ask(Listener("one"), shown=shown, token=token))[0] == 401


async def test_what_is_ignored_is_not_passed_on() -> None:
    forwarding = {"credentials": Credentials(ForwardedToken())}
    _, upstream = await ask(listener(), shown="lab", token="forged", **forwarding)
    assert [asked.header("authorization") for asked in upstream.asked] == [None]
    _, upstream = await ask(listener(), "/fhir/ValueSet/v", token="forged", **forwarding)
    assert [asked.header("authorization") for asked in upstream.asked] == [None]
    _, upstream = await ask(listener(), shown="app", token="t", **forwarding)
    assert [asked.header("authorization") for asked in upstream.asked] == ["Bearer t"]


async def test_an_issuer_that_is_down_is_ignored_by_nobody() -> None:
    for choice in Choice:
        assert (await ask(listener(token=Choices(choice, choice)), shown="lab", token="down"))[0] == 503


async def test_a_limit_never_widens_and_counts_as_bounded() -> None:
    wide = listener(Choices(LIMIT, LIMIT), limit=("system/*.cruds",))
    assert (await ask(wide, token="t"))[0] == 200
    assert (await ask(wide, "/fhir/Observation/o2", token="t"))[0] == 404
    open_to_all = listener(token=Choices(LIMIT, LIMIT), limit=("system/Observation.rs",))
    assert (await ask(open_to_all, "/fhir/Observation/o2"))[0] == 200
    assert (await ask(open_to_all, "/fhir/Observation/o1", method="DELETE"))[0] == 401
    front = Front(ScriptedUpstream(), policy=UNDER, verifier=FakeVerifier(TOKENS), listeners=Listeners(open_to_all))
    nobody = front.snapshot.listeners.nobody(open_to_all)
    from smart_gateway.policy.access import Access
    from smart_gateway.scopes.permissions import Permission

    access = Access(nobody, UNDER)
    assert not access.boundary("Observation", Permission.READ).is_everything
    assert not access.unlimited(Permission.READ)


async def test_discovery_is_for_everybody() -> None:
    status, _ = await ask(listener(Choices(REJECT, REJECT), Choices(REJECT, REJECT)), "/fhir/.well-known/smart-configuration")
    assert status == 200


async def test_a_listener_that_is_no_more_lets_nobody_in() -> None:
    assert CLOSED.limit == ()
    for target in ("/fhir/Observation/o1", "/fhir/ValueSet/v"):
        assert (await ask(listener(), target, shown="lab", token="t", at="gone"))[0] == 401


async def test_listeners_give_the_same_principal_for_the_same_one() -> None:
    one = listener(limit=("patient/*.rs",))
    held = Listeners(one)
    assert held.limited(TOKENS["t"], one) is held.limited(TOKENS["t"], one)  # type: ignore[arg-type]
    assert held.certified("lab", UNDER) is held.certified("lab", UNDER)
    other = policy(clients={"lab": ClientRule(registered_scopes=scopes("system/Patient.r"))})
    assert [scope.text for scope in held.certified("lab", other).scopes.resources] == ["system/Patient.r"]
