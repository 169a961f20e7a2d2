"""Requesting party tokens and permission tickets (UMA 2.0): what counts of a permission, the gateway's own token, tickets."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from smart_gateway.errors import DependencyUnavailable, TokenError, TooManyRequests
from smart_gateway.policy.uma import UmaResource
from smart_gateway.policy.wanting import WantedPermission
from smart_gateway.principal import Principal
from smart_gateway.tokens.rpt import claimed_permissions, introspected_permissions, read_permissions
from smart_gateway.tokens.ticket_allowance import TicketAllowance, client_at
from smart_gateway.tokens.transport import FetchError, Received
from tests.support.issuer import AUDIENCE, ISSUER, NOW, Posted, json_answer
from tests.support.uma import INTROSPECT, PERMISSION, RESOURCES, TOKEN, UmaServer, permission

READ_123 = [WantedPermission("chart-123", ("read",))]


def opened(value: Any, now: float = NOW, leeway: float = 30.0) -> list[str]:
    """Resource and scope of what a list of permissions opens."""
    return [f"{region.resource}#{region.grant}" for region in read_permissions(value, RESOURCES, now, leeway).regions]


def names(principal: Principal) -> list[str]:
    return [f"{region.resource}#{region.grant}" for region in principal.permitted or ()]


@pytest.mark.parametrize(
    "item",
    [
        {"resource_id": "chart-1", "resource_scopes": ["read"]},
        {"rsid": "chart-1", "rsname": "x", "scopes": ["read"]},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "rsid": "chart-1", "scopes": ["read"]},
        {"resource_id": "chart-1", "resource_scopes": ["read", "admin"]},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": NOW + 1, "iat": NOW, "nbf": NOW},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": None},
    ],
)
def test_a_permission_by_the_names_of_the_standard_and_by_keycloaks(item: dict[str, Any]) -> None:
    assert opened([item]) == ["chart-1#read"]


@pytest.mark.parametrize(
    "item",
    [
        None,
        "chart-1",
        [],
        {},
        {"resource_id": "chart-1"},
        {"resource_id": "chart-1", "resource_scopes": []},
        {"resource_id": "chart-1", "resource_scopes": None},
        {"resource_id": "chart-1", "resource_scopes": "read"},
        {"resource_id": "chart-1", "resource_scopes": {"read": True}},
        {"resource_id": "chart-1", "resource_scopes": ["read", 1]},
        {"resource_id": ["chart-1"], "resource_scopes": ["read"]},
        {"resource_id": 1, "resource_scopes": ["read"]},
        {"resource_id": "", "resource_scopes": ["read"]},
        {"resource_id": "other-1", "resource_scopes": ["read"]},
        {"rsname": "chart-1", "scopes": ["read"]},
        {"name": "chart-1", "scopes": ["read"]},
        {"resource_id": "chart-1", "rsid": "chart-2", "scopes": ["read"]},
        {"resource_id": "chart-1", "resource_scopes": [], "scopes": ["read"]},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": NOW},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": NOW - 1},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": 0},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": "tomorrow"},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": True},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": float("nan")},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": float("inf")},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "exp": -1},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "nbf": NOW + 31},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "iat": NOW + 31},
        {"resource_id": "chart-1", "resource_scopes": ["read"], "nbf": "now"},
    ],
    ids=str,
)
def test_a_permission_that_says_something_else_opens_nothing_and_closes_no_other(item: Any) -> None:
    assert opened([item, permission("chart-2", "read")]) == ["chart-2#read"]


@pytest.mark.parametrize("value", [None, {}, "chart-1", 5, [], {"permissions": [permission("chart-1", "read")]}, True], ids=str)
def test_what_is_no_list_of_permissions_opens_nothing(value: Any) -> None:
    assert opened(value) == []


def test_more_permissions_than_anybody_has_open_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert len(opened([permission(f"chart-{number}", "read") for number in range(1000)])) == 1000
    assert opened([permission(f"chart-{number}", "read") for number in range(1001)]) == []
    assert "chart-" not in caplog.text


def test_a_permission_twice_is_one() -> None:
    assert opened([permission("chart-1", "read")] * 3) == ["chart-1#read"]


@pytest.mark.parametrize(
    ("items", "until"),
    [
        ([permission("chart-1", "read")], None),
        ([permission("chart-1", "read", exp=NOW + 9), permission("chart-2", "read", exp=NOW + 5)], NOW + 5),
        ([permission("chart-1", "read", exp=NOW - 9)], None),
        ([permission("chart-1", "read", nbf=NOW + 100)], NOW + 70),  # less the leeway: from then on it counts
        ([permission("chart-1", "read", nbf=NOW + 100, exp=NOW + 90)], None),  # at no time
        ([permission("chart-1", "read", nbf=NOW + 20)], None),  # it counts already
    ],
)
def test_what_is_permitted_holds_until_the_first_time_that_changes_it(items: list[Any], until: float | None) -> None:
    assert read_permissions(items, RESOURCES, NOW, 30.0).until == until


def test_permissions_stand_elsewhere_in_a_jwt_than_in_an_answer() -> None:
    claims = {"permissions": ["a"], "authorization": {"permissions": ["b"]}}
    assert introspected_permissions(claims) == ["a"]
    assert claimed_permissions(claims) == ["b"]
    assert claimed_permissions({"authorization": [{"permissions": ["b"]}]}) is None
    assert claimed_permissions({}) is introspected_permissions({}) is None


async def test_a_jwt_brings_its_permissions() -> None:
    server = UmaServer()
    principal = await server.verifier.verify(server.rpt(permission("chart-123", "read"), sub="house"), NOW)
    assert (names(principal), principal.subject, principal.client_id) == (["chart-123#read"], "house", "growth-chart")
    assert server.transport.posted == []


async def test_scopes_and_launch_context_of_such_a_token_do_not_count() -> None:
    server = UmaServer()
    token = server.rpt(scope="system/*.cruds patient/*.rs __break-glass openid", patient="123", encounter="e", fhirUser="Practitioner/p")
    principal = await server.verifier.verify(token, NOW)
    assert (principal.scopes.resources, principal.scopes.plain, principal.scopes.malformed) == ((), (), ())
    assert (principal.patient, principal.encounter, principal.permitted) == (None, None, ())
    assert str(principal.fhir_user) == "Practitioner/p"  # who it is, not what it may


async def test_an_access_token_of_the_issuer_is_somebody_without_permissions() -> None:
    server = UmaServer()
    principal = await server.verifier.verify(server.issuer.token(scope="patient/*.rs"), NOW)
    assert (principal.permitted, principal.scopes.resources) == ((), ())


async def test_a_permission_that_ends_before_its_token_ends_in_the_cache_too() -> None:
    server = UmaServer()
    token = server.rpt(permission("chart-1", "read"), permission("chart-2", "read", exp=NOW + 10))
    assert names(await server.verifier.verify(token, NOW)) == ["chart-1#read", "chart-2#read"]
    assert names(await server.verifier.verify(token, NOW + 9.9)) == ["chart-1#read", "chart-2#read"]
    assert names(await server.verifier.verify(token, NOW + 10)) == ["chart-1#read"]


async def test_a_permission_that_begins_later_does_so_although_its_token_is_kept() -> None:
    server = UmaServer()
    token = server.rpt(permission("chart-1", "read", nbf=NOW + 40))
    assert names(await server.verifier.verify(token, NOW)) == []
    assert names(await server.verifier.verify(token, NOW + 10)) == ["chart-1#read"]


async def test_a_token_that_is_kept_is_the_same_principal() -> None:
    server = UmaServer()
    token = server.rpt(permission("chart-1", "read"))
    first = await server.verifier.verify(token, NOW)
    assert await server.verifier.verify(token, NOW + 59) is first
    assert await server.verifier.verify(token, NOW + 60) is not first  # no longer than tokens of other issuers


def told(**claims: Any) -> Any:
    """An introspection endpoint as Keycloak's: permissions without a name to one hint, names without permissions to the other."""

    def answer(posted: Posted) -> Received:
        base = {"active": True, "jti": "j-1", "aud": "gateway", "exp": int(NOW) + 300}
        if posted.form["token_type_hint"] == "requesting_party_token":
            entry = {"resource_id": "chart-123", "resource_scopes": ["read"], **permission("chart-123", "read")}
            return json_answer({**base, "permissions": [entry], **claims})
        return json_answer({**base, "iss": ISSUER, "sub": "house", "client_id": "app", "scope": "patient/*.rs"})

    return answer


