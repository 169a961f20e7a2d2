"""Attacks on permissions and tickets (UMA 2.0), each by name."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from smart_gateway.gateway.callers.inviting import Invitations
from smart_gateway.gateway.callers.inviting import UmaServer as Known
from smart_gateway.policy.model import ClientRule
from smart_gateway.policy.uma import UmaResource
from smart_gateway.principal import Principal
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.transport import Received
from smart_gateway.tokens.verifier import Verifier
from tests.support.asgi import NOW, Front, Reply, ScriptedUpstream, code_of, observation, searchset
from tests.support.deciding import policy, scopes
from tests.support.issuer import ISSUER, Posted, ScriptedIssuer, compact, json_answer, make_key
from tests.support.uma import AS_URI, BASES, CHART, INTROSPECT, PERMISSION, TOKEN, UmaServer, permission

EVIL = "https://evil.example"


def before(server: UmaServer, resources: tuple[UmaResource, ...] = (CHART,), **choices: Any) -> tuple[Front, ScriptedUpstream]:
    upstream = ScriptedUpstream(observation("o1", "123"), observation("o2", "456"), {"resourceType": "Patient", "id": "123"})
    upstream.replies["GET /Observation"] = Reply(200, searchset(observation("o1", "123"), observation("o2", "456")))
    invitations = Invitations([Known(ISSUER, AS_URI, resources)], server.verifier)
    choices = {"verifier": server.verifier, "invitations": invitations, **choices}
    return Front(upstream, **choices), upstream


async def opened(server: UmaServer, token: str, now: float = NOW) -> list[str]:
    principal = await server.verifier.verify(token, now)
    return [f"{region.resource}#{region.grant}" for region in principal.permitted or ()]


def challenges(response: httpx.Response) -> list[str]:
    return response.headers.get_list("www-authenticate")


async def test_a_token_of_permissions_for_another_resource_server_is_refused() -> None:
    front, upstream = before(server := UmaServer())
    for audience in ("other-server", ["other-server"], "gateway/", "Gateway", "gateway-2", "gatewa", [], None, ISSUER):
        response = await front.get("/Observation/o1", token=server.rpt(permission("chart-123", "read"), aud=audience))
        assert (response.status_code, code_of(response)) == (401, "wrong-audience")
    assert upstream.asked == []


async def test_permissions_in_a_token_of_an_issuer_in_jwt_mode_are_nothing() -> None:
    issuer = ScriptedIssuer()
    server = UmaServer()
    server.transport.issuers = (issuer,)
    verifier = Verifier([IssuerConfig(ISSUER, ("gateway",))], BASES, server.transport)
    every = [permission("chart-123", "read", "write")]
    token = issuer.token(aud="gateway", scope="", authorization={"permissions": every}, permissions=every, permitted=every)
    principal = await verifier.verify(token, NOW)
    assert principal.permitted is None
    front, upstream = before(server, verifier=verifier, invitations=Invitations())
    assert (await front.get("/Observation/o1", token=token)).status_code == 403
    assert upstream.asked == []


async def test_scopes_in_a_token_of_permissions_are_nothing() -> None:
    front, upstream = before(server := UmaServer())
    token = server.rpt(scope="system/*.cruds patient/*.cruds user/*.cruds", patient="123", fhirUser="Practitioner/1")
    for target in ("/Observation/o1", "/Observation", "/Patient/123"):
        assert (await front.get(target, token=token)).status_code in {401, 403}
    assert upstream.asked == []


async def test_authorization_details_beside_permissions_are_nothing() -> None:
    front, upstream = before(server := UmaServer())
    detail = {"type": "smart_on_fhir", "locations": ["https://fhir.example.org/fhir"], "scope": "patient/*.rs", "patient": "123"}
    assert (await front.get("/Observation/o1", token=server.rpt(authorization_details=[detail]))).status_code == 403
    assert upstream.asked == []


async def test_a_resource_is_not_known_by_its_name() -> None:
    """Whoever may register resources of their own can give them any name."""
    server = UmaServer()
    spoofs = [
        {"rsid": "3f1c", "rsname": "chart-123", "scopes": ["read"]},
        {"rsname": "chart-123", "scopes": ["read"]},
        {"resource_id": "3f1c", "name": "chart-123", "resource_scopes": ["read"]},
        {"rsid": "3f1c", "resource_id": "chart-123", "scopes": ["read"]},
        {"rsid": " chart-123", "scopes": ["read"]},
        {"rsid": "chart-123#read", "scopes": ["read"]},
        {"rsid": "chart-123\u200b", "scopes": ["read"]},
        {"rsid": "ｃhart-123", "scopes": ["read"]},
        {"rsid": "CHART-123", "scopes": ["READ"]},
    ]
    assert await opened(server, server.rpt(*spoofs)) == []


async def test_an_id_that_spells_a_scope_or_a_path_opens_nothing() -> None:
    server = UmaServer(resources=(UmaResource("x{id}", (("read", ("system/Patient.r?_id={id}",)),)),))
    for id in ("x1,2", "x1&_id=2", "x*", "x", "x1?", "x../1", "x..", "x1%2C2", "x1\\,2", "x1 system/*.cruds", "x" + "1" * 65):
        assert await opened(server, server.rpt(permission(id, "read"))) == [], id
    assert await opened(server, server.rpt(permission("x1", "read"))) == ["x1#read"]


async def test_scopes_of_smart_are_no_scopes_of_a_resource() -> None:
    server = UmaServer()
    assert await opened(server, server.rpt(permission("chart-123", "patient/*.cruds", "*", "", "READ", "read write", "read,write"))) == []


async def test_a_permission_does_not_outlive_itself_in_the_cache() -> None:
    front, _ = before(server := UmaServer())
    token = server.rpt(permission("chart-123", "read", exp=NOW + 5))
    moment = NOW
    front.reload(clock=lambda: moment)
    assert (await front.get("/Observation/o1", token=token)).status_code == 200
    moment = NOW + 5
    refused = await front.get("/Observation/o1", token=token)
    assert refused.status_code == 403
    assert (await front.get("/Observation?patient=123", token=token)).status_code == 401


async def test_a_permission_does_not_outlive_itself_in_a_kept_answer_either() -> None:
    server = UmaServer(asked=True)
    members = {"active": True, "aud": "gateway", "client_id": "app", "exp": int(NOW) + 300}
    listed = [{"resource_id": "chart-123", "resource_scopes": ["read"], "exp": NOW + 5}]
    server.transport.endpoints[INTROSPECT] = lambda _posted: json_answer({**members, "permissions": listed})
    assert await opened(server, token := server.rpt(), NOW) == ["chart-123#read"]
    assert await opened(server, token, NOW + 4) == ["chart-123#read"]
    assert await opened(server, token, NOW + 5) == []


async def test_permissions_end_with_their_token() -> None:
    front, _ = before(server := UmaServer())
    token = server.rpt(permission("chart-123", "read", exp=NOW + 9999), exp=int(NOW) + 5)
    moment = NOW
    front.reload(clock=lambda: moment)
    assert (await front.get("/Observation/o1", token=token)).status_code == 200
    moment = NOW + 5
    assert (await front.get("/Observation/o1", token=token)).status_code == 401


async def test_permissions_that_nobody_signed_are_nothing() -> None:
    server = UmaServer()
    good = server.rpt(permission("chart-123", "read"))
    head, payload, signature = good.split(".")
    forged = compact({"alg": "RS256", "kid": "key-1"}, {"iss": ISSUER, "aud": "gateway", "exp": NOW + 9}, make_key("RS256", "stranger"))
    front, upstream = before(server)
    for token in (f"{head}.{payload}.", f"{head}.{payload}.{signature[::-1]}", forged):
        assert (await front.get("/Observation/o1", token=token)).status_code == 401
    assert upstream.asked == []


async def test_where_the_issuer_is_asked_permissions_in_the_token_itself_are_nothing() -> None:
    server = UmaServer(asked=True)
    server.transport.endpoints[INTROSPECT] = lambda _posted: json_answer(
        {"active": True, "client_id": "app", "authorization": {"permissions": [permission("chart-123", "read")]}}
    )
    assert await opened(server, server.rpt(permission("chart-123", "read"))) == []


async def test_the_address_of_the_server_comes_from_the_settings_and_never_from_a_token() -> None:
    front, _ = before(server := UmaServer())
    claims: dict[str, Any] = {"as_uri": EVIL, "authorization": {"as_uri": EVIL, "permissions": []}, "permission_endpoint": EVIL}
    for token in (server.rpt(**claims), server.rpt(**claims, exp=1)):
        response = await front.get("/Observation?patient=123", token=token, headers={"Host": "fhir.example.org"})
        assert challenges(response)[0].startswith(f'UMA realm="https://fhir.example.org/fhir", as_uri="{AS_URI}", ticket=')
    assert not [url for url in server.transport.asked if url.startswith(EVIL)]


async def test_a_token_of_nobody_makes_the_server_do_nothing() -> None:
    front, _ = before(server := UmaServer())
    for token in (server.rpt(iss=EVIL), "opaque", "a.b.c", server.rpt(iss=f"{ISSUER}/")):
        assert [challenge.split()[0] for challenge in challenges(await front.get("/Patient/123", token=token))] == ["Bearer"]
    assert server.transport.posted == []


@pytest.mark.parametrize(
    "ticket", ['x", as_uri="https://evil.example', "x\r\nLocation: https://evil.example", "x\\", "x y", "x" * 5000, "\u2028"]
)
async def test_a_ticket_that_would_say_more_in_the_header_never_gets_there(ticket: str) -> None:
    front, _ = before(server := UmaServer())
    server.transport.endpoints[PERMISSION] = lambda _posted: json_answer({"ticket": ticket}, 201)
    response = await front.get("/Patient/123", token=None)
    assert response.status_code == 503
    assert "evil" not in str(response.headers) + response.text


async def test_a_flood_without_a_token_gets_as_many_tickets_as_one_client() -> None:
    front, _ = before(server := UmaServer(tickets_per_minute=5))
    answers = await asyncio.gather(*(front.get(f"/Patient/{number}", token=None) for number in range(60)))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 55
    assert len(server.posted(PERMISSION)) == 5
    assert len(server.posted(TOKEN)) == 1


async def test_a_flood_of_bad_tokens_is_that_of_its_address() -> None:
    front, _ = before(server := UmaServer(tickets_per_minute=3))
    answers = [await front.get("/Patient/1", token=server.rpt(exp=1, client_id=f"app-{number}")) for number in range(10)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 7


async def test_a_client_is_known_by_its_verified_name_and_cannot_take_anothers_tickets() -> None:
    front, _ = before(server := UmaServer(tickets_per_minute=1))
    for number in range(3):
        assert (await front.get("/Patient/1", token=server.rpt(client_id=f"app-{number}", jti=str(number)))).status_code == 401
    assert (await front.get("/Patient/1", token=server.rpt(client_id="app-1", jti="9"))).status_code == 429


async def test_a_forged_address_is_no_other_client() -> None:
    front, _ = before(UmaServer(tickets_per_minute=1))
    headers = [{}, {"X-Forwarded-For": "192.0.2.9"}, {"Forwarded": "for=192.0.2.10"}, {"X-Real-IP": "192.0.2.11"}]
    statuses = [(await front.get("/Patient/1", token=None, headers=more)).status_code for more in headers]
    assert statuses == [401, 429, 429, 429]


async def test_a_request_for_everybody_gets_no_ticket_for_everybody() -> None:
    front, _ = before(server := UmaServer())
    many = ",".join(f"Patient/{number}" for number in range(500))
    for target in (f"/Observation?patient={many}", "/Observation?patient=*", "/Patient", "/Observation", "/Patient?_id="):
        assert "ticket=" not in challenges(await front.get(target, token=None))[0]
    assert server.tickets == []


async def test_a_ticket_is_never_for_a_wider_type_or_a_stronger_scope() -> None:
    resources = (
        UmaResource("all", (("all", ("system/*.cruds",)),)),
        UmaResource(
            "chart-{patient}", (("all", ("patient/*.cruds",)), ("labs", ("patient/Observation.rs",)), ("write", ("patient/*.cud",)))
        ),
    )
    front, _ = before(server := UmaServer(resources=resources), resources)
    await front.get("/Observation?patient=123", token=None)
    assert server.tickets[-1] == [
        {"resource_id": "chart-123", "resource_scopes": ["all", "labs"]}
    ]  # not "write", and not the resource "all"


async def test_a_permission_on_all_types_opens_no_type_that_steers_the_server() -> None:
    server = UmaServer()
    principal = await server.verifier.verify(server.rpt(permission("chart-123", "read", "write")), NOW)
    front, upstream = before(server)
    token = server.rpt(permission("chart-123", "read", "write"))
    assert principal.permitted
    for target in ("/Subscription", "/SearchParameter/1", "/StructureDefinition"):
        assert (await front.get(target, token=token)).status_code in {401, 403, 404}
    assert (await front.request("POST", "/Subscription", token=token, json={"resourceType": "Subscription"})).status_code in {401, 403}
    assert upstream.asked == []


async def test_two_tokens_do_not_add_up_in_the_cache() -> None:
    front, _ = before(server := UmaServer())
    one, other = server.rpt(permission("chart-123", "read"), jti="1"), server.rpt(permission("chart-456", "read"), jti="2")
    for _ in range(2):
        assert (await front.get("/Observation/o1", token=one)).status_code == 200
        assert (await front.get("/Observation/o2", token=one)).status_code == 404
        assert (await front.get("/Observation/o2", token=other)).status_code == 200
        assert (await front.get("/Observation/o1", token=other)).status_code == 404


async def test_a_body_for_another_patient_is_not_written_by_a_permission_for_one() -> None:
    front, upstream = before(server := UmaServer())
    token = server.rpt(permission("chart-123", "read", "write"))
    for body in (observation("x", "456"), observation("x", "123", performer=[{"reference": "Patient/456"}])):
        response = await front.request("POST", "/Observation", token=token, json=body)
        assert response.status_code == 403
    assert not [asked for asked in upstream.asked if asked.method == "POST"]


async def test_a_client_that_is_pinned_or_refused_is_not_let_in_by_permissions() -> None:
    server = UmaServer()
    token = server.rpt(permission("chart-123", "read"))
    for rules in ({"growth-chart": ClientRule(pin=scopes("patient/Condition.r"))}, {"growth-chart": ClientRule(limit=())}, {}):
        front, upstream = before(server, policy=policy(clients=rules))
        assert (await front.get("/Observation/o1", token=token)).status_code == 403
        assert upstream.asked == []


async def test_the_ticket_tells_nothing_of_what_is_stored() -> None:
    front, upstream = before(server := UmaServer())
    there, not_there = [await front.get(f"/Patient/{id}", token=None) for id in ("123", "999")]
    assert (there.status_code, not_there.status_code) == (401, 401)
    assert there.json()["issue"][0]["details"] == not_there.json()["issue"][0]["details"]
    assert upstream.asked == []
    assert len(server.tickets) == 2


async def test_nothing_of_pats_tickets_and_secrets_is_in_logs_and_representations(caplog: pytest.LogCaptureFixture) -> None:
    front, _ = before(server := UmaServer())
    answers: list[Callable[[Posted], Received]] = [lambda _posted: json_answer({"error": "no", "hint": "s3cr3t pat-1"}, 500)]
    with caplog.at_level(logging.DEBUG):
        ticket = await front.get("/Patient/1", token=None)
        server.transport.endpoints[PERMISSION] = answers[0]
        failed = await front.get("/Patient/1", token=None)
    assert (ticket.status_code, failed.status_code) == (401, 503)
    said = caplog.text + repr(server.config) + json.dumps([repr(event) for event in front.log.events]) + failed.text
    for secret in ("s3cr3t", "pat-1", "ticket-1"):
        assert secret not in said


async def test_no_fact_of_a_principal_is_a_permission_by_itself() -> None:
    """An empty list of permissions and none at all are two things: the second is a token of scopes."""
    assert Principal(ISSUER).permitted is None
    server = UmaServer()
    assert (await server.verifier.verify(server.rpt(authorization=...), NOW)).permitted == ()
