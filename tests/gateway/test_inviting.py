"""Who may not come in yet is told where to ask, with a ticket for what was asked and nothing else (UMA 2.0 Grant section 3.2)."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.callers.hooks import Amendment, Amendments
from smart_gateway.gateway.callers.inviting import Invitations
from smart_gateway.gateway.callers.inviting import UmaServer as Known
from smart_gateway.policy.model import ClientRule, PublicInteraction
from smart_gateway.policy.uma import UmaResource
from smart_gateway.principal import Principal
from smart_gateway.tokens.transport import FetchError, Received
from tests.support.asgi import Front, Reply, ScriptedUpstream, code_of, observation, searchset
from tests.support.deciding import policy, scopes
from tests.support.issuer import ISSUER, NOW, Posted, ScriptedIssuer
from tests.support.uma import AS_URI, CHART, PERMISSION, UmaServer, permission

REALM = 'realm="https://fhir.example.org/fhir"'
OURS, THEIRS = observation("o1", "123"), observation("o2", "456")


class House:
    """A gateway before records of two patients that asks a UMA server, and who knocks."""

    def __init__(self, *, resources: tuple[UmaResource, ...] = (CHART,), asked: bool = False, uma: Any = None, **choices: Any) -> None:
        self.server = UmaServer(asked=asked, resources=resources, **(uma or {}))
        self.upstream = ScriptedUpstream(OURS, THEIRS, {"resourceType": "Patient", "id": "123"}, {"resourceType": "Patient", "id": "456"})
        self.upstream.replies["GET /Observation"] = Reply(200, searchset(OURS))
        known = [Known(ISSUER, AS_URI, resources)]
        invitations = choices.pop("invitations", Invitations(known, self.server.verifier))
        self.front = Front(self.upstream, verifier=self.server.verifier, invitations=invitations, issuers=(ISSUER,), **choices)

    async def __call__(self, target: str, token: str | None = None, method: str = "GET", **more: Any) -> httpx.Response:
        return await self.front.request(method, target, token=token, **more)

    async def wanted(self, target: str, token: str | None = None, **more: Any) -> list[tuple[str, list[str]]]:
        """What the ticket of the refusal is for."""
        ticket_of(await self(target, token, **more))
        return [(one["resource_id"], one["resource_scopes"]) for one in self.server.tickets[-1]]


def ticket_of(response: httpx.Response) -> str:
    assert response.status_code == 401, response.text
    uma = response.headers.get_list("www-authenticate")[0]
    match = re.fullmatch(rf'UMA {REALM}, as_uri="{AS_URI}", ticket="([^"]+)"', uma)
    assert match is not None, uma
    return match[1]


def without_ticket(response: httpx.Response) -> None:
    """A refusal that names the server, and holds no ticket."""
    assert response.status_code == 401, response.text
    assert response.headers.get_list("www-authenticate")[0] == f'UMA {REALM}, as_uri="{AS_URI}"'


async def test_who_brings_no_token_gets_a_ticket() -> None:
    house = House()
    response = await house("/Observation?patient=123")
    assert (ticket_of(response), code_of(response)) == ("ticket-1", "permission-wanted")
    assert response.headers.get_list("www-authenticate")[1].startswith(f"Bearer {REALM}, resource_metadata=")
    assert response.headers["cache-control"] == "private, no-store"
    assert house.server.tickets == [[{"resource_id": "chart-123", "resource_scopes": ["read"]}]]
    assert house.upstream.asked == []
    assert (house.front.event.outcome, house.front.event.code) == ("deny", "permission-wanted")


@pytest.mark.parametrize(
    ("target", "method", "wanted"),
    [
        ("/Patient/123", "GET", [("chart-123", ["read"])]),
        ("/Patient/123/Observation", "GET", [("chart-123", ["read"])]),
        ("/Patient/123", "PUT", [("chart-123", ["write"])]),
        ("/Observation?patient=123,456", "GET", [("chart-123", ["read"]), ("chart-456", ["read"])]),
    ],
)
async def test_the_ticket_is_for_what_is_asked(target: str, method: str, wanted: list[tuple[str, list[str]]]) -> None:
    assert await House().wanted(target, method=method) == wanted


@pytest.mark.parametrize("target", ["/Observation", "/Observation/o1", "/Observation/nobody", "/?_type=Observation", "/Practitioner/1"])
async def test_where_the_request_does_not_say_whose_record_it_means_there_is_no_ticket(target: str) -> None:
    """And nothing is looked up: whether there is such a record, and whose it is, would be told."""
    house = House()
    without_ticket(await house(target))
    assert house.upstream.asked == []
    assert house.server.tickets == []


async def test_a_batch_has_no_ticket() -> None:
    without_ticket(await House()("", method="POST", json={"resourceType": "Bundle", "type": "batch"}))


async def test_a_patient_whom_the_server_does_not_know_has_no_ticket() -> None:
    house = House(resources=(UmaResource("file-{patient}", (("read", ("patient/*.rs",)),)),))
    without_ticket(await house("/Patient/123"))
    assert len(house.server.posted(PERMISSION)) == 1


async def test_a_sufficient_token_is_let_in_and_sees_what_it_permits() -> None:
    house = House()
    token = house.server.rpt(permission("chart-123", "read"))
    assert (await house("/Observation/o1", token)).status_code == 200
    assert (await house("/Observation/o2", token)).status_code == 404
    assert (await house("/Observation/o9", token)).status_code == 404
    found = await house("/Observation?code=x", token)
    assert found.status_code == 200
    assert dict(house.upstream.asked[-1].query)["patient"] == "Patient/123"
    assert house.server.tickets == []
    assert house.front.log.events[0].rules == ("chart-{patient}#read",)
    assert house.front.log.events[0].patient == "123"


async def test_a_search_that_the_server_answers_with_somebody_elses_record_is_cleared_of_it() -> None:
    house = House()
    house.upstream.replies["GET /Observation"] = Reply(200, searchset(OURS, THEIRS))
    found = await house("/Observation", house.server.rpt(permission("chart-123", "read")))
    assert [entry["resource"]["id"] for entry in found.json()["entry"]] == ["o1"]


async def test_absent_and_outside_have_one_face_and_no_ticket() -> None:
    house = House()
    token = house.server.rpt(permission("chart-123", "read"))
    outside, absent = [await house(f"/Observation/{id}", token) for id in ("o2", "o9")]
    assert outside.status_code == absent.status_code == 404
    assert outside.headers.keys() == absent.headers.keys()
    assert house.server.tickets == []


async def test_an_insufficient_token_gets_a_ticket_for_what_it_lacks() -> None:
    house = House()
    token = house.server.rpt(permission("chart-123", "read"))
    body = {"resourceType": "Patient", "id": "123"}
    assert await house.wanted("/Patient/123", token, method="PUT", json=body) == [("chart-123", ["write"])]
    assert await house.wanted("/Observation?patient=456", token) == [("chart-456", ["read"])]
    assert await house.wanted("/Patient/456", token) == [("chart-456", ["read"])]
    assert not [asked for asked in house.upstream.asked if asked.method != "GET"]


async def test_a_search_for_two_patients_is_narrowed_to_the_one_that_is_permitted() -> None:
    house = House()
    response = await house("/Observation?patient=123,456", house.server.rpt(permission("chart-123", "read")))
    assert response.status_code == 200
    assert dict(house.upstream.asked[-1].query)["patient"] == "Patient/123"


async def test_an_access_token_without_permissions_gets_a_ticket() -> None:
    house = House()
    token = house.server.issuer.token(scope="patient/*.rs", patient="123")
    assert await house.wanted("/Observation?patient=123", token) == [("chart-123", ["read"])]


async def test_what_more_permissions_would_not_help_is_refused_as_ever() -> None:
    under = policy(clients={"growth-chart": ClientRule(limit=scopes("patient/Observation.rs"))})
    house = House(policy=under)
    token = house.server.rpt(permission("chart-123", "read"))
    for target in ("/Condition?patient=123", "/Condition?patient=456", "/Patient/456"):
        response = await house(target, token)
        assert response.status_code in {403, 404}, target
        assert not response.headers.get("www-authenticate", "").startswith("UMA")
    assert await house.wanted("/Observation?patient=456", token) == [("chart-456", ["read"])]


async def test_a_client_that_the_policy_does_not_know_gets_no_ticket() -> None:
    house = House(policy=policy(clients={"other": ClientRule()}))
    response = await house("/Observation?patient=123", house.server.rpt())
    assert (response.status_code, code_of(response)) == (403, "client-not-allowed")
    assert house.server.tickets == []


async def test_a_broken_request_gets_no_ticket() -> None:
    house = House()
    response = await house("/Observation?patient=123&nonsense=1", house.server.rpt())
    assert response.status_code == 403
    assert house.server.tickets == []


async def test_a_hook_that_limits_is_not_asked_around() -> None:
    async def hook(principal: Principal) -> Amendment:
        return Amendment(limit=["patient/Condition.rs"])

    house = House(amendments=Amendments(hook))
    assert (await house("/Observation?patient=123", house.server.rpt())).status_code == 403
    assert await house.wanted("/Condition?patient=123", house.server.rpt()) == [("chart-123", ["read"])]


@pytest.mark.parametrize(("claims", "code"), [({"exp": int(NOW) - 1}, "expired"), ({"aud": "other-server"}, "wrong-audience")])
async def test_a_bad_token_of_the_server_is_told_so_and_gets_a_ticket(claims: dict[str, Any], code: str) -> None:
    house = House()
    response = await house("/Observation?patient=123", house.server.rpt(permission("chart-123", "read"), **claims))
    assert (ticket_of(response), code_of(response)) == ("ticket-1", code)
    assert 'error="invalid_token"' in response.headers.get_list("www-authenticate")[1]


async def test_a_bad_token_of_somebody_else_gets_none() -> None:
    house = House()
    for token in ("opaque", ScriptedIssuer("https://evil.example").token()):
        response = await house("/Observation?patient=123", token)
        assert response.status_code == 401
        assert [value.split()[0] for value in response.headers.get_list("www-authenticate")] == ["Bearer"]
    assert house.server.tickets == []


async def test_what_is_public_needs_no_ticket() -> None:
    house = House(policy=policy(public=(PublicInteraction(Interaction.READ, "ValueSet"),)))
    assert (await house("/ValueSet/v")).status_code == 404
    assert (await house("/metadata")).status_code != 401
    assert house.server.tickets == []


async def test_a_server_that_cannot_be_asked_is_503() -> None:
    house = House()

    def fail(_posted: Posted) -> Received:
        raise FetchError("no answer")

    house.server.transport.endpoints[PERMISSION] = fail
    response = await house("/Observation?patient=123")
    assert (response.status_code, code_of(response), response.headers["retry-after"]) == (503, "dependency-unavailable", "1")
    without_ticket(await house("/Observation"))  # nothing has to be asked for that


async def test_each_client_has_so_many_tickets_in_a_minute() -> None:
    house = House(uma={"tickets_per_minute": 2})
    for _ in range(2):
        ticket_of(await house("/Patient/123"))
    refused = await house("/Patient/123")
    assert (refused.status_code, code_of(refused), refused.headers["retry-after"]) == (429, "too-many-requests", "20")
    token = house.server.rpt()
    for _ in range(2):
        ticket_of(await house("/Patient/123", token))
    assert (await house("/Patient/123", token)).status_code == 429
    assert (await house("/Observation/o1", house.server.rpt(permission("chart-123", "read")))).status_code == 200
    assert len(house.server.tickets) == 4


async def test_without_uma_servers_everything_is_as_ever() -> None:
    house = House(invitations=Invitations())
    response = await house("/Observation?patient=123")
    assert (response.status_code, code_of(response)) == (401, "token-missing")
    assert [value.split()[0] for value in response.headers.get_list("www-authenticate")] == ["Bearer"]
    assert (await house("/Observation?patient=123", house.server.rpt())).status_code == 403


async def test_the_first_server_that_can_permit_it_is_named() -> None:
    house = House()
    other = Known("https://other.example", "https://other.example", (UmaResource("x", (("read", ("system/ValueSet.rs",)),)),))
    house.front.reload(invitations=Invitations([other, Known(ISSUER, AS_URI, (CHART,))], house.server.verifier))
    ticket_of(await house("/Patient/123"))
    response = await house("/Observation")
    assert 'as_uri="https://other.example"' in response.headers.get_list("www-authenticate")[0]


async def test_a_page_opens_only_with_the_permissions_that_it_was_made_for() -> None:
    house = House()
    page = searchset(OURS, link=[{"relation": "next", "url": "http://127.0.0.1:8090/fhir?_getpages=abc"}])
    house.upstream.replies["GET /Observation"] = Reply(200, page)
    house.upstream.replies["GET /"] = house.upstream.replies["GET "] = Reply(200, searchset(OURS))
    token = house.server.rpt(permission("chart-123", "read"))
    found = await house("/Observation", token)
    (next_link,) = [link["url"] for link in found.json()["link"] if link["relation"] == "next"]
    assert (await house(next_link, token)).status_code == 200
    assert (await house(next_link, house.server.rpt(permission("chart-456", "read")))).status_code == 403
    assert (await house(next_link, None)).status_code == 401