async def test_what_keycloak_says_in_two_answers_is_one_token() -> None:
    server = UmaServer(asked=True)
    server.transport.endpoints[INTROSPECT] = told()
    principal = await server.verifier.verify(server.rpt(), NOW)
    assert (names(principal), principal.subject, principal.client_id) == (["chart-123#read"], "house", "app")
    assert principal.scopes.resources == ()
    assert [posted.form["token_type_hint"] for posted in server.posted(INTROSPECT)] == ["requesting_party_token", "access_token"]


async def test_an_answer_that_names_the_client_is_enough() -> None:
    server = UmaServer(asked=True)
    server.transport.endpoints[INTROSPECT] = told(client_id="app", sub="house")
    assert names(await server.verifier.verify(server.rpt(), NOW)) == ["chart-123#read"]
    assert len(server.posted(INTROSPECT)) == 1


@pytest.mark.parametrize("change", [{"jti": "j-2"}, {"aud": ["gateway", AUDIENCE]}, {"exp": int(NOW) + 299}])
async def test_two_answers_about_two_tokens_are_none(change: dict[str, Any]) -> None:
    server = UmaServer(asked=True)
    server.transport.endpoints[INTROSPECT] = told(**change)
    with pytest.raises(TokenError) as refused:
        await server.verifier.verify(server.rpt(), NOW)
    assert refused.value.reason == "inactive"


async def test_where_the_issuer_is_asked_the_permissions_in_the_jwt_do_not_count() -> None:
    server = UmaServer(asked=True)
    server.transport.endpoints[INTROSPECT] = told(permissions=[])
    token = server.rpt(permission("chart-456", "read", "write"))
    assert names(await server.verifier.verify(token, NOW)) == []


@pytest.mark.parametrize("answer", [json_answer({"active": False}), json_answer({"active": "true"}), json_answer({"active": 1})])
async def test_a_token_that_is_not_active_as_one_of_permissions_is_none(answer: Received) -> None:
    server = UmaServer(asked=True)
    server.transport.endpoints[INTROSPECT] = lambda _posted: answer
    with pytest.raises(TokenError):
        await server.verifier.verify(server.rpt(permission("chart-1", "read")), NOW)


async def test_an_issuer_that_cannot_be_asked_permits_nothing() -> None:
    server = UmaServer(asked=True)
    with pytest.raises(DependencyUnavailable):
        await server.verifier.verify(server.rpt(permission("chart-1", "read")), NOW)


async def test_a_ticket_is_asked_for_with_the_gateways_own_token() -> None:
    server = UmaServer()
    wanted = [WantedPermission("chart-1", ("read", "write")), WantedPermission("chart-2", ("read",))]
    assert await server.verifier.ticket(ISSUER, wanted, "a", NOW) == "ticket-1"
    assert server.tickets == [
        [{"resource_id": "chart-1", "resource_scopes": ["read", "write"]}, {"resource_id": "chart-2", "resource_scopes": ["read"]}]
    ]
    (asked,) = server.posted(PERMISSION)
    assert asked.headers == {"content-type": "application/json", "authorization": "Bearer pat-1"}
    (got,) = server.posted(TOKEN)
    assert got.form == {"grant_type": "client_credentials"}
    assert got.headers["authorization"].startswith("Basic ")


async def test_the_own_token_is_kept_and_renewed() -> None:
    server = UmaServer()
    for second in (0, 70, 80, 150, 151):
        assert await server.verifier.ticket(ISSUER, READ_123, "a", NOW + second)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [posted.headers["authorization"] for posted in server.posted(PERMISSION)][:2] == ["Bearer pat-1", "Bearer pat-1"]
    assert server.pats == 2


async def test_the_scope_of_the_standard_is_asked_for_where_the_settings_say() -> None:
    server = UmaServer(pat_scope="uma_protection")
    await server.verifier.ticket(ISSUER, READ_123, "a", NOW)
    assert server.posted(TOKEN)[0].form["scope"] == "uma_protection"


async def test_an_own_token_that_was_revoked_is_asked_for_anew_once() -> None:
    server = UmaServer()
    await server.verifier.ticket(ISSUER, READ_123, "a", NOW)
    server.revoked.add("pat-1")
    assert await server.verifier.ticket(ISSUER, READ_123, "a", NOW + 1) == "ticket-2"
    assert server.pats == 2
    server.revoked |= {"pat-2", "pat-3"}
    with pytest.raises(DependencyUnavailable):
        await server.verifier.ticket(ISSUER, READ_123, "a", NOW + 2)
    assert server.pats == 3


async def test_a_resource_that_the_server_does_not_know_has_no_ticket() -> None:
    server = UmaServer()
    assert await server.verifier.ticket(ISSUER, [WantedPermission("nothing", ("read",))], "a", NOW) is None
    assert await server.verifier.ticket(ISSUER, READ_123, "a", NOW) == "ticket-1"  # that is no failure


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({}, 201),
        json_answer([], 201),
        json_answer({"ticket": ""}, 201),
        json_answer({"ticket": 5}, 201),
        json_answer({"ticket": 'x", as_uri="https://evil.example'}, 201),
        json_answer({"ticket": "x\r\nSet-Cookie: a=b"}, 201),
        json_answer({"ticket": "x y"}, 201),
        json_answer({"ticket": "ä"}, 201),
        json_answer({"ticket": "x" * 4097}, 201),
        json_answer({"error": "invalid_request"}, 400),
        json_answer({"ticket": "x"}, 302),
        json_answer({"ticket": "x"}, 500),
        Received(201, "text/html", b'{"ticket": "x"}'),
        Received(201, "application/json", b'{"ticket": "x", "ticket": "y"}'),
        Received(201, "application/json", b"ticket"),
    ],
    ids=str,
)
async def test_an_answer_that_holds_no_ticket_for_a_header_is_a_failure(answer: Received, caplog: pytest.LogCaptureFixture) -> None:
    server = UmaServer()
    server.transport.endpoints[PERMISSION] = lambda _posted: answer
    with caplog.at_level(logging.DEBUG), pytest.raises(DependencyUnavailable) as failed:
        await server.verifier.ticket(ISSUER, READ_123, "a", NOW)
    assert (failed.value.status, failed.value.retry_after) == (503, 1)
    assert "evil" not in caplog.text + failed.value.text
    assert "chart-" not in caplog.text


@pytest.mark.parametrize("endpoint", [..., None, 5, "http://as.example.org/permission", "ftp://x", "https://a@b.example/p"])
async def test_an_endpoint_that_may_not_be_asked_is_not(endpoint: Any) -> None:
    server = UmaServer()
    document = server.transport.answers[f"{ISSUER}/.well-known/uma2-configuration"]
    document["permission_endpoint"] = endpoint
    if endpoint is ...:
        del document["permission_endpoint"]
    with pytest.raises(DependencyUnavailable):
        await server.verifier.ticket(ISSUER, READ_123, "a", NOW)
    assert server.transport.posted == []


async def test_a_document_of_another_issuer_is_not_believed() -> None:
    server = UmaServer()
    server.transport.answers[f"{ISSUER}/.well-known/uma2-configuration"]["issuer"] = "https://evil.example"
    with pytest.raises(DependencyUnavailable):
        await server.verifier.ticket(ISSUER, READ_123, "a", NOW)
    assert server.transport.posted == []


async def test_a_server_that_describes_itself_before_its_path_is_found() -> None:
    server = UmaServer()
    document = server.transport.answers.pop(f"{ISSUER}/.well-known/uma2-configuration")
    server.transport.answers["https://idp.example.org/.well-known/uma2-configuration/realms/smart"] = document
    assert await server.verifier.ticket(ISSUER, READ_123, "a", NOW) == "ticket-1"


async def test_a_server_that_does_not_answer_is_left_alone_for_a_while() -> None:
    server = UmaServer()
    asked = 0

    def fail(_posted: Posted) -> Received:
        nonlocal asked
        asked += 1
        raise FetchError("no answer")

    server.transport.endpoints[PERMISSION] = fail
    for _ in range(5):
        with pytest.raises(DependencyUnavailable):
            await server.verifier.ticket(ISSUER, READ_123, "a", NOW)
    assert asked == 1
    server.transport.endpoints[PERMISSION] = lambda _posted: json_answer({"ticket": "back"}, 201)
    assert await server.verifier.ticket(ISSUER, READ_123, "a", NOW + 1) == "back"


async def test_without_an_own_token_there_is_no_ticket() -> None:
    server = UmaServer()
    server.transport.endpoints[TOKEN] = lambda _posted: json_answer({"error": "invalid_client"}, 401)
    with pytest.raises(DependencyUnavailable):
        await server.verifier.ticket(ISSUER, READ_123, "a", NOW)
    assert server.posted(PERMISSION) == []


async def test_closing_ends_what_is_under_way() -> None:
    server = UmaServer(asked=True)
    await server.verifier.aclose()
    assert server.transport.closed


def test_each_client_has_its_tickets_in_each_minute() -> None:
    allowance = TicketAllowance(2, 100)
    for _ in range(2):
        allowance.take("a", NOW)
    with pytest.raises(TooManyRequests) as refused:
        allowance.take("a", NOW)
    assert refused.value.retry_after == 60 - NOW % 60
    allowance.take("b", NOW)
    allowance.take("a", NOW + refused.value.retry_after)


def test_all_clients_together_have_theirs() -> None:
    allowance = TicketAllowance(2, 5)
    for number in range(5):
        allowance.take(f"client {number}", NOW)
    with pytest.raises(TooManyRequests):
        allowance.take("client 6", NOW)


def test_a_refusal_takes_nothing_from_others() -> None:
    allowance = TicketAllowance(1, 3)
    allowance.take("flood", NOW)
    for _ in range(100):
        with pytest.raises(TooManyRequests):
            allowance.take("flood", NOW)
    allowance.take("a", NOW)
    allowance.take("b", NOW)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:DB8::1", "2001:db8::1", True),
        (None, "unix:", True),
        (None, "192.0.2.1", False),
    ],
)
def test_a_client_without_a_token_is_where_it_comes_from(one: str | None, other: str | None, same: bool) -> None:
    assert (client_at(one) == client_at(other)) is same


def test_the_issuer_of_a_token_is_told_without_judging_it() -> None:
    server = UmaServer()
    assert server.verifier.issuer_of(server.rpt(exp=1)) == ISSUER
    assert server.verifier.issuer_of("opaque") is None
    assert server.verifier.issuer_of(server.rpt(iss="https://evil.example")) is None


async def test_what_is_sent_is_json_that_any_server_reads() -> None:
    odd = UmaResource('chart-{patient} "ä"', (("read", ("patient/*.rs",)),))
    server = UmaServer(resources=(odd,))
    await server.verifier.ticket(ISSUER, [WantedPermission('chart-1 "ä"', ("read",))], "a", NOW)
    assert json.loads(server.posted(PERMISSION)[0].content)[0]["resource_id"] == 'chart-1 "ä"'


async def test_whether_permissions_can_be_asked_for_is_found_out_without_asking_for_any() -> None:
    server = UmaServer()
    await server.verifier.probe_permissions()
    assert (server.pats, server.tickets) == (1, [])
    server = UmaServer()
    server.transport.endpoints[TOKEN] = lambda _posted: json_answer({"error": "invalid_client"}, 401)
    with pytest.raises(DependencyUnavailable) as failed:
        await server.verifier.probe_permissions()
    assert "permissions" in failed.value.text
